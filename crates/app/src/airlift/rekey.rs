//! Other keys on devices, over the network: a release that names what each of them runs and brings
//! the new set, signed by the root that they trust.

use std::collections::BTreeMap;
use std::path::Path;

use airlift_discover::{DeviceInfo, SeenDevice};
use airlift_release::{KeyChange as Change, SigningKey, change_keys, keys::key_set};
use airlift_wire::image::chip_id;
use airlift_wire::{Digest, ErrorCode, PublicKey};

use super::releases::{CLAIMED_BELOW, created};
use super::{Airlift, Shared, device_id};
use crate::dto::{ErrorInfo, Key, KeyChange, KeyChangePlan, KeySet, RefusedDevice, RootOfDevices};
use crate::error::info;
use crate::job::preflight;
use crate::keys::Keys;
use crate::store::blocking;
use crate::{Error, Secret};

/// What devices are to trust.
#[derive(Clone, Debug)]
pub struct NewKeys {
    /// Signs changes of keys from then on.
    pub root: PublicKey,
    /// Sign releases from then on, one to four.
    pub release: Vec<PublicKey>,
    /// Must be above that of every device that gets them; `None` takes the next one.
    pub epoch: Option<u32>,
}

/// What devices run that one release can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Runs {
    product: String,
    chip: u16,
    version: String,
    app: Digest,
    files: Option<Digest>,
}

impl Airlift {
    /// What it takes to change the keys of these devices: who must sign, and who cannot take part.
    ///
    /// # Errors
    /// `no_such_device`.
    pub async fn plan_key_change(&self, devices: &[String]) -> Result<KeyChangePlan, Error> {
        let keys = self.keys().await?;
        let mut roots: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut refused = Vec::new();
        let mut epoch = 0;
        for id in devices {
            let seen = self.shared.seen(id)?;
            match takes_keys(&seen.info) {
                Ok((_, root)) => {
                    roots.entry(root).or_default().push(id.clone());
                    epoch = epoch.max(self.shared.epoch_of(&seen.info));
                }
                Err(error) => refused.push(RefusedDevice {
                    device: id.clone(),
                    error,
                }),
            }
        }
        let find = |id: &str| keys.iter().find(|key| key.id == id).cloned();
        let roots = roots.into_iter().map(|(id, devices)| RootOfDevices {
            key: find(&id),
            id,
            devices,
        });
        Ok(KeyChangePlan {
            epoch: epoch.saturating_add(1),
            roots: roots.collect(),
            refused,
        })
    }

    /// Changes the keys of devices: the window's form. Returns the jobs, in the order of the devices.
    ///
    /// # Errors
    /// As [`Airlift::rekey`], and `bad_key` or `bad_passphrase` when the root cannot be used.
    pub async fn change_keys(&self, form: KeyChange) -> Result<Vec<u32>, Error> {
        let shared = self.shared.clone();
        let devices = form.devices.clone();
        let (signer, new) = blocking(move || {
            let keys = &shared.keys;
            let passphrase = form.passphrase.as_ref().map(Secret::expose);
            let signer = match &form.signer_file {
                Some(path) => Keys::signing_file(Path::new(path), passphrase)?,
                None => keys.signing(&form.signer, passphrase)?,
            };
            if signer.id().to_string() != form.signer {
                let (id, wanted) = (signer.id(), &form.signer);
                let message = format!("the file holds key {id}, and root {wanted} is needed");
                return Err(Error::refused(ErrorCode::BadKey, message));
            }
            let release = form.release_keys.iter().map(|id| keys.public(id));
            let new = NewKeys {
                root: keys.public(&form.root)?,
                release: release.collect::<Result<_, _>>()?,
                epoch: None,
            };
            Ok((signer, new))
        })
        .await?;
        self.rekey(&devices, signer, new).await
    }

    /// Changes the keys of devices: for each different thing that they run, one release that names
    /// it and brings the new keys is signed by `root`, added to the library and sent. Devices copy
    /// what they run from slot to slot and fetch nothing.
    ///
    /// # Errors
    /// `no_such_device`; `bad_key_set` when `root` is not the root of each of them, or the set is
    /// none that they could take; `busy` and the other reasons of a single device. Then none is
    /// started.
    pub async fn rekey(
        &self,
        devices: &[String],
        root: SigningKey,
        new: NewKeys,
    ) -> Result<Vec<u32>, Error> {
        let signer = root.id().to_string();
        let mut asked_for_newest = false;
        let mut groups: BTreeMap<Runs, Vec<String>> = BTreeMap::new();
        let mut known = 0;
        for id in devices {
            let seen = self.shared.seen(id)?;
            let (runs, trusted) = takes_keys(&seen.info).map_err(refused)?;
            if trusted != signer {
                let name = preflight::name(&seen.info);
                let message = format!("the root of device {name} is {trusted}, not {signer}");
                return Err(Error::refused(ErrorCode::BadKeySet, message));
            }
            known = known.max(self.shared.epoch_of(&seen.info));
            asked_for_newest |= seen.info.freshness.is_some_and(|f| f.required);
            let runs = self.shared.with_version(runs);
            groups.entry(runs).or_default().push(id.clone());
        }
        let epoch = match new.epoch {
            Some(epoch) if epoch <= known => {
                let message = format!("epoch {epoch} is not above {known}, which devices have");
                return Err(Error::refused(ErrorCode::BadKeySet, message));
            }
            Some(epoch) => epoch,
            None => self.shared.epoch_that_has(&new, known),
        };
        let keys = key_set(epoch, new.root, &new.release)?;
        // Before anything is signed: no release is made that then goes to nobody.
        self.all_free(devices).await?;
        let shared = self.shared.clone();
        let created = created(shared.clock.unix());
        let (made, root) = blocking(move || {
            // The library keeps only what somebody signed who is trusted here.
            shared.keys.trust(&root.public(), "root")?;
            let mut made = BTreeMap::new();
            for (runs, devices) in groups {
                let make = |sequence| {
                    let change = Change {
                        product: &runs.product,
                        chip: runs.chip,
                        version: &runs.version,
                        sequence,
                        app: runs.app,
                        files: runs.files,
                        keys,
                        created,
                    };
                    Ok(change_keys(&change, &root)?)
                };
                let (product, trusted) = (&runs.product, shared.keys.trusted()?);
                let least = shared.next_sequence(product);
                let release = shared.library.add_next(product, least, &trusted, make)?;
                made.extend(devices.into_iter().map(|id| (id, release.id.clone())));
            }
            Ok((made, root))
        })
        .await?;
        let open = asked_for_newest && self.shared.open(root);
        let made = devices.iter().filter_map(|id| made.get_key_value(id));
        let wanted = made.map(|(id, release)| (id.clone(), release.clone()));
        let mut jobs = Vec::new();
        let sent = self.send_keys(wanted.collect(), &mut jobs).await;
        if open {
            // Also when it came to nothing: the root is in use no longer than it must be.
            self.close_after(signer, jobs.clone());
        }
        sent.map(|()| jobs)
    }

    /// Starts the jobs of a change of keys, a release for each device.
    async fn send_keys(
        &self,
        wanted: Vec<(String, String)>,
        jobs: &mut Vec<u32>,
    ) -> Result<(), Error> {
        self.keys_changed().await?;
        self.shared.tell_releases();
        self.start_updates(wanted, false, jobs).await
    }
}

impl Shared {
    fn seen(&self, id: &str) -> Result<SeenDevice, Error> {
        let seen = self.discovery.device(device_id(id)?.as_str());
        seen.ok_or_else(|| Error::NoSuchDevice(id.to_owned()))
    }

    /// A device that runs what came with its first flash cannot say which version that is. A release
    /// with the same app can; without one, the version is not known.
    fn with_version(&self, mut runs: Runs) -> Runs {
        if runs.version.is_empty() {
            let app = runs.app.to_string();
            let mut releases = self.library.list().into_iter();
            let same = releases.find(|release| {
                release.product == runs.product
                    && preflight::named(&release.app) == Some(app.as_str())
            });
            runs.version = same.map_or_else(|| "unknown".to_owned(), |release| release.version);
        }
        runs
    }

    /// The highest epoch that a device with the same root has: another set may be on its way round.
    fn epoch_of(&self, device: &DeviceInfo) -> u32 {
        let root = device.trust.as_ref().map(|trust| trust.root);
        let devices = self.discovery.devices();
        let trusts = devices.iter().filter_map(|seen| seen.info.trust.as_ref());
        let same_root = trusts.filter(|trust| Some(trust.root) == root);
        let epochs = same_root.filter_map(|trust| claimed(trust.epoch));
        epochs.max().unwrap_or(0)
    }

    /// The epoch under which other devices have exactly these keys already, so that a set that goes
    /// round in steps stays one set; else the next one.
    fn epoch_that_has(&self, new: &NewKeys, known: u32) -> u32 {
        let release: Vec<_> = new.release.iter().map(|key| key.id().to_string()).collect();
        let set = |epoch| KeySet {
            epoch,
            root: new.root.id().to_string(),
            keys: release.clone(),
        };
        let devices = self.discovery.devices();
        let epochs = devices.iter().filter_map(|seen| {
            let epoch = claimed(seen.info.trust.as_ref()?.epoch)?;
            preflight::trusts_exactly(&seen.info, &set(epoch)).then_some(epoch)
        });
        let next = known.saturating_add(1);
        epochs.max().filter(|epoch| *epoch >= next).unwrap_or(next)
    }
}

/// An epoch that a device says it has, if it counts.
fn claimed(epoch: u64) -> Option<u32> {
    u32::try_from(epoch).ok().filter(|e| *e < CLAIMED_BELOW)
}

/// What a device runs and which root it trusts; why its keys cannot be changed otherwise.
fn takes_keys(device: &DeviceInfo) -> Result<(Runs, String), ErrorInfo> {
    if let Some(reason) = preflight::blocked(device) {
        return Err(reason);
    }
    let name = preflight::name(device);
    let Some(trust) = &device.trust else {
        let message = format!("device {name} was given no keys");
        return Err(info(ErrorCode::NoTrust, message));
    };
    let Some(app) = device.running.app_sha256 else {
        let message =
            format!("device {name} runs an app that is no whole image and cannot be copied");
        return Err(info(ErrorCode::WrongBase, message));
    };
    let Some(chip) = chip_id(&device.chip) else {
        let message = format!("device {name} has a chip that this Airlift does not know");
        return Err(info(ErrorCode::WrongChip, message));
    };
    if device.running.sequence == Some(u32::MAX) {
        let message = format!("device {name} has confirmed the last sequence there is");
        return Err(info(ErrorCode::SequenceConflict, message));
    }
    let runs = Runs {
        product: device.product.clone(),
        chip,
        version: device.running.version.clone().unwrap_or_default(),
        app,
        files: device.running.files_sha256,
    };
    Ok((runs, trust.root.to_string()))
}

fn refused(error: ErrorInfo) -> Error {
    let code = ErrorCode::parse(&error.code).unwrap_or(ErrorCode::Internal);
    Error::refused(code, error.message)
}

/// Which devices trust a key, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// As their root.
    pub root_of: Vec<String>,
    /// As a release key.
    pub release_key_of: Vec<String>,
}

impl Uses {
    /// What these devices trust a key as.
    pub fn of<'d>(key: &Key, devices: impl IntoIterator<Item = &'d DeviceInfo>) -> Self {
        let mut uses = Self::default();
        for device in devices {
            let Some(trust) = &device.trust else { continue };
            if trust.root.to_string() == key.id {
                uses.root_of.push(device.id.to_string());
            }
            if trust.keys.iter().any(|k| k.to_string() == key.id) {
                uses.release_key_of.push(device.id.to_string());
            }
        }
        uses
    }
}
