//! The chip's flash, shared by the updater and the file system.

use airlift_littlefs::{BlockDevice, Geometry, IoError};
use airlift_updater::Failure;
use airlift_updater::platform::{Flash, FlashError};
use airlift_wire::ErrorCode;
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::Partition;
use core::cell::RefCell;
use critical_section::Mutex;
use embassy_futures::yield_now;
use esp_storage::FlashStorage;

/// Bytes that go through an aligned buffer at once when the caller's is not aligned.
const BOUNCE: usize = 256;

const UNREADABLE: Failure = Failure::new(
    ErrorCode::FlashFault,
    "the flash does not answer as it should",
);

/// The whole flash. Copies are the same flash, for any thread: each operation of the driver is a
/// critical section of its own, and the flash cannot be read from while it lasts anyway.
#[derive(Clone, Copy)]
pub struct BoardFlash(&'static Mutex<RefCell<FlashStorage<'static>>>);

#[repr(align(4))]
struct Bounce([u8; BOUNCE]);

impl BoardFlash {
    pub(crate) fn new(storage: &'static Mutex<RefCell<FlashStorage<'static>>>) -> Self {
        Self(storage)
    }

    /// Bytes of the flash, as its chip says.
    pub fn size(self) -> u32 {
        u32::try_from(self.with(|flash| flash.capacity())).unwrap_or(u32::MAX)
    }

    /// Reads the partition table and the like, before there is an executor.
    pub(crate) fn read_words(self, offset: u32, buf: &mut [u8]) -> Result<(), Failure> {
        self.read_now(offset, buf).map_err(|_| UNREADABLE)
    }

    /// Lets `f` use the driver itself.
    pub(crate) fn with<T>(self, f: impl FnOnce(&mut FlashStorage<'static>) -> T) -> T {
        critical_section::with(|cs| f(&mut self.0.borrow_ref_mut(cs)))
    }

    /// Reads any bytes. The driver takes whole words into aligned memory, and would put a whole
    /// sector on the stack for anything else.
    fn read_now(self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let fail = |_| FlashError { offset };
        if offset.is_multiple_of(4) && buf.len().is_multiple_of(4) && is_aligned(buf) {
            return self.with(|flash| flash.read_nor(offset, buf)).map_err(fail);
        }
        let mut bounce = Bounce([0; BOUNCE]);
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let skip = (at % 4) as usize;
            let n = rest.len().min(BOUNCE - skip);
            let words = (skip + n).next_multiple_of(4);
            self.with(|flash| flash.read_nor(at - skip as u32, &mut bounce.0[..words]))
                .map_err(fail)?;
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&bounce.0[skip..skip + n]);
            at += n as u32;
            rest = later;
        }
        Ok(())
    }

    fn write_now(self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        let fail = |_| FlashError { offset };
        if is_aligned(data) {
            return self
                .with(|flash| flash.write_nor(offset, data))
                .map_err(fail);
        }
        let mut bounce = Bounce([0xFF; BOUNCE]);
        let mut at = offset;
        for piece in data.chunks(BOUNCE) {
            bounce.0[..piece.len()].copy_from_slice(piece);
            self.with(|flash| flash.write_nor(at, &bounce.0[..piece.len()]))
                .map_err(fail)?;
            at += piece.len() as u32;
        }
        Ok(())
    }

    fn erase_now(self, offset: u32) -> Result<(), FlashError> {
        let end = offset + SECTOR_SIZE as u32;
        self.with(|flash| flash.erase(offset, end))
            .map_err(|_| FlashError { offset })
    }
}

fn is_aligned(bytes: &[u8]) -> bool {
    bytes.as_ptr().addr().is_multiple_of(4)
}

/// The driver keeps interrupts off for one operation; in between everybody else gets a turn.
impl Flash for BoardFlash {
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        let long = buf.len() >= SECTOR_SIZE;
        self.read_now(offset, buf)?;
        if long {
            // Hashing a whole slot must not keep the network waiting.
            yield_now().await;
        }
        Ok(())
    }

    async fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        yield_now().await;
        let erased = self.erase_now(offset);
        yield_now().await;
        erased
    }

    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        self.write_now(offset, data)?;
        yield_now().await;
        Ok(())
    }
}

/// The blocks of the file system's partition.
pub(crate) struct Blocks {
    flash: BoardFlash,
    base: u32,
}

impl Blocks {
    pub fn new(flash: BoardFlash, partition: Partition) -> Self {
        Self {
            flash,
            base: partition.offset,
        }
    }

    pub fn geometry(partition: Partition) -> Geometry {
        Geometry {
            block_count: partition.size / SECTOR_SIZE as u32,
        }
    }
}

impl BlockDevice for Blocks {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        self.flash
            .read_now(self.base + offset, buf)
            .map_err(|_| IoError::Device)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        self.flash
            .write_now(self.base + offset, data)
            .map_err(|_| IoError::Device)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        self.flash
            .erase_now(self.base + offset)
            .map_err(|_| IoError::Device)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}
