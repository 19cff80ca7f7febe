//! What can be read of a damaged database.

use std::fs::File;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

/// Where a table cannot be read through, rows are asked for one by one until this many in a row are
/// not to be had.
const MISSED: usize = 5_000;

/// Gives a copy that SQLite would not even look into what it asks for first (its file format, section
/// 1.3): a header, as our databases have it, and as many pages as the header says.
pub(super) fn make_openable(scratch: &Path) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _, Write as _};
    const MAGIC: &[u8; 16] = b"SQLite format 3\0";
    const PAGE: u64 = 4096;
    if !scratch.is_file() {
        return Ok(());
    }
    let mut file = File::options().read(true).write(true).open(scratch)?;
    let len = file.metadata()?.len();
    let mut header = [0; 100];
    if len < PAGE || file.read_exact(&mut header).is_err() {
        return Ok(());
    }
    if !header.starts_with(MAGIC) {
        let pages = u32::try_from(len / PAGE).unwrap_or(u32::MAX);
        header = [0; 100];
        header[..16].copy_from_slice(MAGIC);
        // Page size, a log, nothing reserved, the fixed fractions.
        header[16..24].copy_from_slice(&[0x10, 0, 2, 2, 0, 64, 32, 32]);
        header[28..32].copy_from_slice(&pages.to_be_bytes());
        // Change counter and the version it is valid for, schema cookie, schema format, UTF-8.
        for (at, value) in [(24, 1), (92, 1), (40, 1), (44, 4), (56, 1)] {
            header[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
        }
        file.rewind()?;
        file.write_all(&header)?;
    }
    let size = u64::from(u16::from_be_bytes([header[16], header[17]]));
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let wanted = size.saturating_mul(pages.into());
    // A count that is garbage must not fill the disk.
    if wanted > len && wanted <= len.saturating_mul(16) {
        file.set_len(wanted)?;
    }
    Ok(())
}

/// Rows that were saved.
#[derive(Debug, Default)]
pub(super) struct Saved {
    pub(super) jobs: usize,
    pub(super) devices: usize,
    pub(super) settings: usize,
}

pub(super) fn save(old: &Connection, new: &mut Connection) -> rusqlite::Result<Saved> {
    let tx = new.transaction()?;
    let saved = Saved {
        jobs: table(old, &tx, "jobs")?,
        devices: table(old, &tx, "devices")?,
        settings: table(old, &tx, "settings")?,
    };
    for name in ["usb_records", "usb_labels"] {
        table(old, &tx, name)?;
    }
    tx.commit()?;
    Ok(saved)
}

/// Copies the rows of a table that can be read: from its start to the damage, from its end back to
/// the damage, and what lies between one by one. Errors of `old` are what is expected here.
fn table(old: &Connection, new: &Connection, name: &str) -> rusqlite::Result<usize> {
    let columns: Vec<String> = {
        let mut query = new.prepare("SELECT name FROM pragma_table_info(?1)")?;
        let names = query.query_map([name], |row| row.get(0))?;
        names.collect::<rusqlite::Result<_>>()?
    };
    let list = columns.join(", ");
    let marks = vec!["?"; columns.len()].join(", ");
    let mut insert = new.prepare(&format!(
        "INSERT OR IGNORE INTO {name} ({list}) VALUES ({marks})"
    ))?;
    let mut saved = 0;
    let mut keep = |row: Vec<Value>| {
        // A row that the tables do not take, such as text where a number belongs, is damaged.
        saved += insert.execute(params_from_iter(row)).unwrap_or(0);
    };
    let rows = |order: &str, mut each: Box<dyn FnMut(i64, Vec<Value>) + '_>| -> Option<()> {
        let sql = format!("SELECT rowid, {list} FROM {name} ORDER BY rowid {order}");
        let mut query = old.prepare(&sql).ok()?;
        let mut rows = query.query([]).ok()?;
        while let Some(row) = rows.next().ok()? {
            let values = (1..=columns.len()).map(|n| row.get(n));
            let Ok(values) = values.collect::<rusqlite::Result<_>>() else {
                continue;
            };
            each(row.get(0).ok()?, values);
        }
        Some(())
    };
    let (mut low, mut high) = (i64::MIN, i64::MAX);
    let whole = rows(
        "ASC",
        Box::new(|id, row| {
            low = id;
            keep(row);
        }),
    );
    if whole.is_none() {
        let _ = rows(
            "DESC",
            Box::new(|id, row| {
                if id > low {
                    high = id;
                    keep(row);
                }
            }),
        );
        // Rows are numbered from 1. Without any from the end, the numbers may go on for ever.
        let low = low.max(0);
        let Ok(mut one) = old.prepare(&format!("SELECT {list} FROM {name} WHERE rowid = ?1"))
        else {
            return Ok(saved);
        };
        let mut missed = 0;
        for id in (low..high).skip(1) {
            let row = one.query_row([id], |row| {
                let values = (0..columns.len()).map(|n| row.get(n));
                values.collect::<rusqlite::Result<Vec<Value>>>()
            });
            match row {
                Ok(row) => {
                    missed = 0;
                    keep(row);
                }
                Err(_) => missed += 1,
            }
            if missed > MISSED {
                break;
            }
        }
    }
    Ok(saved)
}
