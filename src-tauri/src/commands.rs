//! One command a use case: what the window's page may ask for.
//!
//! The names are those of `ui/src/backend/commands.ts`, of `build.rs`, which gives each a permission
//! of its own, and of `capabilities/main.json`, which grants them; a test compares the four.

mod usb;

use std::path::PathBuf;

use airlift_app::dto::{
    Device, DeviceLog, Draft, DropPlan, ErrorInfo, HistoryRow, JobDetail, Key, KeyChange,
    KeyChangePlan, NewOfflineKey, NewRelease, Numbered, Release, Settings, Snapshot,
};
use airlift_app::{Airlift, Error, Secret};
use tauri::ipc::{Channel, Invoke};
use tauri::{State, Wry};

use crate::events::{Page, forward};

type App<'a> = State<'a, Airlift>;
type Answer<T> = Result<T, ErrorInfo>;

/// Answers every command.
pub(crate) fn handler() -> impl Fn(Invoke<Wry>) -> bool + Send + Sync + 'static {
    tauri::generate_handler![
        snapshot,
        subscribe,
        start_update,
        cancel_job,
        retry_job,
        job_detail,
        add_device,
        forget_device,
        device_log,
        plan_drop,
        add_release,
        draft_release,
        pack_release,
        delete_release,
        export_release,
        go_back,
        trust_key,
        new_key,
        import_key,
        export_public_key,
        save_key_copy,
        unlock_key,
        new_offline_key,
        plan_key_change,
        change_keys,
        history,
        export_history,
        serve_plain,
        set_settings,
        start_virtual_devices,
        stop_virtual_devices,
        usb::usb_connect,
        usb::usb_disconnect,
        usb::usb_add_port,
        usb::usb_label,
        usb::usb_diagnose,
        usb::usb_plan_repair,
        usb::usb_plan_flash,
        usb::usb_carry_out,
        usb::usb_cancel,
        usb::usb_backups,
        usb::usb_restore,
        usb::usb_monitor,
        usb::usb_stop_monitor,
        usb::usb_log,
        usb::usb_save_log,
        usb::usb_reset,
        usb::usb_wifi,
        usb::usb_records,
        usb::usb_export_records,
        usb::usb_udev_rule,
    ]
}

/// An error as the window sees it; what lies beneath goes to the log.
#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn info(error: Error) -> ErrorInfo {
    tracing::debug!(?error, "a command was refused");
    ErrorInfo::from(&error)
}

#[tauri::command]
async fn snapshot(app: App<'_>) -> Answer<Snapshot> {
    app.snapshot().await.map_err(info)
}

#[tauri::command]
async fn subscribe(app: App<'_>, page: State<'_, Page>, on_event: Channel<Numbered>) -> Answer<()> {
    // Listening starts here and not in the task: what happens after the answer is not missed.
    let (events, gone) = (app.subscribe(), page.gone());
    tauri::async_runtime::spawn(forward(events, gone, move |event| on_event.send(event)));
    Ok(())
}

#[tauri::command]
async fn start_update(
    app: App<'_>,
    devices: Vec<String>,
    release: String,
    retry: bool,
) -> Answer<Vec<u32>> {
    let started = app.start_update(&devices, &release, retry).await;
    started.map_err(info)
}

#[tauri::command]
async fn cancel_job(app: App<'_>, id: u32) -> Answer<()> {
    app.cancel_job(id).await.map_err(info)
}

#[tauri::command]
async fn retry_job(app: App<'_>, id: u32) -> Answer<u32> {
    app.retry_job(id).await.map_err(info)
}

#[tauri::command]
async fn job_detail(app: App<'_>, id: u32) -> Answer<JobDetail> {
    app.job_detail(id).await.map_err(info)
}

#[tauri::command]
async fn add_device(app: App<'_>, address: String) -> Answer<Device> {
    app.add_device(&address).await.map_err(info)
}

#[tauri::command]
async fn forget_device(app: App<'_>, id: String) -> Answer<()> {
    app.forget_device(&id).await.map_err(info)
}

#[tauri::command]
async fn device_log(app: App<'_>, id: String, from: f64) -> Answer<DeviceLog> {
    app.device_log(&id, from as u64).await.map_err(info)
}

#[tauri::command]
async fn plan_drop(app: App<'_>, paths: Vec<PathBuf>) -> Answer<DropPlan> {
    app.plan_drop(&paths).await.map_err(info)
}

#[tauri::command]
async fn add_release(app: App<'_>, path: PathBuf) -> Answer<Release> {
    app.add_release(&path).await.map_err(info)
}

#[tauri::command]
async fn draft_release(app: App<'_>, paths: Vec<PathBuf>) -> Answer<Draft> {
    app.draft_release(&paths).await.map_err(info)
}

#[tauri::command]
async fn pack_release(app: App<'_>, form: NewRelease) -> Answer<Release> {
    app.pack_release(form).await.map_err(info)
}

#[tauri::command]
async fn delete_release(app: App<'_>, id: String) -> Answer<()> {
    app.delete_release(&id).await.map_err(info)
}

#[tauri::command]
async fn export_release(app: App<'_>, id: String, path: PathBuf) -> Answer<()> {
    app.export_release(&id, &path).await.map_err(info)
}

#[tauri::command]
async fn go_back(
    app: App<'_>,
    release: String,
    key_id: String,
    passphrase: Option<Secret>,
) -> Answer<Release> {
    let passphrase = passphrase.as_ref().map(Secret::expose);
    let signed = app.go_back(&release, &key_id, passphrase).await;
    signed.map_err(info)
}

#[tauri::command]
async fn trust_key(app: App<'_>, path: PathBuf) -> Answer<Key> {
    app.trust_key(&path).await.map_err(info)
}

#[tauri::command]
async fn new_key(app: App<'_>, name: String, passphrase: Option<Secret>) -> Answer<Key> {
    let passphrase = passphrase.as_ref().map(Secret::expose);
    let made = app.new_key(&name, passphrase).await;
    made.map_err(info)
}

#[tauri::command]
async fn import_key(app: App<'_>, path: PathBuf, passphrase: Option<Secret>) -> Answer<Key> {
    let passphrase = passphrase.as_ref().map(Secret::expose);
    let imported = app.import_key(&path, passphrase).await;
    imported.map_err(info)
}

#[tauri::command]
async fn export_public_key(app: App<'_>, id: String, path: PathBuf) -> Answer<()> {
    app.export_public_key(&id, &path).await.map_err(info)
}

#[tauri::command]
async fn save_key_copy(app: App<'_>, id: String, path: PathBuf) -> Answer<()> {
    app.save_key_copy(&id, &path).await.map_err(info)
}

#[tauri::command]
async fn unlock_key(app: App<'_>, id: String, passphrase: Secret) -> Answer<Key> {
    app.unlock_key(&id, &passphrase).await.map_err(info)
}

#[tauri::command]
async fn new_offline_key(app: App<'_>, form: NewOfflineKey) -> Answer<Key> {
    app.new_offline_key(form).await.map_err(info)
}

#[tauri::command]
async fn plan_key_change(app: App<'_>, devices: Vec<String>) -> Answer<KeyChangePlan> {
    app.plan_key_change(&devices).await.map_err(info)
}

#[tauri::command]
async fn change_keys(app: App<'_>, form: KeyChange) -> Answer<Vec<u32>> {
    app.change_keys(form).await.map_err(info)
}

#[tauri::command]
async fn history(app: App<'_>) -> Answer<Vec<HistoryRow>> {
    app.history().await.map_err(info)
}

#[tauri::command]
async fn export_history(app: App<'_>, path: PathBuf) -> Answer<()> {
    app.export_history(&path).await.map_err(info)
}

#[tauri::command]
async fn serve_plain(app: App<'_>, release: Option<String>) -> Answer<()> {
    let served = app.serve_plain(release.as_deref()).await;
    served.map_err(info)
}

#[tauri::command]
async fn set_settings(app: App<'_>, settings: Settings) -> Answer<()> {
    app.set_settings(settings).await.map_err(info)
}

#[tauri::command]
async fn start_virtual_devices(app: App<'_>, count: u32) -> Answer<()> {
    app.start_virtual_devices(count).await.map_err(info)
}

#[tauri::command]
async fn stop_virtual_devices(app: App<'_>) -> Answer<()> {
    app.stop_virtual_devices().await.map_err(info)
}

#[cfg(test)]
mod tests {
    /// What stands between two marks, without the marks.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let after = text.split_once(from).map_or("", |(_, after)| after);
        after.split_once(to).map_or(after, |(inside, _)| inside)
    }

    /// The quoted strings or bare names of a comma-separated list.
    fn names(list: &str) -> Vec<String> {
        let words = list.split([',', '\n']);
        let words = words.map(|word| word.trim().trim_matches(['"', '\'']));
        // Where a command lives is not part of its name.
        let words = words.map(|word| word.rsplit("::").next().unwrap_or(word));
        let words = words.filter(|word| !word.is_empty());
        words.map(ToOwned::to_owned).collect()
    }

    fn commands() -> Vec<String> {
        names(between(
            include_str!("commands.rs"),
            "generate_handler![",
            "]",
        ))
    }

    #[test]
    fn every_command_has_a_permission_of_its_own() {
        let build = include_str!("../build.rs");
        assert_eq!(commands(), names(between(build, "&[&str] = &[", "];")));
        assert!(!commands().is_empty());
    }

    #[test]
    fn the_window_calls_exactly_these_commands() {
        let ui = include_str!("../../ui/src/backend/commands.ts");
        assert_eq!(commands(), names(between(ui, "COMMANDS = [", "] as const")));
    }

    #[test]
    fn the_main_window_is_granted_exactly_these_commands() {
        let capability = include_str!("../capabilities/main.json");
        let granted = names(between(capability, "\"permissions\": [", "]"));
        let own: Vec<_> = granted
            .iter()
            .filter_map(|permission| permission.strip_prefix("allow-"))
            .map(|name| name.replace('-', "_"))
            .collect();
        assert_eq!(commands(), own);
    }
}
