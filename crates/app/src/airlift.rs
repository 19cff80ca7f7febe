//! The one door for fronts: every use case is a method here.

use std::path::{Path, PathBuf};

use tokio::sync::broadcast;

use crate::Error;
use crate::dto::{
    Device, Draft, DropPlan, HistoryRow, JobDetail, Key, NewRelease, Numbered, Release, Settings,
    Snapshot,
};

/// How an [`Airlift`] is opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Options {
    /// The folder that keeps everything, see [`crate::home::Home::locate`].
    pub home: PathBuf,
    /// Whether devices are looked for with mDNS. Without it there are remembered and given ones.
    pub mdns: bool,
    /// Whether jobs that an ended process left unfinished are picked up.
    pub pick_up_jobs: bool,
}

impl Options {
    /// What the window uses, on this folder.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        Self {
            home: home.into(),
            mdns: true,
            pick_up_jobs: true,
        }
    }
}

/// A running Airlift on one folder. Cheap to clone; must live inside a tokio runtime.
#[derive(Clone)]
pub struct Airlift {}

#[allow(clippy::unused_async, unused_variables, missing_docs)]
impl Airlift {
    pub async fn open(options: Options) -> Result<Self, Error> {
        Ok(Self {})
    }
    /// Stops everything that runs here; jobs can be picked up by the next start.
    pub async fn close(&self) {}
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        Err(pending())
    }
    pub fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        broadcast::Sender::new(1).subscribe()
    }
    pub async fn start_update(
        &self,
        devices: &[String],
        release: &str,
        retry: bool,
    ) -> Result<Vec<u32>, Error> {
        Err(pending())
    }
    pub async fn cancel_job(&self, id: u32) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn retry_job(&self, id: u32) -> Result<u32, Error> {
        Err(pending())
    }
    pub async fn job_detail(&self, id: u32) -> Result<JobDetail, Error> {
        Err(pending())
    }
    pub async fn add_device(&self, address: &str) -> Result<Device, Error> {
        Err(pending())
    }
    pub async fn forget_device(&self, id: &str) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn plan_drop(&self, paths: &[PathBuf]) -> Result<DropPlan, Error> {
        Err(pending())
    }
    pub async fn add_release(&self, path: &Path) -> Result<Release, Error> {
        Err(pending())
    }
    pub async fn draft_release(&self, paths: &[PathBuf]) -> Result<Draft, Error> {
        Err(pending())
    }
    pub async fn pack_release(&self, form: NewRelease) -> Result<Release, Error> {
        Err(pending())
    }
    pub async fn delete_release(&self, id: &str) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn export_release(&self, id: &str, path: &Path) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn go_back(
        &self,
        release: &str,
        key_id: &str,
        passphrase: Option<&str>,
    ) -> Result<Release, Error> {
        Err(pending())
    }
    pub async fn trust_key(&self, path: &Path) -> Result<Key, Error> {
        Err(pending())
    }
    pub async fn new_key(&self, name: &str, passphrase: Option<&str>) -> Result<Key, Error> {
        Err(pending())
    }
    pub async fn import_key(&self, path: &Path, passphrase: Option<&str>) -> Result<Key, Error> {
        Err(pending())
    }
    pub async fn export_public_key(&self, id: &str, path: &Path) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn save_key_copy(&self, id: &str, path: &Path) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn history(&self) -> Result<Vec<HistoryRow>, Error> {
        Err(pending())
    }
    pub async fn export_history(&self, path: &Path) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn start_virtual_devices(&self, count: u32) -> Result<(), Error> {
        Err(pending())
    }
    pub async fn stop_virtual_devices(&self) -> Result<(), Error> {
        Err(pending())
    }
}

fn pending() -> Error {
    Error::Internal("not wired up yet".into())
}
