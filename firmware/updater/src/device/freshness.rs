//! Which release is the newest, as far as somebody has said so who must know.
//!
//! The device gives nonces and takes statements over them (see [`airlift_wire::freshness`]). It keeps
//! no nonce: each carries when it was given and a tag that only this device, in this run, can make,
//! so any number of hosts may hold one and none of them can push another's out. What was stated
//! counts for ten minutes from when its nonce was given, and only until the next restart: a key that
//! was stolen can state any number, and must not be able to keep the device from its updates for ever.

use crate::Failure;
use airlift_wire::digest::Hasher;
use airlift_wire::freshness::{Nonce, SCRATCH, SignedStatement, Statement};
use airlift_wire::{Digest, ErrorCode, KeySet, PublicKey};
use core::net::IpAddr;

/// How long a nonce may be answered.
pub const NONCE_MS: u64 = 60_000;
/// How long a statement counts.
pub const FRESH_MS: u64 = 600_000;
/// Answers that are remembered, so that each nonce is good for one.
const ANSWERED: usize = 4;
/// Bytes of a nonce that say when it was given and the how-manyth it is.
const STAMP: usize = 16;

/// What a trusted key has stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Newest {
    /// Sequence of the newest release of this device's product.
    pub sequence: u32,
    /// Its id, if that was stated as well.
    pub release: Option<Digest>,
    /// When its nonce was given, in milliseconds since the start.
    pub at_ms: u64,
}

/// A release that was offered and refused: it is not the newest, or nobody said that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleOffer {
    /// The release that was offered.
    pub release: Digest,
    /// Its sequence.
    pub offered: u32,
    /// The newest one, if that was known.
    pub newest: Option<u32>,
    /// Who offered it.
    pub by: IpAddr,
    /// When, in milliseconds since the start.
    pub at_ms: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Freshness {
    /// Makes the tags; drawn anew at each start.
    secret: Option<[u8; 32]>,
    given: u64,
    answered: [u64; ANSWERED],
    newest: Option<Newest>,
    pub stale: Option<StaleOffer>,
}

impl Freshness {
    pub const fn new() -> Self {
        Self {
            secret: None,
            given: 0,
            answered: [0; ANSWERED],
            newest: None,
            stale: None,
        }
    }

    /// Nonces can be given from now on.
    pub fn start(&mut self, secret: [u8; 32]) {
        self.secret = Some(secret);
    }

    /// A nonce that was never given before; `None` before the start.
    pub fn give(&mut self, now_ms: u64) -> Option<Nonce> {
        let secret = self.secret?;
        self.given += 1;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&now_ms.to_le_bytes());
        bytes[8..STAMP].copy_from_slice(&self.given.to_le_bytes());
        let tag = tag(&secret, &bytes[..STAMP]);
        bytes[STAMP..].copy_from_slice(&tag);
        Some(Nonce(bytes))
    }

    /// When the nonce was given and which it is, if it is one of ours, young, and not answered.
    fn open(&self, nonce: &Nonce, now_ms: u64) -> Option<(u64, u64)> {
        let secret = self.secret?;
        let (stamp, given_tag) = nonce.0.split_at(STAMP);
        let right = tag(&secret, stamp);
        // Every byte is looked at: how long it takes tells nothing about the tag.
        let differs = right.iter().zip(given_tag).fold(0, |d, (a, b)| d | (a ^ b));
        let at_ms = u64::from_le_bytes(stamp[..8].try_into().ok()?);
        let count = u64::from_le_bytes(stamp[8..].try_into().ok()?);
        let young = now_ms.checked_sub(at_ms).is_some_and(|age| age <= NONCE_MS);
        (differs == 0 && young && !self.answered.contains(&count)).then_some((at_ms, count))
    }

    /// Takes a statement: signature, product, device, nonce, in this order.
    pub fn take(
        &mut self,
        message: &[u8],
        trust: &KeySet,
        product: &str,
        device: &str,
        now_ms: u64,
    ) -> Result<Newest, Failure> {
        let mut keys = [trust.root; airlift_wire::limits::MAX_RELEASE_KEYS + 1];
        for (to, key) in keys[1..].iter_mut().zip(trust.release_keys()) {
            *to = *key;
        }
        let (statement, signer) = verify(message, &keys)?;
        if statement.product != product {
            let message = "the statement is about another product";
            return Err(Failure::new(ErrorCode::WrongProduct, message));
        }
        // The nonce is ours whoever handed it on; the host must have meant this device, too.
        if statement.device != device {
            let message = "the statement is for another device";
            return Err(Failure::new(ErrorCode::BadNonce, message));
        }
        let Some((at_ms, count)) = self.open(&statement.nonce, now_ms) else {
            let message = "the statement answers no open question of this device";
            return Err(Failure::new(ErrorCode::BadNonce, message));
        };
        self.answered.rotate_right(1);
        self.answered[0] = count;
        let stated = Newest {
            sequence: statement.newest,
            release: statement.release,
            at_ms,
        };
        // A host may know less than another one did a minute ago. Only the root takes back what a
        // release key has stated.
        let takes_back = signer == trust.root && !trust.release_keys().contains(&signer);
        let kept = self.newest(now_ms).filter(|known| {
            let higher = known.sequence > stated.sequence;
            let later = known.sequence == stated.sequence && known.at_ms > stated.at_ms;
            !takes_back && (higher || later)
        });
        let newest = kept.unwrap_or(stated);
        self.newest = Some(newest);
        Ok(newest)
    }

    /// What was stated and still counts.
    pub fn newest(&self, now_ms: u64) -> Option<Newest> {
        self.newest
            .filter(|newest| now_ms.saturating_sub(newest.at_ms) <= FRESH_MS)
    }

    /// Whether a release may be installed as far as its age is concerned.
    pub fn judge(
        &mut self,
        release: Digest,
        sequence: u32,
        by: IpAddr,
        required: bool,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let newest = self.newest(now_ms);
        let failure = match newest {
            Some(newest) if sequence < newest.sequence => Failure::new(
                ErrorCode::Stale,
                "a newer release of this product has been stated to exist",
            ),
            Some(newest)
                if sequence == newest.sequence
                    && newest.release.is_some_and(|id| id != release) =>
            {
                Failure::new(
                    ErrorCode::SequenceConflict,
                    "another release with this sequence has been stated to be the newest",
                )
            }
            None if required => Failure::new(
                ErrorCode::FreshnessRequired,
                "this device takes a release only after a statement which one is the newest",
            ),
            _ => return Ok(()),
        };
        self.stale = Some(StaleOffer {
            release,
            offered: sequence,
            newest: newest.map(|newest| newest.sequence),
            by,
            at_ms: now_ms,
        });
        Err(failure)
    }
}

/// The only place where the bytes of a statement are read; the scratch is gone when it returns.
fn verify<'m>(
    message: &'m [u8],
    keys: &[PublicKey],
) -> Result<(Statement<'m>, PublicKey), Failure> {
    let mut scratch = [0; SCRATCH];
    Ok(SignedStatement::parse(message)?.verify(keys, &mut scratch)?)
}

/// A keyed hash of messages of one length, cut in half: nothing can be appended to it.
fn tag(secret: &[u8; 32], stamp: &[u8]) -> [u8; 16] {
    let mut hasher = Hasher::new();
    hasher.update(secret);
    hasher.update(stamp);
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = hasher.finish().0;
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [3; 32];

    fn started() -> Freshness {
        let mut freshness = Freshness::new();
        freshness.start(SECRET);
        freshness
    }

    #[test]
    fn no_nonce_is_given_before_there_is_randomness() {
        assert_eq!(Freshness::new().give(0), None);
    }

    #[test]
    fn any_number_of_open_nonces_do_not_push_each_other_out() {
        let mut freshness = started();
        let first = freshness.give(1_000).unwrap();
        for _ in 0..1_000 {
            assert_ne!(freshness.give(1_000), Some(first));
        }
        assert_eq!(freshness.open(&first, 1_000 + NONCE_MS), Some((1_000, 1)));
        assert_eq!(freshness.open(&first, 1_001 + NONCE_MS), None);
        assert_eq!(freshness.open(&first, 999), None);
    }

    #[test]
    fn a_nonce_of_another_run_or_with_a_changed_bit_is_not_ours() {
        let mut freshness = started();
        let nonce = freshness.give(1_000).unwrap();
        let mut other = Freshness::new();
        other.start([4; 32]);
        assert_eq!(other.open(&nonce, 1_000), None);
        for bit in 0..256 {
            let mut bad = nonce;
            bad.0[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(freshness.open(&bad, 1_000), None, "bit {bit}");
        }
    }
}
