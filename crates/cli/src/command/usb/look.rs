//! `airlift usb info | diagnose`

use super::{board, follow, object};
use crate::args::{Diagnose, OnePort};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_app::Airlift;
use airlift_app::dto::{Diagnosis, RegionHealth, UsbBoard, Verdict};

pub async fn info(app: &Airlift, port: &OnePort, json: bool) -> Result<u8, Failure> {
    let path = board::one(app, port).await?;
    let board = connect(app, &path).await?;
    if json {
        output::json(&object(Some(&path), None, &board))?;
    } else {
        print_board(&board)?;
    }
    Ok(exit::DONE)
}

pub async fn diagnose(app: &Airlift, args: &Diagnose) -> Result<u8, Failure> {
    let path = board::one(app, &args.port).await?;
    let board = connect(app, &path).await?;
    // Connecting has looked quickly; a board that is locked is not looked at.
    let quick = app.usb_ports().into_iter().find(|port| port.path == path);
    let quick = quick.and_then(|port| port.diagnosis);
    let diagnosis = match quick.filter(|quick| args.quick || quick.complete) {
        Some(diagnosis) => diagnosis,
        None => {
            let looking = app.usb_diagnose(&path, !args.quick);
            follow::interruptible(app, &path, looking).await?
        }
    };
    if args.json {
        output::json(&object(Some(&path), None, &diagnosis))?;
    } else {
        output::line(&title(&board))?;
        print(&diagnosis)?;
    }
    Ok(match diagnosis.verdict {
        Verdict::Healthy => exit::DONE,
        _ => exit::DEVICE_FAILED,
    })
}

/// Connects a board, and says so when somebody has to press its buttons.
pub async fn connect(app: &Airlift, path: &str) -> Result<UsbBoard, Failure> {
    let port = follow::interruptible(app, path, app.usb_connect(path)).await?;
    let lost = || Failure::new(airlift_wire::ErrorCode::NoAnswer, "the board is gone again");
    port.board.ok_or_else(lost)
}

/// What a board is, in a line.
pub fn title(board: &UsbBoard) -> String {
    let revision = board.revision.as_ref();
    let revision = revision.map_or_else(String::new, |r| format!(" revision {r}"));
    let mac = board
        .mac
        .as_ref()
        .map_or_else(String::new, |mac| format!(", {mac}"));
    let flash = flash_size(board.flash_size);
    format!("{}{revision}{mac}, {flash} of flash", board.chip)
}

/// Bytes of flash as data sheets have them.
fn flash_size(bytes: u32) -> String {
    match bytes % (1 << 20) {
        0 => format!("{} MiB", bytes >> 20),
        _ => output::size(bytes.into()),
    }
}

fn print_board(board: &UsbBoard) -> Result<(), Failure> {
    let yes = |on: bool| if on { "on" } else { "off" };
    let dash = || "-".to_owned();
    let features = board.features.join(", ");
    let rows = [
        ("chip", board.chip.clone()),
        ("revision", board.revision.clone().unwrap_or_else(dash)),
        ("address", board.mac.clone().unwrap_or_else(dash)),
        ("device id", board.device_id.clone().unwrap_or_else(dash)),
        ("flash", flash_size(board.flash_size)),
        (
            "features",
            if features.is_empty() {
                dash()
            } else {
                features
            },
        ),
        ("secure boot", yes(board.secure_boot).to_owned()),
        ("flash encryption", yes(board.flash_encryption).to_owned()),
        ("secure download", yes(board.secure_download).to_owned()),
    ];
    let rows: Vec<_> = rows
        .into_iter()
        .map(|(name, value)| vec![name.to_owned(), value])
        .collect();
    output::table(&rows)?;
    if let Some(refused) = &board.refused {
        super::super::warn(refused);
    }
    Ok(())
}

fn print(diagnosis: &Diagnosis) -> Result<(), Failure> {
    output::line(&format!("{} [{}]", diagnosis.sentence, diagnosis.code))?;
    output::line(&diagnosis.next_boot)?;
    let others = diagnosis
        .findings
        .iter()
        .filter(|finding| finding.sentence != diagnosis.sentence);
    for finding in others {
        output::line(&format!("  {} [{}]", finding.sentence, finding.code))?;
    }
    output::line("")?;
    let head = ["REGION", "OFFSET", "SIZE", "HEALTH", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for region in &diagnosis.regions {
        let starts = if region.boots { "starts: " } else { "" };
        rows.push(vec![
            region.name.clone(),
            format!("{:#08x}", region.offset),
            output::size(region.size.into()),
            health(region.health).to_owned(),
            format!("{starts}{}", region.summary),
        ]);
    }
    output::table(&rows)
}

fn health(health: RegionHealth) -> &'static str {
    match health {
        RegionHealth::Good => "good",
        RegionHealth::Empty => "empty",
        RegionHealth::Damaged => "damaged",
        RegionHealth::Unknown => "-",
        RegionHealth::Foreign => "foreign",
    }
}
