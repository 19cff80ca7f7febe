//! The updater's files: littlefs in partition `vfs`.

use crate::flash::{Blocks, BoardFlash};
use airlift_littlefs::updater::{Runner, UpdaterFiles};
use airlift_littlefs::{FileSystem, Storage};
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::Partition;

/// The files of a board. A partition that does not mount is there, but broken: the updater still starts
/// and says so.
pub type BoardFiles = UpdaterFiles<'static, Blocks, Apart>;

/// A call of littlefs cannot give way, and may erase several blocks: with esp-rtos it runs in a thread
/// below the executor's, which goes on meanwhile, but for the flash operations themselves. Without
/// threads everybody waits, and then gets a turn.
pub struct Apart;

impl Runner for Apart {
    #[cfg(feature = "rtos")]
    async fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        crate::thread::run(work).await
    }

    #[cfg(not(feature = "rtos"))]
    async fn run<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let result = work();
        embassy_futures::yield_now().await;
        result
    }
}

/// Decides what a power cut left of the metadata in `partition`; see [`settle`](airlift_littlefs::settle).
/// `block` is memory to work in.
pub(crate) fn settle(flash: BoardFlash, partition: Partition, block: &mut [u8; SECTOR_SIZE]) {
    let mut blocks = Blocks::new(flash, partition);
    let settled = airlift_littlefs::settle(&mut blocks, Blocks::geometry(partition), block);
    if let Err(error) = settled {
        // It is mounted all the same: what cannot be written is taken as it reads.
        log::warn!("the file system was not looked through: {error}");
    }
}

/// Mounts the file system in `partition`; without a partition there is none.
pub(crate) fn mount(
    storage: &'static mut Storage,
    flash: BoardFlash,
    partition: Option<Partition>,
) -> BoardFiles {
    let mounted = partition.and_then(|partition| {
        let blocks = Blocks::new(flash, partition);
        FileSystem::mount(storage, blocks, Blocks::geometry(partition))
            .inspect_err(|error| log::warn!("the file system does not mount: {error}"))
            .ok()
    });
    BoardFiles::new(mounted, Apart)
}
