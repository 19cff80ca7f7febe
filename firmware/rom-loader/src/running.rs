//! A board on a thread of its own.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::board::{Board, Order};
use crate::config::{Config, Mode};
use crate::faults::Faults;
use crate::flash::{self, Flash, Operation};
use crate::loader::lock;
use crate::packet::Command;
use crate::pty::Link;

/// Smallest flash that a chip has.
const MIN_SIZE: u32 = 256 * 1024;

/// Starts boards.
#[derive(Debug)]
pub struct RomLoader;

impl RomLoader {
    /// A board that is plugged in until the result is dropped.
    ///
    /// # Errors
    ///
    /// When there is no terminal to be had, the flash file cannot be opened, the link's place is
    /// taken by something else, or the size is no power of two from 256 KiB to 128 MiB.
    pub fn start(config: Config) -> io::Result<Running> {
        if !config.size.is_power_of_two() || !(MIN_SIZE..=flash::MAX_SIZE).contains(&config.size) {
            let message = "the flash size is a power of two from 256 KiB to 128 MiB";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let flash = match &config.flash {
            Some(path) => Flash::open(path, config.size)?,
            None => Flash::new(config.size),
        };
        let link = Link::new(config.link.as_deref())?;
        let path = link.path().to_path_buf();
        let flash = Arc::new(Mutex::new(flash));
        let commands = Arc::new(Mutex::new(Vec::new()));
        let (orders, inbox) = channel();
        let (bell, heard) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        heard.set_nonblocking(true)?;
        let board = Board::plug_in(
            config,
            Arc::clone(&flash),
            Arc::clone(&commands),
            link,
            inbox,
            heard,
        )?;
        let thread = std::thread::Builder::new()
            .name("rom-loader".to_string())
            .spawn(move || board.run())?;
        Ok(Running {
            path,
            flash,
            commands,
            orders,
            bell,
            thread: Some(thread),
        })
    }
}

/// A board. Dropping it unplugs it for good.
#[derive(Debug)]
pub struct Running {
    path: PathBuf,
    flash: Arc<Mutex<Flash>>,
    commands: Arc<Mutex<Vec<Command>>>,
    orders: Sender<Order>,
    bell: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// What a host opens: a link to the terminal, which is gone while the board is unplugged.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The flash, also while the board works on it.
    pub fn flash(&self) -> Arc<Mutex<Flash>> {
        Arc::clone(&self.flash)
    }

    /// All bytes of the flash.
    pub fn snapshot(&self) -> Vec<u8> {
        lock(&self.flash).bytes().to_vec()
    }

    /// Sets bytes of the flash, as a test prepares a board; `false` beyond its end.
    pub fn put(&self, offset: u32, bytes: &[u8]) -> bool {
        lock(&self.flash).put(offset, bytes).is_ok()
    }

    /// What was done to the flash.
    pub fn journal(&self) -> Vec<Operation> {
        lock(&self.flash).journal().to_vec()
    }

    /// What was done to the flash, and a new journal from now on.
    pub fn take_journal(&self) -> Vec<Operation> {
        lock(&self.flash).take_journal()
    }

    /// The commands that arrived, in their order, whether or not they were done.
    pub fn commands(&self) -> Vec<Command> {
        let commands = self.commands.lock().unwrap_or_else(PoisonError::into_inner);
        commands.clone()
    }

    /// Other faults from now on; commands are counted from 1 again.
    pub fn set_faults(&self, faults: Faults) {
        self.order(Order::Faults(faults));
    }

    /// Presses RESET, with or without holding BOOT. On return it is done.
    pub fn reset(&self, mode: Mode) {
        self.order(Order::Reset(mode));
    }

    /// Pulls the cable. On return it is done.
    pub fn unplug(&self) {
        self.order(Order::Unplug);
    }

    /// Plugs the cable in, if it is not; the board starts in the mode of its last reset. On return
    /// it is done.
    pub fn plug(&self) {
        self.order(Order::Plug);
    }

    /// Prints a line, as the application does.
    pub fn print(&self, line: &str) {
        self.order(Order::Print(line.to_string()));
    }

    /// Whether an application runs, and not a loader.
    pub fn is_application(&self) -> bool {
        let (reply, answer) = channel();
        self.send(Order::Ask(reply));
        answer.recv().is_ok_and(|mode| mode == Mode::Application)
    }

    /// Orders are obeyed one after the other, so the answer to a question comes after all before it.
    fn order(&self, order: Order) {
        self.send(order);
        self.is_application();
    }

    fn send(&self, order: Order) {
        // A board that is gone takes no orders, and a full bell rings already.
        let _ = self.orders.send(order);
        let _ = io::Write::write(&mut &self.bell, &[1]);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.send(Order::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
