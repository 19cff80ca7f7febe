//! The desktop shell of Airlift: a thin front on [`airlift_app`].
//!
//! It opens one window on the page built from `ui/`, answers the page's commands (`commands`),
//! passes the app's events on (`events`) and does what only a desktop program can: one instance a
//! home, window size and theme, notifications, an orderly end. It decides nothing about updates.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod args;
mod commands;
mod events;
mod log;
mod notice;
#[cfg(all(unix, debug_assertions))]
mod test_drop;
mod window;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::Path;
use std::time::Duration;

use airlift_app::dto::ErrorInfo;
use airlift_app::home::Home;
use airlift_app::{Airlift, Error, Options};
use tauri::async_runtime::block_on;
use tauri::plugin::TauriPlugin;
use tauri::{AppHandle, Manager, RunEvent, Wry};
use tauri_plugin_dialog::{DialogExt as _, MessageDialogKind};

pub use args::{Args, USAGE};

/// How many devices `--try-virtual-devices` starts.
const VIRTUAL_DEVICES: u32 = 2;

/// Servers and devices that have not stopped by then are left to the end of the process.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Opens the window and returns when it is closed, or when another instance has taken over.
///
/// # Errors
/// The system offers no window.
pub fn run(args: Args) -> tauri::Result<()> {
    let home = Home::locate();
    log::start(home.as_deref().ok());
    let one_instance = single_instance(home.as_deref().ok());
    let window_state = tauri_plugin_window_state::Builder::default()
        .with_state_flags(window::REMEMBERED)
        .with_filename(window::state_file(home.as_deref().ok()));
    let app = tauri::Builder::default()
        // First: a second instance ends here, before it opens anything.
        .plugin(one_instance)
        .plugin(window_state.build())
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_notification::init())
        .manage(events::Page::default())
        .invoke_handler(commands::handler())
        .setup(move |app| {
            match home.and_then(|home| block_on(Airlift::open(Options::new(home)))) {
                Ok(airlift) => start(app.handle(), airlift, args)?,
                Err(error) => say_and_exit(app.handle(), &error),
            }
            Ok(())
        })
        .build(tauri::generate_context!())?;
    app.run(|app, event| {
        if let RunEvent::Exit = event {
            close(app);
        }
    });
    Ok(())
}

fn start(app: &AppHandle, airlift: Airlift, args: Args) -> tauri::Result<()> {
    app.manage(airlift);
    window::open(app)?;
    #[cfg(all(unix, debug_assertions))]
    test_drop::listen(app);
    end_on_signal(app.clone());
    act_on(app, args);
    Ok(())
}

fn act_on(app: &AppHandle, args: Args) {
    if args.try_virtual_devices {
        let app = app.clone();
        tauri::async_runtime::spawn(async move {
            let airlift = app.state::<Airlift>();
            if let Err(error) = airlift.start_virtual_devices(VIRTUAL_DEVICES).await {
                tracing::error!(%error, "no virtual devices");
            }
        });
    }
}

/// A second start on the same home brings the first window to the front. Without a session bus
/// (Linux) there is no way to know, and the window just opens.
fn single_instance(home: Option<&Path>) -> TauriPlugin<Wry> {
    let mut hasher = DefaultHasher::new();
    home.hash(&mut hasher);
    let name = format!("io.github.airlift-ota.airlift.home{:016x}", hasher.finish());
    tauri_plugin_single_instance::Builder::new()
        .dbus_id(name)
        .callback(|app, arguments, _| {
            window::focus(app);
            if let Ok(args) = Args::parse(arguments.into_iter().skip(1)) {
                act_on(app, args);
            }
        })
        .build()
}

/// Without its library the app can do nothing: says why, and ends.
fn say_and_exit(app: &AppHandle, error: &Error) {
    let ErrorInfo {
        code,
        message,
        help,
    } = error.into();
    tracing::error!(code, message, "cannot start");
    let exit = app.clone();
    app.dialog()
        .message(format!("{message}\n\n{help}\n\n{code}"))
        .title("Airlift cannot start")
        .kind(MessageDialogKind::Error)
        .show(move |_| exit.exit(1));
}

/// Stops servers and virtual devices; devices that are being updated keep what they have, and the
/// next start picks their jobs up.
fn close(app: &AppHandle) {
    if let Some(airlift) = app.try_state::<Airlift>() {
        let closed = block_on(async { tokio::time::timeout(CLOSE_WITHIN, airlift.close()).await });
        if closed.is_err() {
            tracing::warn!("not everything stopped within {CLOSE_WITHIN:?}");
        }
    }
}

/// A signal to end is as good as closing the window.
#[cfg(unix)]
fn end_on_signal(app: AppHandle) {
    use tokio::signal::unix::{SignalKind, signal};
    tauri::async_runtime::spawn(async move {
        let (Ok(mut term), Ok(mut int)) = (
            signal(SignalKind::terminate()),
            signal(SignalKind::interrupt()),
        ) else {
            return;
        };
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        app.exit(0);
    });
}

#[cfg(not(unix))]
fn end_on_signal(_app: AppHandle) {}
