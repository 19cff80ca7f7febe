//! The thread that all devices run on: one is enough, since they mostly wait.

use super::{Seat, Status, lock};
use crate::device::{Ending, VirtualDevice};
use crate::nor::SharedNor;
use crate::process::Loopback;
use crate::{Error, Settings};
use airlift_discover::Interfaces;
use airlift_discover::announce::{Announcement, Announcer, Txt};
use airlift_discover::device::Slot;
use airlift_updater::SlotId;
use airlift_updater::device::{Identity, Info};
use airlift_wire::image;
use airlift_wire::state::{Cause, Text};
use std::cell::RefCell;
use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, Mutex, mpsc as sync};
use std::thread::JoinHandle;
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local};

/// Stack of the thread: an unoptimised updater has deep futures.
const STACK: usize = 16 << 20;

/// Told when a command is done.
pub(super) type Done = sync::Sender<()>;

pub(super) enum Command {
    Kill(usize, Done),
    Start(usize, Done),
    Settings(usize, Done),
    Stop,
}

/// A device to start.
pub(super) struct Start {
    pub seat: Arc<Mutex<Seat>>,
    pub nor: SharedNor,
    pub id: Text<32>,
    pub chip: u16,
    /// Open since before the first start.
    pub listener: Option<TcpListener>,
}

/// The running thread.
pub(super) struct Runtime {
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
}

impl Runtime {
    pub fn start(starts: Vec<Start>, announce: bool) -> Result<Self, Error> {
        let system = |what| move |source| Error::System { what, source };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system("no event loop for the devices"))?;
        let (commands, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("virtual-devices".to_owned())
            .stack_size(STACK)
            .spawn(move || LocalSet::new().block_on(&runtime, run(starts, announce, inbox)))
            .map_err(system("no thread for the devices"))?;
        Ok(Self {
            commands,
            thread: Some(thread),
        })
    }

    /// Sends a command and waits until it is done.
    pub fn tell(&self, command: impl FnOnce(Done) -> Command) {
        let (done, wait) = sync::channel();
        if self.commands.send(command(done)).is_ok() {
            // An error is the thread's end: then all devices are off.
            let _ = wait.recv();
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A device on the thread.
struct Place {
    start: Start,
    device: Option<(Rc<Running>, tokio::task::JoinHandle<()>)>,
}

/// Told after each start of a device, with its port.
type Started = Box<dyn Fn(&Info, u16)>;
type Running = VirtualDevice<Loopback<Started>>;

async fn run(starts: Vec<Start>, announce: bool, mut inbox: mpsc::UnboundedReceiver<Command>) {
    let announcer = announce
        .then(|| Announcer::start(Interfaces::LoopbackOnly))
        .and_then(|started| {
            started
                .inspect_err(|error| {
                    tracing::warn!(%error, "devices are not announced; give their addresses");
                })
                .ok()
        });
    let mut places: Vec<_> = starts
        .into_iter()
        .map(|start| Place {
            start,
            device: None,
        })
        .collect();
    for place in &mut places {
        place.power_on(announcer.as_ref());
    }
    while let Some(command) = inbox.recv().await {
        match command {
            Command::Kill(n, done) => {
                if let Some(place) = places.get_mut(n) {
                    place.power_off().await;
                }
                let _ = done.send(());
            }
            Command::Start(n, done) => {
                if let Some(place) = places.get_mut(n) {
                    place.power_on(announcer.as_ref());
                }
                let _ = done.send(());
            }
            Command::Settings(n, done) => {
                if let Some(place) = places.get(n)
                    && let Some((device, _)) = &place.device
                {
                    device.set_settings(place.settings());
                }
                let _ = done.send(());
            }
            Command::Stop => break,
        }
    }
    for place in &mut places {
        place.power_off().await;
    }
}

impl Place {
    fn settings(&self) -> Settings {
        lock(&self.start.seat).settings.clone()
    }

    /// Returns when the device is gone, its sockets included.
    async fn power_off(&mut self) {
        if let Some((_, task)) = self.device.take() {
            task.abort();
            let _ = task.await;
        }
        lock(&self.start.seat).status = Status::Off;
    }

    fn power_on(&mut self, announcer: Option<&Announcer>) {
        if self.device.as_ref().is_some_and(|(_, t)| !t.is_finished()) {
            return;
        }
        let Start {
            seat,
            nor,
            id,
            chip,
            listener,
        } = &mut self.start;
        nor.power_on();
        let (port, name, settings) = {
            let mut seat = lock(seat);
            seat.status = Status::Starting;
            let Seat {
                record, settings, ..
            } = &*seat;
            (record.port, record.name.clone(), settings.clone())
        };
        let identity = Identity {
            id: *id,
            chip: *chip,
            flash_size: nor.size(),
        };
        let announcement = RefCell::new(None);
        let (announcer, told) = (announcer.cloned(), Arc::clone(seat));
        let started: Started = Box::new(move |info, port| {
            {
                let mut seat = lock(&told);
                seat.status = Status::Running;
                seat.set_port(port);
            }
            if let Some(announcer) = &announcer {
                announce(announcer, &mut announcement.borrow_mut(), &name, info, port);
            }
        });
        let environment = Loopback::new(port, listener.take(), started);
        let device = Rc::new(VirtualDevice::new(
            nor.clone(),
            identity,
            settings,
            environment,
        ));
        let (running, seat) = (Rc::clone(&device), Arc::clone(seat));
        let task = spawn_local(async move {
            let end = running.run(Cause::PowerOn).await;
            let status = match end {
                Ending::Dead(reason) => Status::Dead(reason),
                _ => Status::Off,
            };
            tracing::info!(device = lock(&seat).record.id, ?status, "ended");
            lock(&seat).status = status;
        });
        self.device = Some((device, task));
    }
}

/// Announces a device, or that it has changed.
fn announce(
    announcer: &Announcer,
    announcement: &mut Option<(u16, Announcement)>,
    name: &str,
    info: &Info,
    port: u16,
) {
    let Ok(id) = info.id.as_str().parse() else {
        return;
    };
    let running = info.running_slot();
    let slot = match running.slot {
        SlotId::Factory => Slot::Factory,
        SlotId::Ota0 => Slot::Ota0,
        SlotId::Ota1 => Slot::Ota1,
    };
    let txt = Txt {
        id,
        product: info.product.as_str().to_owned(),
        chip: image::chip_name(info.chip).unwrap_or("unknown").to_owned(),
        version: running
            .version
            .map(|version| version.as_str().to_owned())
            .unwrap_or_default(),
        slot,
    };
    let result = match announcement {
        Some((at, announced)) if *at == port => announced.update(&txt),
        _ => {
            // Names are for people and need not be unique; instance names must be.
            let instance = format!("{name} ({})", info.id.as_str());
            announcer.announce(&instance, port, &txt).map(|new| {
                *announcement = Some((port, new));
            })
        }
    };
    if let Err(error) = result {
        tracing::warn!(%error, device = info.id.as_str(), "a device is not announced");
    }
}
