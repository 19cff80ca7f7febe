//! The library: adding, making, deleting, going back.

use std::path::{Path, PathBuf};

use airlift_release::{FilesInput, PackOptions, UnverifiedRelease, pack, resign};

use super::{Airlift, Shared, lock};
use crate::dto::{Draft, DropPlan, Event, NewRelease, Release};
use crate::elf::read_app;
use crate::store::blocking;
use crate::{Error, Secret, draft};

/// The variable that fixes the time in a release, so that packing twice gives the same bytes.
const SOURCE_DATE_EPOCH: &str = "SOURCE_DATE_EPOCH";
/// Sequences and epochs that devices claim count below this one only. Anybody in the network can claim
/// any, and must not bring an owner to sign the last one there is: none would come after it.
pub(super) const CLAIMED_BELOW: u32 = 1 << 31;

impl Airlift {
    /// What letting these files go over the window would do.
    pub async fn plan_drop(&self, paths: &[PathBuf]) -> Result<DropPlan, Error> {
        let (shared, paths) = (self.shared.clone(), paths.to_vec());
        blocking(move || Ok(draft::plan(&shared, &paths))).await
    }

    /// Adds a release file to the library. One that is there already is fine.
    ///
    /// # Errors
    /// `unknown_key` when no trusted key signed it; the other codes of a damaged file.
    pub async fn add_release(&self, path: &Path) -> Result<Release, Error> {
        let (shared, path) = (self.shared.clone(), path.to_owned());
        let release = blocking(move || {
            let release = UnverifiedRelease::read_file(&path)?.verify(&shared.keys.trusted()?)?;
            shared.library.add(&release)
        })
        .await?;
        self.shared.tell_releases();
        Ok(release)
    }

    /// What the new-release sheet starts with for these files.
    pub async fn draft_release(&self, paths: &[PathBuf]) -> Result<Draft, Error> {
        let (shared, paths) = (self.shared.clone(), paths.to_vec());
        blocking(move || draft::draft(&shared, &paths)).await
    }

    /// Makes a release, signs it, and adds it to the library.
    pub async fn pack_release(&self, form: NewRelease) -> Result<Release, Error> {
        let shared = self.shared.clone();
        let created = created(self.shared.clock.unix());
        let release = blocking(move || {
            let passphrase = form.passphrase.as_ref().map(Secret::expose);
            let key = shared.keys.signing(&form.key_id, passphrase)?;
            let base = match &form.base {
                Some(id) => Some(shared.library.open(id, &shared.keys.trusted()?)?),
                None => None,
            };
            let app = form
                .app
                .as_deref()
                .map(Path::new)
                .map(|path| read_app(path, None))
                .transpose()?;
            let files = form
                .files
                .as_deref()
                .map(Path::new)
                .map(FilesInput::from_path);
            let mut options = PackOptions::new(&form.product, form.sequence, &key);
            options.version = Some(&form.version);
            options.app = app;
            options.files = files.transpose()?;
            options.base = base.as_ref();
            options.created = created;
            let trusted = shared.keys.trusted()?;
            shared.library.add_new(&pack(options)?.release, &trusted)
        })
        .await?;
        self.shared.tell_releases();
        Ok(release)
    }

    /// Deletes a release from the library. What devices run is not touched.
    ///
    /// # Errors
    /// `busy` while a job sends it, or while it is served without a signature.
    pub async fn delete_release(&self, id: &str) -> Result<(), Error> {
        let in_use = lock(&self.shared.jobs)
            .values()
            .any(|live| !live.is_over() && live.state().release.id == id);
        if in_use {
            let message = "a device is being updated to this release";
            return Err(Error::refused(airlift_wire::ErrorCode::Busy, message));
        }
        if self
            .shared
            .plain_release()
            .is_some_and(|served| served == id)
        {
            let message = "it is served to boards that check no signature; turn that off first";
            return Err(Error::refused(airlift_wire::ErrorCode::Busy, message));
        }
        let (shared, id) = (self.shared.clone(), id.to_owned());
        blocking(move || shared.library.delete(&id)).await?;
        self.shared.tell_releases();
        Ok(())
    }

    /// Writes a release file to a place of the user's choice.
    pub async fn export_release(&self, id: &str, path: &Path) -> Result<(), Error> {
        let (shared, id, path) = (self.shared.clone(), id.to_owned(), path.to_owned());
        blocking(move || shared.library.export(&id, &path)).await
    }

    /// Signs an old release again under the next sequence, so that devices take it; its parts stay,
    /// and a slot that still holds them fetches nothing.
    pub async fn go_back(
        &self,
        release: &str,
        key_id: &str,
        passphrase: Option<&str>,
    ) -> Result<Release, Error> {
        let shared = self.shared.clone();
        let created = created(self.shared.clock.unix());
        let (id, key_id) = (release.to_owned(), key_id.to_owned());
        let passphrase = passphrase.map(Secret::from);
        let release = blocking(move || {
            let key = shared
                .keys
                .signing(&key_id, passphrase.as_ref().map(Secret::expose))?;
            let trusted = shared.keys.trusted()?;
            let old = shared.library.open(&id, &trusted)?;
            let product = &old.manifest().product;
            let least = shared.next_sequence(product);
            let make = |sequence| Ok(resign(&old, sequence, &key, created)?);
            shared.library.add_next(product, least, &trusted, make)
        })
        .await?;
        self.shared.tell_releases();
        Ok(release)
    }

    /// The library, newest first.
    pub fn releases(&self) -> Vec<Release> {
        self.shared.releases()
    }
}

impl Shared {
    /// A sequence above every one that the library has and that a device says it runs.
    pub(crate) fn next_sequence(&self, product: &str) -> u32 {
        let devices = self.discovery.devices();
        let running = devices.iter().filter(|seen| seen.info.product == product);
        let running = running.filter_map(|seen| seen.info.running.sequence);
        let claimed = running.filter(|sequence| *sequence < CLAIMED_BELOW).max();
        let next = claimed.map_or(1, |max| max.saturating_add(1));
        next.max(self.library.next_sequence(product))
    }

    pub(crate) fn tell_releases(&self) {
        let releases = self.releases();
        self.check_plain(&releases);
        *lock(&self.told_releases) = releases.clone();
        self.events.send(Event::Releases(releases));
    }

    /// A device that changed may run another release now.
    pub(crate) fn releases_told_if_changed(&self) {
        if *lock(&self.told_releases) != self.releases() {
            self.tell_releases();
        }
    }
}

/// When a release is made: now, unless the environment fixes it.
pub fn created(now: f64) -> u64 {
    let fixed = std::env::var(SOURCE_DATE_EPOCH)
        .ok()
        .and_then(|text| text.parse().ok());
    fixed.unwrap_or(now as u64)
}
