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
use esp_storage::{FlashStorage, ll};

/// Bytes that go through an aligned buffer at once when the caller's is not aligned.
const BOUNCE: usize = 256;

const UNREADABLE: Failure = Failure::new(
    ErrorCode::FlashFault,
    "the flash does not answer as it should",
);

/// The whole flash. Copies are the same flash, for any thread: each operation of the driver is a
/// critical section of its own, and the flash cannot be read from while it lasts anyway.
#[derive(Clone, Copy)]
pub struct BoardFlash {
    driver: &'static Mutex<RefCell<FlashStorage<'static>>>,
    size: u32,
}

#[repr(align(4))]
struct Bounce([u8; BOUNCE]);

impl BoardFlash {
    #[allow(unsafe_code)]
    pub(crate) fn new(driver: &'static Mutex<RefCell<FlashStorage<'static>>>) -> Self {
        // SAFETY: nobody else uses the flash yet. When it fails, so does every write.
        let _unlocked = unsafe { ll::spiflash_unlock() };
        let capacity = critical_section::with(|cs| driver.borrow_ref(cs).capacity());
        Self {
            driver,
            size: u32::try_from(capacity).unwrap_or(u32::MAX),
        }
    }

    /// Bytes of the flash, as its chip says.
    pub fn size(self) -> u32 {
        self.size
    }

    /// Reads the partition table and the like, before there is an executor.
    pub(crate) fn read_words(self, offset: u32, buf: &mut [u8]) -> Result<(), Failure> {
        self.read_now(offset, buf).map_err(|_| UNREADABLE)
    }

    /// Lets `f` use the driver itself.
    pub(crate) fn with<T>(self, f: impl FnOnce(&mut FlashStorage<'static>) -> T) -> T {
        critical_section::with(|cs| f(&mut self.driver.borrow_ref_mut(cs)))
    }

    /// Reads any bytes. The chip takes whole words into aligned memory.
    fn read_now(self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        if offset.is_multiple_of(4) && buf.len().is_multiple_of(4) && is_aligned(buf) {
            return self.read_aligned(offset, buf);
        }
        let mut bounce = Bounce([0; BOUNCE]);
        let (mut at, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let skip = (at % 4) as usize;
            let n = rest.len().min(BOUNCE - skip);
            let words = (skip + n).next_multiple_of(4);
            self.read_aligned(at - skip as u32, &mut bounce.0[..words])?;
            let (now, later) = rest.split_at_mut(n);
            now.copy_from_slice(&bounce.0[skip..skip + n]);
            at += n as u32;
            rest = later;
        }
        Ok(())
    }

    fn write_now(self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        if is_aligned(data) {
            return self.write_aligned(offset, data);
        }
        let mut bounce = Bounce([0xFF; BOUNCE]);
        let mut at = offset;
        for piece in data.chunks(BOUNCE) {
            bounce.0[..piece.len()].copy_from_slice(piece);
            self.write_aligned(at, &bounce.0[..piece.len()])?;
            at += piece.len() as u32;
        }
        Ok(())
    }

    /// Not the driver's own function: that one has a sector on the stack for memory that is not
    /// aligned. No operation is longer than a sector.
    #[allow(unsafe_code)]
    fn read_aligned(self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        for (at, piece) in (offset..)
            .step_by(SECTOR_SIZE)
            .zip(buf.chunks_mut(SECTOR_SIZE))
        {
            let len = self.words_inside(at, piece.len())?;
            // SAFETY: whole words inside the flash, into as many bytes of aligned memory.
            unsafe { ll::spiflash_read(at, piece.as_mut_ptr().cast(), len) }
                .map_err(|_| FlashError { offset: at })?;
        }
        Ok(())
    }

    #[allow(unsafe_code)]
    fn write_aligned(self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        for (at, piece) in (offset..)
            .step_by(SECTOR_SIZE)
            .zip(data.chunks(SECTOR_SIZE))
        {
            let len = self.words_inside(at, piece.len())?;
            // SAFETY: as above, and the chip only clears bits.
            unsafe { ll::spiflash_write(at, piece.as_ptr().cast(), len) }
                .map_err(|_| FlashError { offset: at })?;
        }
        Ok(())
    }

    /// The length, if it is whole words that lie inside the flash.
    fn words_inside(self, offset: u32, len: usize) -> Result<u32, FlashError> {
        u32::try_from(len)
            .ok()
            .filter(|len| offset.is_multiple_of(4) && len.is_multiple_of(4))
            .filter(|len| offset.checked_add(*len).is_some_and(|end| end <= self.size))
            .ok_or(FlashError { offset })
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
pub struct Blocks {
    flash: BoardFlash,
    base: u32,
}

impl Blocks {
    pub(crate) fn new(flash: BoardFlash, partition: Partition) -> Self {
        Self {
            flash,
            base: partition.offset,
        }
    }

    pub(crate) fn geometry(partition: Partition) -> Geometry {
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
