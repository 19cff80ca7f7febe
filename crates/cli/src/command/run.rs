//! `airlift run`

use super::signer;
use super::update::{Listening, follow, targets};
use crate::args::Run;
use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::{Airlift, Build};
use airlift_wire::ErrorCode;
use std::time::Duration;
use tokio::time::sleep;

/// How often the device is asked for its log.
const LOG_EVERY: Duration = Duration::from_millis(500);

pub async fn run(args: Run) -> Result<u8, Failure> {
    let app = super::open(!args.no_mdns).await?;
    let result = build_to_log(&app, &args).await;
    app.close().await;
    result
}

async fn build_to_log(app: &Airlift, args: &Run) -> Result<u8, Failure> {
    let key = args.key.as_deref();
    let key = key
        .map(|key| signer::open(key, &args.passphrase))
        .transpose()?;
    let mut interrupts = Interrupts::new()?;
    let names = std::slice::from_ref(&args.device);
    let devices = tokio::select! {
        found = targets::named(app, names, args.wait) => found?,
        () = interrupts.next() => {
            return Err(Failure::new(ErrorCode::Cancelled, "cancelled before anything was sent"));
        }
    };
    let Some(device) = devices.first() else {
        return Err(Failure::new(ErrorCode::NoSuchDevice, "no device was found"));
    };
    if let Some(key) = &args.key {
        // The same key says that this release is the newest, to a device that asks.
        app.use_key(signer::open(key, &args.passphrase)?).await?;
    }
    let build = Build {
        app: args.app.clone(),
        version: args.version.clone(),
        files: args.files.clone(),
        base: args.base.clone(),
    };
    if let Some(release) = app.pack_build(device, build, key).await? {
        if !args.json {
            let (product, version) = (&release.product, &release.version);
            let sequence = release.sequence;
            output::line(&format!("release  {product} {version} sequence {sequence}"))?;
        }
        let listening = Listening::to(app);
        let ids = app.start_update(&devices, &release.id, false).await?;
        let code = follow(app, ids, listening, interrupts, args.json).await?;
        if code != exit::DONE {
            return Ok(code);
        }
    } else if !args.json {
        output::line("The device runs this build already.")?;
    }
    if args.no_log {
        return Ok(exit::DONE);
    }
    let mut interrupts = Interrupts::new()?;
    tokio::select! {
        result = show_log(app, device, args.json) => result,
        () = interrupts.next() => Ok(exit::DONE),
    }
}

/// Shows what the device logs, from its start on, as long as it is asked to.
async fn show_log(app: &Airlift, device: &str, json: bool) -> Result<u8, Failure> {
    let mut next = 0;
    let mut answers = true;
    loop {
        match app.device_log(device, next).await {
            Ok(log) if !log.kept => {
                eprintln!("note: the device's updater keeps no log");
                return Ok(exit::DONE);
            }
            Ok(log) => {
                answers = true;
                next = log.next as u64;
                if log.restarted {
                    eprintln!("note: the device has restarted");
                }
                if log.skipped > 0.0 {
                    eprintln!("note: {} bytes of the log were not kept", log.skipped);
                }
                for line in &log.lines {
                    show_line(device, line, json)?;
                }
            }
            Err(error) => {
                if answers {
                    eprintln!("note: {error}; waiting for it");
                }
                answers = false;
            }
        }
        sleep(LOG_EVERY).await;
    }
}

fn show_line(device: &str, line: &str, json: bool) -> Result<(), Failure> {
    if !json {
        return output::line(line);
    }
    output::json(&serde_json::json!({
        "schema": 1, "event": "log", "device": device, "line": line,
    }))
}
