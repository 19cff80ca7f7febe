//! Keys.

use std::path::Path;
use std::sync::Arc;

use airlift_release::keys as files;

use super::{Airlift, Shared};
use crate::dto::{Event, Key, NewOfflineKey};
use crate::home::write_atomically;
use crate::store::blocking;
use crate::{Error, Secret};

impl Airlift {
    /// Every key of this computer.
    pub async fn keys(&self) -> Result<Vec<Key>, Error> {
        self.shared.read_keys().await
    }

    /// Accepts releases that the public key in this file signed.
    pub async fn trust_key(&self, path: &Path) -> Result<Key, Error> {
        let path = path.to_owned();
        self.with_keys(move |shared| shared.keys.trust_file(&path))
            .await
    }

    /// Makes a key that can sign, and trusts it.
    pub async fn new_key(&self, name: &str, passphrase: Option<&str>) -> Result<Key, Error> {
        let (name, passphrase) = (name.to_owned(), passphrase.map(Secret::from));
        self.with_keys(move |shared| {
            let passphrase = passphrase.as_ref().map(Secret::expose);
            shared.keys.create(&name, passphrase)
        })
        .await
    }

    /// Makes a key whose private part goes to a file of the user's choice, encrypted, and stays
    /// nowhere else; its public part is kept and trusted here.
    ///
    /// # Errors
    /// `usage` for a short passphrase or a place inside Airlift's own folder, `io` when the file
    /// exists or does not read back.
    pub async fn new_offline_key(&self, form: NewOfflineKey) -> Result<Key, Error> {
        self.with_keys(move |shared| {
            let path = Path::new(&form.path);
            let passphrase = form.passphrase.expose();
            shared.keys.create_offline(&form.name, path, passphrase)
        })
        .await
    }

    /// Takes over a private key, and trusts it.
    pub async fn import_key(&self, path: &Path, passphrase: Option<&str>) -> Result<Key, Error> {
        let (path, passphrase) = (path.to_owned(), passphrase.map(Secret::from));
        self.with_keys(move |shared| {
            let passphrase = passphrase.as_ref().map(Secret::expose);
            shared.keys.import(&path, passphrase)
        })
        .await
    }

    /// Writes a public key, as PEM, to a place of the user's choice.
    pub async fn export_public_key(&self, id: &str, path: &Path) -> Result<(), Error> {
        let (shared, id, path) = (self.shared.clone(), id.to_owned(), path.to_owned());
        blocking(move || {
            let pem = files::public_to_pem(&shared.keys.public(&id)?)?;
            write_atomically(&path, &[pem.as_bytes()])
        })
        .await
    }

    /// Copies a private key file, as encrypted as it is, to a place of the user's choice. A file
    /// that is there is never overwritten.
    pub async fn save_key_copy(&self, id: &str, path: &Path) -> Result<(), Error> {
        let (shared, id, path) = (self.shared.clone(), id.to_owned(), path.to_owned());
        blocking(move || {
            let pem = files::read_key_file(&shared.keys.private_path(&id)?)?;
            Ok(files::write_private(&path, &pem)?)
        })
        .await
    }

    /// A key more changes which devices and which releases make sense here.
    async fn with_keys(
        &self,
        change: impl FnOnce(&Arc<Shared>) -> Result<Key, Error> + Send + 'static,
    ) -> Result<Key, Error> {
        let shared = self.shared.clone();
        let key = blocking(move || change(&shared)).await?;
        self.keys_changed().await?;
        Ok(key)
    }

    pub(super) async fn keys_changed(&self) -> Result<(), Error> {
        self.shared.events.send(Event::Keys(self.keys().await?));
        if self.shared.refresh_library().await? {
            self.shared.tell_releases();
        }
        for device in self.shared.devices() {
            self.shared.events.send(Event::Device(device));
        }
        Ok(())
    }
}
