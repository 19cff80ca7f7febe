//! `airlift usb flash | repair | restore`

use super::follow::{self, Shown};
use super::show::Show;
use super::{board, look};
use crate::args::{Flash, OnePort, Passphrase, Repair, Restore, Source};
use crate::exit;
use crate::failure::Failure;
use airlift_app::dto::{FlashPart, FlashPlan, FlashRequest, FlashSource, WifiCredentials};
use airlift_app::{Airlift, Secret};
use airlift_wire::ErrorCode;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::Path;

pub async fn flash(app: &Airlift, args: &Flash) -> Result<u8, Failure> {
    let request = request(app, args).await?;
    let ports = board::several(app, &args.port).await?;
    let labels = labels(&args.label, ports.len())?;
    for (port, label) in ports.iter().zip(labels) {
        app.usb_label(port, Some(label.clone())).await?;
    }
    if args.plan {
        for port in &ports {
            look::connect(app, port).await?;
            let planning = app.usb_plan_flash(port, request.clone());
            let plan = follow::interruptible(app, port, planning).await?;
            Show::new(args.json).plan(port, &plan)?;
        }
        return Ok(exit::DONE);
    }
    follow::all(app, &ports, Show::new(args.json), |port, shown| {
        let (app, request) = (app.clone(), request.clone());
        async move {
            app.usb_connect(&port).await?;
            let plan = app.usb_plan_flash(&port, request).await?;
            shown.show().plan(&port, &plan)?;
            let job = app.usb_carry_out(&port, plan.id).await?;
            Ok(app.usb_wait(&port, job).await?)
        }
    })
    .await
}

fn labels(labels: &[String], ports: usize) -> Result<&[String], Failure> {
    if labels.is_empty() || labels.len() == ports {
        return Ok(labels);
    }
    let given = labels.len();
    Err(Failure::usage(format!(
        "there are {given} labels for {ports} boards"
    )))
}

pub async fn repair(app: &Airlift, args: &Repair) -> Result<u8, Failure> {
    let how = args.how.as_str();
    let plan = async |port: &str| app.usb_plan_repair(port, how).await;
    one(app, &args.port, args.plan, args.yes, args.json, true, plan).await
}

pub async fn restore(app: &Airlift, args: &Restore) -> Result<u8, Failure> {
    let plan = async |port: &str| app.usb_restore(port, &args.backup).await;
    one(app, &args.port, false, args.yes, args.json, false, plan).await
}

/// Makes a plan for one board, shows it, asks, and carries it out.
async fn one(
    app: &Airlift,
    port: &OnePort,
    only_plan: bool,
    yes: bool,
    json: bool,
    look_at_all: bool,
    plan: impl AsyncFn(&str) -> Result<FlashPlan, airlift_app::Error>,
) -> Result<u8, Failure> {
    let port = board::one(app, port).await?;
    look::connect(app, &port).await?;
    if look_at_all {
        // What was not looked at cannot be chosen to start.
        follow::interruptible(app, &port, app.usb_diagnose(&port, true)).await?;
    }
    let plan = follow::interruptible(app, &port, plan(&port)).await?;
    let show = Show::new(json);
    show.plan(&port, &plan)?;
    if let Some(blocked) = plan.blocked {
        let code = ErrorCode::parse(&blocked.code).unwrap_or(ErrorCode::NoRepair);
        return Ok(exit::of(code));
    }
    if only_plan || plan.steps.is_empty() {
        return Ok(exit::DONE);
    }
    if !yes && !asked()? {
        return Err(Failure::new(ErrorCode::Cancelled, "nothing was written"));
    }
    let id = plan.id;
    follow::all(app, std::slice::from_ref(&port), show, |port, _: Shown| {
        let app = app.clone();
        async move {
            let job = app.usb_carry_out(&port, id).await?;
            Ok(app.usb_wait(&port, job).await?)
        }
    })
    .await
}

/// Asks on a terminal whether to go on.
fn asked() -> Result<bool, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage(
            "this writes to the board: say so with --yes, or look first with --plan",
        ));
    }
    eprint!("Go on? [y/N] ");
    // When it cannot be shown, the answer is still waited for.
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.map_err(|e| Failure::new(ErrorCode::Io, e.to_string()))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn request(app: &Airlift, args: &Flash) -> Result<FlashRequest, Failure> {
    let mut trusts = Vec::new();
    for key in &args.trust {
        trusts.push(key_id(app, key).await?);
    }
    let wifi = match (&args.wifi, &args.password_env) {
        (Some(ssid), variable) => Some(WifiCredentials {
            ssid: ssid.clone(),
            password: password(variable.as_deref())?,
        }),
        (None, _) => None,
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Ok(FlashRequest {
        source: source(app, &args.source)?,
        name: args.name.clone(),
        trusts,
        wifi,
        factory_slot: args.factory_slot,
        bootloader: args.bootloader.as_deref().map(text),
        keep_nvs: !args.erase_nvs,
        backup: args.backup,
    })
}

/// The password in a variable; without one, of an open network.
pub fn password(variable: Option<&str>) -> Result<Secret, Failure> {
    let passphrase = Passphrase {
        passphrase_env: variable.map(str::to_owned),
    };
    let text = passphrase.read()?;
    Ok(Secret::from(text.as_deref().map_or("", String::as_str)))
}

fn source(app: &Airlift, sources: &[Source]) -> Result<FlashSource, Failure> {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    if let [Source::Whole(path)] = sources {
        let name = text(path);
        // A file is a file, also when a release is called like it.
        let release = app
            .releases()
            .into_iter()
            .find(|release| release.id == name);
        return Ok(match release.filter(|_| !path.exists()) {
            Some(release) => FlashSource::Release { id: release.id },
            None => FlashSource::File { path: name },
        });
    }
    let part = |source: &Source| match source {
        Source::Part(offset, path) => Ok(FlashPart {
            offset: *offset,
            path: text(path),
        }),
        Source::Whole(path) => Err(Failure::usage(format!(
            "{} has no offset; with several files each needs one, as in 0x10000=app.bin",
            path.display()
        ))),
    };
    let parts: Result<_, Failure> = sources.iter().map(part).collect();
    Ok(FlashSource::Parts { parts: parts? })
}

/// The id of a key of this computer, by id, name or file.
async fn key_id(app: &Airlift, key: &str) -> Result<String, Failure> {
    let keys = app.keys().await?;
    if let Some(known) = keys
        .iter()
        .find(|known| known.id == key || known.name == key)
    {
        return Ok(known.id.clone());
    }
    let path = Path::new(key);
    if !path.is_file() {
        let message = format!("there is no key {key} on this computer");
        return Err(Failure::new(ErrorCode::BadKey, message));
    }
    let id = super::super::trust::read(path)?.id().to_string();
    if keys.iter().any(|known| known.id == id) {
        return Ok(id);
    }
    Err(Failure::new(
        ErrorCode::UnknownKey,
        format!("{key} is not trusted on this computer, so a board set up here is not to trust it"),
    ))
}
