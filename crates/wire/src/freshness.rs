//! Freshness without a clock: a signed statement which release of a product is the newest.
//!
//! Somebody who can answer a device in the host's place, but holds no key, can go on offering it a
//! release that was once signed and has been replaced since (a freeze attack; The Update Framework,
//! section 1.5.2). A device has no clock that would tell. So it gives a nonce, and takes a
//! statement over it that only a holder of a trusted key can make *now*:
//!
//! ```text
//! 18([ << {1: -8, 4: kid} >>, {}, statement, signature ])   at most 320 bytes
//!
//! Statement = { 0: 1,                 ; format
//!               1: tstr,              ; product, 1..64 bytes of [a-z0-9._-]
//!               2: uint32,            ; sequence of the newest release of the product for the asker
//!               3: bstr .size 32,     ; the nonce, as the device gave it
//!             ? 4: bstr .size 32,     ; id of that release
//!               5: tstr }             ; id of the device, 1..64 bytes of [a-z0-9-]
//! ```
//!
//! The id of the device is there because which release is the newest depends on what the asker says
//! of itself. Without it, whoever stands between could hand on the nonce of a device and a description
//! that fits an old release only; the answer would count. The host states the id of the device that it
//! is about to update, and a device takes its own only.
//!
//! COSE_Sign1, encoding and signature are those of the [envelope](crate::envelope), but the external
//! data is the ASCII text `airlift-fresh-v1`: a release is never taken for a statement, nor a
//! statement for a release. Keys 0-3 and 5 must be present. A decoder refuses unknown keys below 16 and
//! skips others. The content can be reached only through [`SignedStatement::verify`].

use crate::cbor::{BYTES, CborError, KeyOrder, MAP, Reader, Writer};
use crate::digest::{Digest, parse_hex, write_hex};
use crate::envelope::{Envelope, EnvelopeError, protected_header, sig_structure};
use crate::keys::{KeyId, PublicKey};
use crate::limits::{MAX_DEVICE_ID, MAX_STATEMENT};
use crate::manifest::is_product;
use core::fmt;
use core::str::FromStr;

/// The external additional data of the signature.
pub const EXTERNAL_AAD: &[u8] = b"airlift-fresh-v1";
/// The only format that this crate speaks.
pub const FORMAT: u64 = 1;
/// Unknown keys from this one on are skipped; below it they are refused.
const FIRST_SKIPPED_KEY: u64 = 16;
/// Bytes of a signed statement that are not the statement: tag, array, headers, lengths, signature.
const OVERHEAD: usize = 3 + 13 + 1 + 3 + 2 + 64;
/// Longest statement, in bytes.
pub const MAX_PAYLOAD: usize = MAX_STATEMENT - OVERHEAD;
/// Scratch bytes that [`SignedStatement::verify`] and [`to_be_signed`] need at most.
pub const SCRATCH: usize = MAX_STATEMENT + 64;

/// A number that a device gives out once, 32 bytes; shown as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nonce(pub [u8; 32]);

impl fmt::Display for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotANonce;

impl fmt::Display for NotANonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not 64 lower-case hexadecimal digits")
    }
}

impl core::error::Error for NotANonce {}

impl FromStr for Nonce {
    type Err = NotANonce;

    fn from_str(text: &str) -> Result<Self, NotANonce> {
        parse_hex(text).map(Self).ok_or(NotANonce)
    }
}

/// Why bytes are no statement that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FreshnessError {
    /// Longer than 320 bytes.
    TooLong,
    /// Not a COSE_Sign1 message of a trusted key.
    Signature(EnvelopeError),
    /// The statement is not the CBOR that is expected.
    Malformed,
    /// A field is missing or out of range.
    Field(&'static str),
    /// Another format.
    Format(u64),
    /// A caller's buffer is too small.
    NoRoom,
}

impl FreshnessError {
    /// The stable code.
    pub fn code(&self) -> crate::ErrorCode {
        use crate::ErrorCode::{BadSignature, BadStatement, UnknownKey};
        match self {
            Self::Signature(EnvelopeError::UnknownKey(_)) => UnknownKey,
            Self::Signature(EnvelopeError::BadSignature) => BadSignature,
            _ => BadStatement,
        }
    }
}

impl fmt::Display for FreshnessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the statement is longer than {MAX_STATEMENT} bytes"),
            Self::Signature(EnvelopeError::UnknownKey(kid)) => {
                write!(
                    f,
                    "the statement is signed by key {kid}, which is not trusted"
                )
            }
            Self::Signature(EnvelopeError::BadSignature) => {
                f.write_str("the signature of the statement does not match")
            }
            Self::Signature(_) | Self::Malformed => f.write_str("the statement is malformed"),
            Self::Field(name) => write!(f, "the statement has no right {name}"),
            Self::Format(format) => write!(f, "the statement has format {format}"),
            Self::NoRoom => f.write_str("a buffer is too small for the statement"),
        }
    }
}

impl core::error::Error for FreshnessError {}

impl From<CborError> for FreshnessError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::NoRoom => Self::NoRoom,
            _ => Self::Malformed,
        }
    }
}

impl From<EnvelopeError> for FreshnessError {
    fn from(error: EnvelopeError) -> Self {
        match error {
            EnvelopeError::NoRoom => Self::NoRoom,
            EnvelopeError::TooLong => Self::TooLong,
            other => Self::Signature(other),
        }
    }
}

/// Which release of a product is the newest, said over a device's nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement<'a> {
    /// Product.
    pub product: &'a str,
    /// Sequence of its newest release.
    pub newest: u32,
    /// The nonce that the device gave.
    pub nonce: Nonce,
    /// Id of that release.
    pub release: Option<Digest>,
    /// Id of the device that this is said to.
    pub device: &'a str,
}

/// Whether `text` is the id of a device: 1 to 64 bytes of `[a-z0-9-]`.
pub fn is_device_id(text: &str) -> bool {
    (1..=MAX_DEVICE_ID).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

impl<'a> Statement<'a> {
    /// Writes the statement; returns its length.
    ///
    /// # Errors
    /// [`FreshnessError::Field`] for a product or a device id that is none,
    /// [`FreshnessError::NoRoom`].
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, FreshnessError> {
        if !is_product(self.product) {
            return Err(FreshnessError::Field("product"));
        }
        if !is_device_id(self.device) {
            return Err(FreshnessError::Field("device"));
        }
        let mut w = Writer::new(out);
        w.head(MAP, 5 + u64::from(self.release.is_some()))?;
        w.uint(0)?;
        w.uint(FORMAT)?;
        w.uint(1)?;
        w.text(self.product)?;
        w.uint(2)?;
        w.uint(self.newest.into())?;
        w.uint(3)?;
        w.bytes(&self.nonce.0)?;
        if let Some(release) = &self.release {
            w.uint(4)?;
            w.bytes(&release.0)?;
        }
        w.uint(5)?;
        w.text(self.device)?;
        Ok(w.len())
    }

    /// Reads a statement whose signature was checked.
    fn decode(bytes: &'a [u8]) -> Result<Self, FreshnessError> {
        use FreshnessError::Field;
        let mut r = Reader::new(bytes);
        let mut order = KeyOrder::default();
        let (mut format, mut product, mut newest) = (None, None, None);
        let (mut nonce, mut release, mut device) = (None, None, None);
        for _ in 0..r.map()? {
            let key = r.uint()?;
            order.check(key)?;
            match key {
                0 => format = Some(r.uint()?),
                1 => product = Some(r.text()?),
                2 => newest = Some(u32::try_from(r.uint()?).map_err(|_| Field("sequence"))?),
                3 => {
                    let bytes = r.bytes()?.try_into().map_err(|_| Field("nonce"))?;
                    nonce = Some(Nonce(bytes));
                }
                4 => release = Some(Digest::from_slice(r.bytes()?).ok_or(Field("release"))?),
                5 => device = Some(r.text()?),
                FIRST_SKIPPED_KEY.. => r.skip()?,
                _ => return Err(FreshnessError::Malformed),
            }
            if let Some(other) = format.filter(|f| *f != FORMAT) {
                return Err(FreshnessError::Format(other));
            }
        }
        r.end()?;
        format.ok_or(Field("format"))?;
        Ok(Self {
            product: product.filter(|p| is_product(p)).ok_or(Field("product"))?,
            newest: newest.ok_or(Field("sequence"))?,
            nonce: nonce.ok_or(Field("nonce"))?,
            release,
            device: device.filter(|d| is_device_id(d)).ok_or(Field("device"))?,
        })
    }
}

/// A signed statement whose signature has not been checked.
#[derive(Clone, Copy, Debug)]
pub struct SignedStatement<'a>(Envelope<'a>);

impl<'a> SignedStatement<'a> {
    /// Splits a message without trusting anything in it.
    ///
    /// # Errors
    /// [`FreshnessError::TooLong`], or [`FreshnessError::Signature`] for what is no COSE_Sign1.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FreshnessError> {
        if bytes.len() > MAX_STATEMENT {
            return Err(FreshnessError::TooLong);
        }
        Ok(Self(Envelope::parse(bytes)?))
    }

    /// The key that claims to have signed; a hint until [`SignedStatement::verify`] succeeds.
    pub fn kid(&self) -> KeyId {
        self.0.kid()
    }

    /// Checks the signature, as strictly as that of a release, and only then reads the statement;
    /// also gives the key that signed. `scratch` must hold at least [`SCRATCH`] bytes.
    ///
    /// # Errors
    /// [`FreshnessError`].
    pub fn verify(
        &self,
        trusted: &[PublicKey],
        scratch: &mut [u8],
    ) -> Result<(Statement<'a>, PublicKey), FreshnessError> {
        let verified = self.0.verify_as(EXTERNAL_AAD, trusted, scratch)?;
        Ok((Statement::decode(verified.payload())?, *verified.key()))
    }
}

/// The bytes that the key `kid` signs for a statement (the Sig_structure), written to `scratch`.
///
/// # Errors
/// [`FreshnessError::TooLong`], [`FreshnessError::NoRoom`].
pub fn to_be_signed<'s>(
    kid: KeyId,
    payload: &[u8],
    scratch: &'s mut [u8],
) -> Result<&'s [u8], FreshnessError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FreshnessError::TooLong);
    }
    Ok(sig_structure(
        &protected_header(kid),
        EXTERNAL_AAD,
        payload,
        scratch,
    )?)
}

/// Writes the message of a statement with a signature that is already made; returns its length.
///
/// # Errors
/// [`FreshnessError::TooLong`], [`FreshnessError::NoRoom`].
pub fn encode(
    kid: KeyId,
    payload: &[u8],
    signature: &[u8; 64],
    out: &mut [u8],
) -> Result<usize, FreshnessError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(FreshnessError::TooLong);
    }
    let mut w = Writer::new(out);
    w.raw(&[0xD2, 0x84])?;
    w.bytes(&protected_header(kid))?;
    w.raw(&[0xA0])?;
    w.head(BYTES, payload.len() as u64)?;
    w.raw(payload)?;
    w.bytes(signature)?;
    Ok(w.len())
}

/// What a device does with bytes from the network, for a fuzzer: whatever is accepted is written
/// again to the same bytes. `trusted` is the only key.
///
/// # Panics
/// When that does not hold.
#[doc(hidden)]
pub fn fuzz(bytes: &[u8], trusted: &PublicKey) {
    // Unsigned content never reaches the decoder in a device; a fuzzer cannot sign.
    if let Ok(statement) = Statement::decode(bytes) {
        let mut out = [0; MAX_STATEMENT];
        if let Ok(len) = statement.encode(&mut out) {
            assert_eq!(Statement::decode(&out[..len]), Ok(statement));
        }
    }
    if let Ok(signed) = SignedStatement::parse(bytes)
        && let Ok((_, key)) = signed.verify(&[*trusted], &mut [0; SCRATCH])
    {
        assert_eq!(key, *trusted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use std::vec::Vec;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey(key.verifying_key().to_bytes())
    }

    fn statement() -> Statement<'static> {
        Statement {
            product: "demo",
            newest: 5,
            nonce: Nonce([9; 32]),
            release: Some(Digest([3; 32])),
            device: "c3-1",
        }
    }

    fn payload(statement: &Statement<'_>) -> Vec<u8> {
        let mut out = [0; MAX_PAYLOAD];
        let len = statement.encode(&mut out).unwrap();
        out[..len].to_vec()
    }

    fn sign_payload(key: &SigningKey, payload: &[u8]) -> Vec<u8> {
        let kid = public(key).id();
        let mut scratch = [0; SCRATCH];
        let signature = key.sign(to_be_signed(kid, payload, &mut scratch).unwrap());
        let mut out = [0; MAX_STATEMENT];
        let len = encode(kid, payload, &signature.to_bytes(), &mut out).unwrap();
        out[..len].to_vec()
    }

    fn verify(bytes: &[u8]) -> Result<Statement<'_>, FreshnessError> {
        let trusted = [public(&key())];
        SignedStatement::parse(bytes)?
            .verify(&trusted, &mut [0; SCRATCH])
            .map(|(statement, _)| statement)
    }

    #[test]
    fn a_signed_statement_reads_back_with_the_key_that_signed() {
        let bytes = sign_payload(&key(), &payload(&statement()));
        assert_eq!(verify(&bytes), Ok(statement()));
        let other = SigningKey::from_bytes(&[8; 32]);
        let stranger = sign_payload(&other, &payload(&statement()));
        assert_eq!(
            verify(&stranger).map_err(|e| e.code()),
            Err(ErrorCode::UnknownKey)
        );
    }

    #[test]
    fn a_statement_is_the_golden_vector_read_by_hand() {
        let mut golden = b"\xA6\x00\x01\x01\x64demo\x02\x05\x03\x58\x20".to_vec();
        golden.extend_from_slice(&[9; 32]);
        golden.extend_from_slice(b"\x04\x58\x20");
        golden.extend_from_slice(&[3; 32]);
        golden.extend_from_slice(b"\x05\x64c3-1");
        assert_eq!(payload(&statement()), golden);
        let kid = public(&key()).id();
        let mut scratch = [0; SCRATCH];
        let signed = to_be_signed(kid, &golden, &mut scratch).unwrap();
        let mut structure = b"\x84\x6ASignature1\x4D\xA2\x01\x27\x04\x48".to_vec();
        structure.extend_from_slice(&kid.0);
        structure.extend_from_slice(b"\x50airlift-fresh-v1\x58\x57");
        structure.extend_from_slice(&golden);
        assert_eq!(signed, structure);
    }

    #[test]
    fn the_signed_golden_vector_never_changes() {
        // RFC 8032 signatures are deterministic, so the whole message is; OpenSSL makes the same.
        let bytes = sign_payload(&key(), &payload(&statement()));
        assert_eq!(bytes.len(), 172);
        let golden = "4e3b405a7c3e7a739f748526f7ce6000e0774945a457311376025d6a0feeb1bf";
        assert_eq!(std::format!("{}", Digest::of(&bytes)), golden);
    }

    #[test]
    fn a_release_is_no_statement_and_a_statement_is_no_release() {
        let payload = payload(&statement());
        let kid = public(&key()).id();
        let mut scratch = [0; crate::envelope::SCRATCH];
        let as_release = crate::envelope::to_be_signed(kid, &payload, &mut scratch).unwrap();
        let signature = key().sign(as_release).to_bytes();
        let mut out = [0; MAX_STATEMENT];
        let len = encode(kid, &payload, &signature, &mut out).unwrap();
        let refused = verify(&out[..len]).map_err(|e| e.code());
        assert_eq!(refused, Err(ErrorCode::BadSignature));

        let bytes = sign_payload(&key(), &payload);
        let refused = Envelope::parse(&bytes)
            .unwrap()
            .verify(&[public(&key())], &mut scratch)
            .map(|_| ());
        assert_eq!(refused, Err(EnvelopeError::BadSignature));
    }

    #[test]
    fn what_is_missing_repeated_unknown_or_out_of_range_is_refused() {
        let good = payload(&statement());
        let with = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            bad
        };
        let mut trailing = good.clone();
        trailing.push(0);
        let mut missing = good[..good.len() - 76].to_vec();
        missing[0] = 0xA3;
        // Everything but the device.
        let mut to_anybody = good[..good.len() - 6].to_vec();
        to_anybody[0] = 0xA5;
        for bad in [
            with(0, 0xA5),              // a key too many
            with(2, 2),                 // another format
            with(5, b'D'),              // no product
            with(9, 6),                 // an unknown key
            with(9, 1),                 // a repeated key
            with(10, 0x18),             // a number that is not in its shortest form
            with(13, 0x1F),             // a nonce of 31 bytes
            with(good.len() - 1, b'_'), // no device
            to_anybody,
            trailing,
            missing,
            Vec::new(),
        ] {
            let bytes = sign_payload(&key(), &bad);
            let refused = verify(&bytes).map_err(|e| e.code());
            assert_eq!(refused, Err(ErrorCode::BadStatement), "{bad:x?}");
        }
    }

    #[test]
    fn keys_of_a_later_version_are_skipped() {
        let mut later = payload(&statement());
        later[0] = 0xA7;
        later.extend_from_slice(&[0x10, 0x63, b'n', b'e', b'w']);
        assert_eq!(verify(&sign_payload(&key(), &later)), Ok(statement()));
    }

    #[test]
    fn the_longest_statement_fits_with_room_for_more() {
        let (product, device) = ("p".repeat(64), "d".repeat(MAX_DEVICE_ID));
        let longest = Statement {
            product: &product,
            newest: u32::MAX,
            device: &device,
            ..statement()
        };
        let bytes = sign_payload(&key(), &payload(&longest));
        assert_eq!(bytes.len(), 298);
        assert_eq!(verify(&bytes), Ok(longest));
        assert_eq!(
            verify(&[0; MAX_STATEMENT + 1]),
            Err(FreshnessError::TooLong)
        );
        let kid = public(&key()).id();
        let too_long = to_be_signed(kid, &[0; MAX_PAYLOAD + 1], &mut [0; 999]).err();
        assert_eq!(too_long, Some(FreshnessError::TooLong));
    }

    proptest! {
        #[test]
        fn any_statement_reads_back(
            product in "[a-z0-9._-]{1,64}",
            newest: u32,
            nonce: [u8; 32],
            release: Option<[u8; 32]>,
            device in "[a-z0-9-]{1,64}",
        ) {
            let statement = Statement {
                product: &product,
                newest,
                nonce: Nonce(nonce),
                release: release.map(Digest),
                device: &device,
            };
            let bytes = sign_payload(&key(), &payload(&statement));
            prop_assert_eq!(verify(&bytes), Ok(statement));
        }

        #[test]
        fn any_single_changed_byte_is_noticed(at in 0usize..172, flip in 1u8..) {
            let mut bytes = sign_payload(&key(), &payload(&statement()));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(verify(&bytes).is_err());
        }

        #[test]
        fn a_statement_that_is_cut_short_is_refused(at in 0usize..172) {
            let bytes = sign_payload(&key(), &payload(&statement()));
            prop_assert!(verify(&bytes[..at]).is_err());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&bytes, &public(&key()));
        }
    }
}
