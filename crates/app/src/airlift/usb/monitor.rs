//! The log of a board that runs, and its Wi-Fi.

use std::path::{Path, PathBuf};

use airlift_wire::ErrorCode;

use crate::Error;
use crate::airlift::{Airlift, lock};
use crate::dto::{UsbActivity as A, UsbLogLine, WifiCredentials};
use crate::home::write_atomically;
use crate::store::blocking;
use crate::usb::boards::Monitor;
use crate::usb::log::Lines;

impl Airlift {
    /// Starts to read a board's log; a connected board is started first. Lines come as events, and
    /// [`Airlift::usb_log`] has the newest of them. With the ELF file that the board runs, what
    /// addresses mean is said with the lines.
    ///
    /// # Errors
    /// `no_such_port`, `busy`, `port_busy`, `port_denied`; `bad_image` for a file without symbols.
    pub async fn usb_monitor(&self, port: &str, elf: Option<String>) -> Result<(), Error> {
        let usb = &self.shared.usb;
        usb.edit(|table| table.begin(port, A::Monitoring, &[A::Idle, A::Connected]))?;
        let lane = usb.lane(port);
        let _turn = lane.turn().await;
        if let Ok(session) = lane.session() {
            // A board that cannot be started from here is started by hand, and its log read then.
            let _ = session.start().await;
        }
        lane.set_session(None);
        *lock(&lane.lines) = Lines::default();
        let (logging, lines) = (usb.clone(), lane.clone());
        let (ending, path) = (usb.clone(), port.to_owned());
        let logged = port.to_owned();
        let monitor = usb.boards.monitor(Monitor {
            path: port.to_owned(),
            elf: elf.map(PathBuf::from),
            on_lines: Box::new(move |new| {
                let mut kept = lock(&lines.lines);
                let new: Vec<UsbLogLine> = new.into_iter().map(|line| kept.push(line)).collect();
                drop(kept);
                logging.edit(|table| table.logged(&logged, new));
            }),
            on_end: Box::new(move |error| ending.lost(&path, &error)),
        });
        match monitor.await {
            Ok(monitor) => {
                lane.set_monitor(Some(monitor.into()));
                Ok(())
            }
            Err(error) => {
                usb.edit(|table| table.fail(port, A::Idle, &error));
                Err(error)
            }
        }
    }

    /// Stops reading a board's log. The board goes on, and the lines stay.
    ///
    /// # Errors
    /// `no_such_port`.
    pub async fn usb_stop_monitor(&self, port: &str) -> Result<(), Error> {
        let usb = &self.shared.usb;
        if usb.table().view(port)?.activity == A::Monitoring {
            let lane = usb.lane(port);
            let _turn = lane.turn().await;
            lane.set_monitor(None);
            usb.edit(|table| table.set_activity(port, A::Idle));
        }
        Ok(())
    }

    /// The lines of a board's log from number `from` on, as far as they are kept, some thousands at a
    /// time.
    ///
    /// # Errors
    /// `no_such_port`.
    pub async fn usb_log(&self, port: &str, from: u32) -> Result<Vec<UsbLogLine>, Error> {
        self.shared.usb.table().view(port)?;
        let lane = self.shared.usb.lane(port);
        let lines = lock(&lane.lines).from(from);
        Ok(lines)
    }

    /// Writes the lines of a board's log that are kept to a file.
    ///
    /// # Errors
    /// `no_such_port`, `io`.
    pub async fn usb_save_log(&self, port: &str, path: &str) -> Result<(), Error> {
        self.shared.usb.table().view(port)?;
        let lane = self.shared.usb.lane(port);
        let text = lock(&lane.lines).text();
        let path = Path::new(path).to_owned();
        blocking(move || write_atomically(&path, &[text.as_bytes()])).await
    }

    /// Starts a board anew: from its loader, while its log is read, or as it is.
    ///
    /// # Errors
    /// `no_such_port`, `busy`, `no_reset` when the port has no lines for it.
    pub async fn usb_reset(&self, port: &str) -> Result<(), Error> {
        let usb = &self.shared.usb;
        let lane = usb.lane(port);
        let activity = usb.table().view(port)?.activity;
        match activity {
            A::Monitoring => match lane.monitor() {
                Some(monitor) => monitor.reset().await,
                None => Ok(()),
            },
            A::Connected => {
                let _turn = lane.turn().await;
                let started = match lane.session() {
                    Ok(session) => session.start().await,
                    Err(error) => Err(error),
                };
                lane.set_session(None);
                usb.edit(|table| table.set_activity(port, A::Idle));
                started
            }
            A::Idle => {
                let _turn = lane.turn().await;
                usb.boards.reset(port).await
            }
            _ => {
                let message = format!("the board on {port} is busy");
                Err(Error::refused(ErrorCode::Busy, message))
            }
        }
    }

    /// Tells a board that runs which network to join; returns the address that it has there. A
    /// connected board is started first.
    ///
    /// # Errors
    /// `no_such_port`, `busy`, `no_improv` when its firmware does not take it, `wifi_refused`.
    pub async fn usb_wifi(&self, port: &str, wifi: WifiCredentials) -> Result<String, Error> {
        let usb = &self.shared.usb;
        if usb.table().view(port)?.activity == A::Monitoring {
            self.usb_stop_monitor(port).await?;
        }
        usb.edit(|table| table.begin(port, A::Connecting, &[A::Idle, A::Connected]))?;
        let lane = usb.lane(port);
        let cancel = lane.begin();
        let _turn = lane.turn().await;
        if let Ok(session) = lane.session() {
            let _ = session.start().await;
        }
        lane.set_session(None);
        let telling = usb.boards.wifi(port, &wifi.ssid, &wifi.password);
        let result = tokio::select! {
            biased;
            () = cancel.cancelled() => Err(airlift_usb::Error::Cancelled.into()),
            result = telling => result,
        };
        usb.edit(|table| match &result {
            Ok(_) => table.set_activity(port, A::Idle),
            Err(error) => table.fail(port, A::Idle, error),
        });
        result
    }
}
