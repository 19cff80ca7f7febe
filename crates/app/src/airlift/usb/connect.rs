//! Connecting a board and looking at its flash.

use std::sync::Arc;

use airlift_flash::{Depth, diagnose};
use airlift_wire::ErrorCode;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::airlift::{Airlift, Shared};
use crate::dto::{Diagnosis, UsbActivity as A, UsbPort};
use crate::store::blocking;
use crate::usb::boards::{Connect, Session};
use crate::usb::driver::on_flash;
use crate::usb::lane::Lane;
use crate::usb::view;

impl Airlift {
    /// Connects a board and looks at it quickly; a window goes on to look at all of it, as long as
    /// nothing else is asked of the board. Connecting waits for as long as it takes to hold BOOT and
    /// press RESET, until [`Airlift::usb_cancel`].
    ///
    /// # Errors
    /// `no_such_port`, `busy`, `cancelled`, and those of a port and a loader: `port_busy`,
    /// `port_denied`, `no_answer`, …
    pub async fn usb_connect(&self, port: &str) -> Result<UsbPort, Error> {
        let usb = &self.shared.usb;
        if usb.table().view(port)?.activity == A::Monitoring {
            self.usb_stop_monitor(port).await?;
        }
        let view = usb.edit(|table| table.begin(port, A::Connecting, &[A::Idle]))?;
        let lane = usb.lane(port);
        let cancel = lane.begin();
        let _turn = lane.turn().await;
        let session = self.shared.open_session(&view, cancel.clone()).await;
        let session = match session {
            Ok(session) => session,
            Err(error) => {
                usb.edit(|table| table.fail(port, A::Idle, &error));
                return Err(error);
            }
        };
        self.shared.board_answered(port, &session).await?;
        lane.set_looked(None);
        lane.set_session(Some(session.clone()));
        if session.board().writable().is_ok() {
            // What cannot be read is said with the port, and does not undo that it is connected.
            let looked = self.look_at(port, &lane, Depth::Quick, cancel).await;
            if let Ok(diagnosis) = looked
                && self.shared.stay
                && !diagnosis.complete
            {
                self.look_closer(port, &lane);
            }
        }
        usb.table().view(port)
    }

    /// Looks at the flash of a connected board again: quickly, or at all of it.
    ///
    /// # Errors
    /// `not_connected`, `busy`, `cancelled`, `secured`, `unplugged`, `link_lost`, …
    pub async fn usb_diagnose(&self, port: &str, full: bool) -> Result<Diagnosis, Error> {
        let usb = &self.shared.usb;
        usb.edit(|table| table.begin(port, A::Diagnosing, &[A::Connected]))?;
        let lane = usb.lane(port);
        let cancel = lane.begin();
        let _turn = lane.turn().await;
        let depth = if full { Depth::Full } else { Depth::Quick };
        self.look_at(port, &lane, depth, cancel).await
    }

    /// Looks at a flash; the port is connected afterwards, unless it is gone. Whoever calls it has
    /// the turn.
    pub(super) async fn look_at(
        &self,
        port: &str,
        lane: &Lane,
        depth: Depth,
        cancel: CancellationToken,
    ) -> Result<Diagnosis, Error> {
        let usb = &self.shared.usb;
        usb.edit(|table| table.set_activity(port, A::Diagnosing));
        let looked = self.shared.look_into(port, lane, depth, cancel).await;
        match &looked {
            Ok(_) => usb.edit(|table| table.set_activity(port, A::Connected)),
            Err(error) => self.shared.usb_failed(port, lane, error),
        }
        looked
    }

    /// Looks at everything while nobody asks for anything else.
    fn look_closer(&self, port: &str, lane: &Arc<Lane>) {
        let (shared, port, lane) = (self.shared.clone(), port.to_owned(), lane.clone());
        self.spawn(async move {
            let (_turn, cancel) = lane.background_turn().await;
            // Somebody may have been quicker, and be done with the board.
            if lane.session().is_err() {
                return;
            }
            let looked = shared
                .look_into(&port, &lane, Depth::Full, cancel.clone())
                .await;
            if let Err(error) = looked
                && !cancel.is_cancelled()
            {
                shared.usb_failed(&port, &lane, &error);
            }
        });
    }
}

impl Shared {
    /// Gets the loader of a board to answer.
    pub(super) async fn open_session(
        self: &Arc<Self>,
        port: &UsbPort,
        cancel: CancellationToken,
    ) -> Result<Arc<dyn Session>, Error> {
        let (usb, path) = (self.usb.clone(), port.path.clone());
        let (losing, lost) = (Arc::downgrade(&self.usb), port.path.clone());
        let connecting = self.usb.boards.connect(Connect {
            path: port.path.clone(),
            cancel: cancel.clone(),
            patience: self.patience,
            on_waiting: Box::new(move || {
                usb.edit(|table| table.set_activity(&path, A::WaitingForBoot));
            }),
            on_lost: Box::new(move |error| {
                if let Some(usb) = losing.upgrade() {
                    usb.lost(&lost, &error);
                }
            }),
        });
        tokio::select! {
            biased;
            () = cancel.cancelled() => Err(airlift_usb::Error::Cancelled.into()),
            session = connecting => Ok(Arc::from(session?)),
        }
    }

    /// Notes which board answered, with the label that it was given earlier.
    pub(super) async fn board_answered(
        &self,
        port: &str,
        session: &Arc<dyn Session>,
    ) -> Result<(), Error> {
        let board = view::board(session.board());
        let mac = board.mac.clone();
        let label = match &mac {
            Some(mac) => self.store.usb_label(mac).await?,
            None => None,
        };
        self.usb
            .edit(|table| table.connected(port, board, label.clone()));
        let now = self.usb.table().view(port)?.label;
        if let (Some(mac), true) = (mac, now.is_some() && now != label) {
            self.store.set_usb_label(&mac, now.as_deref()).await?;
        }
        Ok(())
    }

    /// Looks at a flash and tells what was found.
    pub(super) async fn look_into(
        self: &Arc<Self>,
        port: &str,
        lane: &Lane,
        depth: Depth,
        cancel: CancellationToken,
    ) -> Result<Diagnosis, Error> {
        let session = lane.session()?;
        let board = session.board();
        board.writable()?;
        let (shared, board) = (self.clone(), board.clone());
        let known = blocking(move || shared.known_for(&board)).await?;
        let start = self.usb.now();
        let found = on_flash(&*session, cancel, move |flash| {
            diagnose(flash, &known.borrow(), depth, &mut |_, _| {})
        })
        .await?;
        let took = u32::try_from((self.usb.now() - start).as_millis()).unwrap_or(u32::MAX);
        let seen = view::diagnosis(&found, took);
        lane.set_looked(Some(Arc::new(found)));
        self.usb.edit(|table| table.diagnosed(port, seen.clone()));
        Ok(seen)
    }

    /// Something that only read did not work: lets go of a board that is gone.
    pub(super) fn usb_failed(&self, port: &str, lane: &Lane, error: &Error) {
        let gone = matches!(
            error.code(),
            ErrorCode::Unplugged | ErrorCode::NoAnswer | ErrorCode::LinkLost
        );
        if gone {
            lane.set_session(None);
        }
        let open = lane.session().is_ok();
        let activity = if open { A::Connected } else { A::Idle };
        self.usb.edit(|table| match error.code() {
            ErrorCode::Cancelled => table.set_activity(port, activity),
            _ => table.fail(port, activity, error),
        });
    }
}
