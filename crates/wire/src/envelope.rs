//! The envelope: a COSE_Sign1 message (RFC 9052 section 4.2) around a manifest.
//!
//! ```text
//! 18([ << {1: -8, 4: kid} >>,   ; protected: EdDSA, kid = first 8 bytes of SHA-256 of the key
//!      {},                      ; unprotected: empty
//!      payload,                 ; bstr: the manifest
//!      signature ])             ; bstr, 64 bytes: Ed25519 over the Sig_structure
//!
//! Sig_structure = [ "Signature1", protected, h'6169726c6966742d72656c656173652d7631', payload ]
//! ```
//!
//! The external data is the ASCII text `airlift-release-v1`. The encoding is deterministic and has
//! one form only, so a release has one id: the SHA-256 of the envelope. The payload can be reached
//! only through [`Envelope::verify`], or with the id of an envelope that was verified before.

use crate::cbor::{ARRAY, BYTES, CborError, Reader, TEXT, Writer};
use crate::digest::Digest;
use crate::keys::{KeyId, PublicKey};
use crate::limits::{MAX_ENVELOPE, MAX_MANIFEST};
use crate::manifest::{Manifest, ManifestError};
use core::fmt;
use ed25519_dalek::{Signature, VerifyingKey};

/// The external additional data of the signature.
pub const EXTERNAL_AAD: &[u8] = b"airlift-release-v1";
/// COSE algorithm -8 (EdDSA), as a CBOR argument.
const EDDSA: u64 = 7;
const COSE_SIGN1: u64 = 18;
/// Bytes of the protected header `{1: -8, 4: kid}`.
const PROTECTED_LEN: usize = 13;
/// Scratch bytes that [`Envelope::verify`] and [`to_be_signed`] need at most.
pub const SCRATCH: usize = MAX_ENVELOPE + 64;

/// Why bytes are not an envelope of a trusted key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Longer than 4080 bytes.
    TooLong,
    /// Not the one form of COSE_Sign1 that is accepted.
    Malformed(&'static str),
    /// Signed by a key that is not among the trusted ones.
    UnknownKey(KeyId),
    /// The signature does not match.
    BadSignature,
    /// A caller's buffer is too small.
    NoRoom,
}

impl EnvelopeError {
    /// The stable code.
    pub fn code(&self) -> crate::ErrorCode {
        match self {
            Self::UnknownKey(_) => crate::ErrorCode::UnknownKey,
            Self::BadSignature => crate::ErrorCode::BadSignature,
            _ => crate::ErrorCode::BadEnvelope,
        }
    }
}

impl fmt::Display for EnvelopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "the envelope is longer than {MAX_ENVELOPE} bytes"),
            Self::Malformed(what) => write!(f, "the envelope is malformed: {what}"),
            Self::UnknownKey(kid) => write!(f, "signed by key {kid}, which is not trusted"),
            Self::BadSignature => f.write_str("the signature does not match"),
            Self::NoRoom => f.write_str("a buffer is too small for the envelope"),
        }
    }
}

impl core::error::Error for EnvelopeError {}

impl From<CborError> for EnvelopeError {
    fn from(error: CborError) -> Self {
        match error {
            CborError::Truncated => Self::Malformed("it ends inside an item"),
            CborError::NotDeterministic => Self::Malformed("an item is not in its shortest form"),
            CborError::TrailingBytes => Self::Malformed("bytes follow it"),
            CborError::NoRoom => Self::NoRoom,
            _ => Self::Malformed("an item is not what COSE_Sign1 has there"),
        }
    }
}

/// An envelope whose signature has not been checked.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    bytes: &'a [u8],
    kid: KeyId,
    protected: &'a [u8],
    payload: &'a [u8],
    signature: &'a [u8; 64],
}

/// A payload whose signature was checked, and by which key. Only [`Envelope::verify`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Verified<'a> {
    payload: &'a [u8],
    bytes: &'a [u8],
    key: PublicKey,
}

impl<'a> Envelope<'a> {
    /// Splits an envelope without trusting anything in it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > MAX_ENVELOPE {
            return Err(EnvelopeError::TooLong);
        }
        let malformed = |what| Err(EnvelopeError::Malformed(what));
        let mut r = Reader::new(bytes);
        if r.tag()? != COSE_SIGN1 || r.array()? != 4 {
            return malformed("not a COSE_Sign1");
        }
        let protected = r.bytes()?;
        let mut p = Reader::new(protected);
        if p.map()? != 2 || p.uint()? != 1 || p.negative()? != EDDSA || p.uint()? != 4 {
            return malformed("the protected header is not {1: -8, 4: kid}");
        }
        let Ok(kid) = p.bytes()?.try_into().map(KeyId) else {
            return malformed("the kid is not 8 bytes");
        };
        p.end()?;
        if r.map()? != 0 {
            return malformed("the unprotected header is not empty");
        }
        let payload = r.bytes()?;
        let Ok(signature) = r.bytes()?.try_into() else {
            return malformed("the signature is not 64 bytes");
        };
        r.end()?;
        Ok(Self {
            bytes,
            kid,
            protected,
            payload,
            signature,
        })
    }

    /// The key that claims to have signed; a hint until [`Envelope::verify`] succeeds.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The release id: the SHA-256 of the envelope.
    pub fn id(&self) -> Digest {
        Digest::of(self.bytes)
    }

    /// Checks the signature, strictly (RFC 8032 without the malleable and small-order cases),
    /// against the key among `trusted` that the envelope names. `scratch` must hold at least
    /// [`SCRATCH`] bytes.
    pub fn verify(
        &self,
        trusted: &[PublicKey],
        scratch: &mut [u8],
    ) -> Result<Verified<'a>, EnvelopeError> {
        self.verify_as(EXTERNAL_AAD, trusted, scratch)
    }

    /// As [`Envelope::verify`], for a message that was signed for another purpose: `aad` names it.
    pub(crate) fn verify_as(
        &self,
        aad: &[u8],
        trusted: &[PublicKey],
        scratch: &mut [u8],
    ) -> Result<Verified<'a>, EnvelopeError> {
        // Two keys could share a kid; only a signature that matches decides.
        let mut result = Err(EnvelopeError::UnknownKey(self.kid));
        for key in trusted.iter().filter(|key| key.id() == self.kid) {
            let message = sig_structure(self.protected, aad, self.payload, scratch)?;
            let matches = VerifyingKey::from_bytes(&key.0).is_ok_and(|k| {
                k.verify_strict(message, &Signature::from_bytes(self.signature))
                    .is_ok()
            });
            if matches {
                return Ok(Verified {
                    payload: self.payload,
                    bytes: self.bytes,
                    key: *key,
                });
            }
            result = Err(EnvelopeError::BadSignature);
        }
        result
    }
}

impl<'a> Envelope<'a> {
    /// The manifest of an envelope that was verified earlier, when other keys were trusted: `known` is
    /// the release id that was kept then, in a place that is trusted as much as the keys are. `None`
    /// for any other envelope.
    pub fn known_manifest(&self, known: Digest) -> Option<Result<Manifest<'a>, ManifestError>> {
        (self.id() == known).then(|| Manifest::decode(self.payload))
    }
}

impl<'a> Verified<'a> {
    /// The bytes that were signed.
    pub(crate) fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Decodes the manifest. Possible only now, since nothing unverified is ever parsed.
    pub fn manifest(&self) -> Result<Manifest<'a>, ManifestError> {
        Manifest::decode(self.payload)
    }

    /// The key that signed.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The whole envelope.
    pub fn envelope(&self) -> &'a [u8] {
        self.bytes
    }

    /// The release id: the SHA-256 of the envelope.
    pub fn id(&self) -> Digest {
        Digest::of(self.bytes)
    }
}

pub(crate) fn protected_header(kid: KeyId) -> [u8; PROTECTED_LEN] {
    let [a, b, c, d, e, f, g, h] = kid.0;
    [0xA2, 0x01, 0x27, 0x04, 0x48, a, b, c, d, e, f, g, h]
}

pub(crate) fn sig_structure<'s>(
    protected: &[u8],
    aad: &[u8],
    payload: &[u8],
    scratch: &'s mut [u8],
) -> Result<&'s [u8], EnvelopeError> {
    let mut w = Writer::new(scratch);
    w.head(ARRAY, 4)?;
    w.head(TEXT, 10)?;
    w.raw(b"Signature1")?;
    w.bytes(protected)?;
    w.bytes(aad)?;
    w.bytes(payload)?;
    let len = w.len();
    scratch.get(..len).ok_or(EnvelopeError::NoRoom)
}

/// The bytes that the key `kid` signs for `payload` (the Sig_structure), written to `scratch`.
pub fn to_be_signed<'s>(
    kid: KeyId,
    payload: &[u8],
    scratch: &'s mut [u8],
) -> Result<&'s [u8], EnvelopeError> {
    if payload.len() > MAX_MANIFEST {
        return Err(EnvelopeError::TooLong);
    }
    sig_structure(&protected_header(kid), EXTERNAL_AAD, payload, scratch)
}

/// Writes the envelope of `payload` with a signature that is already made; returns its length.
pub fn encode(
    kid: KeyId,
    payload: &[u8],
    signature: &[u8; 64],
    out: &mut [u8],
) -> Result<usize, EnvelopeError> {
    if payload.len() > MAX_MANIFEST {
        return Err(EnvelopeError::TooLong);
    }
    let mut w = Writer::new(out);
    w.raw(&[0xD2])?;
    w.head(ARRAY, 4)?;
    w.bytes(&protected_header(kid))?;
    w.raw(&[0xA0])?;
    w.head(BYTES, payload.len() as u64)?;
    w.raw(payload)?;
    w.bytes(signature)?;
    Ok(w.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};
    use proptest::prelude::*;
    use std::format;
    use std::vec::Vec;

    fn key() -> SigningKey {
        SigningKey::from_bytes(&[7; 32])
    }

    fn public(key: &SigningKey) -> PublicKey {
        PublicKey(key.verifying_key().to_bytes())
    }

    fn sign(key: &SigningKey, payload: &[u8]) -> Vec<u8> {
        let kid = public(key).id();
        let mut scratch = [0; SCRATCH];
        let signature = key.sign(to_be_signed(kid, payload, &mut scratch).unwrap());
        let mut out = [0; MAX_ENVELOPE];
        let len = encode(kid, payload, &signature.to_bytes(), &mut out).unwrap();
        out[..len].to_vec()
    }

    fn verify(bytes: &[u8], keys: &[PublicKey]) -> Result<Digest, EnvelopeError> {
        Envelope::parse(bytes)?
            .verify(keys, &mut [0; SCRATCH])
            .map(|v| v.id())
    }

    #[test]
    fn a_signed_payload_verifies_with_its_key_only() {
        let bytes = sign(&key(), b"hello");
        assert_eq!(verify(&bytes, &[public(&key())]), Ok(Digest::of(&bytes)));
        let other = PublicKey(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        let kid = public(&key()).id();
        assert_eq!(
            verify(&bytes, &[other]),
            Err(EnvelopeError::UnknownKey(kid))
        );
        assert_eq!(verify(&bytes, &[]), Err(EnvelopeError::UnknownKey(kid)));
    }

    #[test]
    fn the_bytes_around_the_payload_are_the_golden_vector_read_by_hand() {
        let bytes = sign(&key(), b"hello");
        let kid = public(&key()).id();
        let mut golden = std::vec![0xD2, 0x84, 0x4D, 0xA2, 0x01, 0x27, 0x04, 0x48];
        golden.extend_from_slice(&kid.0);
        golden.extend_from_slice(b"\xA0\x45hello\x58\x40");
        assert_eq!(bytes[..golden.len()], golden);
        assert_eq!(bytes.len(), golden.len() + 64);
        let mut scratch = [0; SCRATCH];
        let signed = to_be_signed(kid, b"hello", &mut scratch).unwrap();
        let mut golden = b"\x84\x6ASignature1\x4D".to_vec();
        golden.extend_from_slice(&protected_header(kid));
        golden.extend_from_slice(b"\x52airlift-release-v1\x45hello");
        assert_eq!(signed, golden);
    }

    #[test]
    fn the_largest_manifest_fits_and_a_larger_one_does_not() {
        let bytes = sign(&key(), &[0; MAX_MANIFEST]);
        assert_eq!(bytes.len(), MAX_ENVELOPE);
        assert!(verify(&bytes, &[public(&key())]).is_ok());
        let mut scratch = [0; SCRATCH];
        let kid = public(&key()).id();
        let too_long = to_be_signed(kid, &[0; MAX_MANIFEST + 1], &mut scratch).err();
        assert_eq!(too_long, Some(EnvelopeError::TooLong));
        assert_eq!(
            verify(&[0; MAX_ENVELOPE + 1], &[]),
            Err(EnvelopeError::TooLong)
        );
    }

    #[test]
    fn an_unprotected_header_or_another_algorithm_is_refused() {
        let mut bytes = sign(&key(), b"hello");
        let unprotected = 3 + PROTECTED_LEN;
        assert_eq!(bytes[unprotected], 0xA0);
        bytes[unprotected] = 0xA1;
        assert!(format!("{}", verify(&bytes, &[]).unwrap_err()).contains("unprotected"));
        let mut bytes = sign(&key(), b"hello");
        bytes[5] = 0x26;
        assert!(format!("{}", verify(&bytes, &[]).unwrap_err()).contains("protected"));
    }

    proptest! {
        #[test]
        fn any_single_changed_byte_is_noticed(at in 0usize..91, flip in 1u8..) {
            let mut bytes = sign(&key(), b"hello");
            let at = at % bytes.len();
            bytes[at] ^= flip;
            prop_assert!(verify(&bytes, &[public(&key())]).is_err());
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = verify(&bytes, &[public(&key())]);
        }
    }
}
