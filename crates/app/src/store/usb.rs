//! What was written to which board over USB, and what people call these boards.

use rusqlite::{OptionalExtension as _, Row, params};

use super::Store;
use crate::Error;
use crate::dto::{UsbEnd, UsbJobKind, UsbRecord};

/// How many records are read at most.
pub const USB_RECORDS: u32 = 100_000;

const KINDS: [(UsbJobKind, &str); 3] = [
    (UsbJobKind::Repair, "repair"),
    (UsbJobKind::Flash, "flash"),
    (UsbJobKind::Restore, "restore"),
];
const ENDS: [(UsbEnd, &str); 3] = [
    (UsbEnd::Done, "done"),
    (UsbEnd::Failed, "failed"),
    (UsbEnd::Cancelled, "cancelled"),
];

impl Store {
    /// Adds what was done to a board.
    pub async fn add_usb_record(&self, record: &UsbRecord) -> Result<(), Error> {
        let record = record.clone();
        self.call(move |db| {
            db.execute(
                "INSERT INTO usb_records
                     (time, port, serial_number, chip, mac, label, kind, what, bytes, end, code)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
                params![
                    record.time,
                    record.port,
                    record.serial_number,
                    record.chip,
                    record.mac,
                    record.label,
                    usb_kind_name(record.kind),
                    record.what,
                    record.bytes,
                    usb_end_name(record.end),
                    record.code
                ],
            )
        })
        .await
        .map(drop)
    }

    /// What was done to boards, newest first, at most [`USB_RECORDS`]. A row that this version cannot
    /// read is left out.
    pub async fn usb_records(&self) -> Result<Vec<UsbRecord>, Error> {
        self.call(|db| {
            let mut query = db.prepare_cached(
                "SELECT time, port, serial_number, chip, mac, label, kind, what, bytes, end, code
                 FROM usb_records ORDER BY id DESC LIMIT ?1",
            )?;
            let rows = query.query_map([USB_RECORDS], record)?;
            rows.filter_map(Result::transpose).collect()
        })
        .await
    }

    /// What the user calls the board of this address.
    pub async fn usb_label(&self, mac: &str) -> Result<Option<String>, Error> {
        let mac = mac.to_owned();
        self.call(move |db| {
            let sql = "SELECT label FROM usb_labels WHERE mac = ?1";
            db.query_row(sql, [mac], |r| r.get(0)).optional()
        })
        .await
    }

    /// Keeps what the user calls a board, or forgets it.
    pub async fn set_usb_label(&self, mac: &str, label: Option<&str>) -> Result<(), Error> {
        let (mac, label) = (mac.to_owned(), label.map(str::to_owned));
        self.call(move |db| match label {
            Some(label) => db.execute(
                "INSERT OR REPLACE INTO usb_labels (mac, label) VALUES (?1, ?2)",
                [mac, label],
            ),
            None => db.execute("DELETE FROM usb_labels WHERE mac = ?1", [mac]),
        })
        .await
        .map(drop)
    }
}

fn record(row: &Row<'_>) -> rusqlite::Result<Option<UsbRecord>> {
    let (kind, end): (String, String) = (row.get(6)?, row.get(9)?);
    let kind = KINDS.iter().find(|(_, name)| *name == kind);
    let end = ENDS.iter().find(|(_, name)| *name == end);
    let (Some((kind, _)), Some((end, _))) = (kind, end) else {
        return Ok(None);
    };
    Ok(Some(UsbRecord {
        time: row.get(0)?,
        port: row.get(1)?,
        serial_number: row.get(2)?,
        chip: row.get(3)?,
        mac: row.get(4)?,
        label: row.get(5)?,
        kind: *kind,
        what: row.get(7)?,
        bytes: row.get(8)?,
        end: *end,
        code: row.get(10)?,
    }))
}

/// The name of a kind of job, the same in the database and in CSV.
pub(crate) fn usb_kind_name(kind: UsbJobKind) -> &'static str {
    let named = KINDS.iter().find(|(other, _)| *other == kind);
    named.map_or("", |(_, name)| name)
}

/// The name of an end, the same in the database and in CSV.
pub(crate) fn usb_end_name(end: UsbEnd) -> &'static str {
    let named = ENDS.iter().find(|(other, _)| *other == end);
    named.map_or("", |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::home::Home;

    fn record(time: f64, end: UsbEnd) -> UsbRecord {
        UsbRecord {
            time,
            port: "/dev/ttyACM0".into(),
            serial_number: Some("7C:DF:A1:B2:C3:D4".into()),
            chip: "esp32c3".into(),
            mac: Some("7c:df:a1:b2:c3:d4".into()),
            label: None,
            kind: UsbJobKind::Flash,
            what: "demo 1.1.0".into(),
            bytes: 1_048_576,
            end,
            code: (end == UsbEnd::Failed).then(|| "unplugged".into()),
        }
    }

    async fn store(dir: &tempfile::TempDir) -> Store {
        let home = Home::open(dir.path()).unwrap();
        Store::open(&home).await.unwrap().0
    }

    #[tokio::test]
    async fn what_was_flashed_on_what_is_kept_newest_first() {
        let dir = tempfile::tempdir().unwrap();
        let written = [record(1.0, UsbEnd::Done), record(2.5, UsbEnd::Failed)];
        {
            let store = store(&dir).await;
            for record in &written {
                store.add_usb_record(record).await.unwrap();
            }
        }
        let [first, second] = written;
        let read = store(&dir).await.usb_records().await.unwrap();
        assert_eq!(read, [second, first]);
    }

    #[tokio::test]
    async fn a_label_belongs_to_a_board_until_it_is_taken_away() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(&dir).await;
        let mac = "7c:df:a1:b2:c3:d4";
        for label in [Some("porch"), Some("bench 7"), None] {
            store.set_usb_label(mac, label).await.unwrap();
            assert_eq!(store.usb_label(mac).await.unwrap().as_deref(), label);
        }
    }

    #[tokio::test]
    async fn a_database_of_the_first_version_gets_the_tables() {
        let dir = tempfile::tempdir().unwrap();
        let path = Home::open(dir.path()).unwrap().database();
        {
            let old = rusqlite::Connection::open(&path).unwrap();
            old.execute_batch(super::super::MIGRATIONS[0]).unwrap();
            old.pragma_update(None, "user_version", 1).unwrap();
        }
        let store = store(&dir).await;
        let done = record(1.0, UsbEnd::Done);
        store.add_usb_record(&done).await.unwrap();
        assert_eq!(store.usb_records().await.unwrap(), [done]);
    }
}
