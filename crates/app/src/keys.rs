//! The keys of this computer: those that sign, and those whose releases are accepted here.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use airlift_release::write::{Access, Existing, write_file};
use airlift_release::{SigningKey, keys as files};
use airlift_wire::{KeyId, PublicKey};

mod offline;

pub use offline::MIN_OFFLINE_PASSPHRASE;

use crate::dto;
use crate::home::{Home, write_atomically};
use crate::{Error, error::is_printable_name};

const PRIVATE: &str = ".pem";
const PUBLIC: &str = ".pub.pem";

/// The key folders of a home.
#[derive(Clone, Debug)]
pub struct Keys {
    home: Home,
}

#[derive(Debug, Default)]
struct Known {
    name: String,
    private: Option<PathBuf>,
    needs_passphrase: bool,
    trusted: bool,
    offline: bool,
}

impl Keys {
    /// The keys of this home.
    pub fn new(home: Home) -> Self {
        Self { home }
    }

    /// Every key that is here, by name. A file that is no key is left out.
    pub fn list(&self) -> Result<Vec<dto::Key>, Error> {
        let mut keys: Vec<_> = self
            .known()?
            .into_iter()
            .map(|(id, key)| view(id, key))
            .collect();
        keys.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(keys)
    }

    /// The keys whose releases are accepted here: those that somebody trusted, and those that sign
    /// here.
    pub fn trusted(&self) -> Result<Vec<PublicKey>, Error> {
        let mut trusted = Vec::new();
        for (_, path) in listed(&self.home.trusted(), PUBLIC)? {
            trusted.extend(public_in(&path));
        }
        for (_, public, _) in self.own()? {
            if !trusted.contains(&public) {
                trusted.push(public);
            }
        }
        Ok(trusted)
    }

    /// Key files that are here and cannot be used, with the reason. They are left out everywhere
    /// else, and stay where they are.
    pub fn damaged(&self) -> Result<Vec<(PathBuf, Error)>, Error> {
        let mut damaged = Vec::new();
        let (trusted, own) = (self.home.trusted(), self.home.keys());
        for (_, path) in listed(&trusted, PUBLIC)?
            .into_iter()
            .chain(listed(&own, PUBLIC)?)
        {
            if let Err(error) = read_public(&path) {
                damaged.push((path, error));
            }
        }
        for (_, path) in listed(&own, PRIVATE)? {
            let pem = files::read_key_file(&path);
            let key = match &pem {
                // What is in there only its passphrase says.
                Ok(pem) if files::needs_passphrase(pem) => continue,
                Ok(pem) => SigningKey::from_pem(pem, None).map(drop),
                Err(_) => pem.map(drop),
            };
            if let Err(error) = key {
                damaged.push((path, error.into()));
            }
        }
        Ok(damaged)
    }

    /// Accepts releases that this key signed.
    pub fn trust(&self, key: &PublicKey, name: &str) -> Result<dto::Key, Error> {
        files::check_public(key)?;
        let id = key.id();
        // Of two that trust the same key at once, one writes it.
        let _held = self.home.hold("trusted")?;
        let dir = self.home.trusted();
        let written = listed(&dir, PUBLIC)?;
        if !written
            .iter()
            .any(|(_, path)| public_in(path).as_ref() == Some(key))
        {
            let name = free_name(&dir, &clean(name), PUBLIC, id);
            let path = dir.join(format!("{name}{PUBLIC}"));
            write_atomically(&path, &[files::public_to_pem(key)?.as_bytes()])?;
        }
        self.get(id)
    }

    /// Accepts releases that the key in this file signed.
    pub fn trust_file(&self, path: &Path) -> Result<dto::Key, Error> {
        let key = read_public(path)?;
        self.trust(&key, &stem(path))
    }

    /// Makes a key that can sign, and trusts it.
    pub fn create(&self, name: &str, passphrase: Option<&str>) -> Result<dto::Key, Error> {
        check_name(name)?;
        let key = SigningKey::generate()?;
        let pem = key.to_pem(passphrase)?;
        self.keep(&key, &pem, name)
    }

    /// Takes over a private key, as encrypted as it is, and trusts it. The passphrase proves that
    /// the key can be used.
    pub fn import(&self, path: &Path, passphrase: Option<&str>) -> Result<dto::Key, Error> {
        let pem = files::read_key_file(path)?;
        let key = SigningKey::from_pem(&pem, passphrase)?;
        if let Some(known) = self.known()?.get(&key.id()).filter(|k| k.private.is_some()) {
            return Err(Error::Usage(format!(
                "this key is here already, as {}",
                known.name
            )));
        }
        let name = free_name(&self.home.keys(), &clean(&stem(path)), PRIVATE, key.id());
        self.keep(&key, &pem, &name)
    }

    /// The key that signs, by id or name.
    pub fn signing(&self, which: &str, passphrase: Option<&str>) -> Result<SigningKey, Error> {
        let path = self.private_path(which)?;
        let pem = files::read_key_file(&path)?;
        Ok(SigningKey::from_pem(&pem, passphrase)?)
    }

    /// Where the private key is, by id or name.
    pub fn private_path(&self, which: &str) -> Result<PathBuf, Error> {
        let mut known = self.known()?.into_iter();
        known
            .find(|(id, key)| {
                key.private.is_some() && (id.to_string() == which || key.name == which)
            })
            .and_then(|(_, key)| key.private)
            .ok_or_else(|| Error::NoSuchKey(which.to_owned()))
    }

    /// A public key that is here, by id.
    pub fn public(&self, id: &str) -> Result<PublicKey, Error> {
        let dirs = [self.home.trusted(), self.home.keys()];
        for dir in &dirs {
            for (_, path) in listed(dir, PUBLIC)? {
                if let Some(key) = public_in(&path).filter(|key| key.id().to_string() == id) {
                    return Ok(key);
                }
            }
        }
        Err(Error::NoSuchKey(id.to_owned()))
    }

    fn keep(&self, key: &SigningKey, pem: &str, name: &str) -> Result<dto::Key, Error> {
        let dir = self.home.keys();
        let private = dir.join(format!("{name}{PRIVATE}"));
        {
            // Two keys of one name would end up with each other's halves.
            let _held = self.home.hold("keys")?;
            if private.symlink_metadata().is_ok() {
                return Err(airlift_release::Error::Exists(private).into());
            }
            let beside = dir.join(format!("{name}{PUBLIC}"));
            // That of an offline key, unless nobody trusts it: then it is what a cut left.
            let other = public_in(&beside).filter(|other| *other != key.public());
            if let Some(other) = other
                && self.known()?.get(&other.id()).is_some_and(|k| k.trusted)
            {
                return Err(airlift_release::Error::Exists(beside).into());
            }
            // The private half last: it is what makes a key of the two, and what takes the name.
            let public = files::public_to_pem(&key.public())?;
            write_atomically(&beside, &[public.as_bytes()])?;
            let written = write_file(&private, &[pem.as_bytes()], Existing::Keep, Access::Owner);
            written.map_err(|e| match e.kind() {
                ErrorKind::AlreadyExists => airlift_release::Error::Exists(private).into(),
                _ => Error::io(&private, e),
            })?;
        }
        self.trust(&key.public(), name)
    }

    fn get(&self, id: KeyId) -> Result<dto::Key, Error> {
        let known = self.known()?.remove(&id);
        known
            .map(|key| view(id, key))
            .ok_or_else(|| Error::NoSuchKey(id.to_string()))
    }

    fn known(&self) -> Result<BTreeMap<KeyId, Known>, Error> {
        let mut known: BTreeMap<KeyId, Known> = BTreeMap::new();
        for (name, path) in listed(&self.home.trusted(), PUBLIC)? {
            if let Some(key) = public_in(&path) {
                let key = known.entry(key.id()).or_default();
                (key.name, key.trusted) = (name, true);
            }
        }
        let dir = self.home.keys();
        for (name, path) in listed(&dir, PUBLIC)? {
            if dir.join(format!("{name}{PRIVATE}")).exists() {
                continue;
            }
            // Without trust it is what is left of a key whose making was cut off.
            let key = public_in(&path).and_then(|public| known.get_mut(&public.id()));
            if let Some(key) = key {
                (key.name, key.offline) = (name, true);
            }
        }
        for (name, public, path) in self.own()? {
            let Ok(pem) = files::read_key_file(&path) else {
                continue;
            };
            let key = known.entry(public.id()).or_default();
            key.name = name;
            key.trusted = true;
            key.needs_passphrase = files::needs_passphrase(&pem);
            (key.private, key.offline) = (Some(path), false);
        }
        Ok(known)
    }

    /// The keys that sign here: name, public half, path of the private half.
    fn own(&self) -> Result<Vec<(String, PublicKey, PathBuf)>, Error> {
        let dir = self.home.keys();
        let private = listed(&dir, PRIVATE)?.into_iter();
        // The public half beside it says which key this is, without any passphrase.
        let own = private.filter_map(|(name, path)| {
            let public = public_in(&dir.join(format!("{name}{PUBLIC}")))?;
            Some((name, public, path))
        });
        Ok(own.collect())
    }
}

/// Reads a public key file.
pub fn read_public(path: &Path) -> Result<PublicKey, Error> {
    Ok(files::public_from_pem(&files::read_key_file(path)?)?)
}

/// The name of a key file: `a` of `dir/a.pub.pem` and of `dir/a.pem`.
pub fn stem(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let name = name
        .strip_suffix(PUBLIC)
        .or(name.strip_suffix(PRIVATE))
        .unwrap_or(&name);
    name.to_owned()
}

fn view(id: KeyId, key: Known) -> dto::Key {
    dto::Key {
        id: id.to_string(),
        name: key.name,
        can_sign: key.private.is_some(),
        needs_passphrase: key.needs_passphrase,
        trusted: key.trusted,
        offline: key.offline,
    }
}

fn check_name(name: &str) -> Result<(), Error> {
    if clean(name) == name {
        return Ok(());
    }
    let message = format!("{name:?} is no name for a key: a-z, A-Z, 0-9, . _ and - are");
    Err(Error::Usage(message))
}

fn public_in(path: &Path) -> Option<PublicKey> {
    read_public(path)
        .inspect_err(|e| tracing::warn!(path = %path.display(), "left out: {e}"))
        .ok()
}

/// Names and paths of the files of a folder that end in `suffix`, in order.
fn listed(dir: &Path, suffix: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(found),
        entries => entries.map_err(|e| Error::io(dir, e))?,
    };
    for entry in entries {
        let path = entry.map_err(|e| Error::io(dir, e))?.path();
        let Some(name) = path.file_name().and_then(|n| n.to_str()) else {
            continue;
        };
        let public = name.ends_with(PUBLIC);
        if let Some(stem) = name.strip_suffix(suffix)
            && !name.starts_with('.')
            && public == (suffix == PUBLIC)
        {
            found.push((stem.to_owned(), path.clone()));
        }
    }
    found.sort();
    Ok(found)
}

/// A name that is one on every file system.
fn clean(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if is_printable_name(c) { c } else { '-' })
        .take(64)
        .collect();
    let name = name.trim_start_matches('.');
    if name.is_empty() {
        "key".to_owned()
    } else {
        name.to_owned()
    }
}

/// The name, or with the key's id after it when another key has it.
fn free_name(dir: &Path, name: &str, suffix: &str, id: KeyId) -> String {
    if dir.join(format!("{name}{suffix}")).exists() {
        format!("{name}-{id}")
    } else {
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (tempfile::TempDir, Keys) {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::new(Home::open(dir.path()).unwrap());
        (dir, keys)
    }

    #[test]
    fn a_key_made_here_can_sign_and_is_trusted() {
        let (_dir, keys) = keys();
        let key = keys.create("mine", None).unwrap();
        assert!(key.can_sign && key.trusted && !key.needs_passphrase);
        assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
        assert_eq!(keys.trusted().unwrap()[0].id().to_string(), key.id);
        for which in [&key.id, "mine"] {
            assert_eq!(keys.signing(which, None).unwrap().id().to_string(), key.id);
        }
    }

    #[test]
    fn a_key_with_a_passphrase_says_so_and_opens_with_it_only() {
        let (_dir, keys) = keys();
        let key = keys.create("locked", Some("correct horse")).unwrap();
        assert!(key.needs_passphrase);
        let refused = |passphrase| {
            keys.signing("locked", passphrase)
                .unwrap_err()
                .code()
                .as_str()
        };
        assert_eq!([refused(None), refused(Some("x"))], ["bad_passphrase"; 2]);
        assert!(keys.signing("locked", Some("correct horse")).is_ok());
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let (_dir, keys) = keys();
        let first = keys.create("a", None).unwrap();
        assert_eq!(keys.create("a", None).unwrap_err().code().as_str(), "io");
        assert_eq!(keys.list().unwrap(), [first]);
    }

    #[test]
    fn a_key_whose_making_was_cut_off_is_trusted_and_its_name_is_not_blocked() {
        let (dir, keys) = keys();
        let key = keys.create("mine", None).unwrap();
        // As it is before the last step, and before the last but one.
        fs::remove_file(dir.path().join("trusted/mine.pub.pem")).unwrap();
        assert_eq!(keys.list().unwrap(), std::slice::from_ref(&key));
        assert_eq!(keys.trusted().unwrap()[0].id().to_string(), key.id);
        fs::remove_file(dir.path().join("keys/mine.pem")).unwrap();
        assert_eq!(keys.list().unwrap(), []);
        assert!(keys.create("mine", None).unwrap().can_sign);
        assert_eq!(keys.list().unwrap().len(), 1);
    }

    #[test]
    fn two_that_make_a_key_of_one_name_at_once_make_one_whole_key() {
        let (_dir, keys) = keys();
        let made = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| keys.create("a", None)))
                .collect();
            makers
                .into_iter()
                .filter_map(|maker| maker.join().unwrap().ok())
                .count()
        });
        assert_eq!(made, 1);
        let list = keys.list().unwrap();
        let signing = keys.signing("a", None).unwrap();
        assert_eq!(
            list[0].id,
            signing.id().to_string(),
            "both halves are of one key"
        );
    }

    #[test]
    fn keys_of_one_name_that_are_trusted_at_once_are_all_kept() {
        let (_dir, keys) = keys();
        std::thread::scope(|scope| {
            for seed in 1..=6 {
                let public = SigningKey::from_seed(&[seed; 32]).public();
                let keys = &keys;
                scope.spawn(move || keys.trust(&public, "vendor").unwrap());
            }
        });
        assert_eq!(keys.list().unwrap().len(), 6);
    }

    #[test]
    fn key_files_that_cannot_be_used_are_named_with_the_reason() {
        let (dir, keys) = keys();
        keys.create("good", None).unwrap();
        keys.create("bad", None).unwrap();
        fs::write(
            dir.path().join("keys/bad.pem"),
            "-----BEGIN PRIVATE KEY-----\nAAAA",
        )
        .unwrap();
        fs::write(dir.path().join("trusted/good.pub.pem"), "").unwrap();
        let damaged = keys.damaged().unwrap();
        let damaged: Vec<_> = damaged
            .iter()
            .map(|(path, error)| {
                (
                    path.strip_prefix(dir.path()).unwrap(),
                    error.code().as_str(),
                )
            })
            .collect();
        let path = Path::new;
        let wanted = [
            (path("trusted/good.pub.pem"), "bad_key"),
            (path("keys/bad.pem"), "bad_key"),
        ];
        assert_eq!(damaged, wanted);
        assert!(
            keys.signing("good", None).is_ok(),
            "it is still trusted, for it signs here"
        );
    }

    #[test]
    fn two_trusted_keys_of_one_name_are_both_kept() {
        let (_dir, keys) = keys();
        for seed in [1, 2, 2] {
            keys.trust(&SigningKey::from_seed(&[seed; 32]).public(), "vendor")
                .unwrap();
        }
        let list = keys.list().unwrap();
        assert_eq!(list.len(), 2);
        assert!(list.iter().all(|key| key.trusted && !key.can_sign));
        assert!(keys.signing("vendor", None).is_err());
    }

    #[test]
    fn a_key_is_imported_once_and_its_name_stays_inside_the_folder() {
        let (dir, keys) = keys();
        let path = dir.path().join("my key.pem");
        let key = SigningKey::from_seed(&[3; 32]);
        files::write_private(&path, &key.to_pem(None).unwrap()).unwrap();
        let imported = keys.import(&path, None).unwrap();
        assert_eq!(imported.name, "my-key");
        assert_eq!(
            keys.import(&path, None).unwrap_err().code().as_str(),
            "usage"
        );
        assert_eq!(
            keys.create("../evil", None).unwrap_err().code().as_str(),
            "usage"
        );
    }

    #[test]
    fn a_file_that_is_no_key_is_left_out() {
        let (dir, keys) = keys();
        fs::write(dir.path().join("trusted/junk.pub.pem"), "junk").unwrap();
        assert_eq!(keys.list().unwrap(), []);
    }
}
