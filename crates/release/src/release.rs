//! A release whose signature and parts have been checked, or that was made here.

use crate::files::{self, Listing};
use crate::part::{Part, PartKind};
use crate::{Error, ImageInfo, SigningKey, image};
use airlift_wire::image::chip_name;
use airlift_wire::limits::MAX_MANIFEST;
use airlift_wire::manifest::{ANY_CHIP, Manifest, ManifestError, Pages, PartRef};
use airlift_wire::tar::{self, Entry, Kind, TRAILER};
use airlift_wire::{Digest, KeySet, PublicKey, manifest};
use bytes::Bytes;

/// The envelope's name in a release file.
pub(crate) const MANIFEST_MEMBER: &str = "manifest.cose";

/// A release: made by [`crate::pack()`] or [`crate::resign()`], or verified on opening. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub(crate) id: Digest,
    pub(crate) envelope: Bytes,
    pub(crate) signer: PublicKey,
    pub(crate) manifest: OwnedManifest,
    pub(crate) app: Option<Part>,
    pub(crate) files: Option<Part>,
}

/// The fields of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedManifest {
    /// Product name.
    pub product: String,
    /// `chip_id`, or [`ANY_CHIP`].
    pub chip: u16,
    /// Version text for people.
    pub version: String,
    /// Grows with every release of a product.
    pub sequence: u32,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// The app part.
    pub app: PartState,
    /// The files part.
    pub files: PartState,
    /// New keys.
    pub keys: Option<KeySet>,
}

/// What a manifest says of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartState {
    /// The release carries it.
    Carried {
        /// Size in bytes.
        size: u32,
        /// SHA-256 of the part.
        digest: Digest,
        /// Files only: 4 KiB blocks that it needs unpacked.
        blocks: Option<u32>,
    },
    /// The device must already run this one.
    Running(Digest),
    /// Whatever the device runs.
    Any,
}

impl PartState {
    pub(crate) fn of(part: &PartRef<'_>) -> Self {
        match part {
            PartRef::Carried(part) => Self::Carried {
                size: part.size,
                digest: part.digest,
                blocks: part.blocks,
            },
            PartRef::Running(digest) => Self::Running(*digest),
            PartRef::Any => Self::Any,
        }
    }

    /// The digest that the part must have, if the release names one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Carried { digest, .. } | Self::Running(digest) => Some(*digest),
            Self::Any => None,
        }
    }

    fn to_wire<'a>(self, part: Option<&'a Part>) -> Result<PartRef<'a>, ManifestError> {
        Ok(match (self, part) {
            (_, Some(part)) => PartRef::Carried(manifest::Part {
                size: part.size(),
                digest: part.digest(),
                pages: Pages::flat(part.page_hashes()).ok_or(ManifestError::Field("pages"))?,
                blocks: part.blocks(),
            }),
            (Self::Running(digest), None) => PartRef::Running(digest),
            (Self::Any, None) => PartRef::Any,
            (Self::Carried { .. }, None) => return Err(ManifestError::Field("parts")),
        })
    }
}

impl OwnedManifest {
    /// What it says of one part.
    pub fn part(&self, kind: PartKind) -> &PartState {
        match kind {
            PartKind::App => &self.app,
            PartKind::Files => &self.files,
        }
    }

    /// The chip's name; `None` when any chip will do or the id is not known.
    pub fn chip_name(&self) -> Option<&'static str> {
        chip_name(self.chip)
    }

    /// Whether devices with this chip take the release.
    pub fn fits_chip(&self, chip: u16) -> bool {
        self.chip == ANY_CHIP || self.chip == chip
    }
}

impl Release {
    /// Encodes and signs. The part states of `manifest` are overwritten by the parts given.
    pub(crate) fn sign(
        mut manifest: OwnedManifest,
        app: Option<Part>,
        files: Option<Part>,
        key: &SigningKey,
    ) -> Result<Self, Error> {
        let mut buffer = [0; MAX_MANIFEST];
        let wire = Manifest {
            product: &manifest.product,
            chip: manifest.chip,
            version: &manifest.version,
            sequence: manifest.sequence,
            created: manifest.created,
            app: manifest.app.to_wire(app.as_ref())?,
            files: manifest.files.to_wire(files.as_ref())?,
            keys: manifest.keys,
        };
        let len = wire.encode(&mut buffer)?;
        let states = (PartState::of(&wire.app), PartState::of(&wire.files));
        (manifest.app, manifest.files) = states;
        let envelope = key.seal(&buffer[..len])?;
        Ok(Self {
            id: Digest::of(&envelope),
            envelope,
            signer: key.public(),
            manifest,
            app,
            files,
        })
    }

    /// The release id: the SHA-256 of the envelope.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// The signed envelope, at most 4080 bytes: what a device is given first.
    pub fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// The key that signed.
    pub fn signer(&self) -> PublicKey {
        self.signer
    }

    /// What the manifest says.
    pub fn manifest(&self) -> &OwnedManifest {
        &self.manifest
    }

    /// A carried part.
    pub fn part(&self, kind: PartKind) -> Option<&Part> {
        match kind {
            PartKind::App => self.app.as_ref(),
            PartKind::Files => self.files.as_ref(),
        }
    }

    /// The carried app image.
    pub fn app(&self) -> Option<&Part> {
        self.app.as_ref()
    }

    /// The carried canonical tar.
    pub fn files(&self) -> Option<&Part> {
        self.files.as_ref()
    }

    /// The carried parts, app first.
    pub fn parts(&self) -> impl Iterator<Item = (PartKind, &Part)> {
        PartKind::ALL
            .into_iter()
            .filter_map(|kind| Some((kind, self.part(kind)?)))
    }

    /// Bytes of all carried parts.
    pub fn size(&self) -> u64 {
        self.parts().map(|(_, part)| u64::from(part.size())).sum()
    }

    /// What the carried image says about itself.
    pub fn image(&self) -> Option<ImageInfo> {
        image::inspect(self.app.as_ref()?.bytes()).ok()
    }

    /// The files and folders of the carried tar.
    pub fn listing(&self) -> Option<Listing> {
        files::check_canonical(self.files.as_ref()?.bytes()).ok()
    }

    /// The name that the release file gets: `demo-1.0.0.airlift`. Characters of the version that
    /// a file name cannot take everywhere become `_`.
    pub fn file_name(&self) -> String {
        let version: String = self
            .manifest
            .version
            .chars()
            .map(|c| match c {
                'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '_' | '-' | '+' => c,
                _ => '_',
            })
            .collect();
        format!("{}-{version}.airlift", self.manifest.product)
    }

    /// The release file: a deterministic ustar with `manifest.cose` first, then the parts.
    pub fn to_file(&self) -> Bytes {
        let members = [(MANIFEST_MEMBER, &self.envelope)].into_iter().chain(
            self.parts()
                .map(|(kind, part)| (kind.member(), part.bytes())),
        );
        let mut file = Vec::with_capacity(self.size() as usize + 8192);
        for (path, bytes) in members {
            let size = bytes.len() as u32;
            let entry = Entry {
                path,
                kind: Kind::File,
                size,
            };
            // The names are ours and the sizes are checked, so this does not fail.
            let Ok(header) = tar::header(&entry) else {
                continue;
            };
            file.extend_from_slice(&header);
            file.extend_from_slice(bytes);
            file.resize(file.len() + tar::padding(size), 0);
        }
        file.resize(file.len() + TRAILER, 0);
        file.into()
    }
}
