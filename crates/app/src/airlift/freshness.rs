//! Telling devices which release is the newest.

use std::sync::Arc;

use airlift_discover::DeviceInfo;
use airlift_release::SigningKey;

use super::{Airlift, Shared, lock};
use crate::dto::{Key, Release};
use crate::job::preflight;
use crate::store::blocking;
use crate::{Error, Secret};

impl Airlift {
    /// Opens a key of this computer that has a passphrase, until this process ends: it then states
    /// to devices which release is the newest. Releases still ask for the passphrase each time.
    ///
    /// # Errors
    /// `bad_passphrase`, or `bad_key` when there is no such key that signs.
    pub async fn unlock_key(&self, id: &str, passphrase: &Secret) -> Result<Key, Error> {
        let (shared, which, secret) = (self.shared.clone(), id.to_owned(), passphrase.clone());
        let key = blocking(move || shared.keys.signing(&which, Some(secret.expose()))).await?;
        let id = key.id().to_string();
        self.use_key(key).await?;
        let keys = self.keys().await?;
        let key = keys.into_iter().find(|key| key.id == id);
        key.ok_or(Error::NoSuchKey(id))
    }

    /// Takes a key into use for statements, until this process ends. It is kept nowhere.
    pub async fn use_key(&self, key: SigningKey) -> Result<(), Error> {
        lock(&self.shared.unlocked).insert(key.id().to_string(), Arc::new(key));
        self.keys_changed().await
    }
}

impl Airlift {
    /// Takes a key out of use for statements when these jobs have ended.
    pub(super) fn close_after(&self, id: String, jobs: Vec<u32>) {
        let airlift = self.clone();
        self.spawn(async move {
            for job in jobs {
                let _ = airlift.wait_for(job).await;
            }
            lock(&airlift.shared.unlocked).remove(&id);
            if let Err(e) = airlift.keys_changed().await {
                tracing::warn!("{e}");
            }
        });
    }
}

impl Shared {
    /// Takes a key into use for statements; false when it was in use already.
    pub(super) fn open(&self, key: SigningKey) -> bool {
        let id = key.id().to_string();
        let new = !self.signer_ids().contains(&id);
        if new {
            lock(&self.unlocked).insert(id, Arc::new(key));
        }
        new
    }

    /// The release with the highest sequence of those here that this device could take.
    pub(crate) fn newest_for(&self, device: &DeviceInfo) -> Option<Release> {
        newest(self.library.list(), device)
    }

    /// A key that the device trusts and that can sign now: a release key before the root.
    pub(crate) async fn signer_for(
        self: &Arc<Self>,
        device: &DeviceInfo,
    ) -> Result<Option<Arc<SigningKey>>, Error> {
        let Some(trust) = &device.trust else {
            return Ok(None);
        };
        let open = self.signer_ids();
        let ids = trust
            .keys
            .iter()
            .chain([&trust.root])
            .map(ToString::to_string);
        let Some(id) = ids.into_iter().find(|id| open.contains(id)) else {
            return Ok(None);
        };
        if let Some(key) = lock(&self.unlocked).get(&id) {
            return Ok(Some(key.clone()));
        }
        let shared = self.clone();
        let key = blocking(move || shared.keys.signing(&id, None)).await?;
        Ok(Some(Arc::new(key)))
    }
}

/// What a device is told: only a release that it could take says that another one is old. One for
/// another chip, or on top of something that it does not run, does not.
fn newest(library: Vec<Release>, device: &DeviceInfo) -> Option<Release> {
    let could_take = |release: &Release| preflight::is_for(release, device);
    let releases = library.into_iter().filter(could_take);
    releases.max_by_key(|release| release.sequence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dto::Part;
    use crate::job::tests::{device, release};
    use serde_json::json;

    #[test]
    fn only_a_release_that_a_device_could_take_makes_another_one_old() {
        let made = |sequence, change: fn(&mut Release)| {
            let mut made = release(8292, 8192);
            made.sequence = sequence;
            change(&mut made);
            made
        };
        let library = vec![
            made(6, |_| ()),
            made(7, |_| ()),
            made(8, |r| r.chip = "esp32s3".into()),
            made(9, |r| r.product = "lamp".into()),
            made(10, |r| r.key_id = "0000000000000000".into()),
            made(11, |r| {
                r.files = Part::Running {
                    sha256: "ab".repeat(32),
                };
            }),
        ];
        let device = device(json!({}));
        assert_eq!(newest(library, &device).map(|r| r.sequence), Some(7));
        assert_eq!(newest(Vec::new(), &device), None);
    }
}
