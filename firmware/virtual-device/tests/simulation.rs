//! Devices in a process, over real sockets on loopback.

mod support;

use airlift_discover::{Config, Discovery, Interfaces};
use airlift_release::SigningKey;
use airlift_virtual_device::Simulation;
use airlift_virtual_device::simulation::Status;
use std::net::{Ipv4Addr, TcpStream};
use support::{PATIENCE, config, release, serve, update, wait_for};

#[test]
fn two_devices_update_from_a_real_server_and_confirm() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let simulation = Simulation::start(&config(dir.path(), 2, &key)).unwrap();
    let release = release(&key, 1);
    let server = serve(&release);
    for device in simulation.devices() {
        let before = wait_for(device.address, |_| true);
        assert_eq!(before["id"], device.id.as_str());
        assert_eq!(before["running"]["slot"], "factory");
        let lines = update(device.address, server.local_addr(), &release);
        assert_eq!(lines[0]["event"], "started", "{lines:?}");
        assert_eq!(lines.last().unwrap()["event"], "rebooting", "{lines:?}");
        let after = wait_for(device.address, |info| {
            info["running"]["slot"] == "ota_0" && info["running"]["state"] == "valid"
        });
        assert_eq!(after["running"]["release"], release.id().to_string());
        assert_eq!(after["running"]["version"], "1.1.0");
        assert_eq!(after["last_update"]["end"], "done");
        let app = release.app().unwrap().digest().to_string();
        assert_eq!(after["running"]["app_sha256"], app);
        let files = release.files().unwrap().digest().to_string();
        assert_eq!(after["running"]["files_sha256"], files);
    }
}

#[test]
fn a_device_is_the_same_after_the_process_ended() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let config = config(dir.path(), 3, &key);
    let simulation = Simulation::start(&config).unwrap();
    let before = simulation.devices();
    let images: Vec<_> = (0..3).map(|n| simulation.flash_image(n).unwrap()).collect();
    assert!(Simulation::start(&config).is_err_and(|e| e.code().as_str() == "busy"));
    simulation.stop();
    let simulation = Simulation::start(&config).unwrap();
    assert_eq!(simulation.devices(), before);
    for (n, image) in images.iter().enumerate() {
        assert!(simulation.flash_image(n).unwrap() == *image);
    }
    let names: Vec<_> = before.iter().map(|d| d.name.as_str()).collect();
    assert_eq!(names, ["kitchen", "porch", "shed"]);
}

#[test]
fn a_device_without_power_refuses_connections_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let simulation = Simulation::start(&config(dir.path(), 1, &key)).unwrap();
    let device = simulation.devices().remove(0);
    wait_for(device.address, |_| true);
    assert_eq!(simulation.status(0), Some(Status::Running));
    simulation.kill(0);
    assert_eq!(simulation.status(0), Some(Status::Off));
    assert!(TcpStream::connect(device.address).is_err());
    simulation.start_device(0);
    let info = wait_for(device.address, |_| true);
    assert_eq!(info["id"], device.id.as_str());
    assert_eq!(simulation.devices(), [device]);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let config = config(dir.path(), 1, &key);
    let simulation = Simulation::start(&config).unwrap();
    let port = simulation.devices()[0].address.port();
    simulation.stop();
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let simulation = Simulation::start(&config).unwrap();
    let device = simulation.devices().remove(0);
    assert_eq!(device.moved_from, Some(port));
    assert_ne!(device.address.port(), port);
    wait_for(device.address, |_| true);
    drop(taken);
}

#[test]
fn a_device_whose_making_was_interrupted_is_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let config = config(dir.path(), 1, &key);
    let simulation = Simulation::start(&config).unwrap();
    let whole = simulation.flash_image(0).unwrap();
    simulation.stop();
    // The process was killed half-way through the flash.
    let mut half = whole.clone();
    half[..0x9000].fill(0xFF);
    half[0x20_0000..].fill(0xFF);
    std::fs::write(dir.path().join("device-1/flash.bin"), &half).unwrap();
    let simulation = Simulation::start(&config).unwrap();
    assert!(simulation.flash_image(0).unwrap() == whole);
    wait_for(simulation.devices()[0].address, |_| true);
}

#[tokio::test]
async fn devices_are_found_on_loopback_by_what_they_announce() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let mut config = config(dir.path(), 2, &key);
    config.announce = true;
    let simulation = Simulation::start(&config).unwrap();
    let wanted: std::collections::BTreeSet<_> = simulation
        .devices()
        .into_iter()
        .map(|d| (d.id, d.address))
        .collect();
    let look = Config {
        interfaces: Interfaces::LoopbackOnly,
        ..Config::default()
    };
    let discovery = Discovery::start(look);
    let mut changes = discovery.subscribe();
    let all = async {
        loop {
            let seen: std::collections::BTreeSet<_> = discovery
                .devices()
                .into_iter()
                .filter_map(|seen| Some((seen.id.to_string(), seen.address()?)))
                .collect();
            if wanted.is_subset(&seen) {
                return;
            }
            let _ = changes.recv().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
}
