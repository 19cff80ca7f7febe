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
    "set_settings",
    "start_virtual_devices",
    "stop_virtual_devices",
];

fn main() {
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}
