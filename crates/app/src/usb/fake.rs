//! Boards in memory, for tests of what is done with them.

use std::collections::BTreeMap;
use std::fs;
use std::sync::{Arc, Mutex};

use airlift_flash::{ReadError, ReadFlash, Segment};
use airlift_usb::{Board, Error as Usb, Security};

use super::boards::{
    Boards, Boxed, Connect, Monitor, Monitoring, Reading, Session, Step, Watching, Write, Writing,
    Written,
};
use super::table::Found;
use crate::Error;
use crate::airlift::lock;
use crate::dto::UsbPhase;

const SECTOR: usize = 4096;

/// A board whose address ends in `n`.
pub(crate) fn board(n: u8) -> Board {
    Board {
        chip: "esp32c3".into(),
        chip_id: 5,
        revision: Some((0, 4)),
        mac: Some(format!("02:00:00:00:00:{n:02x}")),
        flash_size: 4 << 20,
        crystal: Some(40),
        features: Vec::new(),
        security: Security::default(),
    }
}

/// What a test does when so many sectors were written.
type Hook = Box<dyn Fn(&FakeBoards) + Send>;

/// Boards by their ports.
#[derive(Clone, Default)]
pub(crate) struct FakeBoards(Arc<Mutex<BTreeMap<String, Fake>>>);

struct Fake {
    board: Board,
    flash: Vec<u8>,
    plugged: bool,
    /// How often it was plugged in: a session is of one time.
    plugs: u32,
    /// Offsets of the sectors that were written.
    written: Vec<u32>,
    starts: u32,
    hooks: Vec<(usize, Hook)>,
    /// A sector that does not take what is written.
    bad: Option<u32>,
    /// Whether the port says what its adapter is, and its serial number.
    adapter: Option<Option<String>>,
}

impl FakeBoards {
    /// Plugs a board in.
    pub(crate) fn plug(&self, path: &str, board: Board) {
        let mut boards = lock(&self.0);
        if let Some(fake) = boards.get_mut(path).filter(|fake| fake.board == board) {
            fake.plugged = true;
            fake.plugs += 1;
            return;
        }
        let plugs = boards.get(path).map_or(0, |before| before.plugs) + 1;
        let flash = vec![0xFF; board.flash_size as usize];
        let fake = Fake {
            board,
            flash,
            plugged: true,
            plugs,
            written: Vec::new(),
            starts: 0,
            hooks: Vec::new(),
            bad: None,
            adapter: None,
        };
        boards.insert(path.to_owned(), fake);
    }

    /// Says what the adapter of a port is.
    pub(crate) fn identify(&self, path: &str, serial_number: Option<&str>) {
        let serial_number = serial_number.map(str::to_owned);
        self.on(path, |fake| fake.adapter = Some(serial_number));
    }

    /// Unplugs a board and plugs it in under another name.
    pub(crate) fn replug(&self, from: &str, to: &str) {
        let mut boards = lock(&self.0);
        let mut fake = boards.remove(from).expect("a board is there");
        fake.plugged = true;
        fake.plugs += 1;
        boards.insert(to.to_owned(), fake);
    }

    pub(crate) fn unplug(&self, path: &str) {
        self.on(path, |fake| fake.plugged = false);
    }

    /// Does something once `sectors` were written to a board.
    pub(crate) fn after(
        &self,
        path: &str,
        sectors: usize,
        hook: impl Fn(&FakeBoards) + Send + 'static,
    ) {
        self.on(path, |fake| fake.hooks.push((sectors, Box::new(hook))));
    }

    pub(crate) fn put(&self, path: &str, offset: usize, bytes: &[u8]) {
        self.on(path, |fake| {
            fake.flash[offset..offset + bytes.len()].copy_from_slice(bytes);
        });
    }

    pub(crate) fn break_sector(&self, path: &str, offset: u32) {
        self.on(path, |fake| fake.bad = Some(offset));
    }

    pub(crate) fn flash(&self, path: &str) -> Vec<u8> {
        self.on(path, |fake| fake.flash.clone())
    }

    pub(crate) fn written(&self, path: &str) -> Vec<u32> {
        self.on(path, |fake| fake.written.clone())
    }

    pub(crate) fn starts(&self, path: &str) -> u32 {
        self.on(path, |fake| fake.starts)
    }

    fn on<T>(&self, path: &str, work: impl FnOnce(&mut Fake) -> T) -> T {
        work(lock(&self.0).get_mut(path).expect("a board is there"))
    }
}

fn unplugged(path: &str) -> Usb {
    Usb::Unplugged { path: path.into() }
}

struct Nothing;
impl Watching for Nothing {}

impl Boards for FakeBoards {
    fn ports(&self) -> Result<Vec<Found>, Error> {
        let boards = lock(&self.0);
        let there = boards.iter().filter(|(_, fake)| fake.plugged);
        let found = there.map(|(path, fake)| Found {
            path: path.clone(),
            vendor_id: fake.adapter.as_ref().map(|_| 0x303A),
            product_id: fake.adapter.as_ref().map(|_| 0x1001),
            adapter: "memory".into(),
            serial_number: fake.adapter.clone().flatten(),
            likely: None,
            problem: None,
            named: false,
        });
        Ok(found.collect())
    }

    fn named(&self, _: &str) -> Option<Found> {
        None
    }

    fn watch(&self, _: Box<dyn Fn() + Send + Sync>) -> Result<Box<dyn Watching>, Error> {
        Ok(Box::new(Nothing))
    }

    fn connect(&self, how: Connect) -> Boxed<'static, Box<dyn Session>> {
        let boards = self.clone();
        Box::pin(async move {
            let found = boards.on(&how.path, |f| (f.plugged, f.board.clone(), f.plugs));
            let (true, board, plug) = found else {
                return Err(unplugged(&how.path).into());
            };
            let session = FakeSession {
                boards,
                path: how.path,
                board,
                plug,
            };
            Ok(Box::new(session) as Box<dyn Session>)
        })
    }

    fn monitor(&self, _: Monitor) -> Boxed<'static, Box<dyn Monitoring>> {
        Box::pin(async { Err(Error::Internal("memory has no log".into())) })
    }
}

struct FakeSession {
    boards: FakeBoards,
    path: String,
    board: Board,
    plug: u32,
}

impl FakeSession {
    fn there(&self) -> Result<(), Usb> {
        let boards = lock(&self.boards.0);
        match boards.get(&self.path) {
            Some(fake) if fake.plugged && fake.plugs == self.plug => Ok(()),
            _ => Err(unplugged(&self.path)),
        }
    }

    fn apply(&self, write: &mut Write) -> (Written, Result<(), Error>) {
        let mut written = Written::default();
        let differing: Vec<_> = write
            .segments
            .iter()
            .flat_map(sectors)
            .filter(|(offset, bytes)| {
                let at = *offset as usize;
                self.boards
                    .on(&self.path, |fake| fake.flash[at..at + SECTOR] != **bytes)
            })
            .collect();
        let total = (differing.len() * SECTOR) as u32;
        if let Some(to) = write.backup.as_ref().filter(|_| total > 0) {
            written.saved = true;
            if !to.path.exists() {
                fs::write(&to.path, self.boards.flash(&self.path)).expect("a file");
            }
        }
        for (n, (offset, bytes)) in differing.iter().enumerate() {
            (write.on_progress)(Step {
                phase: UsbPhase::Write,
                offset: *offset,
                bytes: (n * SECTOR) as u32,
                total,
                skipped: 0,
            });
            if write.cancel.is_cancelled() {
                return (written, Err(Usb::Cancelled.into()));
            }
            if let Err(error) = self.there() {
                return (written, Err(error.into()));
            }
            let (hooks, bad) = self.boards.on(&self.path, |fake| {
                let at = *offset as usize;
                fake.flash[at..at + SECTOR].copy_from_slice(bytes);
                fake.written.push(*offset);
                let done = fake.written.len();
                let (now, later) = std::mem::take(&mut fake.hooks)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(after, _)| *after == done);
                fake.hooks = later;
                (now, fake.bad == Some(*offset))
            });
            for (_, hook) in hooks {
                hook(&self.boards);
            }
            if bad {
                return (written, Err(Usb::BadFlash { offset: *offset }.into()));
            }
            written.bytes += SECTOR as u32;
        }
        (written, Ok(()))
    }
}

fn sectors(segment: &Segment) -> impl Iterator<Item = (u32, &[u8])> {
    let start = segment.offset();
    let sectors = segment.bytes().chunks(SECTOR).enumerate();
    sectors.map(move |(n, bytes)| (start + (n * SECTOR) as u32, bytes))
}

impl Session for FakeSession {
    fn board(&self) -> &Board {
        &self.board
    }

    fn read(&self, work: Reading) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.there()?;
            work(&mut FakeFlash(self));
            Ok(())
        })
    }

    fn write(&self, mut write: Write) -> Writing<'_> {
        Box::pin(async move {
            // Elsewhere, as on the thread of a port.
            tokio::task::block_in_place(|| self.apply(&mut write))
        })
    }

    fn start(&self) -> Boxed<'_, ()> {
        Box::pin(async move {
            self.there()?;
            self.boards.on(&self.path, |fake| fake.starts += 1);
            Ok(())
        })
    }

    fn monitor(&self, how: Monitor) -> Boxed<'_, Box<dyn Monitoring>> {
        self.boards.monitor(how)
    }
}

struct FakeFlash<'a>(&'a FakeSession);

impl ReadFlash for FakeFlash<'_> {
    fn size(&self) -> u32 {
        self.0.board.flash_size
    }

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), ReadError> {
        self.0.there()?;
        let flash = self.0.boards.flash(&self.0.path);
        (&flash[..]).read(offset, out)
    }

    fn md5(&mut self, offset: u32, len: u32) -> Result<[u8; 16], ReadError> {
        self.0.there()?;
        let flash = self.0.boards.flash(&self.0.path);
        (&flash[..]).md5(offset, len)
    }
}
