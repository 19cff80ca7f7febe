//! A job whose board comes back under another name.

use std::sync::Arc;

use airlift_wire::ErrorCode;
use tokio::time::sleep;

use super::{Job, LOOK_EVERY};
use crate::Error;
use crate::dto::{UsbActivity as A, UsbPort};
use crate::usb::boards::Session;
use crate::usb::bound::Bound;
use crate::usb::table::Came;

impl Job {
    /// Asks the ports that came instead of the one that went whether they have the board, and moves
    /// the job to the one that has. Nothing is written to find out; a port with another board starts
    /// it again and is left alone from then on.
    pub(super) async fn elsewhere(
        &mut self,
        bound: &Bound,
        left_alone: &mut Vec<Came>,
    ) -> Result<Option<Arc<dyn Session>>, Error> {
        // Without an address, one board of a chip is like another.
        if bound.board.mac.is_none() {
            return Ok(None);
        }
        let usb = self.shared.usb.clone();
        let all = usb.table().came_instead(&self.port);
        for came in &all {
            if left_alone.contains(came) {
                continue;
            }
            // Somebody may use it for something else.
            let view = usb.edit(|table| table.begin(&came.path, A::Connecting, &[A::Idle]));
            let Ok(view) = view else { continue };
            let result = match self.ask(&view, bound, &all).await {
                Ok(session) => usb.moved(&self.port, &came.path).map(|()| session),
                Err(error) => Err(error),
            };
            match result {
                Ok(session) => {
                    tracing::info!(from = self.port, to = came.path, "the board is back");
                    self.port.clone_from(&came.path);
                    return Ok(Some(session));
                }
                Err(error) => {
                    usb.edit(|table| table.set_activity(&came.path, A::Idle));
                    if self.cancel.is_cancelled() {
                        return Err(error);
                    }
                    if matches!(error.code(), ErrorCode::WrongBoard | ErrorCode::Cancelled) {
                        left_alone.push(came.clone());
                    }
                }
            }
        }
        Ok(None)
    }

    /// Asks a port whether it has the board, until there is something else to ask.
    async fn ask(
        &self,
        port: &UsbPort,
        bound: &Bound,
        all: &[Came],
    ) -> Result<Arc<dyn Session>, Error> {
        let lane = self.shared.usb.lane(&port.path);
        let cancel = lane.begin();
        let _turn = lane.turn().await;
        let session = tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(airlift_usb::Error::Cancelled.into()),
            () = self.changes(all) => {
                let path = port.path.clone();
                Err(airlift_usb::Error::NoAnswer { path }.into())
            }
            session = self.shared.open_session(port, cancel) => session,
        }?;
        if let Err(other) = bound.is_for(session.board()) {
            if let Err(error) = session.start().await {
                tracing::debug!(port = port.path, "not started: {error}");
            }
            return Err(other);
        }
        Ok(session)
    }

    /// Waits until there are other ports than these that may have the board.
    async fn changes(&self, all: &[Came]) {
        let usb = &self.shared.usb;
        loop {
            sleep(LOOK_EVERY).await;
            // One that went away is noticed by whoever waits for its answer too.
            let listed = usb.list().await;
            if listed.is_ok() && usb.table().came_instead(&self.port) != all {
                return;
            }
        }
    }
}
