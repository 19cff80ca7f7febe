//! Why a plan is not made.

use super::Blocked;
use crate::Error;
use crate::read::ReadError;
use airlift_release::Release;
use airlift_wire::ErrorCode;

/// Why a plan is not made.
pub(super) enum Fail {
    Read(ReadError),
    Blocked(Blocked),
}

impl From<ReadError> for Fail {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Self {
        match error {
            Error::Read(error) => Self::Read(error),
            other => {
                let text = other.to_string();
                let mut letters = text.chars();
                let first = letters.next().map(|c| c.to_ascii_uppercase());
                let sentence = first.into_iter().chain(letters).collect::<String>() + ".";
                Self::Blocked(Blocked {
                    code: other.code(),
                    sentence,
                })
            }
        }
    }
}

pub(super) fn blocked(code: ErrorCode, sentence: impl Into<String>) -> Fail {
    Fail::Blocked(Blocked {
        code,
        sentence: sentence.into(),
    })
}

/// A release whose app no slot has room for.
pub(super) fn too_big(release: &Release) -> Fail {
    let manifest = release.manifest();
    blocked(
        ErrorCode::TooBig,
        format!(
            "{} {} does not fit a slot of this board.",
            manifest.product, manifest.version
        ),
    )
}
