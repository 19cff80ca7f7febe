//! Boards on the serial ports of this computer.

use airlift_usb::link::Flash;
use airlift_usb::write::{Phase, Progress};
use airlift_usb::{
    After, Board, Cancel, ConnectOptions, PortInfo, State, Watch, WriteOptions, apply,
};
use airlift_wire::ErrorCode;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::boards::{
    Boards, Boxed, Connect, Monitor, Monitoring, Reading, Session, Step, Watching, Write, Writing,
    Written,
};
use super::table::Found;
use crate::dto::{ErrorInfo, UsbPhase};
use crate::{Error, Secret};

/// The serial ports of this computer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemBoards;

impl Boards for SystemBoards {
    fn ports(&self) -> Result<Vec<Found>, Error> {
        let ports = airlift_usb::ports()?.into_iter();
        Ok(ports.filter(PortInfo::is_present).map(found).collect())
    }

    fn named(&self, path: &str) -> Option<Found> {
        let port = PortInfo::named(path);
        port.is_present().then(|| found(port))
    }

    fn watch(&self, on_change: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Watching>, Error> {
        let watch = Watch::start(move |_| on_change())?;
        Ok(Box::new(watch))
    }

    fn connect(&self, how: Connect) -> Boxed<'static, Box<dyn Session>> {
        Box::pin(async move {
            let port = port(&how.path);
            let cancel = Bridged::new(&how.cancel);
            let mut options = ConnectOptions::for_port(&port);
            options.cancel = cancel.cancel.clone();
            let on_state = move |state| match state {
                State::WaitingForBoot => (how.on_waiting)(),
                State::Lost(error) => (how.on_lost)(error.into()),
                _ => {}
            };
            let session = airlift_usb::Session::connect(options, on_state).await?;
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn monitor(&self, how: Monitor) -> Boxed<'static, Box<dyn Monitoring>> {
        let _ = how;
        Box::pin(async { Err(not_yet()) })
    }

    fn wifi(&self, path: &str, ssid: &str, password: &Secret) -> Boxed<'static, String> {
        let _ = (path, ssid, password);
        Box::pin(async { Err(not_yet()) })
    }

    fn reset(&self, path: &str) -> Boxed<'static, ()> {
        let _ = path;
        Box::pin(async { Err(not_yet()) })
    }
}

fn not_yet() -> Error {
    Error::refused(ErrorCode::Internal, "this is not there yet")
}

impl Watching for Watch {}

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

impl Session for airlift_usb::Session {
    fn board(&self) -> &Board {
        self.board()
    }

    fn read(&self, work: Reading) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.run(|link| {
                work(&mut Flash(link));
                Ok::<(), Error>(())
            })
            .await
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
            let result = self
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
                Err(stopped) => (stopped.report, Err(stopped.error.into())),
            };
            let written = Written {
                bytes: report.bytes(),
                saved: report.backup.is_some(),
            };
            (written, result)
        })
    }

    fn start(&self) -> Boxed<'_, ()> {
        Box::pin(async move { Ok(self.run(|link| link.reset(After::Run)).await?) })
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
