//! What commands print, for people or as JSON.

use serde::Serialize;
use std::io::Write as _;

use crate::failure::Failure;
use airlift_app::dto::End;
use airlift_wire::ErrorCode;

/// Prints one JSON object on a line of its own.
pub fn json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|e| Failure::new(ErrorCode::Internal, e.to_string()))?;
    line(&text)
}

/// Prints a line. A reader that has gone away (`airlift … | head`) is no reason to stop: what a
/// command does to devices does not depend on who watches.
pub fn line(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out
        .write_all(text.as_bytes())
        .and_then(|()| out.write_all(b"\n"))
        .and_then(|()| out.flush())
    {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(ErrorCode::Io, error.to_string())),
    }
}

/// A size for people.
pub fn size(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        _ => format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0)),
    }
}

/// Rows as columns that line up; the first row is the heading. The last column may be empty.
pub fn table(rows: &[Vec<String>]) -> Result<(), Failure> {
    for row in aligned(rows) {
        line(&row)?;
    }
    Ok(())
}

fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |n: usize| {
        let cells = rows.iter().filter_map(|row| row.get(n));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let fill = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, &width)| format!("{cell:<width$}"))
            .collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(fill).collect()
}

/// A time in Unix seconds as `2026-11-22 20:18:51`.
pub fn utc(unix: f64) -> String {
    // Days to a date: H. Hinnant's algorithm, in eras of 400 years that begin in March.
    let seconds = unix.max(0.0) as i64;
    let (days, time) = (
        seconds.div_euclid(86_400) + 719_468,
        seconds.rem_euclid(86_400),
    );
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// How a job ended, for people.
pub fn end(end: Option<End>) -> &'static str {
    match end {
        None => "running",
        Some(End::Done) => "done",
        Some(End::RolledBack) => "rolled back",
        Some(End::Failed) => "failed",
        Some(End::Cancelled) => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [
            ["NAME", "ID", ""],
            ["küche", "c3-1", ""],
            ["x", "c3-22", "offline"],
        ];
        let rows: Vec<Vec<String>> = rows
            .iter()
            .map(|row| row.map(str::to_owned).to_vec())
            .collect();
        assert_eq!(
            aligned(&rows),
            ["NAME   ID", "küche  c3-1", "x      c3-22  offline"]
        );
    }

    #[test]
    fn times_are_dates() {
        assert_eq!(utc(0.0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_782_399.9), "2000-02-28 23:59:59");
        assert_eq!(utc(951_782_400.0), "2000-02-29 00:00:00");
        assert_eq!(utc(1_795_305_600.0), "2026-11-22 00:00:00");
        assert_eq!(utc(4_107_542_400.0), "2100-03-01 00:00:00");
    }

    #[test]
    fn sizes_have_the_unit_that_reads_best() {
        assert_eq!(size(512), "512 B");
        assert_eq!(size(192_464), "188.0 KiB");
        assert_eq!(size(16 * 1024 * 1024), "16.0 MiB");
    }
}
