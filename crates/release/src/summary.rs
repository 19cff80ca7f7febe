//! A release as JSON: what `airlift inspect --json` prints and the window shows.

use crate::files::Listing;
use crate::inspect::SignatureState;
use crate::release::{OwnedManifest, PartState, Release};
use crate::{ImageInfo, PartKind, error::printable};
use airlift_wire::manifest::ANY_CHIP;
use airlift_wire::{Digest, KeyId, KeySet, index};
use serde::Serialize;

/// The number of this JSON's form.
pub const SCHEMA: u32 = 1;

/// A release in plain types. Text is cleaned of control characters, digests are hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// 1; another number means another form.
    pub schema: u32,
    /// Release id.
    pub id: String,
    /// The signer's short name; only a claim unless the signature is trusted.
    pub key: String,
    /// What is known of the signature.
    pub signature: SignatureState,
    /// Product name.
    pub product: String,
    /// Chip name; `null` for a chip without a name here, or any chip.
    pub chip: Option<&'static str>,
    /// `chip_id`; `null` when any chip will do.
    pub chip_id: Option<u16>,
    /// Version for people.
    pub version: String,
    /// Sequence.
    pub sequence: u32,
    /// Unix seconds.
    pub created: u64,
    /// The app part.
    pub app: PartSummary,
    /// The files part.
    pub files: PartSummary,
    /// New keys, if the release brings any.
    pub keys: Option<KeySetSummary>,
    /// The carried image.
    pub image: Option<ImageInfo>,
    /// The carried files.
    pub listing: Option<Listing>,
    /// What is wrong with the carried parts; empty for a sound release.
    pub problems: Vec<String>,
}

/// What the manifest says of a part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum PartSummary {
    /// The release carries it.
    Carried {
        /// Size in bytes.
        size: u32,
        /// SHA-256 in hex.
        sha256: String,
        /// Number of chunks.
        chunks: u32,
        /// Files only: 4 KiB blocks that it needs unpacked.
        #[serde(skip_serializing_if = "Option::is_none")]
        blocks: Option<u32>,
    },
    /// The device must already run this one.
    Running {
        /// SHA-256 in hex.
        sha256: String,
    },
    /// Whatever the device runs.
    Any,
}

/// New keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeySetSummary {
    /// Epoch.
    pub epoch: u32,
    /// The root key's short name.
    pub root: String,
    /// The release keys' short names.
    pub keys: Vec<String>,
}

impl KeySetSummary {
    /// What the set does, in a sentence. `name` turns a short name into what people call the key.
    pub fn describe(&self, name: impl Fn(&str) -> String) -> String {
        let keys: Vec<String> = self.keys.iter().map(|key| name(key)).collect();
        let keys = match keys.split_last() {
            Some((last, [])) => format!("release key {last}"),
            Some((last, others)) => format!("release keys {} and {last}", others.join(", ")),
            None => "no release key".to_owned(),
        };
        format!(
            "once a device has confirmed this release, it trusts root {}, {keys} and no other key \
             (epoch {})",
            name(&self.root),
            self.epoch
        )
    }
}

impl From<&PartState> for PartSummary {
    fn from(state: &PartState) -> Self {
        match state {
            PartState::Carried {
                size,
                digest,
                blocks,
            } => Self::Carried {
                size: *size,
                sha256: digest.to_string(),
                chunks: index::chunk_count(*size),
                blocks: *blocks,
            },
            PartState::Running(digest) => Self::Running {
                sha256: digest.to_string(),
            },
            PartState::Any => Self::Any,
        }
    }
}

impl From<&KeySet> for KeySetSummary {
    fn from(set: &KeySet) -> Self {
        Self {
            epoch: set.epoch,
            root: set.root.id().to_string(),
            keys: set
                .release_keys()
                .iter()
                .map(|k| k.id().to_string())
                .collect(),
        }
    }
}

impl Summary {
    pub(crate) fn of(
        manifest: &OwnedManifest,
        id: Digest,
        key: KeyId,
        signature: SignatureState,
    ) -> Self {
        Self {
            schema: SCHEMA,
            id: id.to_string(),
            key: key.to_string(),
            signature,
            product: manifest.product.clone(),
            chip: manifest.chip_name(),
            chip_id: (manifest.chip != ANY_CHIP).then_some(manifest.chip),
            version: printable(&manifest.version),
            sequence: manifest.sequence,
            created: manifest.created,
            app: manifest.part(PartKind::App).into(),
            files: manifest.part(PartKind::Files).into(),
            keys: manifest.keys.as_ref().map(Into::into),
            image: None,
            listing: None,
            problems: Vec::new(),
        }
    }
}

impl Release {
    /// The release in plain types.
    pub fn summary(&self) -> Summary {
        let key = self.signer().id();
        Summary {
            image: self.image(),
            listing: self.listing(),
            ..Summary::of(self.manifest(), self.id(), key, SignatureState::Trusted)
        }
    }
}
