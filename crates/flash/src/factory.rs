//! The flash of a board as it leaves the factory: partition table, apps, littlefs, state.

use crate::littlefs::{Blocks, DiskVersion, FileTree, Storage, format};
use crate::{Bootloader, Error};
use airlift_provision::Credentials;
use airlift_provision::record::{self, Record};
use airlift_release::Release;
use airlift_updater::{Layout, SlotId};
use airlift_wire::KeySet;
use airlift_wire::image::{self, ImageError};
use airlift_wire::limits::{MAX_NAME, SECTOR_SIZE};
use airlift_wire::manifest::is_product;
use airlift_wire::otadata::{Entry, ImageState, next_sequence};
use airlift_wire::partition::{self, TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::State;
use airlift_wire::text::is_printable;

/// What stands where a board has its bootloader, when it gets none.
const NO_BOOTLOADER: &[u8] = b"A virtual device: its bootloader is not code in flash.\n";

/// What a board gets at the factory.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Factory<'a> {
    /// Bytes of flash, [`Factory::FLASH_MIN`] to [`Factory::FLASH_MAX`].
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
    /// The network that it joins.
    pub wifi: Option<Credentials>,
    /// Its bootloader. Without one a note says that there is none, as in virtual devices: they behave
    /// as one does, and have none in flash.
    pub bootloader: Option<&'a Bootloader>,
}

impl<'a> Factory<'a> {
    /// The smallest flash: 4 MiB.
    pub const FLASH_MIN: usize = 4 << 20;
    /// The largest flash: 16 MiB, what 24-bit addresses reach.
    pub const FLASH_MAX: usize = 16 << 20;

    /// 4 MiB with a `factory` slot and nothing in it.
    pub fn new(product: &'a str, name: &'a str, trust: KeySet) -> Self {
        Self {
            trust: Some(trust),
            ..Self::untrusting(product, name)
        }
    }

    /// The same, without keys: it takes no release.
    pub fn untrusting(product: &'a str, name: &'a str) -> Self {
        Self {
            flash_size: Self::FLASH_MIN,
            factory_slot: true,
            product,
            name,
            trust: None,
            app: None,
            installed: None,
            disk_version: DiskVersion::V2_0,
            freshness_required: false,
            wifi: None,
            bootloader: None,
        }
    }

    /// The whole flash.
    ///
    /// # Errors
    /// [`Error::FlashSize`] for a size that no such board has, [`Error::TooBig`] when something does not
    /// fit, [`Error::Image`] for an app that is no whole image, [`Error::Name`] and [`Error::NoProduct`]
    /// for what no board would read.
    pub fn build(&self) -> Result<Vec<u8>, Error> {
        let layout = self.layout()?;
        let mut flash = vec![0xFF; self.flash_size];
        match self.bootloader {
            Some(bootloader) => put(&mut flash, bootloader.offset(), bootloader.bytes())?,
            None => put(&mut flash, 0, NO_BOOTLOADER)?,
        }
        let table = table(layout.flash_size, self.factory_slot)?;
        put(&mut flash, TABLE_OFFSET, &table)?;
        if let Some(app) = self.app {
            put_app(&mut flash, &layout, first_slot(self.factory_slot), app)?;
        }
        if let Some((slot, release)) = self.installed {
            if let Some(app) = release.app() {
                put_app(&mut flash, &layout, slot, app.bytes())?;
            }
            put(&mut flash, layout.otadata.offset, &otadata(slot))?;
        }
        put(&mut flash, layout.airlift.offset, &self.airlift(&layout)?)?;
        if let Some(vfs) = layout.vfs {
            let mut storage = Storage::new();
            let mut tree = self.files(&mut storage, &layout, vfs.size)?;
            for segment in tree.in_use(vfs.offset)? {
                put(&mut flash, segment.offset(), segment.bytes())?;
            }
        }
        Ok(flash)
    }

    /// Where everything goes.
    pub(crate) fn layout(&self) -> Result<Layout, Error> {
        let no_size = || Error::FlashSize(u32::try_from(self.flash_size).unwrap_or(u32::MAX));
        let fits = (Self::FLASH_MIN..=Self::FLASH_MAX).contains(&self.flash_size);
        if !fits || !self.flash_size.is_multiple_of(SECTOR_SIZE) {
            return Err(no_size());
        }
        let size = u32::try_from(self.flash_size).map_err(|_| no_size())?;
        let running = self.installed.map(|(slot, _)| slot);
        let running = running.unwrap_or(first_slot(self.factory_slot));
        let bytes = table(size, self.factory_slot)?;
        let table = Table::parse(&bytes, size).map_err(Error::Table)?;
        Layout::from_table(&table, size, running)
            .ok_or(Error::Layout("there is no partition for the app"))
    }

    /// All of partition `airlift`: state, envelope, network. Without a product there is no state, which
    /// is fine as long as there is nothing to remember.
    ///
    /// # Errors
    /// [`Error::Name`] and [`Error::NoProduct`] for a state that no board would read.
    pub(crate) fn airlift(&self, layout: &Layout) -> Result<Vec<u8>, Error> {
        if self.name.len() > MAX_NAME || !self.name.chars().all(is_printable) {
            return Err(Error::Name);
        }
        let has_product = is_product(self.product);
        let remembers = self.trust.is_some() || !self.name.is_empty() || self.freshness_required;
        if !has_product && remembers {
            return Err(Error::NoProduct);
        }
        let mut state = State::new(self.product, self.name, self.trust);
        state.counter = 1;
        state.freshness_required = self.freshness_required;
        let mut bytes = vec![0xFF; layout.airlift.size as usize];
        if let Some((slot, release)) = self.installed {
            state.sequence = release.manifest().sequence;
            state.confirmed = Some(release.id());
            let envelope = release.envelope();
            let at = layout.envelope_offset(slot) - layout.airlift.offset;
            put(&mut bytes, at, &(envelope.len() as u32).to_le_bytes())?;
            put(&mut bytes, at + 4, envelope)?;
        }
        if has_product {
            put(&mut bytes, 0, &state.encode())?;
        }
        if let Some(network) = self.wifi {
            let record = Record {
                counter: 1,
                network: Some(network),
            };
            let at = record::FIRST_SECTOR * SECTOR_SIZE as u32;
            put(&mut bytes, at, &record.encode())?;
        }
        Ok(bytes)
    }

    /// The file system of `size` bytes: a folder a slot, and the files of what is installed.
    pub(crate) fn files<'s>(
        &self,
        storage: &'s mut Storage,
        layout: &Layout,
        size: u32,
    ) -> Result<FileTree<'s, 'static>, Error> {
        let slots = SlotId::ALL.into_iter();
        let slots = slots.filter(|slot| layout.partition(*slot).is_some());
        let folders: Vec<_> = slots.map(SlotId::name).collect();
        let blocks = format(Blocks::erased(size), self.disk_version, &folders)?;
        let mut tree = FileTree::mount(storage, blocks)?;
        if let Some((slot, release)) = self.installed {
            let tar = release.files().map(|part| &part.bytes()[..]);
            tree.install(slot, tar, &release.manifest().version)?;
        }
        Ok(tree)
    }
}

/// The slot that a board from the factory starts.
pub(crate) fn first_slot(factory_slot: bool) -> SlotId {
    if factory_slot {
        SlotId::Factory
    } else {
        SlotId::Ota0
    }
}

/// The default partition table for a flash of this size, [`TABLE_LEN`] bytes.
///
/// # Errors
/// [`Error::Table`] when the flash is too small for it.
pub fn table(flash_size: u32, factory_slot: bool) -> Result<[u8; TABLE_LEN], Error> {
    let (list, n) = partition::default_layout(flash_size, factory_slot);
    let mut bytes = [0xFF; TABLE_LEN];
    partition::encode(&list[..n], &mut bytes).map_err(Error::Table)?;
    Table::parse(&bytes, flash_size).map_err(Error::Table)?;
    Ok(bytes)
}

/// Both sectors of an otadata that selects `slot`: erased for `factory`, else one valid entry.
pub fn otadata(slot: SlotId) -> Vec<u8> {
    let mut bytes = vec![0xFF; 2 * SECTOR_SIZE];
    if let Some(ota) = slot.ota() {
        let blank = [Entry::decode(&[0xFF; 32]); 2];
        let sequence = next_sequence(&blank, ota, 2).unwrap_or(1);
        let entry = Entry::new(sequence, ImageState::Valid).encode();
        bytes[..entry.len()].copy_from_slice(&entry);
    }
    bytes
}

fn put_app(flash: &mut [u8], layout: &Layout, slot: SlotId, app: &[u8]) -> Result<(), Error> {
    let Some(partition) = layout.partition(slot) else {
        return Err(Error::Layout("there is no partition for the app"));
    };
    check_app(app, partition.size)?;
    put(flash, partition.offset, app)
}

/// A whole app image that fits `room` bytes.
pub(crate) fn check_app(app: &[u8], room: u32) -> Result<image::Checked, Error> {
    let what = || "the app".to_owned();
    if app.len() > room as usize {
        return Err(Error::TooBig {
            what: what(),
            size: app.len() as u64,
            limit: room.into(),
        });
    }
    image::check(app).map_err(|error: ImageError| Error::Image {
        what: what(),
        error,
    })
}

fn put(flash: &mut [u8], offset: u32, data: &[u8]) -> Result<(), Error> {
    let room = flash.get_mut(offset as usize..).unwrap_or_default();
    let limit = room.len() as u64;
    match room.get_mut(..data.len()) {
        Some(place) => {
            place.copy_from_slice(data);
            Ok(())
        }
        None => Err(Error::TooBig {
            what: format!("what goes to {offset:#x}"),
            size: data.len() as u64,
            limit,
        }),
    }
}
