//! Devices in a process, over real sockets on loopback.

use airlift_release::{PackOptions, Release, SigningKey, files::FilesInput, pack};
use airlift_serve::{Limits, MemoryStore, Server, bind, router};
use airlift_virtual_device::simulation::Status;
use airlift_virtual_device::{Simulation, SimulationConfig, Software};
use airlift_wire::KeySet;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

const OLD: &[u8] = include_bytes!("../../../tests/fixtures/demo-1.0.0.bin");
const NEW: &[u8] = include_bytes!("../../../tests/fixtures/demo-1.1.0.bin");
const PATIENCE: Duration = Duration::from_secs(30);

fn release(key: &SigningKey, sequence: u32) -> Release {
    let mut options = PackOptions::new("sim-test", sequence, key);
    options.app = Some(NEW.into());
    options.files = Some(FilesInput::from_iter([
        ("main.py", "import lib.x\n"),
        ("lib/x.py", "print('x')\n"),
    ]));
    pack(options).unwrap().release
}

fn config(dir: &std::path::Path, count: usize, key: &SigningKey) -> SimulationConfig {
    let trust = KeySet::new(1, key.public(), &[key.public()]).unwrap();
    let software = Software::App(OLD.to_vec());
    let mut config = SimulationConfig::new(dir, count, "sim-test", trust, software);
    config.announce = false;
    config.settings.boot_ms = 20;
    config
}

fn ask(address: SocketAddr) -> Option<Value> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    write!(stream, "GET /v1/device HTTP/1.1\r\nHost: {address}\r\n\r\n").ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()
}

/// Asks until the answer is as wanted.
fn wait_for(address: SocketAddr, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        match ask(address) {
            Some(info) if wanted(&info) => return info,
            other => assert!(Instant::now() < end, "waited too long: {other:?}"),
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends an envelope and returns the lines of progress.
fn update(address: SocketAddr, host: SocketAddr, release: &Release) -> Vec<Value> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let envelope = release.envelope();
    let len = envelope.len();
    write!(
        stream,
        "POST /v1/update?from=http://{host} HTTP/1.1\r\nHost: {address}\r\n\
         Content-Type: application/cose\r\nContent-Length: {len}\r\n\r\n"
    )
    .unwrap();
    stream.write_all(envelope).unwrap();
    let lines = BufReader::new(stream).lines();
    lines
        .map_while(Result::ok)
        .skip_while(|line| !line.is_empty())
        .skip(1)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}

fn serve(release: &Release) -> Server {
    let store = Arc::new(MemoryStore::default());
    let parts = release.parts().map(|(_, part)| part.bytes().clone());
    let parts: Vec<_> = parts.collect();
    store.insert(release.envelope().clone(), parts).unwrap();
    let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Server::start(listener, router(store), Limits::default()).unwrap()
}

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
