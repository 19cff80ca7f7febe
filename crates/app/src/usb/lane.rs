//! What runs on one port: its session, who uses it, and how that is stopped.

use std::sync::{Arc, Mutex};

use airlift_flash::Diagnosis;
use tokio::sync::{Mutex as Turn, MutexGuard, watch};
use tokio_util::sync::CancellationToken;

use super::boards::{Monitoring, Session};
use super::bound::Bound;
use super::log::Lines;
use crate::Error;
use crate::airlift::lock;
use airlift_wire::ErrorCode;

/// What runs on one port. [`crate::usb::table`] says who may start something; this is with what.
#[derive(Default)]
pub(crate) struct Lane {
    session: Mutex<Option<Arc<dyn Session>>>,
    monitor: Mutex<Option<Arc<dyn Monitoring>>>,
    /// Whoever holds it uses the board.
    turn: Turn<()>,
    /// Stops what somebody waits for.
    cancel: Mutex<CancellationToken>,
    /// Stops what nobody waits for.
    background: Mutex<CancellationToken>,
    looked: Mutex<Option<Arc<Diagnosis>>>,
    plan: Mutex<Option<Arc<Bound>>>,
    pub(crate) lines: Mutex<Lines>,
    /// The number of the last job that ended.
    pub(crate) ended: watch::Sender<u32>,
}

impl Lane {
    /// The session.
    pub(crate) fn session(&self) -> Result<Arc<dyn Session>, Error> {
        let session = lock(&self.session).clone();
        session.ok_or_else(|| Error::refused(ErrorCode::NotConnected, "no board is connected"))
    }

    /// A new session, or none: what was found out in the last one stays.
    pub(crate) fn set_session(&self, session: Option<Arc<dyn Session>>) {
        *lock(&self.session) = session;
    }

    /// A log that is being read, or none.
    pub(crate) fn set_monitor(&self, monitor: Option<Arc<dyn Monitoring>>) {
        *lock(&self.monitor) = monitor;
    }

    /// The log that is being read.
    pub(crate) fn monitor(&self) -> Option<Arc<dyn Monitoring>> {
        lock(&self.monitor).clone()
    }

    /// The same, to stop it.
    pub(crate) fn take_monitor(&self) -> Option<Arc<dyn Monitoring>> {
        lock(&self.monitor).take()
    }

    /// What was found in the flash last.
    pub(crate) fn looked(&self) -> Option<Arc<Diagnosis>> {
        lock(&self.looked).clone()
    }

    pub(crate) fn set_looked(&self, diagnosis: Option<Arc<Diagnosis>>) {
        *lock(&self.looked) = diagnosis;
    }

    /// The last plan.
    pub(crate) fn plan(&self) -> Option<Arc<Bound>> {
        lock(&self.plan).clone()
    }

    pub(crate) fn set_plan(&self, plan: Option<Arc<Bound>>) {
        *lock(&self.plan) = plan;
    }

    /// Stops what runs in the background and waits until the board is free.
    pub(crate) async fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.background).cancel();
        self.turn.lock().await
    }

    /// As [`Lane::turn`] for what runs in the background itself: it stops for whoever comes.
    pub(crate) async fn background_turn(&self) -> (MutexGuard<'_, ()>, CancellationToken) {
        let token = CancellationToken::new();
        *lock(&self.background) = token.clone();
        (self.turn.lock().await, token)
    }

    /// Begins something that [`Lane::cancel`] stops.
    pub(crate) fn begin(&self) -> CancellationToken {
        let token = CancellationToken::new();
        *lock(&self.cancel) = token.clone();
        token
    }

    /// Stops everything that runs.
    pub(crate) fn cancel(&self) {
        lock(&self.background).cancel();
        lock(&self.cancel).cancel();
    }
}
