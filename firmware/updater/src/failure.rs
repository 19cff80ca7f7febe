//! Why an update cannot go on.

use airlift_wire::ErrorCode;
use airlift_wire::envelope::EnvelopeError;
use airlift_wire::freshness::FreshnessError;
use airlift_wire::manifest::ManifestError;
use airlift_wire::tar::TarError;
use core::fmt;

/// A stable code and one sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The code.
    pub code: ErrorCode,
    /// What is wrong, one sentence without a full stop.
    pub message: &'static str,
}

impl Failure {
    /// A failure.
    pub const fn new(code: ErrorCode, message: &'static str) -> Self {
        Self { code, message }
    }

    pub(crate) const CANCELLED: Self = Self::new(ErrorCode::Cancelled, "the update was cancelled");
    pub(crate) const LAYOUT: Self =
        Self::new(ErrorCode::BadLayout, "the partitions do not allow updates");
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl core::error::Error for Failure {}

impl From<EnvelopeError> for Failure {
    fn from(error: EnvelopeError) -> Self {
        let message = match error {
            EnvelopeError::UnknownKey(_) => "the release is signed by a key that is not trusted",
            EnvelopeError::BadSignature => "the signature of the release does not match",
            _ => "the envelope of the release is malformed",
        };
        Self::new(error.code(), message)
    }
}

impl From<ManifestError> for Failure {
    fn from(_: ManifestError) -> Self {
        Self::new(
            ErrorCode::BadManifest,
            "the manifest of the release cannot be read",
        )
    }
}

impl From<FreshnessError> for Failure {
    fn from(error: FreshnessError) -> Self {
        let message = match error.code() {
            ErrorCode::UnknownKey => "the statement is signed by a key that is not trusted",
            ErrorCode::BadSignature => "the signature of the statement does not match",
            _ => "the statement cannot be read",
        };
        Self::new(error.code(), message)
    }
}

impl From<TarError> for Failure {
    fn from(_: TarError) -> Self {
        Self::new(
            ErrorCode::BadTar,
            "the files of the release are not a canonical tar",
        )
    }
}
