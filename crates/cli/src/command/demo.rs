//! `airlift demo`

use crate::exit;
use crate::failure::Failure;
use crate::interrupt::Interrupts;
use crate::output;
use airlift_app::demo;
use airlift_wire::ErrorCode;

/// Does the main job on two virtual devices, in a folder that is gone afterwards.
pub async fn run() -> Result<u8, Failure> {
    let folder = tempfile::tempdir().map_err(|error| Failure::io(&std::env::temp_dir(), &error))?;
    let mut interrupts = Interrupts::new()?;
    let mut said = Ok(());
    let report = tokio::select! {
        report = demo::run(folder.path(), |text| {
            if said.is_ok() {
                said = output::line(text);
            }
        }) => report?,
        () = interrupts.next() => {
            return Err(Failure::new(ErrorCode::Cancelled, "the demo was cancelled"));
        }
    };
    said?;
    let demo::Report {
        updated,
        devices,
        chunks_verified,
        ..
    } = report;
    output::line(&format!(
        "{updated} of {devices} devices updated, {chunks_verified} chunks verified"
    ))?;
    Ok(if updated == devices {
        exit::DONE
    } else {
        exit::DEVICE_FAILED
    })
}
