//! The main job, end to end, as `airlift demo` does it.

use airlift_app::demo;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_updates_two_devices_and_proves_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut said = Vec::new();
    let report = demo::run(folder.path(), |line| said.push(line.to_owned())).await;
    let report = report.unwrap_or_else(|error| panic!("{error}\n{}", said.join("\n")));
    assert_eq!(
        (report.devices, report.updated),
        (2, 2),
        "{}",
        said.join("\n")
    );
    // 47 chunks of app and 10 or so of files, on each of two devices.
    assert!(report.chunks_verified > 2 * 47, "{}", said.join("\n"));
}
