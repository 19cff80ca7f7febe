//! The releases of this computer: a file each, `releases/ID.airlift`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use airlift_release::{PartKind, PartState, Release, UnverifiedRelease};
use airlift_wire::manifest::ANY_CHIP;
use airlift_wire::{Digest, ErrorCode, PublicKey, index};

use crate::Error;
use crate::airlift::lock;
use crate::dto;
use crate::home::{Home, write_atomically};

const ENDING: &str = ".airlift";
/// The lock in `run/` of who gives out a sequence.
const SEQUENCES: &str = "sequences";

/// The library of a home. Files that other processes add or delete are noticed by
/// [`Library::refresh`].
#[derive(Debug)]
pub struct Library {
    home: Home,
    dir: PathBuf,
    known: Mutex<BTreeMap<Digest, Known>>,
    /// Files that were left out.
    left_out: Mutex<BTreeMap<Digest, LeftOut>>,
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    release: dto::Release,
}

/// Why a file was left out, and what it and the trusted keys were then: with another key, or after
/// somebody has put a good file in its place, it is worth another look.
#[derive(Debug)]
struct LeftOut {
    /// None when it could not be read: that may pass, without any sign on the file.
    stamp: Option<Stamp>,
    trusted: Arc<BTreeSet<PublicKey>>,
    code: ErrorCode,
    message: String,
}

/// Length and time of a file: as long as they stay, so does what was found in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64, Option<SystemTime>);

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self(metadata.len(), metadata.modified().ok()))
    }
}

impl Library {
    /// The library of this home, not yet looked at.
    pub fn new(home: &Home) -> Self {
        Self {
            home: home.clone(),
            dir: home.releases(),
            known: Mutex::default(),
            left_out: Mutex::default(),
        }
    }

    /// Looks at the folder; returns whether it has changed. Each file is opened and verified once;
    /// one that is damaged, or signed by a key that is not trusted here any more, is left out.
    pub fn refresh(&self, trusted: &[PublicKey]) -> Result<bool, Error> {
        self.refresh_with(trusted, open)
    }

    fn refresh_with(
        &self,
        trusted: &[PublicKey],
        open: impl Fn(&Path, Digest, &[PublicKey]) -> Result<Release, Error>,
    ) -> Result<bool, Error> {
        let set = Arc::new(trusted.iter().copied().collect());
        let mut present = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::io(&self.dir, e))? {
            let path = entry.map_err(|e| Error::io(&self.dir, e))?.path();
            if let (Some(id), Some(stamp)) = (id_of(&path), Stamp::of(&path)) {
                present.insert(id, (path, stamp));
            }
        }
        let before = self.known().len();
        self.known().retain(|id, _| present.contains_key(id));
        let mut changed = self.known().len() != before;
        lock(&self.left_out).retain(|id, _| present.contains_key(id));
        for (id, (path, stamp)) in present {
            if self
                .known()
                .get(&id)
                .is_some_and(|known| known.stamp == stamp)
            {
                continue;
            }
            let seen = |out: &LeftOut| out.stamp == Some(stamp) && out.trusted == set;
            if lock(&self.left_out).get(&id).is_some_and(seen) {
                continue;
            }
            match open(&path, id, trusted) {
                Ok(release) => {
                    let release = describe(&release, added(&path));
                    lock(&self.left_out).remove(&id);
                    let before = self.known().insert(id, Known { stamp, release });
                    changed |= before.is_none();
                }
                Err(error) => {
                    changed |= self.known().remove(&id).is_some();
                    self.leave_out(id, &path, stamp, &set, &error);
                }
            }
        }
        Ok(changed)
    }

    fn leave_out(
        &self,
        id: Digest,
        path: &Path,
        stamp: Stamp,
        trusted: &Arc<BTreeSet<PublicKey>>,
        error: &Error,
    ) {
        let (code, message) = (error.code(), error.to_string());
        let out = LeftOut {
            stamp: (code != ErrorCode::Io).then_some(stamp),
            trusted: trusted.clone(),
            code,
            message,
        };
        let mut left_out = lock(&self.left_out);
        // What is tried again and again is said once.
        let said = left_out.get(&id).is_some_and(|before| {
            before.stamp.is_none() && (before.code, &before.message) == (out.code, &out.message)
        });
        if !said {
            tracing::warn!(path = %path.display(), "left out: {error}");
        }
        left_out.insert(id, out);
    }

    /// Files that are damaged, with what is wrong. They stay where they are, until the same release
    /// is added again.
    pub fn damaged(&self) -> Vec<(PathBuf, Error)> {
        let left_out = lock(&self.left_out);
        // What nobody here trusts is no damage.
        let damaged = left_out
            .iter()
            .filter(|(_, out)| out.code != ErrorCode::UnknownKey);
        damaged
            .map(|(id, out)| (self.path(id), Error::refused(out.code, out.message.clone())))
            .collect()
    }

    /// All releases, newest first.
    pub fn list(&self) -> Vec<dto::Release> {
        let mut list: Vec<_> = self
            .known()
            .values()
            .map(|known| known.release.clone())
            .collect();
        list.sort_by(|a, b| {
            b.added
                .total_cmp(&a.added)
                .then(b.sequence.cmp(&a.sequence))
                .then(a.id.cmp(&b.id))
        });
        list
    }

    /// What is known of a release.
    pub fn get(&self, id: &str) -> Result<dto::Release, Error> {
        let digest = id
            .parse()
            .map_err(|_| Error::NoSuchRelease(id.to_owned()))?;
        let known = self.known().get(&digest).map(|known| known.release.clone());
        known.ok_or_else(|| Error::NoSuchRelease(id.to_owned()))
    }

    /// Opens a release: all of it, verified.
    pub fn open(&self, id: &str, trusted: &[PublicKey]) -> Result<Release, Error> {
        let missing = || Error::NoSuchRelease(id.to_owned());
        let digest: Digest = id.parse().map_err(|_| missing())?;
        let path = self.path(&digest);
        if !path.exists() {
            return Err(missing());
        }
        open(&path, digest, trusted).inspect_err(|error| {
            // What cannot be read just now may still be whole.
            if error.code() == ErrorCode::Io {
                return;
            }
            // It was whole when it was looked at last, or it would not be asked for.
            if let Some(stamp) = Stamp::of(&path).filter(|_| self.known().remove(&digest).is_some())
            {
                let trusted = Arc::new(trusted.iter().copied().collect());
                self.leave_out(digest, &path, stamp, &trusted, error);
            }
        })
    }

    /// Keeps a release. One that is here already stays as it is, and a damaged file of it is
    /// replaced.
    pub fn add(&self, release: &Release) -> Result<dto::Release, Error> {
        let (id, path) = (release.id(), self.path(&release.id()));
        let file = release.to_file();
        let there = fs::metadata(&path).is_ok_and(|there| there.len() == file.len() as u64)
            && fs::read(&path).is_ok_and(|there| there == file);
        if !there {
            write_atomically(&path, &[&file])?;
        }
        let view = describe(release, added(&path));
        lock(&self.left_out).remove(&id);
        if let Some(stamp) = Stamp::of(&path) {
            let release = view.clone();
            self.known().insert(id, Known { stamp, release });
        }
        Ok(view)
    }

    /// Makes a release under the next sequence of its product and keeps it. Alone: of two processes
    /// that do this at once, the second makes the sequence after the first one's. `least` is the
    /// lowest sequence that will do.
    pub fn add_next(
        &self,
        product: &str,
        least: u32,
        trusted: &[PublicKey],
        make: impl FnOnce(u32) -> Result<Release, Error>,
    ) -> Result<dto::Release, Error> {
        let _held = self.home.hold(SEQUENCES)?;
        self.refresh(trusted)?;
        self.add(&make(self.next_sequence(product).max(least))?)
    }

    /// Keeps a release that was just made, unless its sequence is that of another one.
    ///
    /// # Errors
    /// `sequence_conflict`: devices take one release of a sequence and refuse the other.
    pub fn add_new(&self, release: &Release, trusted: &[PublicKey]) -> Result<dto::Release, Error> {
        let _held = self.home.hold(SEQUENCES)?;
        self.refresh(trusted)?;
        let new = describe(release, 0.0);
        let same = |other: &dto::Release| {
            (&other.product, &other.chip, other.sequence) == (&new.product, &new.chip, new.sequence)
        };
        let conflict = self
            .list()
            .into_iter()
            .find(|other| same(other) && other.id != new.id);
        if let Some(other) = conflict {
            let (product, sequence, version) = (&new.product, new.sequence, &other.version);
            let message = format!("sequence {sequence} of {product} is that of {version} already");
            return Err(Error::refused(ErrorCode::SequenceConflict, message));
        }
        self.add(release)
    }

    /// Deletes a release.
    pub fn delete(&self, id: &str) -> Result<(), Error> {
        let release = self.get(id)?;
        let digest: Digest = release
            .id
            .parse()
            .map_err(|_| Error::NoSuchRelease(id.to_owned()))?;
        let path = self.path(&digest);
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(Error::io(&path, e)),
            _ => {}
        }
        self.known().remove(&digest);
        Ok(())
    }

    /// Copies a release file to a place of the user's choice.
    pub fn export(&self, id: &str, to: &Path) -> Result<(), Error> {
        let digest: Digest = self
            .get(id)?
            .id
            .parse()
            .map_err(|_| Error::NoSuchRelease(id.to_owned()))?;
        let from = self.path(&digest);
        let bytes = fs::read(&from).map_err(|e| Error::io(&from, e))?;
        write_atomically(to, &[&bytes])
    }

    /// The sequence that the next release of a product gets.
    pub fn next_sequence(&self, product: &str) -> u32 {
        let known = self.known();
        let releases = known.values().map(|known| &known.release);
        let of_product = releases.filter(|r| r.product == product);
        of_product
            .map(|r| r.sequence)
            .max()
            .map_or(1, |max| max.saturating_add(1))
    }

    fn path(&self, id: &Digest) -> PathBuf {
        self.dir.join(format!("{id}{ENDING}"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, Known>> {
        lock(&self.known)
    }
}

fn id_of(path: &Path) -> Option<Digest> {
    path.file_name()?
        .to_str()?
        .strip_suffix(ENDING)?
        .parse()
        .ok()
}

fn open(path: &Path, id: Digest, trusted: &[PublicKey]) -> Result<Release, Error> {
    let unverified = UnverifiedRelease::read_file(path)?;
    if unverified.id() != id {
        let what = format!(
            "{} holds another release than its name says",
            path.display()
        );
        return Err(airlift_release::Error::Release(what).into());
    }
    Ok(unverified.verify(trusted)?)
}

/// When a file was written, which for a file of the library is when it was added.
fn added(path: &Path) -> f64 {
    let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
    let since = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.unwrap_or_default().as_secs_f64()
}

/// What the window sees of a release.
pub fn describe(release: &Release, added: f64) -> dto::Release {
    let manifest = release.manifest();
    let chip = match manifest.chip_name() {
        Some(name) => name.to_owned(),
        None if manifest.chip == ANY_CHIP => "any".to_owned(),
        None => format!("chip{}", manifest.chip),
    };
    dto::Release {
        id: release.id().to_string(),
        product: manifest.product.clone(),
        version: manifest.version.clone(),
        sequence: manifest.sequence,
        chip,
        created: manifest.created as f64,
        added,
        app: part(manifest.part(PartKind::App)),
        files: part(manifest.part(PartKind::Files)),
        size: u32::try_from(release.size()).unwrap_or(u32::MAX),
        key_id: release.signer().id().to_string(),
        keys: manifest.keys.map(|set| dto::KeySet {
            epoch: set.epoch,
            root: set.root.id().to_string(),
            keys: set
                .release_keys()
                .iter()
                .map(|k| k.id().to_string())
                .collect(),
        }),
        running_on: Vec::new(),
    }
}

fn part(state: &PartState) -> dto::Part {
    match state {
        PartState::Carried { size, digest, .. } => dto::Part::Carried {
            size: *size,
            chunks: index::chunk_count(*size),
            sha256: digest.to_string(),
        },
        PartState::Running(digest) => dto::Part::Running {
            sha256: digest.to_string(),
        },
        PartState::Any => dto::Part::Any,
    }
}

#[cfg(test)]
mod tests;
