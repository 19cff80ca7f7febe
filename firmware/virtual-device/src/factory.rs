//! The flash of a device as it leaves the factory.
//!
//! A virtual device has no bootloader code: the area at 0x0 holds a note that says so. Everything
//! else is what a programmer would write to a board: partition table, apps, littlefs, state.

use crate::Error;
use crate::files::{self, ChipFiles};
use crate::nor::{NorFlash, SECTOR_SIZE, SharedNor};
use crate::pace::Pace;
use crate::timing::Timing;
use airlift_littlefs::{DiskVersion, Storage};
use airlift_release::{PartKind, Release};
use airlift_updater::emit::Cursor;
use airlift_updater::path::Path;
use airlift_updater::platform::Files;
use airlift_updater::unpack::{Unpacker, write_version};
use airlift_updater::{Failure, Layout, SlotId};
use airlift_wire::limits::CHUNK_SIZE;
use airlift_wire::otadata::{Entry, ImageState, next_sequence};
use airlift_wire::partition::{self, TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::State;
use airlift_wire::{KeySet, image};
use std::time::Duration;

/// What stands where a board has its bootloader.
const NO_BOOTLOADER: &[u8] = b"A virtual device: its bootloader is not code in flash.\n";
/// Pieces in which content is written.
const PIECE: usize = CHUNK_SIZE;

/// What a device gets at the factory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Factory<'a> {
    /// Bytes of flash, 4 to 16 MiB.
    pub flash_size: usize,
    /// Whether there is a `factory` slot besides `ota_0` and `ota_1`.
    pub factory_slot: bool,
    /// Product.
    pub product: &'a str,
    /// Name.
    pub name: &'a str,
    /// Whom it trusts.
    pub trust: Option<KeySet>,
    /// An app that no release describes, in the first slot: `factory` if there is one.
    pub app: Option<&'a [u8]>,
    /// A release installed and confirmed in a slot.
    pub installed: Option<(SlotId, &'a Release)>,
    /// The version of the file system.
    pub disk_version: DiskVersion,
    /// Whether it takes a release only after a statement which one is the newest.
    pub freshness_required: bool,
}

impl<'a> Factory<'a> {
    /// 4 MiB with a `factory` slot and nothing in it.
    pub fn new(product: &'a str, name: &'a str, trust: KeySet) -> Self {
        Self {
            flash_size: NorFlash::SIZE_MIN,
            factory_slot: true,
            product,
            name,
            trust: Some(trust),
            app: None,
            installed: None,
            disk_version: DiskVersion::V2_0,
            freshness_required: false,
        }
    }

    /// The whole flash, for [`NorFlash::from_image`].
    ///
    /// # Errors
    /// [`Error::Factory`] when something does not fit, [`Error::Nor`] for a size that no flash has.
    pub fn build(&self) -> Result<Vec<u8>, Error> {
        let nor = SharedNor::new(NorFlash::blank(self.flash_size)?);
        let size = nor.size();
        let (list, n) = partition::default_layout(size, self.factory_slot);
        let mut bytes = [0xFF; TABLE_LEN];
        partition::encode(&list[..n], &mut bytes).map_err(Error::Table)?;
        put(&nor, 0, NO_BOOTLOADER)?;
        put(&nor, TABLE_OFFSET, &bytes)?;
        let first = if self.factory_slot {
            SlotId::Factory
        } else {
            SlotId::Ota0
        };
        let table = Table::parse(&bytes, size).map_err(Error::Table)?;
        let running = self.installed.map_or(first, |(slot, _)| slot);
        let layout = Layout::from_table(&table, size, running).ok_or(Error::Factory {
            reason: "the partitions do not allow updates",
        })?;
        let folders: Vec<_> = SlotId::ALL
            .into_iter()
            .filter(|slot| layout.partition(*slot).is_some())
            .map(SlotId::name)
            .collect();
        if let Some(vfs) = layout.vfs {
            files::format(&nor, vfs, self.disk_version, &folders).map_err(Error::Files)?;
        }
        let mut state = State::new(self.product, self.name, self.trust);
        if let Some(app) = self.app {
            put_app(&nor, &layout, first, app)?;
        }
        if let Some((slot, release)) = self.installed {
            install(&nor, &layout, slot, release)?;
            state.sequence = release.manifest().sequence;
            state.confirmed = Some(release.id());
        }
        state.counter = 1;
        state.freshness_required = self.freshness_required;
        put(&nor, layout.airlift.offset, &state.encode())?;
        Ok(nor.snapshot())
    }
}

/// Puts a release into a slot as if it had been installed and confirmed there; a part that it does
/// not carry is left as it is.
fn install(nor: &SharedNor, layout: &Layout, slot: SlotId, release: &Release) -> Result<(), Error> {
    if let Some(app) = release.part(PartKind::App) {
        put_app(nor, layout, slot, app.bytes())?;
    }
    let tar = release.part(PartKind::Files).map(|part| part.bytes());
    if let Some(vfs) = layout.vfs {
        let mut storage = Storage::new();
        let timing = Timing::None;
        let mut files = ChipFiles::mount(&mut storage, nor.clone(), Some(vfs), timing, NoTime);
        let version = &release.manifest().version;
        embassy_futures::block_on(unpack(&mut files, slot, tar.map(|t| &t[..]), version))
            .map_err(Error::Update)?;
    }
    let envelope = release.envelope();
    let offset = layout.envelope_offset(slot);
    put(nor, offset, &(envelope.len() as u32).to_le_bytes())?;
    put(nor, offset + 4, envelope)?;
    if let Some(ota) = slot.ota() {
        let blank = [Entry::decode(&[0xFF; 32]); 2];
        let sequence = next_sequence(&blank, ota, 2).unwrap_or(1);
        let entry = Entry::new(sequence, ImageState::Valid);
        put(nor, layout.otadata.offset, &entry.encode())?;
    }
    Ok(())
}

async fn unpack(
    files: &mut impl Files,
    slot: SlotId,
    tar: Option<&[u8]>,
    version: &str,
) -> Result<(), Failure> {
    let root = Path::slot(slot);
    if let Some(tar) = tar {
        let mut unpacker = Unpacker::resume(files, root, &Cursor::new(root)).await?;
        for piece in tar.chunks(PIECE) {
            unpacker.feed(files, piece).await?;
        }
        unpacker.finish()?;
    }
    write_version(files, root, version).await
}

fn put_app(nor: &SharedNor, layout: &Layout, slot: SlotId, app: &[u8]) -> Result<(), Error> {
    let refuse = |reason| Err(Error::Factory { reason });
    let Some(partition) = layout.partition(slot) else {
        return refuse("there is no partition for the app");
    };
    if app.len() > partition.size as usize {
        return refuse("the app does not fit its partition");
    }
    if image::check(app).is_err() {
        return refuse("the app is no whole image");
    }
    put(nor, partition.offset, app)
}

fn put(nor: &SharedNor, offset: u32, data: &[u8]) -> Result<(), Error> {
    debug_assert!(offset.is_multiple_of(4) && SECTOR_SIZE.is_multiple_of(4));
    Ok(nor.lock().overwrite(offset, data)?)
}

/// A clock for flash that takes no time.
struct NoTime;

impl Pace for NoTime {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    async fn pause(&self, _: Duration) {}
}
