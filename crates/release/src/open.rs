//! Opening a release file: the signature first, everything else after.

use crate::part::{Part, PartKind};
use crate::release::{MANIFEST_MEMBER, OwnedManifest, PartState, Release};
use crate::{Error, FileKind, files, image};
use airlift_wire::limits::{MAX_ENVELOPE, MAX_PART_SIZE};
use airlift_wire::manifest::{Manifest, PartRef};
use airlift_wire::tar::{self, BLOCK, Kind, TRAILER};
use airlift_wire::{Digest, Envelope, KeyId, PublicKey, envelope};
use bytes::Bytes;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Largest release file: envelope and two parts of 16 MiB, with their headers.
pub const MAX_RELEASE_FILE: u64 =
    tar::entry_len(MAX_ENVELOPE as u32) + 2 * tar::entry_len(MAX_PART_SIZE) + TRAILER as u64;

/// A release file of which nothing but the envelope has been found.
#[derive(Clone, Debug)]
pub struct UnverifiedRelease {
    file: Bytes,
    envelope: Bytes,
    kid: KeyId,
    /// Where the parts start in the file.
    parts_at: usize,
}

impl UnverifiedRelease {
    /// Finds the envelope of a release file. Nothing in it is trusted, no payload is parsed.
    pub fn read(file: impl Into<Bytes>) -> Result<Self, Error> {
        let file = file.into();
        check_len(file.len() as u64)?;
        match FileKind::of(&file) {
            FileKind::Release => {}
            other => return Err(Error::NotARelease(other)),
        }
        let mut members = Members { file: &file, at: 0 };
        let envelope = members.take(MANIFEST_MEMBER, MAX_ENVELOPE as u32)?;
        let parts_at = members.at;
        let kid = Envelope::parse(&envelope)?.kid();
        Ok(Self {
            file,
            envelope,
            kid,
            parts_at,
        })
    }

    /// Reads a release file from disk; not one byte more than a release may have.
    pub fn read_file(path: &Path) -> Result<Self, Error> {
        Self::read(read_bounded(path, "the release file", MAX_RELEASE_FILE)?)
    }

    /// The key that claims to have signed.
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// The release id, the SHA-256 of the envelope.
    pub fn id(&self) -> Digest {
        Digest::of(&self.envelope)
    }

    pub(crate) fn envelope(&self) -> &Bytes {
        &self.envelope
    }

    /// Checks the signature against `trusted`, then the manifest, then every carried part: its
    /// size, digest and index pages, that the app is a sound image for the manifest's chip, and
    /// that the files are a canonical tar.
    pub fn verify(&self, trusted: &[PublicKey]) -> Result<Release, Error> {
        let mut scratch = [0; envelope::SCRATCH];
        let verified = Envelope::parse(&self.envelope)?.verify(trusted, &mut scratch)?;
        let manifest = verified.manifest()?;
        let (app, files) = self.parts(&manifest)?;
        Ok(Release {
            id: verified.id(),
            envelope: self.envelope.clone(),
            signer: *verified.key(),
            manifest: OwnedManifest::of(&manifest),
            app,
            files,
        })
    }

    /// The carried parts, each checked against the manifest; nothing else may be in the file.
    pub(crate) fn parts(
        &self,
        manifest: &Manifest<'_>,
    ) -> Result<(Option<Part>, Option<Part>), Error> {
        let mut members = Members {
            file: &self.file,
            at: self.parts_at,
        };
        let app = members.part(PartKind::App, &manifest.app)?;
        let files = members.part(PartKind::Files, &manifest.files)?;
        members.end()?;
        if let Some(app) = &app {
            let info = image::check(app.bytes())?;
            if info.chip_id != manifest.chip {
                return Err(Error::WrongChip {
                    of: "image",
                    found: info.chip_id,
                    wanted: manifest.chip,
                });
            }
        }
        if let Some(part) = &files {
            files::check_canonical(part.bytes())?;
        }
        Ok((app, files))
    }
}

/// The members of a release file, in the only order that they may have.
struct Members<'a> {
    file: &'a Bytes,
    at: usize,
}

impl Members<'_> {
    fn part(&mut self, kind: PartKind, wanted: &PartRef<'_>) -> Result<Option<Part>, Error> {
        let Some(wanted) = wanted.carried() else {
            return Ok(None);
        };
        let name = kind.member();
        let bytes = self.take(name, wanted.size)?;
        if bytes.len() != wanted.size as usize {
            return Err(Error::damaged(format!(
                "{name} has another size than its manifest says"
            )));
        }
        let part = Part::new(kind, bytes, wanted.blocks)?;
        let pages = airlift_wire::manifest::Pages::flat(part.page_hashes());
        if part.digest() != wanted.digest || pages != Some(wanted.pages) {
            return Err(Error::damaged(format!(
                "{name} has another hash than its manifest says"
            )));
        }
        Ok(Some(part))
    }

    /// The content of the next member, which must be `name` and no longer than `limit`.
    fn take(&mut self, name: &str, limit: u32) -> Result<Bytes, Error> {
        let missing = || Error::damaged(format!("{name} is missing or not where it belongs"));
        let block = self.block().ok_or_else(missing)?;
        let entry = tar::parse(&block)
            .map_err(|e| Error::damaged(format!("the header of {name} is not right: {e}")))?;
        if entry.path != name || entry.kind != Kind::File {
            return Err(missing());
        }
        if entry.size > limit {
            return Err(Error::damaged(format!("{name} is longer than it may be")));
        }
        let start = self.at + BLOCK;
        let end = start + entry.size as usize;
        let padded = end + tar::padding(entry.size);
        let rest = self
            .file
            .get(end..padded)
            .ok_or_else(|| Error::damaged(format!("it ends inside {name}")))?;
        if rest.iter().any(|b| *b != 0) {
            return Err(Error::damaged(format!(
                "the padding after {name} is not zero"
            )));
        }
        self.at = padded;
        Ok(self.file.slice(start..end))
    }

    fn block(&self) -> Option<[u8; BLOCK]> {
        self.file.get(self.at..)?.first_chunk().copied()
    }

    fn end(&self) -> Result<(), Error> {
        let rest = self.file.get(self.at..).unwrap_or_default();
        if rest.len() == TRAILER && rest.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err(Error::damaged(
                "something stands after the last part, or its end is cut off",
            ))
        }
    }
}

fn check_len(len: u64) -> Result<(), Error> {
    if len > MAX_RELEASE_FILE {
        return Err(Error::too_many_bytes(
            "the release file",
            len,
            MAX_RELEASE_FILE,
        ));
    }
    Ok(())
}

/// Reads a file of at most `limit` bytes. Fails with `too_big`, naming it `what`, before it reads
/// a longer one.
pub fn read_bounded(path: &Path, what: &str, limit: u64) -> Result<Vec<u8>, Error> {
    let io = |e| Error::io(path, e);
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if metadata.is_dir() {
        return Err(io(std::io::ErrorKind::IsADirectory.into()));
    }
    let len = metadata.len();
    if len > limit {
        return Err(Error::too_many_bytes(what, len, limit));
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // The file may grow, or not know its length, as a pipe does.
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Error::too_many_bytes(what, bytes.len() as u64, limit));
    }
    Ok(bytes)
}

impl OwnedManifest {
    pub(crate) fn of(manifest: &Manifest<'_>) -> Self {
        Self {
            product: manifest.product.to_owned(),
            chip: manifest.chip,
            version: manifest.version.to_owned(),
            sequence: manifest.sequence,
            created: manifest.created,
            app: PartState::of(&manifest.app),
            files: PartState::of(&manifest.files),
            keys: manifest.keys,
        }
    }
}
