//! A device as far as a probe can tell.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use airlift_discover::{DeviceId, DeviceInfo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

/// An id that no other run and no device has.
pub fn unique_id(name: &str) -> DeviceId {
    let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("test-{name}-{}-{nanos}", std::process::id())
        .parse()
        .unwrap()
}

pub fn info(id: &DeviceId) -> DeviceInfo {
    let slot = r#"{"slot":"ota_0","state":"valid","version":"1.0.0","sequence":1}"#;
    let json = format!(
        r#"{{"schema":1,"id":"{id}","name":"","product":"test","chip":"esp32c3",
            "flash_size":4194304,"running":{slot},"slots":[{slot}],"trust":null,
            "bootloader_rollback":false,"updater":{{"state":"idle"}},"last_update":null,
            "uptime_ms":1,"free_memory":1}}"#
    );
    DeviceInfo::parse(json.as_bytes()).unwrap()
}

/// Answers `GET /v1/device`; its port closes when it is dropped.
pub struct FakeDevice {
    pub addr: SocketAddr,
    pub info: Arc<Mutex<DeviceInfo>>,
    task: tokio::task::JoinHandle<()>,
}

impl FakeDevice {
    pub async fn start(id: &DeviceId, listen: &str) -> Self {
        let listener = TcpListener::bind(listen).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let info = Arc::new(Mutex::new(info(id)));
        let (booted, shown) = (Instant::now(), info.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                // A host that lost its link closes without a word.
                let length = stream.read(&mut head).await.unwrap_or(0);
                if length == 0 {
                    continue;
                }
                assert!(head[..length].starts_with(b"GET /v1/device HTTP/1.1\r\n"));
                let mut info = shown.lock().unwrap().clone();
                info.uptime_ms = booted.elapsed().as_millis().try_into().unwrap();
                let json = serde_json::to_string(&info).unwrap();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Content-Length: {}\r\n\r\n{json}",
                    json.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { addr, info, task }
    }
}

impl Drop for FakeDevice {
    fn drop(&mut self) {
        self.task.abort();
    }
}
