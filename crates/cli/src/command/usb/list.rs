//! `airlift usb list | backups | records | rule`

use super::object;
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_app::Airlift;
use airlift_app::dto::{UsbEnd, UsbJobKind, UsbPort};
use serde::Serialize;
use std::path::Path;

/// A port as scripts see it.
#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    port: &'a str,
    present: bool,
    vendor_id: Option<u16>,
    product_id: Option<u16>,
    adapter: &'a str,
    serial_number: Option<&'a str>,
    likely: Option<&'a str>,
    /// Why it cannot be opened: a stable code.
    code: Option<&'a str>,
    message: Option<&'a str>,
    help: Option<&'a str>,
}

pub fn ports(app: &Airlift, json: bool) -> Result<u8, Failure> {
    let ports = app.usb_ports();
    if json {
        for port in &ports {
            let problem = port.problem.as_ref();
            output::json(&Line {
                schema: 1,
                port: &port.path,
                present: port.present,
                vendor_id: port.vendor_id,
                product_id: port.product_id,
                adapter: &port.adapter,
                serial_number: port.serial_number.as_deref(),
                likely: port.likely.as_deref(),
                code: problem.map(|p| p.code.as_str()),
                message: problem.map(|p| p.message.as_str()),
                help: problem.map(|p| p.help.as_str()),
            })?;
        }
        return Ok(exit::DONE);
    }
    if ports.is_empty() {
        output::line("No serial port is there.")?;
        return Ok(exit::DONE);
    }
    let head = ["PORT", "ADAPTER", "ID", "SERIAL NUMBER", "LIKELY"];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    rows.extend(ports.iter().map(row));
    output::table(&rows)?;
    for port in &ports {
        if let Some(problem) = &port.problem {
            super::super::warn(problem);
        }
    }
    Ok(exit::DONE)
}

fn row(port: &UsbPort) -> Vec<String> {
    let id = port.vendor_id.zip(port.product_id);
    let dash = || "-".to_owned();
    vec![
        port.path.clone(),
        port.adapter.clone(),
        id.map_or_else(dash, |(vendor, product)| {
            format!("{vendor:04x}:{product:04x}")
        }),
        port.serial_number.clone().unwrap_or_else(dash),
        port.likely.clone().unwrap_or_else(dash),
    ]
}

pub async fn backups(app: &Airlift, json: bool) -> Result<u8, Failure> {
    let backups = app.usb_backups().await?;
    if json {
        for backup in &backups {
            output::json(&object(None, None, backup))?;
        }
        return Ok(exit::DONE);
    }
    if backups.is_empty() {
        output::line("Nothing was overwritten from here.")?;
        return Ok(exit::DONE);
    }
    let head = ["BACKUP", "TAKEN (UTC)", "CHIP", "ADDRESS", "SIZE", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for backup in backups {
        rows.push(vec![
            backup.id,
            output::utc(backup.time.into()),
            backup.chip,
            backup.mac.unwrap_or_else(|| "-".to_owned()),
            output::size(backup.bytes.into()),
            backup.summary,
        ]);
    }
    output::table(&rows)?;
    Ok(exit::DONE)
}

pub async fn records(app: &Airlift, csv: Option<&Path>, json: bool) -> Result<u8, Failure> {
    if let Some(path) = csv {
        app.usb_export_records(&path.to_string_lossy()).await?;
        return Ok(exit::DONE);
    }
    let records = app.usb_records().await?;
    if json {
        for record in &records {
            output::json(&object(None, None, record))?;
        }
        return Ok(exit::DONE);
    }
    if records.is_empty() {
        output::line("Nothing was written to a board from here.")?;
        return Ok(exit::DONE);
    }
    let head = [
        "ENDED (UTC)",
        "ADDRESS",
        "LABEL",
        "CHIP",
        "JOB",
        "END",
        "WRITTEN",
        "WHAT",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for record in records {
        let dash = || "-".to_owned();
        rows.push(vec![
            output::utc(record.time),
            record.mac.unwrap_or_else(dash),
            record.label.unwrap_or_else(dash),
            record.chip,
            kind(record.kind).to_owned(),
            end(record.end).to_owned(),
            output::size(record.bytes.into()),
            record.what,
        ]);
    }
    output::table(&rows)?;
    Ok(exit::DONE)
}

pub fn rule(app: &Airlift) -> Result<u8, Failure> {
    output::line(app.usb_udev_rule().trim_end())?;
    Ok(exit::DONE)
}

fn kind(kind: UsbJobKind) -> &'static str {
    match kind {
        UsbJobKind::Repair => "repair",
        UsbJobKind::Flash => "flash",
        UsbJobKind::Restore => "restore",
    }
}

/// How a job ended, for people.
pub fn end(end: UsbEnd) -> &'static str {
    match end {
        UsbEnd::Done => "done",
        UsbEnd::Failed => "failed",
        UsbEnd::Cancelled => "cancelled",
    }
}
