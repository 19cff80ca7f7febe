//! Ed25519 keys in files: PKCS#8 v1 PEM for private ones (RFC 5958, RFC 8410), SPKI PEM for public
//! ones; OpenSSL reads and writes both.
//!
//! An encrypted private key is PBES2 (RFC 8018) with scrypt (N = 16384, r = 8, p = 1) and
//! AES-256-CBC. Keys that OpenSSL encrypts with PBKDF2 are read as well.

mod set;

pub(crate) use set::check_set;
pub use set::key_set;

use crate::Error;
use crate::write::{Access, Existing, write_file};
use airlift_wire::envelope::{SCRATCH, to_be_signed};
use airlift_wire::freshness::{self, Statement};
use airlift_wire::limits::{MAX_ENVELOPE, MAX_STATEMENT};
use airlift_wire::{KeyId, PublicKey, envelope};
use bytes::Bytes;
use ed25519_dalek::Signer;
use ed25519_dalek::pkcs8::{KeypairBytes, PublicKeyBytes};
use pkcs8::der::pem::PemLabel;
use pkcs8::der::{SecretDocument, pem};
use pkcs8::pkcs5::{self, pbes2};
use pkcs8::{
    DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey,
    EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef,
};
use std::fmt;
use std::path::Path;
use zeroize::{Zeroize, Zeroizing};

/// Longest key file that is read, in bytes; a PEM of one key has a few hundred.
pub const MAX_KEY_FILE: u64 = 16 * 1024;
/// Most memory that opening an encrypted key may take (scrypt: 128 * N * r), in bytes.
const MAX_SCRYPT_MEMORY: u64 = 64 * 1024 * 1024;
/// Most rounds of PBKDF2 that opening an encrypted key may take.
const MAX_PBKDF2_ROUNDS: u32 = 10_000_000;

/// A private key that signs releases. Wiped when dropped; its debug text names only the public key.
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.id())
    }
}

impl SigningKey {
    /// A new key from the operating system's random bytes.
    pub fn generate() -> Result<Self, Error> {
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut())?;
        Ok(Self::from_seed(&seed))
    }

    /// The key of a 32-byte seed (RFC 8032 section 5.1.5). For tests and for keys kept elsewhere.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey(secret.verifying_key().to_bytes());
        Self { secret, public }
    }

    /// The public key.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// The key's short name.
    pub fn id(&self) -> KeyId {
        self.public.id()
    }

    /// PKCS#8 PEM, encrypted when a passphrase is given. An empty passphrase is refused.
    pub fn to_pem(&self, passphrase: Option<&str>) -> Result<Zeroizing<String>, Error> {
        // With the public key inside it would be PKCS#8 v2, which OpenSSL 3.0 cannot read.
        let pair = KeypairBytes {
            secret_key: self.secret.to_bytes(),
            public_key: None,
        };
        match passphrase {
            None => pair.to_pkcs8_pem(LineEnding::LF),
            Some("") => return Err(Error::Usage("the passphrase is empty".to_owned())),
            Some(text) => pair.to_pkcs8_encrypted_pem(text, LineEnding::LF),
        }
        .map_err(|e| Error::Key(format!("the key cannot be written: {e}")))
    }

    /// Reads PKCS#8 PEM. A passphrase that the key does not need is ignored.
    ///
    /// Fails with `bad_passphrase` when the passphrase is missing or wrong, else with `bad_key`.
    pub fn from_pem(text: &str, passphrase: Option<&str>) -> Result<Self, Error> {
        let text = normalised(text);
        match Label::of(&text) {
            Label::Private => Self::from_document(&text),
            Label::Encrypted => {
                let passphrase = passphrase.ok_or(Error::PassphraseMissing)?;
                Self::from_encrypted(&text, passphrase)
            }
            other => Err(other.refusal("a private key")),
        }
    }

    fn from_document(text: &str) -> Result<Self, Error> {
        let (label, document) = SecretDocument::from_pem(text).map_err(not_pem)?;
        PrivateKeyInfoRef::validate_pem_label(label).map_err(not_pem)?;
        Self::from_der(document.as_bytes())
    }

    fn from_encrypted(text: &str, passphrase: &str) -> Result<Self, Error> {
        let (_, document) = SecretDocument::from_pem(text).map_err(not_pem)?;
        let info = EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|e| {
            Error::Key(format!(
                "the key is encrypted in a way that is not read: {e}"
            ))
        })?;
        check_cost(&info.encryption_algorithm)?;
        let plain = info.decrypt(passphrase).map_err(|error| match error {
            pkcs8::Error::EncryptedPrivateKey(
                e @ (pkcs5::Error::AlgorithmParametersInvalid { .. }
                | pkcs5::Error::UnsupportedAlgorithm { .. }
                | pkcs5::Error::NoPbes1CryptSupport),
            ) => Error::Key(format!(
                "the key is encrypted in a way that is not read: {e}"
            )),
            // CBC has no authentication: a wrong passphrase shows as bad padding, or, once in 256
            // times, as bytes that are no key.
            _ => Error::PassphraseWrong,
        })?;
        if PrivateKeyInfoRef::try_from(plain.as_bytes()).is_err() {
            return Err(Error::PassphraseWrong);
        }
        Self::from_der(plain.as_bytes())
    }

    fn from_der(der: &[u8]) -> Result<Self, Error> {
        let pair = KeypairBytes::from_pkcs8_der(der).map_err(|_| not_ed25519())?;
        let key = Self::from_seed(&pair.secret_key);
        if pair
            .public_key
            .is_some_and(|public| public.0 != key.public.0)
        {
            let text = "the key file's public half does not belong to its private half";
            return Err(Error::Key(text.to_owned()));
        }
        Ok(key)
    }

    /// Signs a manifest and returns its envelope.
    pub(crate) fn seal(&self, manifest: &[u8]) -> Result<Bytes, Error> {
        let mut scratch = [0; SCRATCH];
        let message = to_be_signed(self.id(), manifest, &mut scratch)?;
        let signature = self.secret.sign(message).to_bytes();
        let mut out = vec![0; MAX_ENVELOPE];
        let len = envelope::encode(self.id(), manifest, &signature, &mut out)?;
        out.truncate(len);
        Ok(out.into())
    }

    /// Signs which release of a product is the newest, over the nonce that a device gave; returns
    /// the message for `POST /v1/freshness`.
    ///
    /// # Errors
    /// `bad_statement` for a product that is none.
    pub fn state_newest(&self, statement: &Statement<'_>) -> Result<Bytes, Error> {
        let mut payload = [0; freshness::MAX_PAYLOAD];
        let len = statement.encode(&mut payload)?;
        let payload = &payload[..len];
        let mut scratch = [0; freshness::SCRATCH];
        let message = freshness::to_be_signed(self.id(), payload, &mut scratch)?;
        let signature = self.secret.sign(message).to_bytes();
        let mut out = vec![0; MAX_STATEMENT];
        let len = freshness::encode(self.id(), payload, &signature, &mut out)?;
        out.truncate(len);
        Ok(out.into())
    }
}

/// Whether a private key needs a passphrase; `false` also for text that is no key at all.
pub fn needs_passphrase(text: &str) -> bool {
    Label::of(&normalised(text)) == Label::Encrypted
}

/// SPKI PEM of a public key.
pub fn public_to_pem(key: &PublicKey) -> Result<String, Error> {
    PublicKeyBytes(key.0)
        .to_public_key_pem(LineEnding::LF)
        .map_err(|e| Error::Key(format!("the key cannot be written: {e}")))
}

/// Reads SPKI PEM. Fails with `bad_key` on anything but a usable Ed25519 public key.
pub fn public_from_pem(text: &str) -> Result<PublicKey, Error> {
    let text = normalised(text);
    match Label::of(&text) {
        Label::Public => {}
        other => return Err(other.refusal("a public key")),
    }
    let bytes = PublicKeyBytes::from_public_key_pem(&text).map_err(|_| not_ed25519())?;
    let key = PublicKey(bytes.0);
    check_public(&key)?;
    Ok(key)
}

/// Refuses a key under which signatures prove nothing: see [`PublicKey::is_usable`].
pub fn check_public(key: &PublicKey) -> Result<(), Error> {
    if key.is_usable() {
        Ok(())
    } else {
        let text = format!("{} is not a usable Ed25519 key", key.id());
        Err(Error::Key(text))
    }
}

/// Writes a private key's PEM to a new file that only its owner may read (mode 0600 on Unix).
/// Never overwrites, and never leaves half a key.
pub fn write_private(path: &Path, pem: &str) -> Result<(), Error> {
    write_new(path, pem, Access::Owner)
}

/// Writes a public key's PEM to a new file. Never overwrites.
pub fn write_public(path: &Path, key: &PublicKey) -> Result<(), Error> {
    write_new(path, &public_to_pem(key)?, Access::Usual)
}

fn write_new(path: &Path, text: &str, access: Access) -> Result<(), Error> {
    write_file(path, &[text.as_bytes()], Existing::Keep, access).map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Exists(path.to_owned()),
        _ => Error::io(path, e),
    })
}

/// Reads a key file, private or public, as text. The text is wiped when dropped.
pub fn read_key_file(path: &Path) -> Result<Zeroizing<String>, Error> {
    let mut bytes = crate::read_bounded(path, "the key file", MAX_KEY_FILE)?;
    let text = std::str::from_utf8(&bytes).map(str::to_owned);
    bytes.zeroize();
    let text = text.map_err(|_| not_pem(pem::Error::CharacterEncoding))?;
    Ok(Zeroizing::new(text))
}

/// The PEM block itself with plain line ends: editors and mail programs add the rest.
fn normalised(text: &str) -> Zeroizing<String> {
    let mut out = String::with_capacity(text.len() + 1);
    let lines = text
        .trim_start_matches('\u{FEFF}')
        .lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("-----BEGIN "));
    for line in lines {
        out.push_str(line);
        out.push('\n');
        if line.starts_with("-----END ") {
            break;
        }
    }
    Zeroizing::new(out)
}

/// What a PEM file says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Private,
    Encrypted,
    Public,
    /// `EC PRIVATE KEY`, `RSA PRIVATE KEY`, `OPENSSH PRIVATE KEY`, a certificate.
    Other,
    None,
}

impl Label {
    fn of(text: &str) -> Self {
        let Some(label) = text
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.split_once("-----"))
            .map(|(label, _)| label)
        else {
            return Self::None;
        };
        match label {
            "PRIVATE KEY" => Self::Private,
            "ENCRYPTED PRIVATE KEY" => Self::Encrypted,
            "PUBLIC KEY" => Self::Public,
            _ => Self::Other,
        }
    }

    fn refusal(self, wanted: &str) -> Error {
        Error::Key(match self {
            Self::Private | Self::Encrypted => format!("this is a private key, not {wanted}"),
            Self::Public => format!("this is a public key, not {wanted}"),
            Self::Other => "this is PEM of another kind than PKCS#8 and SPKI".to_owned(),
            Self::None => format!("this is not {wanted} in PEM form"),
        })
    }
}

fn not_pem(error: impl fmt::Display) -> Error {
    Error::Key(format!("the key file is not well-formed PEM: {error}"))
}

fn not_ed25519() -> Error {
    Error::Key("this is not an Ed25519 key, or it is damaged".to_owned())
}

/// A key file may come from anywhere: it must not decide how much memory and time we spend.
fn check_cost(scheme: &pkcs5::EncryptionScheme) -> Result<(), Error> {
    let Some(parameters) = scheme.pbes2() else {
        return Ok(());
    };
    let affordable = match &parameters.kdf {
        pbes2::Kdf::Scrypt(s) => {
            let memory = s
                .cost_parameter
                .saturating_mul(u64::from(s.block_size) * 128);
            memory <= MAX_SCRYPT_MEMORY && s.parallelization <= 16
        }
        pbes2::Kdf::Pbkdf2(p) => p.iteration_count <= MAX_PBKDF2_ROUNDS,
        _ => true,
    };
    if affordable {
        Ok(())
    } else {
        let text = "the key's encryption asks for more time or memory than is given to it";
        Err(Error::Key(text.to_owned()))
    }
}
