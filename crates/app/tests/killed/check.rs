//! What must hold when the app is opened after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use airlift_app::dto::{End, HistoryRow};
use airlift_app::{Airlift, Options};
use airlift_release::UnverifiedRelease;

use crate::desk::Desk;
use crate::work::Ack;

/// How long a job that was picked up may take.
const JOB: Duration = Duration::from_secs(60);

type Checked = Result<(), String>;

fn must(holds: bool, what: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(what()) }
}

/// Opens what the killed process left and checks it against what that process said.
pub fn reopened(desk: &Desk, acks: &[Ack]) -> Checked {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        // As the next command sees it, and then the window, which goes on with what was left.
        let app = open(desk, false).await?;
        let checked = before(&app, acks).await;
        app.close().await;
        checked?;
        let app = open(desk, true).await?;
        let checked = after(&app, desk, acks).await;
        app.close().await;
        checked
    })?;
    nothing_left(&desk.home())?;
    database(&desk.home().join("airlift.db"))
}

async fn open(desk: &Desk, window: bool) -> Result<Airlift, String> {
    let home = desk.home();
    let mut options = if window {
        Options::new(home)
    } else {
        Options::command(home)
    };
    options.mdns = false;
    let app = Airlift::open(options)
        .await
        .map_err(|e| format!("does not open: {e}"))?;
    must(app.notices().is_empty(), || {
        format!("complains: {:?}", app.notices())
    })?;
    Ok(app)
}

/// What was said is there, and what is there is whole.
async fn before(app: &Airlift, acks: &[Ack]) -> Checked {
    let keys = app.keys().await.map_err(|e| e.to_string())?;
    let deleted: BTreeSet<&str> = acks
        .iter()
        .filter_map(|ack| {
            if let Ack::Deleted { id } = ack {
                Some(id.as_str())
            } else {
                None
            }
        })
        .collect();
    let releases: BTreeSet<String> = app.releases().into_iter().map(|r| r.id).collect();
    let history: BTreeMap<u32, HistoryRow> = rows(app).await?;
    let exports = acks
        .iter()
        .filter(|ack| matches!(ack, Ack::Exported { .. }))
        .count();
    let first = acks.iter().find_map(|ack| {
        if let Ack::Release { id } = ack {
            Some(id)
        } else {
            None
        }
    });
    for ack in acks {
        match ack {
            Ack::Key { id, name } => {
                let key = keys.iter().find(|key| key.id == *id);
                must(
                    key.is_some_and(|k| k.can_sign && k.trusted && k.name == *name),
                    || format!("key {name} is lost or half there: {key:?}"),
                )?;
            }
            Ack::Trusted { id } => {
                must(keys.iter().any(|k| k.id == *id && k.trusted), || {
                    format!("trust in {id} is lost")
                })?;
            }
            Ack::Release { id } if deleted.contains(id.as_str()) => {
                must(!releases.contains(id), || format!("release {id} is back"))?;
            }
            // The first one is deleted in the end; that may be done and not said yet.
            Ack::Release { id } if first == Some(id) && exports == 3 => {}
            Ack::Release { id } => {
                must(releases.contains(id), || format!("release {id} is lost"))?;
            }
            Ack::Exported { path, bytes } => {
                let there = std::fs::metadata(path).map(|m| m.len()).ok();
                must(there == Some(*bytes), || {
                    format!("{path} has {there:?}, not {bytes} bytes")
                })?;
            }
            Ack::Settings { port } => {
                let settings = app.snapshot().await.map_err(|e| e.to_string())?.settings;
                must(settings.port == *port, || {
                    format!("settings are lost: {settings:?}")
                })?;
            }
            Ack::Started { job } => {
                must(history.contains_key(job), || format!("job {job} is lost"))?;
            }
            Ack::Ended { job, end } => {
                let row = history.get(job);
                let done = row.is_some_and(|row| row.end == Some(End::Done) && row.ended.is_some());
                must(end == "done" && done, || {
                    format!("the end of job {job} is lost: {row:?}")
                })?;
            }
            Ack::Deleted { .. } | Ack::Closed => {}
        }
    }
    // A job without an end was interrupted, and says so and what to do.
    for row in history.values().filter(|row| row.end.is_none()) {
        let says = row.code.as_deref() == Some("connection_lost")
            && row.summary.contains("update it again");
        must(says, || format!("not said to be interrupted: {row:?}"))?;
    }
    // A key without its other half would block its name for ever.
    for key in &keys {
        must(key.trusted, || {
            format!("key {} is half there: {key:?}", key.name)
        })?;
    }
    Ok(())
}

async fn rows(app: &Airlift) -> Result<BTreeMap<u32, HistoryRow>, String> {
    let history = app.history().await.map_err(|e| e.to_string())?;
    Ok(history.into_iter().map(|row| (row.job, row)).collect())
}

/// What was interrupted goes on to its end, and what was not said can be done again.
async fn after(app: &Airlift, desk: &Desk, acks: &[Ack]) -> Checked {
    let end = tokio::time::Instant::now() + JOB;
    loop {
        let open: Vec<_> = rows(app)
            .await?
            .into_values()
            .filter(|row| row.end != Some(End::Done))
            .collect();
        let Some(row) = open.first() else { break };
        must(row.end.is_none(), || {
            format!("the interrupted job did not end well: {row:?}")
        })?;
        must(tokio::time::Instant::now() < end, || {
            format!("the interrupted job hangs: {row:?}")
        })?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let jobs = rows(app).await?;
    must(jobs.len() <= 1, || {
        format!("one update is one job: {jobs:?}")
    })?;
    if let Some(row) = jobs.values().next() {
        // The window hears from the device itself a little later than from the job.
        loop {
            let devices = app.devices().into_iter();
            let mut releases = devices.filter(|d| d.id == row.device).map(|d| d.release);
            let running = releases.next().flatten();
            if running == Some(desk.update.id().to_string()) {
                break;
            }
            must(tokio::time::Instant::now() < end, || {
                format!("the device runs {running:?}")
            })?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for name in ["own", "maker"] {
        let known = app.keys().await.map_err(|e| e.to_string())?;
        if known.iter().any(|key| key.name == name && key.can_sign) {
            continue;
        }
        let said = acks
            .iter()
            .any(|ack| matches!(ack, Ack::Key { name: n, .. } if n == name));
        must(!said, || format!("key {name} is lost"))?;
        let again = match name {
            "own" => app.new_key(name, None).await,
            _ => app.import_key(&desk.path.join("maker.pem"), None).await,
        };
        let again = again.map_err(|e| format!("key {name} cannot be made again: {e}"))?;
        must(again.name == name, || {
            format!("the name {name} is taken: {again:?}")
        })?;
    }
    let maker = app.keys().await.map_err(|e| e.to_string())?;
    must(maker.iter().filter(|key| key.can_sign).count() == 2, || {
        format!("{maker:?}")
    })?;
    for (name, exporting) in [("update", true), ("large", false)] {
        let release = app
            .add_release(&desk.path.join(format!("{name}.airlift")))
            .await;
        let release = release.map_err(|e| format!("{name} cannot be added: {e}"))?;
        if exporting {
            let out = desk.path.join("out.airlift");
            app.export_release(&release.id, &out)
                .await
                .map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// No lock, no temporary file, and no file in the library that is not a whole release.
fn nothing_left(home: &Path) -> Checked {
    let desk = home.parent().unwrap_or(home);
    for dir in [
        home.join("releases"),
        home.join("keys"),
        home.join("trusted"),
        home.to_owned(),
        desk.to_owned(),
    ] {
        for name in names(&dir) {
            must(!name.starts_with('.'), || {
                format!("{name} was left in {}", dir.display())
            })?;
        }
    }
    let locks: Vec<_> = names(&home.join("run"))
        .into_iter()
        .filter(|n| n.ends_with(".lock"))
        .collect();
    must(locks.is_empty(), || format!("locks were left: {locks:?}"))?;
    for name in names(&home.join("releases")) {
        let path = home.join("releases").join(&name);
        let read = UnverifiedRelease::read_file(&path).map_err(|e| format!("{name}: {e}"))?;
        must(name == format!("{}.airlift", read.id()), || {
            format!("{name} is another release")
        })?;
    }
    for name in names(&home.join("keys")) {
        let stem = name.trim_end_matches(".pem").trim_end_matches(".pub");
        let pair = [".pem", ".pub.pem"].map(|end| home.join("keys").join(format!("{stem}{end}")));
        must(pair.iter().all(|path| path.exists()), || {
            format!("key {name} has no other half")
        })?;
    }
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// The database is whole, and its log was taken into it.
fn database(path: &Path) -> Checked {
    let db = rusqlite::Connection::open(path).map_err(|e| e.to_string())?;
    let check: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .map_err(|e| e.to_string())?;
    must(check == "ok", || format!("the database: {check}"))
}
