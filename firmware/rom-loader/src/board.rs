//! The thread of a board: bytes from the terminal to the loader and back, on time, with faults.

mod speaking;

use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use airlift_provision::improv;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::boot;
use crate::config::{Config, Mode};
use crate::faults::{Action, Fate, Faults};
use crate::flash::Flash;
use crate::loader::{Loader, Then, lock};
use crate::packet::Command;
use crate::pty::{Link, Pty};
use crate::slip::Decoder;
use crate::timing::Timing;

/// How long a board waits for a host that does not read.
const HOST_PATIENCE: Duration = Duration::from_secs(2);
/// How long it waits with a line of its log.
const LOG_PATIENCE: Duration = Duration::from_millis(50);
/// How often a board that has nothing to do looks after its terminal.
const IDLE: Duration = Duration::from_millis(200);
/// Between two pieces of an endless noise.
const FLOOD_PAUSE: Duration = Duration::from_millis(5);
const FLOOD_PIECE: usize = 256;
/// A baud rate this far off is another: a UART samples in the middle of a bit, ten bits in a row.
const BAUD_TOLERANCE_PERCENT: u32 = 3;
/// Of a board whose boot pin was just read.
const START_BAUD: u32 = 115_200;

/// What a test or a person tells a board.
#[derive(Debug)]
pub(crate) enum Order {
    Faults(Faults),
    Reset(Mode),
    Unplug,
    Plug,
    Print(String),
    Ask(Sender<Mode>),
    Stop,
}

/// An order changed what is going on: whatever was being done is not done any more.
#[derive(Debug)]
struct Interrupted;

/// How a board behaves since its last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Normal,
    Silent,
    Flooding,
    /// At a baud rate that no host is at.
    Lost,
}

pub(crate) struct Board {
    config: Config,
    flash: Arc<Mutex<Flash>>,
    commands: Arc<Mutex<Vec<Command>>>,
    link: Link,
    inbox: Receiver<Order>,
    bell: UnixStream,
    port: Option<Pty>,
    replug_at: Option<Instant>,
    /// The boot pin, as it was read at the last reset of the whole chip.
    boot_pin: Mode,
    mode: Mode,
    /// There is an application to start.
    starts: bool,
    behaviour: Behaviour,
    /// Unknown until the host synced: a ROM measures it.
    baud: Option<u32>,
    loader: Loader,
    decoder: Decoder,
    improv: improv::Receiver,
    /// The application joined a network.
    joined: bool,
    fate: Fate,
    /// When the wire has carried all that the host sent.
    wire_free: Instant,
    /// When the flash has done all that was answered already.
    flash_free: Instant,
    stopped: bool,
}

impl Board {
    pub(crate) fn plug_in(
        config: Config,
        flash: Arc<Mutex<Flash>>,
        commands: Arc<Mutex<Vec<Command>>>,
        link: Link,
        inbox: Receiver<Order>,
        bell: UnixStream,
    ) -> io::Result<Self> {
        let now = Instant::now();
        let mut board = Self {
            fate: Fate::new(&config.faults),
            loader: new_loader(&config, &flash),
            port: None,
            replug_at: None,
            boot_pin: config.mode,
            mode: config.mode,
            starts: false,
            behaviour: Behaviour::Normal,
            baud: None,
            decoder: Decoder::default(),
            improv: improv::Receiver::new(),
            joined: false,
            wire_free: now,
            flash_free: now,
            stopped: false,
            config,
            flash,
            commands,
            link,
            inbox,
            bell,
        };
        board.set_faults(board.config.faults.clone());
        board.port = Some(Pty::open(board.link.path())?);
        board.start(board.boot_pin);
        Ok(board)
    }

    pub(crate) fn run(mut self) {
        while !self.stopped {
            // Interrupted: the next turn sees what is new.
            let _ = self.turn();
        }
    }

    fn turn(&mut self) -> Result<(), Interrupted> {
        let now = Instant::now();
        if self.replug_at.is_some_and(|at| at <= now) {
            self.plug();
        }
        if self.behaviour == Behaviour::Flooding && self.port.is_some() {
            let noise = self.fate.chance().bytes(FLOOD_PIECE);
            self.send_log(&noise)?;
            self.drain();
            return self.pause(FLOOD_PAUSE);
        }
        let until = self.replug_at.unwrap_or(now + IDLE);
        if !self.wait(PollFlags::IN, until)? {
            if let Some(port) = &self.port {
                port.allow_all();
            }
            return Ok(());
        }
        let bytes = self.drain();
        if bytes.is_empty() {
            // The terminal is there and says nothing but that it is: do not ask without end.
            return self.pause(FLOOD_PAUSE);
        }
        self.receive(&bytes)
    }

    /// What arrived.
    fn drain(&mut self) -> Vec<u8> {
        let mut buffer = [0; 4096];
        let read = self.port.as_ref().map(|port| port.read(&mut buffer));
        match read {
            Some(Ok(length)) => buffer[..length].to_vec(),
            _ => Vec::new(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        if self.mode == Mode::Application {
            return if self.starts {
                self.hear_improv(bytes)
            } else {
                Ok(())
            };
        }
        let bytes = self.through_the_wire(bytes);
        let baud = self.wire_baud();
        self.wire_free = self.wire_free.max(Instant::now());
        for byte in bytes {
            self.wire_free += Timing::wire(1, baud);
            if let Some(frame) = self.decoder.push(byte) {
                self.take_frame(&frame)?;
            }
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: &[u8]) -> Result<(), Interrupted> {
        if matches!(self.behaviour, Behaviour::Silent | Behaviour::Flooding) {
            return Ok(());
        }
        let started = self.wire_free.max(self.flash_free);
        if self.config.timing.is_some() {
            self.pause_until(started)?;
        }
        // What arrives during a reading are its acknowledgements.
        let command = if self.loader.is_reading() {
            Some(Command::ReadFlash)
        } else {
            frame.get(1).copied().and_then(Command::from_code)
        };
        if let Some(command) = command {
            let mut commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
            commands.push(command);
        }
        if self.baud.is_none() && command == Some(Command::Sync) {
            self.baud = Some(self.host_baud());
        }
        let action = self.fate.of(command);
        let answer = match action {
            Some(Action::DropRequest) => return Ok(()),
            Some(Action::Silence) => {
                self.behaviour = Behaviour::Silent;
                return Ok(());
            }
            Some(Action::Flood) => {
                self.behaviour = Behaviour::Flooding;
                return Ok(());
            }
            Some(Action::HangUp) => {
                self.unplug();
                self.plug();
                return Err(Interrupted);
            }
            Some(Action::Unplug(time)) => {
                self.unplug();
                self.replug_at = time.map(|time| Instant::now() + time);
                return Err(Interrupted);
            }
            Some(Action::Reset) => {
                self.start(Mode::Application);
                return Err(Interrupted);
            }
            Some(Action::Refuse(error)) => {
                let code = frame.get(1).copied().unwrap_or_default();
                self.loader.error(code, error)
            }
            _ => self.loader.take(frame, self.baud.unwrap_or(START_BAUD)),
        };
        // From one time to the next, so that what this computer takes is not added.
        let mut now = started;
        if let Some(timing) = self.config.timing {
            now += timing.turnaround + timing.of(answer.before);
            self.pause_until(now)?;
        }
        if let Some(Action::UnplugAfter(time)) = action {
            self.loader.follow_up();
            self.unplug();
            self.replug_at = time.map(|time| Instant::now() + time);
            return Err(Interrupted);
        }
        now = self.send_answer(answer.frames, action, now)?;
        let more = self.loader.follow_up();
        if let Some(timing) = self.config.timing {
            now += timing.of(more.before);
            self.flash_free = now;
        }
        self.send_answer(more.frames, action, now)?;
        if action == Some(Action::BaudLost) {
            self.behaviour = Behaviour::Lost;
        }
        match answer.then {
            Some(Then::Baud(baud)) => self.baud = Some(baud),
            Some(Then::Loader) => self.start(Mode::Download),
            Some(Then::Application) => self.start(Mode::Application),
            None => {}
        }
        Ok(())
    }

    /// Starts over. The flash keeps what it holds, and faults go on counting.
    fn start(&mut self, mode: Mode) {
        self.loader = new_loader(&self.config, &self.flash);
        self.decoder.clear();
        self.improv = improv::Receiver::new();
        self.joined = false;
        self.behaviour = Behaviour::Normal;
        self.baud = None;
        self.mode = mode;
        let chip = self.config.chip;
        let log = match mode {
            Mode::Download => boot::loader_banner(chip),
            Mode::Application => {
                let (mut log, starts) = boot::boot_log(chip, &lock(&self.flash));
                self.starts = starts;
                if starts {
                    for line in &self.config.application.log {
                        log += line;
                        log += "\r\n";
                    }
                }
                log
            }
        };
        // An order that comes in between is obeyed in the next turn.
        let _ = self.send_log(log.as_bytes());
    }

    fn unplug(&mut self) {
        self.link.remove();
        self.port = None;
    }

    fn plug(&mut self) {
        self.replug_at = None;
        if self.port.is_some() {
            return;
        }
        match Pty::open(self.link.path()) {
            Ok(port) => {
                self.port = Some(port);
                self.start(self.boot_pin);
            }
            Err(error) => eprintln!("terminal: {error}"),
        }
    }

    fn set_faults(&mut self, faults: Faults) {
        self.fate = Fate::new(&faults);
        self.loader.set_faults(&faults);
        let mut flash = lock(&self.flash);
        flash.bad_sectors.clone_from(&faults.bad_sectors);
        flash.write_protected = faults.write_protected;
        self.config.faults = faults;
    }

    fn obey(&mut self, order: Order) -> Result<(), Interrupted> {
        match order {
            Order::Faults(faults) => self.set_faults(faults),
            Order::Ask(reply) => {
                // Who asked may have gone.
                let _ = reply.send(self.mode);
            }
            Order::Print(line) => self.send_log(format!("{line}\r\n").as_bytes())?,
            Order::Reset(mode) => {
                self.boot_pin = mode;
                self.start(mode);
                return Err(Interrupted);
            }
            Order::Unplug => {
                self.replug_at = None;
                self.unplug();
                return Err(Interrupted);
            }
            Order::Plug => {
                self.plug();
                return Err(Interrupted);
            }
            Order::Stop => {
                self.stopped = true;
                return Err(Interrupted);
            }
        }
        Ok(())
    }

    /// All orders that are there; the last that interrupts does.
    fn obey_all(&mut self) -> Result<(), Interrupted> {
        let mut result = Ok(());
        while let Ok(order) = self.inbox.try_recv() {
            if self.obey(order).is_err() {
                result = Err(Interrupted);
            }
        }
        result
    }

    fn pause(&mut self, time: Duration) -> Result<(), Interrupted> {
        self.pause_until(Instant::now() + time)
    }

    fn pause_until(&mut self, until: Instant) -> Result<(), Interrupted> {
        while Instant::now() < until {
            self.wait(PollFlags::empty(), until)?;
        }
        Ok(())
    }

    /// Waits for the terminal or the time; whether it was the terminal. Obeys orders meanwhile.
    fn wait(&mut self, interest: PollFlags, until: Instant) -> Result<bool, Interrupted> {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut fds = vec![PollFd::new(&self.bell, PollFlags::IN)];
        if !interest.is_empty()
            && let Some(port) = &self.port
        {
            fds.push(PollFd::from_borrowed_fd(port.as_fd(), interest));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(false),
            Err(error) => {
                eprintln!("poll: {error}");
                self.stopped = true;
                return Err(Interrupted);
            }
        }
        let rang = !fds[0].revents().is_empty();
        let ready = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if rang {
            self.hush()?;
            self.obey_all()?;
        }
        Ok(ready)
    }

    /// Takes what the bell rang; nobody holds its other end any more when it ends.
    fn hush(&mut self) -> Result<(), Interrupted> {
        let mut rings = [0; 64];
        match io::Read::read(&mut &self.bell, &mut rings) {
            Ok(0) => {
                self.stopped = true;
                Err(Interrupted)
            }
            Err(error) if error.kind() != ErrorKind::WouldBlock => {
                self.stopped = true;
                Err(Interrupted)
            }
            _ => Ok(()),
        }
    }
}

fn new_loader(config: &Config, flash: &Arc<Mutex<Flash>>) -> Loader {
    Loader::new(
        config.chip,
        config.mac,
        config.security,
        &config.faults,
        Arc::clone(flash),
    )
}
