//! The keys of this computer: those that sign, and those whose releases are accepted here.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use airlift_release::write::{Access, Existing, write_file};
use airlift_release::{SigningKey, keys as files};
use airlift_wire::{KeyId, PublicKey};

mod folder;
mod offline;

pub use folder::{read_public, stem};
pub use offline::MIN_OFFLINE_PASSPHRASE;

use crate::Error;
use crate::dto;
use crate::home::{Home, write_atomically};
use folder::{PRIVATE, PUBLIC, check_name, clean, free_name, listed, public_in};

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

#[cfg(test)]
mod tests;
