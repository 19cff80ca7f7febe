//! The log of a board that runs, and its Wi-Fi.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use airlift_wire::ErrorCode;

use crate::Error;
use crate::airlift::{Airlift, lock};
use crate::dto::{UsbActivity as A, UsbLogLine, WifiCredentials};
use crate::home::write_atomically;
use crate::store::blocking;
use crate::usb::boards::{Monitor, Monitoring};
use crate::usb::lane::Lane;
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
        *lock(&lane.lines) = Lines::default();
        let how = self.listening(port, elf.map(PathBuf::from));
        match self.open_monitor(&lane, how).await {
            Ok(monitor) => {
                lane.set_monitor(Some(monitor));
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
            if let Some(monitor) = lane.take_monitor() {
                monitor.stop().await?;
            }
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
                usb.edit(|table| table.begin(port, A::Connecting, &[A::Idle]))?;
                let _turn = lane.turn().await;
                let reset = async {
                    let monitor = self.open_monitor(&lane, self.listening(port, None)).await?;
                    let result = monitor.reset().await;
                    monitor.stop().await?;
                    result
                };
                let result = reset.await;
                usb.edit(|table| table.set_activity(port, A::Idle));
                result
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
        let lane = usb.lane(port);
        let monitoring = usb.table().view(port)?.activity == A::Monitoring;
        if let Some(monitor) = lane.monitor().filter(|_| monitoring) {
            return monitor.wifi(&wifi.ssid, &wifi.password).await;
        }
        usb.edit(|table| table.begin(port, A::Connecting, &[A::Idle, A::Connected]))?;
        let cancel = lane.begin();
        let _turn = lane.turn().await;
        let telling = async {
            let monitor = self.open_monitor(&lane, self.listening(port, None)).await?;
            let result = monitor.wifi(&wifi.ssid, &wifi.password).await;
            monitor.stop().await?;
            result
        };
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

    /// Reads the log of a board: from its start, if it was connected. Its session is over then.
    async fn open_monitor(&self, lane: &Lane, how: Monitor) -> Result<Arc<dyn Monitoring>, Error> {
        let session = lane.session();
        lane.set_session(None);
        let monitor = match session {
            Ok(session) => session.monitor(how).await?,
            Err(_) => self.shared.usb.boards.monitor(how).await?,
        };
        Ok(monitor.into())
    }

    /// Keeps and tells what a board says.
    fn listening(&self, port: &str, elf: Option<PathBuf>) -> Monitor {
        let (usb, lane) = (self.shared.usb.clone(), self.shared.usb.lane(port));
        let logged = port.to_owned();
        Monitor {
            path: port.to_owned(),
            elf,
            on_line: Box::new(move |line| {
                let line = lock(&lane.lines).push(line);
                usb.edit(|table| table.logged(&logged, vec![line]));
            }),
        }
    }
}
