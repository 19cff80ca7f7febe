//! Boards on USB: ports, labels, records. What is done to a board is in the modules below.

use std::path::Path;

use airlift_wire::ErrorCode;

use super::Airlift;
use crate::dto::{UsbActivity, UsbPort, UsbRecord};
use crate::home::write_atomically;
use crate::store::{blocking, usb_end_name, usb_kind_name};
use crate::{Error, csv};

mod connect;
mod job;
mod known;
mod monitor;
mod plan;

/// Longest label, in characters.
const MAX_LABEL: usize = 64;

impl Airlift {
    /// The serial ports, and what is known of the boards behind them.
    pub fn usb_ports(&self) -> Vec<UsbPort> {
        self.shared.usb.table().views()
    }

    /// Lists the ports anew, and watches them from now on. A window does it when it starts.
    ///
    /// # Errors
    /// `io` when the system does not list them.
    pub async fn usb_look(&self) -> Result<Vec<UsbPort>, Error> {
        self.shared.usb.start().await?;
        Ok(self.usb_ports())
    }

    /// Tells what is new with ports and boards, and lists ports when they come and go.
    pub(super) fn follow_usb(&self) {
        let (usb, events) = (self.shared.usb.clone(), self.shared.events.clone());
        self.spawn({
            let usb = usb.clone();
            async move { usb.tell(&events).await }
        });
        self.spawn(async move { usb.follow().await });
    }

    /// Lists a port that the system does not list by itself.
    ///
    /// # Errors
    /// `no_such_port` when there is nothing of that name.
    pub async fn usb_add_port(&self, path: &str) -> Result<UsbPort, Error> {
        let usb = &self.shared.usb;
        if usb.table().view(path).is_err() {
            let (boards, named) = (usb.boards.clone(), path.to_owned());
            let found = blocking(move || Ok(boards.named(&named))).await?;
            if let Some(found) = found {
                usb.edit(|table| table.add(found));
            }
        }
        usb.table().view(path)
    }

    /// What the user calls the board on a port; it stays with the board.
    ///
    /// # Errors
    /// `no_such_port`, or `usage` for a label that is too long or no text.
    pub async fn usb_label(&self, port: &str, label: Option<String>) -> Result<(), Error> {
        let label = label.map(|label| label.trim().to_owned());
        let label = label.filter(|label| !label.is_empty());
        if let Some(label) = &label {
            let plain = label.chars().all(airlift_wire::text::is_printable);
            if !plain || label.chars().count() > MAX_LABEL {
                let message = format!("a label is a line of at most {MAX_LABEL} characters");
                return Err(Error::Usage(message));
            }
        }
        let view = self
            .shared
            .usb
            .edit(|table| table.set_label(port, label.clone()))?;
        if let Some(mac) = view.board.and_then(|board| board.mac) {
            self.shared
                .store
                .set_usb_label(&mac, label.as_deref())
                .await?;
        }
        Ok(())
    }

    /// What was done to boards over USB, newest first.
    pub async fn usb_records(&self) -> Result<Vec<UsbRecord>, Error> {
        self.shared.store.usb_records().await
    }

    /// Writes them as CSV (RFC 4180), oldest first.
    pub async fn usb_export_records(&self, path: &str) -> Result<(), Error> {
        let text = to_csv(&self.usb_records().await?);
        let path = Path::new(path).to_owned();
        blocking(move || write_atomically(&path, &[text.as_bytes()])).await
    }

    /// The text of the udev rule that lets everybody at the computer open the ports of boards.
    pub fn usb_udev_rule(&self) -> &'static str {
        airlift_usb::ports::UDEV_RULE
    }

    /// Stops what is being done with a board: connecting, looking, or a job, which stops between two
    /// segments.
    ///
    /// # Errors
    /// `no_such_port`.
    pub async fn usb_cancel(&self, port: &str) -> Result<(), Error> {
        self.shared.usb.table().view(port)?;
        self.shared.usb.lane(port).cancel();
        Ok(())
    }

    /// Lets go of a board. It stays in its loader until somebody resets it.
    ///
    /// # Errors
    /// `no_such_port`; `busy` while a job runs on it.
    pub async fn usb_disconnect(&self, port: &str) -> Result<(), Error> {
        use UsbActivity as A;
        let usb = &self.shared.usb;
        let activity = usb.table().view(port)?.activity;
        if matches!(activity, A::Working | A::Unplugged) {
            let message = format!("the board on {port} is being written");
            return Err(Error::refused(ErrorCode::Busy, message));
        }
        let lane = usb.lane(port);
        lane.cancel();
        let _turn = lane.turn().await;
        lane.set_session(None);
        if let Some(monitor) = lane.take_monitor() {
            monitor.stop().await?;
        }
        usb.edit(|table| table.set_activity(port, A::Idle));
        Ok(())
    }
}

fn to_csv(records: &[UsbRecord]) -> String {
    let mut text =
        String::from("time,port,serial_number,chip,mac,label,kind,what,bytes,end,code\r\n");
    for record in records.iter().rev() {
        let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
        text.push_str(&csv::line(&[
            &format!("{:.0}", record.time),
            &record.port,
            &or_empty(&record.serial_number),
            &record.chip,
            &or_empty(&record.mac),
            &or_empty(&record.label),
            usb_kind_name(record.kind),
            &record.what,
            &record.bytes.to_string(),
            usb_end_name(record.end),
            &or_empty(&record.code),
        ]));
    }
    text
}

#[cfg(test)]
mod tests;
