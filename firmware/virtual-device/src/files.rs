//! The updater's files: littlefs in partition `vfs` of the same flash.

use crate::nor::{NorError, OpKind, SECTOR_SIZE, SharedNor};
use crate::pace::{Pace, Pacer};
use crate::power::Power;
use crate::timing::Timing;
use airlift_littlefs::updater::{Runner, UpdaterFiles};
use airlift_littlefs::{BlockDevice, FileSystem, Geometry, IoError, Storage};
use airlift_wire::partition::Partition;
use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

/// The blocks of partition `vfs`.
pub struct Vfs {
    nor: SharedNor,
    base: u32,
    timing: Timing,
    /// How long the operations since the last look took.
    spent: Rc<Cell<Duration>>,
}

impl Vfs {
    fn new(nor: SharedNor, partition: Partition, timing: Timing) -> Self {
        Self {
            nor,
            base: partition.offset,
            timing,
            spent: Rc::default(),
        }
    }

    fn geometry(partition: Partition) -> Geometry {
        Geometry {
            block_count: partition.size / SECTOR_SIZE,
        }
    }

    fn spend(&self, kind: OpKind, offset: u32, len: usize) {
        let took = self.timing.duration(kind, offset, len as u32);
        self.spent.set(self.spent.get() + took);
    }
}

/// What a worn block is to littlefs, or bits that a cut left behind: it takes another one.
fn bad_block(error: NorError) -> IoError {
    match error {
        NorError::Failed { .. } | NorError::WouldSetBits { .. } => IoError::BadBlock,
        _ => IoError::Device,
    }
}

impl BlockDevice for Vfs {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Read, offset, buf.len());
        self.nor.read(offset, buf).map_err(|_| IoError::Device)
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Write, offset, data.len());
        self.nor.write(offset, data).map_err(bad_block)
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        let offset = self.base + offset;
        self.spend(OpKind::Erase, offset, SECTOR_SIZE as usize);
        self.nor.erase(offset).map_err(bad_block)
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Runs an operation of the file system, then waits as long as its blocks took.
///
/// Without power no operation returns.
pub struct ChipRunner<C> {
    nor: SharedNor,
    spent: Rc<Cell<Duration>>,
    pacer: Pacer<C>,
    power: Power,
}

impl<C: Pace> Runner for ChipRunner<C> {
    async fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let result = work();
        // Also when it went while the file system was mounted.
        if !self.nor.is_powered() {
            return self.power.cut().await;
        }
        self.pacer.spend(self.spent.take()).await;
        result
    }
}

/// The updater's files over the littlefs in a partition, mounted for as long as this lives.
pub type ChipFiles<'s, C> = UpdaterFiles<'s, Vfs, ChipRunner<C>>;

/// Mounts the file system in `partition`; without a partition there is none.
pub fn mount_files<C: Pace>(
    storage: &mut Storage,
    nor: SharedNor,
    partition: Option<Partition>,
    timing: Timing,
    clock: C,
) -> ChipFiles<'_, C> {
    mount_powered(storage, nor, partition, timing, clock, Power::default())
}

pub(crate) fn mount_powered<C: Pace>(
    storage: &mut Storage,
    nor: SharedNor,
    partition: Option<Partition>,
    timing: Timing,
    clock: C,
    power: Power,
) -> ChipFiles<'_, C> {
    let spent = Rc::default();
    let fs = partition.and_then(|partition| {
        let vfs = Vfs {
            spent: Rc::clone(&spent),
            ..Vfs::new(nor.clone(), partition, timing)
        };
        // Power may have gone while the metadata was written.
        let (mut vfs, geometry) = (vfs, Vfs::geometry(partition));
        airlift_littlefs::settle(&mut vfs, geometry, &mut [0; SECTOR_SIZE as usize]).ok()?;
        FileSystem::mount(storage, vfs, geometry).ok()
    });
    let runner = ChipRunner {
        nor,
        spent,
        pacer: Pacer::new(clock, timing),
        power,
    };
    UpdaterFiles::new(fs, runner)
}
