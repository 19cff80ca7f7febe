//! Looking into a release file without trusting it.

use crate::open::UnverifiedRelease;
use crate::release::OwnedManifest;
use crate::summary::Summary;
use crate::{Error, files, image};
use airlift_wire::envelope::{EnvelopeError, SCRATCH};
use airlift_wire::{Envelope, Manifest, PublicKey};
use bytes::Bytes;
use serde::Serialize;

/// What is known of a release's signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureState {
    /// A trusted key signed exactly this.
    Trusted,
    /// The key is not trusted here, so the signature cannot be checked: anybody may have made this.
    UnknownKey,
    /// The key is trusted and did not sign this.
    Bad,
}

impl SignatureState {
    /// The state in words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Trusted => "signed by a trusted key",
            Self::UnknownKey => "signature not checked: the key is not known here",
            Self::Bad => "SIGNATURE WRONG: changed after signing",
        }
    }
}

/// What a release file claims. It cannot be turned into a [`crate::Release`].
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The claims, and what is wrong with the parts in [`Summary::problems`].
    pub summary: Summary,
    /// What is known of the signature.
    pub signature: SignatureState,
}

/// Describes a release file whoever signed it.
///
/// Fails when there is no envelope or no manifest to show. Damage of the parts is told in the
/// summary, so that a person can see what is wrong.
pub fn inspect(file: impl Into<Bytes>, trusted: &[PublicKey]) -> Result<Inspection, Error> {
    let unverified = UnverifiedRelease::read(file)?;
    let envelope = Envelope::parse(unverified.envelope())?;
    let signature = match envelope.verify(trusted, &mut [0; SCRATCH]) {
        Ok(_) => SignatureState::Trusted,
        Err(EnvelopeError::UnknownKey(_)) => SignatureState::UnknownKey,
        Err(EnvelopeError::BadSignature) => SignatureState::Bad,
        Err(other) => return Err(other.into()),
    };
    let manifest = Manifest::decode(claimed_payload(unverified.envelope())?)?;
    let owned = OwnedManifest::of(&manifest);
    let mut summary = Summary::of(&owned, unverified.id(), envelope.kid(), signature);
    match unverified.parts(&manifest) {
        Ok((app, files)) => {
            summary.image = app.and_then(|part| image::inspect(part.bytes()).ok());
            summary.listing = files.and_then(|part| files::check_canonical(part.bytes()).ok());
        }
        Err(error) => summary.problems.push(error.to_string()),
    }
    Ok(Inspection { summary, signature })
}

/// The payload of an envelope that has its one form but is not verified. The wire crate gives it
/// out only after verification, and this is the one place that looks without.
fn claimed_payload(envelope: &[u8]) -> Result<&[u8], Error> {
    const BEFORE: usize = 17; // tag, array, protected header, empty map
    const AFTER: usize = 66; // 58 40 and the signature
    let end = envelope.len().checked_sub(AFTER);
    let head = envelope.get(BEFORE..).and_then(|rest| rest.first());
    let head_len = match head {
        Some(0x40..=0x57) => 1,
        Some(0x58) => 2,
        _ => 3,
    };
    end.and_then(|end| envelope.get(BEFORE + head_len..end))
        .ok_or(Error::Envelope(EnvelopeError::Malformed("no payload")))
}
