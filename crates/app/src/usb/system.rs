//! Boards on the serial ports of this computer.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use airlift_usb::link::Flash;
use airlift_usb::monitor::{Event, Kind, Line, Monitor as LogMonitor, MonitorOptions};
use airlift_usb::watch::Change;
use airlift_usb::write::{Phase, Progress};
use airlift_usb::{
    After, Board, Cancel, ConnectOptions, PortInfo, State, Watch, WriteOptions, apply,
};
use airlift_wire::ErrorCode;
use tokio::sync::RwLock;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::boards::{
    Boards, Boxed, Connect, Monitor, Monitoring, Reading, Session, Step, Watching, Write, Writing,
    Written,
};
use super::table::Found;
use crate::airlift::lock;
use crate::dto::{ErrorInfo, UsbLogLine, UsbPhase};
use crate::{Error, Secret};

/// How long firmware may take from its start until it answers Improv Serial.
const IMPROV_STARTS: Duration = Duration::from_secs(10);
/// How long it may take to join a network.
const WIFI_JOINS: Duration = Duration::from_secs(40);

/// The serial ports of this computer.
#[derive(Clone, Debug, Default)]
pub(crate) struct SystemBoards {
    /// Ports that were plugged in while somebody watched, and that may not be opened yet: the system
    /// gives them to their group a moment later.
    settling: Arc<Mutex<BTreeSet<String>>>,
}

impl SystemBoards {
    /// What a watch saw. It says so when a port is still denied after that moment.
    fn saw(settling: &Mutex<BTreeSet<String>>, before: &BTreeSet<String>, change: &Change) {
        let mut settling = lock(settling);
        match change {
            Change::Added(port) if !before.contains(&port.path) => {
                settling.insert(port.path.clone());
            }
            Change::Added(port) | Change::Changed(port) => {
                settling.remove(&port.path);
            }
            Change::Removed(path) => {
                settling.remove(path);
            }
        }
    }
}

impl Boards for SystemBoards {
    fn ports(&self) -> Result<Vec<Found>, Error> {
        let settling = lock(&self.settling).clone();
        let ports = airlift_usb::ports()?.into_iter();
        let ports = ports.filter(PortInfo::is_present).map(|mut port| {
            let denied = matches!(port.problem, Some(airlift_usb::Error::PortDenied { .. }));
            if denied && settling.contains(&port.path) {
                port.problem = None;
            }
            found(port)
        });
        Ok(ports.collect())
    }

    fn named(&self, path: &str) -> Option<Found> {
        let port = PortInfo::named(path);
        port.is_present().then(|| found(port))
    }

    fn watch(&self, on_change: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Watching>, Error> {
        let settling = self.settling.clone();
        let before = airlift_usb::ports()?.into_iter();
        let before = before.map(|port| port.path).collect();
        let watch = Watch::start(move |change| {
            Self::saw(&settling, &before, &change);
            on_change();
        })?;
        Ok(Box::new(watch))
    }

    fn connect(&self, how: Connect) -> Boxed<'static, Box<dyn Session>> {
        Box::pin(async move {
            let port = port(&how.path);
            let cancel = Bridged::new(&how.cancel);
            let mut options = ConnectOptions::for_port(&port);
            options.cancel = cancel.cancel.clone();
            options.wait_for_boot = how.patience;
            let on_state = move |state| match state {
                State::WaitingForBoot => (how.on_waiting)(),
                State::Lost(error) => (how.on_lost)(error.into()),
                _ => {}
            };
            let session = airlift_usb::Session::connect(options, on_state).await?;
            let session = SystemSession {
                board: session.board().clone(),
                open: RwLock::new(Some(session)),
            };
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn monitor(&self, how: Monitor) -> Boxed<'static, Box<dyn Monitoring>> {
        Box::pin(async move {
            let monitor = LogMonitor::start(options(&how), on_event(how.on_line)).await?;
            Ok(Box::new(SystemMonitor::new(monitor)) as Box<dyn Monitoring>)
        })
    }
}

impl Watching for Watch {}

fn options(how: &Monitor) -> MonitorOptions {
    let mut options = MonitorOptions::new(ConnectOptions::for_port(&port(&how.path)));
    options.elf.clone_from(&how.elf);
    options
}

/// Lines as fronts see them. That the port is away is said between them.
fn on_event(mut on_line: Box<dyn FnMut(UsbLogLine) + Send>) -> impl FnMut(Event) + Send {
    let start = Instant::now();
    move |event| {
        let note = |text: &str| Line {
            text: text.to_owned(),
            kind: Kind::Warning,
            notes: Vec::new(),
        };
        let line = match event {
            Event::Line(line) => line,
            Event::Lost(_) => note("(the port is gone; waiting for it)"),
            Event::Back => note("(the port is back)"),
        };
        on_line(UsbLogLine {
            n: 0,
            ms: u32::try_from(start.elapsed().as_millis()).unwrap_or(u32::MAX),
            text: line.text,
            kind: line.kind.as_str().to_owned(),
            resolved: line.notes,
        });
    }
}

/// A monitor until it is stopped.
struct SystemMonitor(RwLock<Option<LogMonitor>>);

impl SystemMonitor {
    fn new(monitor: LogMonitor) -> Self {
        Self(RwLock::new(Some(monitor)))
    }
}

impl Monitoring for SystemMonitor {
    fn stop(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let monitor = self.0.write().await.take();
            if let Some(monitor) = monitor {
                monitor.stop().await;
            }
            Ok(())
        })
    }

    fn reset(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            let open = self.0.read().await;
            Ok(open.as_ref().ok_or_else(over)?.reset().await?)
        })
    }

    fn wifi<'a>(&'a self, ssid: &'a str, password: &'a Secret) -> Boxed<'a, String> {
        Box::pin(async move {
            let open = self.0.read().await;
            let monitor = open.as_ref().ok_or_else(over)?;
            let joining = monitor.provision(ssid, password.expose(), IMPROV_STARTS, WIFI_JOINS);
            Ok(joining.await?)
        })
    }
}

/// A port as the system describes it; one that it does not list is named by hand.
fn port(path: &str) -> PortInfo {
    let listed = airlift_usb::ports().unwrap_or_default();
    let listed = listed.into_iter().find(|port| port.path == path);
    listed.unwrap_or_else(|| PortInfo::named(path))
}

fn found(port: PortInfo) -> Found {
    let problem = port
        .problem
        .map(|error| ErrorInfo::from(&Error::from(error)));
    Found {
        path: port.path,
        vendor_id: port.vendor_id,
        product_id: port.product_id,
        adapter: crate::error::printable(&port.adapter),
        serial_number: port.serial_number.as_deref().map(crate::error::printable),
        likely: port.likely.map(str::to_owned),
        problem,
        named: port.named,
    }
}

/// A cancel of the port's thread that follows one of ours.
struct Bridged {
    cancel: Cancel,
    _follows: DropGuard,
}

impl Bridged {
    fn new(token: &CancellationToken) -> Self {
        let (cancel, over) = (Cancel::new(), CancellationToken::new());
        let (follower, token, ended) = (cancel.clone(), token.clone(), over.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = token.cancelled() => follower.cancel(),
                () = ended.cancelled() => {}
            }
        });
        Self {
            cancel,
            _follows: over.drop_guard(),
        }
    }
}

/// A session until it is ended.
struct SystemSession {
    board: Board,
    open: RwLock<Option<airlift_usb::Session>>,
}

impl SystemSession {
    /// Ends it, for what goes on with the port.
    async fn take(&self) -> Result<airlift_usb::Session, Error> {
        self.open.write().await.take().ok_or_else(over)
    }
}

fn over() -> Error {
    Error::refused(ErrorCode::NotConnected, "the session is over")
}

impl Session for SystemSession {
    fn board(&self) -> &Board {
        &self.board
    }

    fn read(&self, work: Reading) -> Boxed<'_, ()> {
        Box::pin(async move {
            let open = self.open.read().await;
            let session = open.as_ref().ok_or_else(over)?;
            let reading = session.run(|link| {
                work(&mut Flash(link));
                Ok::<(), Error>(())
            });
            reading.await
        })
    }

    fn write(&self, mut write: Write) -> Writing<'_> {
        Box::pin(async move {
            let cancel = Bridged::new(&write.cancel);
            let stop = cancel.cancel.clone();
            let options = WriteOptions {
                backup: write.backup,
                ..WriteOptions::default()
            };
            let open = self.open.read().await;
            let Some(session) = open.as_ref() else {
                return (Written::default(), Err(over()));
            };
            let result = session
                .run(move |link| {
                    let mut offset = 0;
                    let segments = &write.segments;
                    let mut on_progress = |progress: Progress| {
                        if let Some(segment) = segments.get(progress.segment) {
                            offset = segment.offset();
                        }
                        (write.on_progress)(step(progress, offset));
                    };
                    apply(link, segments, &options, &stop, &mut on_progress)
                })
                .await;
            let (report, result) = match result {
                Ok(report) => (report, Ok(())),
                Err(stopped) => (*stopped.report, Err(stopped.error.into())),
            };
            let written = Written {
                bytes: report.bytes(),
                saved: report.backup.is_some(),
            };
            (written, result)
        })
    }

    fn start(&self) -> Boxed<'_, ()> {
        Box::pin(async move { Ok(self.take().await?.close(After::Run).await?) })
    }

    fn monitor(&self, how: Monitor) -> Boxed<'_, Box<dyn Monitoring>> {
        Box::pin(async move {
            let session = self.take().await?;
            let monitor = LogMonitor::after(session, options(&how), on_event(how.on_line)).await?;
            Ok(Box::new(SystemMonitor::new(monitor)) as Box<dyn Monitoring>)
        })
    }
}

fn step(progress: Progress, offset: u32) -> Step {
    Step {
        phase: match progress.phase {
            Phase::Compare => UsbPhase::Compare,
            Phase::Backup => UsbPhase::Backup,
            Phase::Write => UsbPhase::Write,
            Phase::Verify => UsbPhase::Verify,
        },
        offset,
        bytes: progress.bytes,
        total: progress.total,
        skipped: progress.skipped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_just_plugged_in_settles_and_one_that_was_there_is_as_it_is() {
        let settling = Mutex::default();
        let before = BTreeSet::from(["/dev/old".to_owned()]);
        let saw = |change| SystemBoards::saw(&settling, &before, &change);
        saw(Change::Added(PortInfo::named("/dev/old")));
        saw(Change::Added(PortInfo::named("/dev/new")));
        assert_eq!(lock(&settling).iter().collect::<Vec<_>>(), ["/dev/new"]);
        saw(Change::Changed(PortInfo::named("/dev/new")));
        assert!(lock(&settling).is_empty());
    }
}
