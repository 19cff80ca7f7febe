//! Bytes to and from a board, and the lines that reset it.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use espflash::connection::Port;
use serialport::{ClearBuffer, SerialPort};

use crate::error::Error;
use crate::ports;

/// The rate at which every ROM loader and most applications talk.
pub(crate) const BASE_BAUD: u32 = 115_200;
/// Longest wait inside the system at once, so that a watchdog sees that the thread lives.
const SLICE: Duration = Duration::from_millis(200);
/// How long a port that hung up may take to leave the system.
const LEAVING: Duration = Duration::from_millis(150);

/// A serial line, or what a test puts in its place.
pub(crate) trait Line: Send {
    /// What the system calls it.
    fn name(&self) -> &str;
    /// Takes what has arrived, or waits for it; 0 when nothing came in time.
    fn receive(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, Error>;
    /// Sends all of it.
    fn send(&mut self, bytes: &[u8], wait: Duration) -> Result<(), Error>;
    /// Forgets what has arrived.
    fn discard(&mut self) -> Result<(), Error>;
    /// The rate from now on.
    fn set_baud(&mut self, baud: u32) -> Result<(), Error>;
    /// Sets DTR and RTS.
    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), Error>;
}

/// Whether the thread of a port lives: it counts up whenever it does something. While it computes it
/// lives as well; only what waits inside the system may hang there.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pulse(Arc<Signs>);

#[derive(Debug, Default)]
struct Signs {
    beats: AtomicU64,
    computes: AtomicBool,
}

impl Pulse {
    pub(crate) fn beat(&self) {
        self.0.beats.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.beats.load(Ordering::Relaxed)
    }

    /// Whether it is outside of the system, and nothing of it has to be seen.
    pub(crate) fn computes(&self) -> bool {
        self.0.computes.load(Ordering::Relaxed)
    }

    /// It computes, until the result is dropped.
    pub(crate) fn computing(&self) -> Turn<'_> {
        self.turn(true)
    }

    /// It is inside the system, until the result is dropped.
    pub(crate) fn inside(&self) -> Turn<'_> {
        self.turn(false)
    }

    fn turn(&self, computes: bool) -> Turn<'_> {
        self.beat();
        let before = self.0.computes.swap(computes, Ordering::Relaxed);
        Turn {
            pulse: self,
            before,
        }
    }
}

/// What the thread of a port does, as long as this lives; then it does what it did before.
pub(crate) struct Turn<'a> {
    pulse: &'a Pulse,
    before: bool,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.pulse.0.computes.store(self.before, Ordering::Relaxed);
        self.pulse.beat();
    }
}

/// A port of the system.
pub(crate) struct SerialLine {
    port: Port,
    path: String,
    pulse: Pulse,
}

impl SerialLine {
    /// Opens a port for nobody else.
    pub(crate) fn open(path: &str, pulse: Pulse) -> Result<Self, Error> {
        let port = serialport::new(path, BASE_BAUD)
            .timeout(SLICE)
            .open_native()
            .map_err(|error| ports::open_error(path, &error))?;
        Ok(Self::new(port, path, pulse))
    }

    pub(crate) fn new(port: Port, path: &str, pulse: Pulse) -> Self {
        never_block(&port);
        let path = path.to_string();
        Self { port, path, pulse }
    }

    pub(crate) fn into_port(self) -> Port {
        self.port
    }

    /// What an error of the port means: it has hung up for good.
    fn lost(&self, why: &str) -> Error {
        let path = self.path.clone();
        let deadline = Instant::now() + LEAVING;
        loop {
            if !is_there(&path) {
                return Error::Unplugged { path };
            }
            if Instant::now() >= deadline {
                let why = why.to_string();
                return Error::HungUp { path, why };
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the system still has a port of that name.
pub(crate) fn is_there(path: &str) -> bool {
    if cfg!(windows) {
        // A name of a port is no file there.
        return serialport::available_ports()
            .is_ok_and(|ports| ports.iter().any(|port| port.port_name == path));
    }
    Path::new(path).exists()
}

/// A write to a board that takes nothing waits here, where it can give up, and not in the system.
fn never_block(port: &Port) {
    #[cfg(unix)]
    {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        use std::os::fd::AsRawFd as _;
        if let Err(error) = fcntl(port.as_raw_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
            tracing::debug!(%error, "port stays blocking");
        }
    }
    #[cfg(not(unix))]
    let _ = port;
}

/// Nothing came, or nothing went, and that is all.
fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

impl Line for SerialLine {
    fn name(&self) -> &str {
        &self.path
    }

    fn receive(&mut self, out: &mut [u8], wait: Duration) -> Result<usize, Error> {
        let _inside = self.pulse.inside();
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let set = self.port.set_timeout(left.min(SLICE));
            set.map_err(|error| self.lost(&error.to_string()))?;
            let read = self.port.read(out);
            self.pulse.beat();
            match read {
                Ok(0) => return Err(self.lost("end of file")),
                Ok(count) => return Ok(count),
                Err(error) if is_pause(&error) => {
                    if Instant::now() >= deadline {
                        return Ok(0);
                    }
                }
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], wait: Duration) -> Result<(), Error> {
        let _inside = self.pulse.inside();
        let deadline = Instant::now() + wait;
        let set = self.port.set_timeout(wait.min(SLICE));
        set.map_err(|error| self.lost(&error.to_string()))?;
        while !bytes.is_empty() {
            let written = self.port.write(bytes);
            self.pulse.beat();
            match written {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(error) if is_pause(&error) => {
                    if Instant::now() >= deadline {
                        return Err(Error::lost("it takes no more bytes"));
                    }
                }
                Err(error) => return Err(self.lost(&error.to_string())),
            }
        }
        Ok(())
    }

    fn discard(&mut self) -> Result<(), Error> {
        let _inside = self.pulse.inside();
        let cleared = self.port.clear(ClearBuffer::Input);
        cleared.map_err(|error| self.lost(&error.to_string()))
    }

    fn set_baud(&mut self, baud: u32) -> Result<(), Error> {
        let _inside = self.pulse.inside();
        let set = self.port.set_baud_rate(baud);
        set.map_err(|error| self.lost(&error.to_string()))
    }

    fn set_lines(&mut self, dtr: bool, rts: bool) -> Result<(), Error> {
        let _inside = self.pulse.inside();
        let dtr = self.port.write_data_terminal_ready(dtr);
        let both = dtr.and_then(|()| self.port.write_request_to_send(rts));
        both.map_err(|error| {
            tracing::debug!(%error, path = self.path, "no control lines");
            let path = self.path.clone();
            Error::NoReset { path }
        })
    }
}
