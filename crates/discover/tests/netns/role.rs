//! What runs inside a namespace: this test's own binary, started again in a role.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use airlift_discover::announce::{Announcement, Txt};
use airlift_discover::{Change, Config, Discovery, Interfaces, SeenDevice};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::oneshot;

use crate::fake_device::FakeDevice;

/// Starts every line that is meant for the test; the test harness prints lines of its own.
pub const MARK: &str = "netns: ";
/// What to be: `host` or `device`.
pub const ROLE: &str = "AIRLIFT_TEST_ROLE";
/// The id of the device.
pub const ID: &str = "AIRLIFT_TEST_ID";
/// Names of interfaces with commas between them; all when it is not set.
pub const INTERFACES: &str = "AIRLIFT_TEST_INTERFACES";
/// Where the device listens.
pub const LISTEN: &str = "AIRLIFT_TEST_LISTEN";

/// A line from a role to the test.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Line {
    /// The role is there; a device says on which port.
    Ready { port: u16 },
    /// A device appeared, changed or went.
    Seen(Seen),
}

/// A device as the host shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    pub id: String,
    pub online: bool,
    pub addresses: Vec<SocketAddr>,
    pub local_addr: Option<IpAddr>,
}

impl From<SeenDevice> for Seen {
    fn from(seen: SeenDevice) -> Self {
        Self {
            id: seen.id.to_string(),
            online: seen.online,
            addresses: seen.addresses,
            local_addr: seen.local_addr,
        }
    }
}

pub async fn play(role: &str) {
    let interfaces = std::env::var(INTERFACES).map_or(Interfaces::All, |names| {
        Interfaces::Named(names.split(',').map(str::to_owned).collect())
    });
    let over = test_is_over();
    match role {
        "host" => tokio::select! {
            () = host(interfaces) => {}
            _ = over => {}
        },
        "device" => {
            let id = std::env::var(ID).unwrap().parse().unwrap();
            let device = FakeDevice::start(&id, &std::env::var(LISTEN).unwrap()).await;
            let port = device.addr.port();
            let txt = Txt::from(&*device.info.lock().unwrap());
            let _announced = Announcement::new(id.as_str(), port, &txt, interfaces).unwrap();
            say(&Line::Ready { port });
            let _ = over.await;
        }
        other => panic!("no such role: {other}"),
    }
}

async fn host(interfaces: Interfaces) {
    let discovery = Discovery::start(Config {
        interfaces,
        ..Config::default()
    });
    let mut changes = discovery.subscribe();
    say(&Line::Ready { port: 0 });
    loop {
        match changes.recv().await {
            Ok(Change::Appeared(seen) | Change::Changed(seen) | Change::Gone(seen)) => {
                say(&Line::Seen(seen.into()));
            }
            Ok(Change::Forgotten(id)) => panic!("nobody asked to forget {id}"),
            Err(RecvError::Lagged(missed)) => panic!("{missed} changes missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

fn say(line: &Line) {
    // The harness may have left half a line there.
    println!("\n{MARK}{}", serde_json::to_string(line).unwrap());
}

/// Resolves when the standard input ends, as it does with the test however that ends.
fn test_is_over() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    receiver
}
