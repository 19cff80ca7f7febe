//! Two hosts with cables between them: network namespaces and pairs of virtual Ethernet interfaces.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use airlift_discover::DeviceId;

use crate::role::{ID, INTERFACES, LISTEN, Line, MARK, ROLE, Seen};

/// How long a role may take to start.
const START: Duration = Duration::from_secs(15);

/// Where a process runs.
#[derive(Debug, Clone, Copy)]
pub enum Side {
    /// The one that looks for devices: 10.99.N.1 on interface `lanN`.
    Host,
    /// The one with the devices: 10.99.N.2 on interface `lanN`.
    Device,
}

/// Both namespaces; they go when this is dropped.
pub struct Lab {
    name: String,
}

impl Lab {
    /// Namespaces of this name without any cable.
    ///
    /// # Errors
    /// Why this host does not allow that.
    pub fn new(name: &str) -> Result<Self, String> {
        let nanos = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let lab = Self {
            name: format!("airlift-{name}-{}-{nanos}", std::process::id()),
        };
        for side in [Side::Host, Side::Device] {
            ip(&["netns", "add", &lab.namespace(side)])?;
            lab.ip(side, "link set lo up")?;
        }
        Ok(lab)
    }

    fn namespace(&self, side: Side) -> String {
        match side {
            Side::Host => format!("{}-host", self.name),
            Side::Device => format!("{}-device", self.name),
        }
    }

    /// Runs `ip` on one side.
    pub fn ip(&self, side: Side, words: &str) -> Result<(), String> {
        let namespace = self.namespace(side);
        let words = words.split_whitespace();
        ip(&["-n", &namespace]
            .into_iter()
            .chain(words)
            .collect::<Vec<_>>())
    }

    /// The same where it must work.
    pub fn must(&self, side: Side, words: &str) {
        self.ip(side, words).unwrap();
    }

    /// Puts cable `n` between the two; neither side is up.
    pub fn plug(&self, n: u8) -> Result<(), String> {
        let peer = self.namespace(Side::Device);
        self.ip(
            Side::Host,
            &format!("link add lan{n} type veth peer name lan{n} netns {peer}"),
        )
    }

    /// Brings one end of cable `n` up, with its address.
    pub fn up(&self, side: Side, n: u8) {
        let last = match side {
            Side::Host => 1,
            Side::Device => 2,
        };
        self.must(side, &format!("address add 10.99.{n}.{last}/24 dev lan{n}"));
        self.must(side, &format!("link set lan{n} up"));
    }

    /// A whole network: cable `n` with both ends up.
    pub fn network(&self, n: u8) {
        self.plug(n).unwrap();
        self.up(Side::Host, n);
        self.up(Side::Device, n);
    }

    /// Whether a program can run in there.
    pub fn exec_works(&self) -> Result<(), String> {
        ip(&["netns", "exec", &self.namespace(Side::Host), "true"])
    }

    /// Starts looking for devices, on these interfaces or on all.
    pub fn host(&self, interfaces: Option<&str>) -> Process {
        let mut command = self.role(Side::Host, "host", interfaces);
        let mut process = Process::start(&mut command);
        process.ready();
        process
    }

    /// Starts a device and returns its port.
    pub fn device(&self, id: &DeviceId, listen: &str, interfaces: Option<&str>) -> (Process, u16) {
        let mut command = self.role(Side::Device, "device", interfaces);
        command.env(ID, id.as_str()).env(LISTEN, listen);
        let mut process = Process::start(&mut command);
        let port = process.ready();
        (process, port)
    }

    fn role(&self, side: Side, role: &str, interfaces: Option<&str>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.namespace(side)])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "in_a_role", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env_remove(INTERFACES);
        if let Some(interfaces) = interfaces {
            command.env(INTERFACES, interfaces);
        }
        command
    }
}

/// Deletes what runs left behind that were killed and could not clean up.
pub fn sweep() {
    let Ok(names) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for name in names
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
    {
        // As `Lab::new` names them.
        let mut parts = name.split('-');
        let ours = parts.next() == Some("airlift");
        let pid = parts.nth(1).and_then(|pid| pid.parse::<u32>().ok());
        if let Some(pid) = pid.filter(|_| ours)
            && !Path::new(&format!("/proc/{pid}")).exists()
        {
            let _ = ip(&["netns", "delete", &name]);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for side in [Side::Host, Side::Device] {
            // Not there if it was not permitted in the first place.
            let _ = ip(&["netns", "delete", &self.namespace(side)]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let command = format!("ip {}", args.join(" "));
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let output = output.map_err(|e| format!("{command}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command}: {}", words.trim()))
}

/// A process in a namespace; it ends when this is dropped.
pub struct Process {
    child: Child,
    lines: Receiver<(Instant, Line)>,
    /// What it has seen so far.
    pub seen: Vec<Seen>,
}

impl Process {
    fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if let Some(json) = line.strip_prefix(MARK) {
                    let line = serde_json::from_str(json).unwrap();
                    let _ = sender.send((Instant::now(), line));
                }
            }
        });
        Self {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    fn ready(&mut self) -> u16 {
        match self.lines.recv_timeout(START) {
            Ok((_, Line::Ready { port })) => port,
            other => panic!("the process does not start: {other:?}"),
        }
    }

    /// Waits until the host shows this device in a way that `wanted` accepts, and says how long after
    /// `since` that was.
    pub fn wait(
        &mut self,
        id: &DeviceId,
        since: Instant,
        within: Duration,
        wanted: impl Fn(&Seen) -> bool,
    ) -> (Seen, Duration) {
        loop {
            let rest = (since + within).saturating_duration_since(Instant::now());
            let Ok((at, line)) = self.lines.recv_timeout(rest) else {
                panic!("not within {within:?}; seen: {:#?}", self.seen);
            };
            let Line::Seen(seen) = line else {
                panic!("{line:?} comes once");
            };
            self.seen.push(seen.clone());
            let took = at.saturating_duration_since(since);
            if seen.id == id.as_str() && wanted(&seen) && took <= within {
                return (seen, took);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a child of our own, and only if it is still there.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
