//! The self test: a device that cannot verify a signature must not take an update.

use core::fmt;

use ed25519_dalek::{Signature, VerifyingKey};

/// RFC 8032 section 7.1, TEST 3: public key, message, signature.
const PUBLIC_KEY: [u8; 32] = [
    0xfc, 0x51, 0xcd, 0x8e, 0x62, 0x18, 0xa1, 0xa3, 0x8d, 0xa4, 0x7e, 0xd0, 0x02, 0x30, 0xf0, 0x58,
    0x08, 0x16, 0xed, 0x13, 0xba, 0x33, 0x03, 0xac, 0x5d, 0xeb, 0x91, 0x15, 0x48, 0x90, 0x80, 0x25,
];
const MESSAGE: [u8; 2] = [0xaf, 0x82];
const SIGNATURE: [u8; 64] = [
    0x62, 0x91, 0xd6, 0x57, 0xde, 0xec, 0x24, 0x02, 0x48, 0x27, 0xe6, 0x9c, 0x3a, 0xbe, 0x01, 0xa3,
    0x0c, 0xe5, 0x48, 0xa2, 0x84, 0x74, 0x3a, 0x44, 0x5e, 0x36, 0x80, 0xd7, 0xdb, 0x5a, 0xc3, 0xac,
    0x18, 0xff, 0x9b, 0x53, 0x8d, 0x16, 0xf2, 0x90, 0xae, 0x67, 0xf7, 0x60, 0x98, 0x4d, 0xc6, 0x59,
    0x4a, 0x7c, 0x15, 0xe9, 0x71, 0x6e, 0xd2, 0x8d, 0xc0, 0x27, 0xbe, 0xce, 0xea, 0x1e, 0xc4, 0x0a,
];

/// Why the self test failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The public key of the vector is not a point of the curve.
    Key,
    /// The good signature was refused.
    Refused,
    /// A signature over another message was taken for good.
    Accepted,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "a good public key was refused",
            Self::Refused => "a good signature was refused",
            Self::Accepted => "a signature over another message was accepted",
        })
    }
}

/// Verifies one signature that is good and one that is not.
pub fn run() -> Result<(), Error> {
    let key = VerifyingKey::from_bytes(&PUBLIC_KEY).map_err(|_| Error::Key)?;
    let signature = Signature::from_bytes(&SIGNATURE);
    key.verify_strict(&MESSAGE, &signature)
        .map_err(|_| Error::Refused)?;

    let [first, second] = MESSAGE;
    match key.verify_strict(&[first, second ^ 1], &signature) {
        Ok(()) => Err(Error::Accepted),
        Err(_) => Ok(()),
    }
}
