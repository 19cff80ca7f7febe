//! The first lines of a program: the boot guard.

use crate::flash::BoardFlash;
use crate::log::LOGGER;
use crate::settings::Settings;
use crate::watchdog::Watchdog;
use crate::{clock, files, memory, reset};
use airlift_updater::device::Identity;
use airlift_updater::guard::{self, Boot};
use airlift_updater::{Buffers, Failure, Layout, SlotId};
use airlift_wire::ErrorCode;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::{Cause, Text};
use core::cell::RefCell;
use core::fmt::Write as _;
use critical_section::Mutex;
use embassy_futures::block_on;
use esp_bootloader_esp_idf::partitions::read_partition_table;
use esp_hal::efuse;
use esp_hal::peripherals::{FLASH, RTC_TIMER, TIMG1};
use esp_storage::FlashStorage;
use static_cell::{ConstStaticCell, StaticCell};

/// `chip_id` of the image header, and the start of the device's id.
#[cfg(feature = "esp32c3")]
const CHIP: (u16, &str) = (5, "c3");
#[cfg(feature = "esp32c6")]
const CHIP: (u16, &str) = (13, "c6");

/// What Airlift needs of the chip for itself.
pub struct Hardware {
    /// The flash.
    pub flash: FLASH<'static>,
    /// Timer group 1, for the watchdog that sees hangs.
    pub watchdog: TIMG1<'static>,
    /// The RTC timer, for the watchdog that ends a trial.
    pub rtc: RTC_TIMER<'static>,
}

/// A device whose boot guard has run. [`Airlift::run`] does the rest.
pub struct Airlift {
    pub(crate) flash: BoardFlash,
    pub(crate) layout: Layout,
    pub(crate) identity: Identity,
    pub(crate) boot: Boot,
    pub(crate) cause: Cause,
    pub(crate) watchdog: Watchdog,
    pub(crate) buffers: &'static mut Buffers,
}

static FLASH_STORAGE: StaticCell<Mutex<RefCell<FlashStorage<'static>>>> = StaticCell::new();
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

impl Airlift {
    /// Runs the boot guard. Call it right after `esp_hal::init`, before anything that may fail: a
    /// program that dies before this line is not rolled back (the bootloader must have rollback of
    /// its own for that).
    ///
    /// Does not return when this start belongs to the other slot: it restarts into it.
    ///
    /// # Errors
    /// `bad_layout` without the partitions that updates need, `flash_fault`.
    pub fn start(hardware: Hardware) -> Result<Self, Failure> {
        #[cfg(feature = "emulator")]
        crate::emulator::start_system_timer();
        clock::start();
        memory::paint_stack();
        LOGGER.install();
        let cause = reset::cause();
        let mut watchdog = Watchdog::start(hardware.watchdog, hardware.rtc);
        let storage = FlashStorage::new(hardware.flash);
        let storage = FLASH_STORAGE.init(Mutex::new(RefCell::new(storage)));
        let mut flash = BoardFlash::new(storage);
        let buffers = BUFFERS.take();
        let scratch = buffers.chunks.as_flattened_mut();
        let running = running_slot(flash, scratch)?;
        let size = flash.size();
        let layout = block_on(Layout::load(&mut flash, size, running, scratch))?;
        let boot = block_on(guard::run(&mut flash, &layout, cause, scratch))?;
        log::info!("{} runs after {}: {boot:?}", running.name(), cause.name());
        match boot {
            Boot::GoBack => esp_hal::system::software_reset(),
            Boot::Trial { .. } => watchdog.start_trial(),
            Boot::Confirmed => {}
        }
        if let (Some(vfs), [block, ..]) = (layout.vfs, &mut buffers.chunks) {
            watchdog.feed();
            files::settle(flash, vfs, block);
        }
        let identity = Identity {
            id: id(),
            chip: CHIP.0,
            flash_size: size,
        };
        Ok(Self {
            flash,
            layout,
            identity,
            boot,
            cause,
            watchdog,
            buffers,
        })
    }

    /// The device's id, such as `c3-7cdfa1b2c3d4`.
    pub fn id(&self) -> Text<32> {
        self.identity.id
    }

    /// Why the chip restarted.
    pub fn reset_cause(&self) -> Cause {
        self.cause
    }

    /// The slot that runs.
    pub fn running(&self) -> SlotId {
        self.layout.running
    }

    /// Where the board keeps its network.
    pub fn settings(&self) -> Settings {
        Settings::new(self.flash, self.layout.airlift)
    }

    /// The flash, for settings of the program in partitions of its own.
    pub fn flash(&self) -> BoardFlash {
        self.flash
    }
}

const NOT_BOOTED: Failure = Failure::new(
    ErrorCode::BadLayout,
    "the partition table does not name the partition that runs",
);

/// The slot whose partition the cache maps: the one that was really started, whatever otadata says.
fn running_slot(flash: BoardFlash, scratch: &mut [u8]) -> Result<SlotId, Failure> {
    let table = scratch.get_mut(..TABLE_LEN).ok_or(NOT_BOOTED)?;
    let offset = flash
        .with(|storage| read_partition_table(storage, table)?.booted_partition())
        .ok()
        .flatten()
        .ok_or(NOT_BOOTED)?
        .offset();
    flash.read_words(TABLE_OFFSET, table)?;
    let table = Table::parse(table, flash.size()).map_err(|_| NOT_BOOTED)?;
    SlotId::ALL
        .into_iter()
        .find(|slot| {
            let subtype = slot.ota().map_or(0, |n| 0x10 + n as u8);
            table.find(0, subtype).is_some_and(|p| p.offset == offset)
        })
        .ok_or(NOT_BOOTED)
}

/// From the address that is burnt into the chip: unique, and the same for life.
fn id() -> Text<32> {
    struct Name([u8; 32], usize);
    impl core::fmt::Write for Name {
        fn write_str(&mut self, text: &str) -> core::fmt::Result {
            let end = self.1 + text.len();
            let room = self.0.get_mut(self.1..end).ok_or(core::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.1 = end;
            Ok(())
        }
    }
    let mut name = Name([0; 32], 0);
    let _fits = name.write_str(CHIP.1).and_then(|()| name.write_str("-"));
    for byte in efuse::base_mac_address().as_bytes() {
        let _fits = write!(name, "{byte:02x}");
    }
    Text::new(core::str::from_utf8(&name.0[..name.1]).unwrap_or(CHIP.1))
}
