//! The ports of this process: the table, what runs on each, and who is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use airlift_flash::{ReadError, ReadFlash};
use airlift_release::Release;
use airlift_wire::ErrorCode;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use super::boards::{Boards, Session, Watching};
use super::lane::Lane;
use super::table::Table;
use crate::Error;
use crate::airlift::lock;
use crate::clock::Clock;
use crate::dto::UsbActivity;
use crate::events::Events;
use crate::store::blocking;

/// The ports of this process.
pub(crate) struct Usb {
    pub(crate) boards: Arc<dyn Boards>,
    clock: Clock,
    table: Mutex<Table>,
    lanes: Mutex<BTreeMap<String, Arc<Lane>>>,
    /// There is something to tell.
    news: Notify,
    /// Ports were listed anew, or may be worth listing.
    pub(crate) listed: Notify,
    watching: Mutex<Option<Box<dyn Watching>>>,
    /// Releases that were opened, by id, for a board that is looked at.
    pub(crate) opened: Mutex<BTreeMap<String, Release>>,
}

impl Usb {
    pub(crate) fn new(boards: Arc<dyn Boards>, clock: Clock) -> Self {
        Self {
            boards,
            clock,
            table: Mutex::default(),
            lanes: Mutex::default(),
            news: Notify::new(),
            listed: Notify::new(),
            watching: Mutex::default(),
            opened: Mutex::default(),
        }
    }

    /// The table, to look at.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Changes the table, and tells what is new.
    pub(crate) fn edit<T>(&self, change: impl FnOnce(&mut Table) -> T) -> T {
        let result = change(&mut self.table());
        self.news.notify_one();
        result
    }

    /// Since the program started.
    pub(crate) fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    /// What runs on a port.
    pub(crate) fn lane(&self, path: &str) -> Arc<Lane> {
        lock(&self.lanes)
            .entry(path.to_owned())
            .or_default()
            .clone()
    }

    /// The board of a port answers on another one: what runs on the first goes on there.
    pub(crate) fn moved(&self, from: &str, to: &str) -> Result<(), Error> {
        self.edit(|table| {
            table.moved(from, to)?;
            let mut lanes = lock(&self.lanes);
            if let Some(lane) = lanes.remove(from) {
                lanes.insert(to.to_owned(), lane);
            }
            Ok(())
        })
    }

    /// Lists the ports, and watches them from now on.
    pub(crate) async fn start(self: &Arc<Self>) -> Result<(), Error> {
        if lock(&self.watching).is_none() {
            let weak = Arc::downgrade(self);
            let on_change = move || {
                if let Some(this) = weak.upgrade() {
                    this.listed.notify_one();
                }
            };
            let watching = self.boards.watch(Box::new(on_change))?;
            *lock(&self.watching) = Some(watching);
        }
        self.list().await
    }

    /// Lists the ports again.
    pub(crate) async fn list(self: &Arc<Self>) -> Result<(), Error> {
        let boards = self.boards.clone();
        let named: Vec<String> = self
            .table()
            .views()
            .into_iter()
            .filter(|port| port.named)
            .map(|port| port.path)
            .collect();
        let found = blocking(move || {
            let mut found = boards.ports()?;
            for path in named {
                if !found.iter().any(|port| port.path == path) {
                    found.extend(boards.named(&path));
                }
            }
            Ok(found)
        })
        .await?;
        for path in self.edit(|table| table.list(found)) {
            let error = airlift_usb::Error::Unplugged { path: path.clone() };
            self.lost(&path, &error.into());
        }
        Ok(())
    }

    /// A board is gone. Whoever uses it finds out by itself, and a log waits for it; an idle session
    /// is over.
    pub(crate) fn lost(&self, path: &str, error: &Error) {
        let lane = self.lane(path);
        let activity = self.table().view(path).map(|port| port.activity);
        if let Ok(UsbActivity::Connected) = activity {
            lane.cancel();
            lane.set_session(None);
            self.edit(|table| table.fail(path, UsbActivity::Idle, error));
        }
    }

    /// Tells what is new, at its pace, for ever.
    pub(crate) async fn tell(&self, events: &Events) {
        loop {
            let (news, next) = self.table().due(self.now());
            for event in news {
                events.send(event);
            }
            match next {
                Some(at) => tokio::time::sleep(at.saturating_sub(self.now())).await,
                None => self.news.notified().await,
            }
        }
    }

    /// Lists ports whenever one came or went, for ever.
    pub(crate) async fn follow(self: &Arc<Self>) {
        loop {
            self.listed.notified().await;
            if let Err(error) = self.list().await {
                tracing::warn!("serial ports cannot be listed: {error}");
            }
        }
    }

    /// Lets go of every port. A job that runs stops between two segments, and is waited for.
    pub(crate) async fn stop(&self) {
        *lock(&self.watching) = None;
        let lanes: Vec<_> = lock(&self.lanes).values().cloned().collect();
        for lane in &lanes {
            lane.cancel();
        }
        for lane in lanes {
            // One that does not let go of its board must not keep the program from ending.
            let _ = tokio::time::timeout(STOP_WITHIN, lane.turn()).await;
            lane.set_session(None);
            lane.set_monitor(None);
        }
    }
}

/// How long the end of the program waits for what runs on a port.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// Runs what reads flash on the thread of its port, until it is done or cancelled.
pub(crate) async fn on_flash<T: Send + 'static>(
    session: &dyn Session,
    cancel: CancellationToken,
    work: impl FnOnce(&mut dyn ReadFlash) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Error> {
    let (sender, result) = oneshot::channel();
    let reading = move |flash: &mut dyn ReadFlash| {
        let mut flash = Stoppable { flash, cancel };
        // Nobody waits any more when it cannot be sent.
        let _ = sender.send(work(&mut flash));
    };
    session.read(Box::new(reading)).await?;
    let gone = |_| Error::Internal("what read the flash did not end".to_owned());
    result.await.map_err(gone)?.map_err(Error::from)
}

/// Flash that is read until somebody cancels.
struct Stoppable<'a> {
    flash: &'a mut dyn ReadFlash,
    cancel: CancellationToken,
}

impl Stoppable<'_> {
    fn go_on(&self) -> Result<(), ReadError> {
        if self.cancel.is_cancelled() {
            let error = Error::refused(ErrorCode::Cancelled, "it was cancelled");
            return Err(ReadError::Link(Box::new(error)));
        }
        Ok(())
    }
}

impl ReadFlash for Stoppable<'_> {
    fn size(&self) -> u32 {
        self.flash.size()
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.go_on()?;
        self.flash.read(offset, out)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        self.go_on()?;
        self.flash.md5(offset, len)
    }
}
