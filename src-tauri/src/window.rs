//! The one window: how it opens, its theme, and what the system is told when nobody looks at it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use airlift_app::Airlift;
use airlift_app::dto::{Event, Numbered, Settings};
use tauri::utils::config::WindowConfig;
use tauri::webview::PageLoadEvent;
use tauri::{AppHandle, Manager, Theme, WebviewWindow, WebviewWindowBuilder};
use tauri_plugin_notification::NotificationExt;
use tauri_plugin_window_state::StateFlags;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::time::Instant;

use crate::events::Page;
use crate::notice::{Ends, Notice};

/// Label of the window in the configuration and in the capability.
pub(crate) const LABEL: &str = "main";

/// What of the window is the same at the next start.
pub(crate) const REMEMBERED: StateFlags = StateFlags::SIZE
    .union(StateFlags::POSITION)
    .union(StateFlags::MAXIMIZED);

/// Where that is kept: with everything else, in the home.
pub(crate) fn state_file(home: Option<&Path>) -> String {
    let name = PathBuf::from("window.json");
    let path = home.map_or_else(|| name.clone(), |home| home.join(&name));
    path.to_str().unwrap_or("window.json").to_owned()
}

/// Ends within this time are told together.
const GATHER: Duration = Duration::from_secs(2);

/// Opens the window and keeps its theme and the notifications up to date.
pub(crate) fn open(app: &AppHandle) -> tauri::Result<WebviewWindow> {
    let airlift = app.state::<Airlift>();
    // Before the snapshot, so that no change falls between the two.
    let events = airlift.subscribe();
    let settings = tauri::async_runtime::block_on(airlift.snapshot());
    let settings = settings.ok().map(|snapshot| snapshot.settings);
    let mut configured = app.config().app.windows.iter();
    let config = configured.find(|window| window.label == LABEL);
    let config = config.cloned().unwrap_or_default();
    let window = build(app, &config, settings.as_ref())?;
    tauri::async_runtime::spawn(follow(window.clone(), events, settings));
    Ok(window)
}

fn build(
    app: &AppHandle,
    config: &WindowConfig,
    settings: Option<&Settings>,
) -> tauri::Result<WebviewWindow> {
    WebviewWindowBuilder::from_config(app, config)?
        .theme(settings.and_then(theme))
        // Nothing but the window's own page is ever shown in it.
        .on_navigation(|url| url.scheme() == "tauri" || is_own_host(url.host_str()))
        .on_page_load(|window, load| {
            if load.event() == PageLoadEvent::Started {
                window.state::<Page>().replaced();
            }
        })
        .build()
}

/// Windows and Android serve the page from this host instead of a scheme of its own.
fn is_own_host(host: Option<&str>) -> bool {
    cfg!(windows) && host == Some("tauri.localhost")
}

/// Brings the window to the front.
pub(crate) fn focus(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(LABEL) {
        let shown = window.show().and_then(|()| window.unminimize());
        if let Err(error) = shown.and_then(|()| window.set_focus()) {
            tracing::warn!(%error, "the window cannot be brought to the front");
        }
    }
}

fn theme(settings: &Settings) -> Option<Theme> {
    match settings.theme.as_str() {
        "dark" => Some(Theme::Dark),
        "light" => Some(Theme::Light),
        _ => None,
    }
}

async fn follow(window: WebviewWindow, mut events: Receiver<Numbered>, settings: Option<Settings>) {
    let mut notify = settings.is_some_and(|settings| settings.notify);
    let mut ends = Ends::default();
    let mut tell = None;
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = until(tell) => {
                tell = None;
                // What was seen in the window needs no notification.
                let notice = ends.notice().filter(|_| notify && !is_looked_at(&window));
                if let Some(notice) = notice {
                    show(&window, notice);
                }
                continue;
            }
        };
        match event.map(|numbered| numbered.event) {
            Ok(Event::Settings(settings)) => {
                notify = settings.notify;
                if let Err(error) = window.set_theme(theme(&settings)) {
                    tracing::warn!(%error, "the window keeps its theme");
                }
            }
            Ok(Event::Job(job)) if ends.take(&job) => {
                tell = tell.or_else(|| Some(Instant::now() + GATHER));
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn is_looked_at(window: &WebviewWindow) -> bool {
    let minimized = window.is_minimized().unwrap_or(false);
    window.is_focused().unwrap_or(false) && !minimized
}

fn show(window: &WebviewWindow, notice: Notice) {
    let notification = window.notification().builder();
    let notification = notification.title(notice.title).body(notice.body);
    if let Err(error) = notification.show() {
        tracing::warn!(%error, "the system shows no notification");
    }
}
