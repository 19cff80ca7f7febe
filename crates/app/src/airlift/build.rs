//! From a fresh build to the release that one device gets.

use std::path::{Path, PathBuf};

use airlift_release::{FilesInput, PackOptions, SigningKey, UnverifiedRelease, pack};
use airlift_wire::{Digest, ErrorCode};

use super::{Airlift, created};
use crate::Error;
use crate::dto::{Device, Release};
use crate::elf::read_app;
use crate::store::blocking;

/// What was just built.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// The app image or ELF file.
    pub app: PathBuf,
    /// Version; `None` takes the one in the app descriptor.
    pub version: Option<String>,
    /// Folder or tar of files; `None` leaves what the device runs with.
    pub files: Option<PathBuf>,
    /// Release whose files belong to the app, when none are carried; `None` takes those that the device
    /// runs with.
    pub base: Option<PathBuf>,
}

impl Airlift {
    /// Makes the next release of a device's product from a build, signs it, and adds it to the library.
    /// It is for the device's chip and, without files of its own, for devices that run the very files
    /// that this one runs. Without `key`, a key of this computer that the device trusts signs. `None` when
    /// the device runs this very app already and no files are given: there is nothing to send.
    ///
    /// # Errors
    /// `no_such_device`; `bad_key` when no key can sign for the device; those of [`crate::elf::image`]
    /// and of packing.
    pub async fn pack_build(
        &self,
        device: &str,
        build: Build,
        key: Option<SigningKey>,
    ) -> Result<Option<Release>, Error> {
        let devices = self.devices();
        let found = devices.into_iter().find(|known| known.id == device);
        let device = found.ok_or_else(|| Error::NoSuchDevice(device.to_owned()))?;
        let key = match key {
            Some(key) => key,
            None => self.key_for(&device).await?,
        };
        let shared = self.shared.clone();
        let created = created(shared.clock.unix());
        let release = blocking(move || {
            let trusted = shared.keys.trusted()?;
            if !trusted.contains(&key.public()) {
                let message = "this computer does not trust the key that signs";
                return Err(Error::refused(ErrorCode::UnknownKey, message));
            }
            let app = read_app(&build.app, Some(&device.chip))?;
            let runs = device.app_sha256.as_deref() == Some(&*Digest::of(&app).to_string());
            if runs && build.files.is_none() {
                return Ok(None);
            }
            let base = build.base.as_deref().map(UnverifiedRelease::read_file);
            let base = base.transpose()?.map(|base| base.verify(&trusted));
            let base = base.transpose()?;
            let files = files(build.files.as_deref())?;
            let running: Option<Digest> =
                device.files_sha256.as_deref().and_then(|d| d.parse().ok());
            let make = |sequence| {
                let mut options = PackOptions::new(&device.product, sequence, &key);
                options.version = build.version.as_deref();
                options.chip = Some(&device.chip);
                options.app = Some(app);
                options.files = files;
                options.base = base.as_ref();
                options.running_files = running;
                options.created = created;
                Ok(pack(options)?.release)
            };
            let least = shared.next_sequence(&device.product);
            let added = shared
                .library
                .add_next(&device.product, least, &trusted, make)?;
            Ok(Some(added))
        })
        .await?;
        self.shared.tell_releases();
        Ok(release)
    }

    /// A key of this computer that signs releases for a device.
    async fn key_for(&self, device: &Device) -> Result<SigningKey, Error> {
        let keys = self.keys().await?;
        let fits =
            |id: &String| device.release_keys.contains(id) || device.root.as_ref() == Some(id);
        let mut ours = keys
            .into_iter()
            .filter(|key| key.can_sign && fits(&key.id))
            .peekable();
        let none = ours.peek().is_none();
        let Some(open) = ours.find(|key| !key.needs_passphrase) else {
            let name = &device.name;
            let message = if none {
                format!("no key of this computer signs for {name}")
            } else {
                format!("the key that signs for {name} has a passphrase: name it with --key")
            };
            return Err(Error::refused(ErrorCode::BadKey, message));
        };
        let shared = self.shared.clone();
        blocking(move || shared.keys.signing(&open.id, None)).await
    }
}

fn files(path: Option<&Path>) -> Result<Option<FilesInput>, Error> {
    Ok(path.map(FilesInput::from_path).transpose()?)
}
