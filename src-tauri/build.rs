//! Names every command, so that each needs a permission of its own.

const COMMANDS: &[&str] = &[
    "snapshot",
    "subscribe",
    "start_update",
    "cancel_job",
    "retry_job",
    "job_detail",
    "add_device",
    "forget_device",
    "device_log",
    "plan_drop",
    "add_release",
    "draft_release",
    "pack_release",
    "delete_release",
    "export_release",
    "go_back",
    "trust_key",
    "new_key",
    "import_key",
    "export_public_key",
    "save_key_copy",
    "unlock_key",
    "new_offline_key",
    "plan_key_change",
    "change_keys",
    "history",
    "export_history",
    "serve_plain",
    "set_settings",
    "start_virtual_devices",
    "stop_virtual_devices",
    "usb_connect",
    "usb_disconnect",
    "usb_add_port",
    "usb_label",
    "usb_diagnose",
    "usb_plan_repair",
    "usb_plan_flash",
    "usb_carry_out",
    "usb_cancel",
    "usb_backups",
    "usb_restore",
    "usb_monitor",
    "usb_stop_monitor",
    "usb_log",
    "usb_save_log",
    "usb_reset",
    "usb_wifi",
    "usb_records",
    "usb_export_records",
    "usb_udev_rule",
];

fn main() {
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
