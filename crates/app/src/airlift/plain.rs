//! Serving one release to boards that check no signature.

use airlift_release::{Part, Release};
use airlift_serve::{Observations, PlainRelease, PlainRequest};
use airlift_wire::Digest;

use super::{Airlift, Shared, lock};
use crate::Error;
use crate::dto::Event;
use crate::job::preflight;
use crate::store::blocking;
use airlift_discover::SeenDevice;

/// How many requests may wait to be counted. Counting one takes less than serving one.
pub(super) const REPORTS: usize = 4096;

impl Airlift {
    /// Serves this release of the library, in place of the one before, to boards that check no
    /// signature; or to none. Anyone on the network can then replace the code of such boards, so it
    /// is off at every start and stays on until this process ends at most.
    ///
    /// # Errors
    /// `no_such_release`; `not_for_plain` or `bad_tar` when such boards could not take it, with the
    /// reason; `cannot_listen`.
    pub async fn serve_plain(&self, release: Option<&str>) -> Result<(), Error> {
        let shared = &self.shared;
        let Some(id) = release else {
            shared.set_plain(None);
            return Ok(());
        };
        let (inner, id) = (shared.clone(), id.to_owned());
        let (release, plain) = blocking(move || {
            let release = inner.library.open(&id, &inner.keys.trusted()?)?;
            let plain = prepare(&release)?;
            Ok((release, plain))
        })
        .await?;
        shared.server.ensure_all(&shared.settings())?;
        shared.set_plain(Some((plain, &release)));
        Ok(())
    }

    pub(super) fn follow_plain(&self, mut heard: Observations<PlainRequest>) {
        let weak = std::sync::Arc::downgrade(&self.shared);
        self.spawn(async move {
            while let Some(request) = heard.next().await {
                let Some(shared) = weak.upgrade() else { return };
                let now = shared.clock.unix();
                lock(&shared.plain).heard(&request, now);
            }
        });
    }
}

fn prepare(release: &Release) -> Result<PlainRelease, Error> {
    let bytes = |part: Option<&Part>| part.map(|part| part.bytes().clone());
    let (app, files) = (bytes(release.app()), bytes(release.files()));
    let prepared = PlainRelease::new(release.id(), app, files);
    prepared.map_err(|error| Error::refused(error.code(), error.to_string()))
}

impl Shared {
    fn set_plain(&self, release: Option<(PlainRelease, &Release)>) {
        // Both under one lock: what boards are told is what they are counted by.
        let mut boards = lock(&self.plain);
        match release {
            Some((plain, release)) => {
                let manifest = release.manifest();
                boards.serve(Some((&plain, &manifest.product, &manifest.version)));
                self.plain_offer.set(Some(plain));
            }
            None => {
                boards.serve(None);
                self.plain_offer.set(None);
            }
        }
        drop(boards);
        self.tell_plain();
    }

    /// The release that is served without a signature.
    pub(super) fn plain_release(&self) -> Option<String> {
        lock(&self.plain).served().map(|id| id.to_string())
    }

    /// What left the library, or is signed by nobody who is trusted any more, is served no longer.
    pub(super) fn check_plain(&self, here: &[crate::dto::Release]) {
        if let Some(served) = self.plain_release()
            && here.iter().all(|release| release.id != served)
        {
            self.set_plain(None);
        }
    }

    /// Tells of boards of the plain protocol if anything changed.
    pub(super) fn tell_plain(&self) {
        let mut told = lock(&self.told_plain);
        let now = lock(&self.plain).view(self.clock.unix());
        if *told != now {
            told.clone_from(&now);
            self.events.send(Event::Plain(now));
        }
    }

    /// A device that answers may be a board that was given the updater over the plain protocol.
    pub(super) fn device_proves_plain(&self, seen: &SeenDevice) {
        let Some(address) = seen.address() else {
            return;
        };
        let uptime = seen.info.uptime_ms as f64 / 1000.0;
        let runs = |id: &Digest| {
            let id = id.to_string();
            let mut library = self.library.list().into_iter();
            let release = library.find(|release| release.id == id);
            release.is_some_and(|release| preflight::is_current(&release, &seen.info))
        };
        lock(&self.plain).answers(address.ip(), uptime, runs, self.clock.unix());
    }
}
