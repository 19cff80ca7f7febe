//! The releases of this computer: a file each, `releases/ID.airlift`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::UNIX_EPOCH;

use airlift_release::{PartKind, PartState, Release, UnverifiedRelease};
use airlift_wire::manifest::ANY_CHIP;
use airlift_wire::{Digest, PublicKey, index};

use crate::Error;
use crate::airlift::lock;
use crate::dto;
use crate::home::{Home, write_atomically};

const ENDING: &str = ".airlift";

/// The library of a home. Files that other processes add or delete are noticed by
/// [`Library::refresh`].
#[derive(Debug)]
pub struct Library {
    dir: PathBuf,
    known: Mutex<BTreeMap<Digest, dto::Release>>,
    /// Files that were left out, and with how many trusted keys: with another key it is worth
    /// another look.
    left_out: Mutex<BTreeMap<Digest, usize>>,
}

impl Library {
    /// The library of this home, not yet looked at.
    pub fn new(home: &Home) -> Self {
        Self {
            dir: home.releases(),
            known: Mutex::default(),
            left_out: Mutex::default(),
        }
    }

    /// Looks at the folder; returns whether it has changed. Each file is opened and verified once;
    /// one that is damaged, or signed by a key that is not trusted here any more, is left out.
    pub fn refresh(&self, trusted: &[PublicKey]) -> Result<bool, Error> {
        let mut present = BTreeMap::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| Error::io(&self.dir, e))? {
            let path = entry.map_err(|e| Error::io(&self.dir, e))?.path();
            if let Some(id) = id_of(&path) {
                present.insert(id, path);
            }
        }
        let before: Vec<Digest> = self.known().keys().copied().collect();
        let mut changed = false;
        for id in before {
            if !present.contains_key(&id) {
                changed |= self.known().remove(&id).is_some();
            }
        }
        for (id, path) in present {
            let left_out = lock(&self.left_out).get(&id).copied();
            if self.known().contains_key(&id) || left_out == Some(trusted.len()) {
                continue;
            }
            match open(&path, id, trusted) {
                Ok(release) => {
                    let release = describe(&release, added(&path));
                    changed |= self.known().insert(id, release).is_none();
                }
                Err(e) => {
                    tracing::warn!(path = %path.display(), "left out: {e}");
                    lock(&self.left_out).insert(id, trusted.len());
                }
            }
        }
        Ok(changed)
    }

    /// All releases, newest first.
    pub fn list(&self) -> Vec<dto::Release> {
        let mut list: Vec<_> = self.known().values().cloned().collect();
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
        let known = self.known().get(&digest).cloned();
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
        open(&path, digest, trusted)
    }

    /// Keeps a release. One that is here already stays as it is.
    pub fn add(&self, release: &Release) -> Result<dto::Release, Error> {
        let path = self.path(&release.id());
        if !path.exists() {
            write_atomically(&path, &[&release.to_file()])?;
        }
        let view = describe(release, added(&path));
        self.known().insert(release.id(), view.clone());
        Ok(view)
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
        let of_product = known.values().filter(|r| r.product == product);
        of_product
            .map(|r| r.sequence)
            .max()
            .map_or(1, |max| max.saturating_add(1))
    }

    fn path(&self, id: &Digest) -> PathBuf {
        self.dir.join(format!("{id}{ENDING}"))
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Digest, dto::Release>> {
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
mod tests {
    use super::*;
    use airlift_release::{FilesInput, PackOptions, SigningKey, pack};

    const PRODUCT: &str = "library-test";

    fn made(sequence: u32, key: &SigningKey) -> Release {
        let mut options = PackOptions::new(PRODUCT, sequence, key);
        options.version = Some("1.0");
        options.files = Some(FilesInput::from_iter([("main.py", "print('hello')\n")]));
        pack(options).unwrap().release
    }

    fn library() -> (tempfile::TempDir, Library, SigningKey) {
        let dir = tempfile::tempdir().unwrap();
        let library = Library::new(&Home::open(dir.path()).unwrap());
        (dir, library, SigningKey::from_seed(&[7; 32]))
    }

    #[test]
    fn a_release_added_here_is_seen_by_another_process_and_opens() {
        let (dir, library, key) = library();
        let release = library.add(&made(3, &key)).unwrap();
        assert_eq!(library.next_sequence(PRODUCT), 4);

        let other = Library::new(&Home::open(dir.path()).unwrap());
        assert!(other.refresh(&[key.public()]).unwrap());
        assert!(!other.refresh(&[key.public()]).unwrap(), "nothing new");
        assert_eq!(other.list(), std::slice::from_ref(&release));
        assert_eq!(
            other.open(&release.id, &[key.public()]).unwrap(),
            made(3, &key)
        );

        library.delete(&release.id).unwrap();
        assert!(other.refresh(&[key.public()]).unwrap());
        assert_eq!(other.list(), []);
    }

    #[test]
    fn a_damaged_file_is_left_out_and_stays_where_it_is() {
        let (dir, library, key) = library();
        let release = library.add(&made(1, &key)).unwrap();
        let path = dir.path().join(format!("releases/{}.airlift", release.id));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1024 - 600;
        bytes[last] ^= 1;
        fs::write(&path, bytes).unwrap();
        let fresh = Library::new(&Home::open(dir.path()).unwrap());
        fresh.refresh(&[key.public()]).unwrap();
        assert_eq!(fresh.list(), []);
        assert!(path.exists());
    }

    #[test]
    fn a_file_under_the_name_of_another_release_is_refused() {
        let (dir, library, key) = library();
        let (a, b) = (
            library.add(&made(1, &key)).unwrap(),
            library.add(&made(2, &key)).unwrap(),
        );
        let path = |id: &str| dir.path().join(format!("releases/{id}.airlift"));
        fs::copy(path(&a.id), path(&b.id)).unwrap();
        let error = library.open(&b.id, &[key.public()]).unwrap_err();
        assert_eq!(error.code().as_str(), "bad_release");
    }

    #[test]
    fn no_text_that_is_not_an_id_becomes_a_path() {
        let (_dir, library, key) = library();
        for id in ["../airlift", "", "ab", &"A".repeat(64)] {
            let error = library.open(id, &[key.public()]).unwrap_err();
            assert_eq!(error.code().as_str(), "no_such_release", "{id}");
        }
    }

    #[test]
    fn an_exported_release_is_the_file_itself() {
        let (dir, library, key) = library();
        let release = library.add(&made(1, &key)).unwrap();
        let to = dir.path().join("out.airlift");
        library.export(&release.id, &to).unwrap();
        assert_eq!(fs::read(to).unwrap(), made(1, &key).to_file());
    }
}
