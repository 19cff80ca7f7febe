//! Drops from a test: a socket on which lines become the events that Tauri emits for a drag.
//!
//! WebDriver cannot drag a file from outside into a window. Builds for development listen on the
//! socket that `AIRLIFT_TEST_DROP` names; a line such as `{"kind":"drop","paths":["/a.airlift"]}`
//! emits what tauri 2.12 emits for it (`on_window_event` in its `manager/window.rs`): same name,
//! same target, same payload. Everything behind the event is the real thing.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tauri::{AppHandle, Emitter, EventTarget, PhysicalPosition};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::window::LABEL;

const VARIABLE: &str = "AIRLIFT_TEST_DROP";

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Enter,
    Over,
    Drop,
    Leave,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    kind: Kind,
    #[serde(default)]
    paths: Vec<PathBuf>,
}

#[derive(Clone, Serialize)]
struct Payload {
    #[serde(skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<PathBuf>>,
    position: PhysicalPosition<f64>,
}

/// Listens if the variable names a socket; a file that is there already is replaced.
pub(crate) fn listen(app: &AppHandle) {
    let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else {
        return;
    };
    let app = app.clone();
    tauri::async_runtime::spawn(async move {
        let _ = std::fs::remove_file(&path);
        match UnixListener::bind(&path) {
            Ok(listener) => {
                while let Ok((stream, _)) = listener.accept().await {
                    tauri::async_runtime::spawn(answer(app.clone(), stream));
                }
            }
            Err(error) => tracing::error!(%error, path = %path.display(), "no test drops"),
        }
    });
}

async fn answer(app: AppHandle, stream: UnixStream) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let answer = match serde_json::from_str(&line) {
            Ok(line) => emit(&app, line).map_or_else(|e| e.to_string(), |()| "ok".into()),
            Err(error) => error.to_string(),
        };
        write.write_all(format!("{answer}\n").as_bytes()).await?;
    }
    Ok(())
}

fn emit(app: &AppHandle, line: Line) -> tauri::Result<()> {
    let target = EventTarget::labeled(LABEL);
    let position = PhysicalPosition::new(200.0, 200.0);
    let at = |paths| Payload { paths, position };
    match line.kind {
        Kind::Enter => app.emit_to(target, "tauri://drag-enter", at(Some(line.paths))),
        Kind::Over => app.emit_to(target, "tauri://drag-over", at(None)),
        Kind::Drop => app.emit_to(target, "tauri://drag-drop", at(Some(line.paths))),
        Kind::Leave => app.emit_to(target, "tauri://drag-leave", ()),
    }
}
