//! Boards on USB. Ports are named by their path.

use airlift_app::dto::{
    Diagnosis, FlashPlan, FlashRequest, UsbBackup, UsbLogLine, UsbPort, UsbRecord, WifiCredentials,
};

use super::{Answer, App, info};

#[tauri::command]
pub(super) async fn usb_connect(app: App<'_>, port: String) -> Answer<UsbPort> {
    app.usb_connect(&port).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_disconnect(app: App<'_>, port: String) -> Answer<()> {
    app.usb_disconnect(&port).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_add_port(app: App<'_>, path: String) -> Answer<UsbPort> {
    app.usb_add_port(&path).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_label(app: App<'_>, port: String, label: Option<String>) -> Answer<()> {
    app.usb_label(&port, label).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_diagnose(app: App<'_>, port: String, full: bool) -> Answer<Diagnosis> {
    app.usb_diagnose(&port, full).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_plan_repair(app: App<'_>, port: String, how: String) -> Answer<FlashPlan> {
    app.usb_plan_repair(&port, &how).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_plan_flash(
    app: App<'_>,
    port: String,
    request: FlashRequest,
) -> Answer<FlashPlan> {
    app.usb_plan_flash(&port, request).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_carry_out(app: App<'_>, port: String, plan: u32) -> Answer<u32> {
    app.usb_carry_out(&port, plan).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_cancel(app: App<'_>, port: String) -> Answer<()> {
    app.usb_cancel(&port).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_backups(app: App<'_>) -> Answer<Vec<UsbBackup>> {
    app.usb_backups().await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_restore(app: App<'_>, port: String, backup: String) -> Answer<FlashPlan> {
    app.usb_restore(&port, &backup).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_monitor(app: App<'_>, port: String, elf: Option<String>) -> Answer<()> {
    app.usb_monitor(&port, elf).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_stop_monitor(app: App<'_>, port: String) -> Answer<()> {
    app.usb_stop_monitor(&port).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_log(app: App<'_>, port: String, from: u32) -> Answer<Vec<UsbLogLine>> {
    app.usb_log(&port, from).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_save_log(app: App<'_>, port: String, path: String) -> Answer<()> {
    app.usb_save_log(&port, &path).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_reset(app: App<'_>, port: String) -> Answer<()> {
    app.usb_reset(&port).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_wifi(app: App<'_>, port: String, wifi: WifiCredentials) -> Answer<String> {
    app.usb_wifi(&port, wifi).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_records(app: App<'_>) -> Answer<Vec<UsbRecord>> {
    app.usb_records().await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_export_records(app: App<'_>, path: String) -> Answer<()> {
    app.usb_export_records(&path).await.map_err(info)
}

#[tauri::command]
pub(super) async fn usb_udev_rule(app: App<'_>) -> Answer<String> {
    Ok(app.usb_udev_rule().to_owned())
}
