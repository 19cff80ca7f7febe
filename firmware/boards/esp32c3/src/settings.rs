//! What a board remembers besides its releases: the network it joins.
//!
//! Name, product and trusted keys are in the updater's own state.

use crate::flash::BoardFlash;
use airlift_provision::Credentials;
use airlift_provision::record::{FIRST_SECTOR, RECORD_LEN, Record, newest};
use airlift_updater::platform::{Flash, FlashError};
use airlift_wire::limits::SECTOR_SIZE;
use airlift_wire::partition::Partition;

/// The two copies of the network, in partition `airlift`.
#[derive(Clone, Copy)]
pub struct Settings {
    flash: BoardFlash,
    base: u32,
}

#[repr(align(4))]
struct Bytes([u8; RECORD_LEN]);

impl Settings {
    pub(crate) fn new(flash: BoardFlash, airlift: Partition) -> Self {
        let base = airlift.offset + FIRST_SECTOR * SECTOR_SIZE as u32;
        Self { flash, base }
    }

    /// The network, if one was set.
    pub async fn network(&mut self) -> Option<Credentials> {
        self.load().await.and_then(|(_, record)| record.network)
    }

    /// Remembers a network, or forgets it. The copy before stays until the new one is whole.
    ///
    /// # Errors
    /// [`FlashError`] when what was written does not read back.
    pub async fn set_network(&mut self, network: Option<Credentials>) -> Result<(), FlashError> {
        let (place, counter) = match self.load().await {
            Some((place, record)) => (1 - place, record.counter.wrapping_add(1)),
            None => (0, 1),
        };
        let offset = self.base + (place * SECTOR_SIZE) as u32;
        let record = Record { counter, network };
        let bytes = Bytes(record.encode());
        self.flash.erase(offset).await?;
        self.flash.write(offset, &bytes.0).await?;
        if self.copy(place).await == Some(record) {
            Ok(())
        } else {
            Err(FlashError { offset })
        }
    }

    async fn load(&mut self) -> Option<(usize, Record)> {
        newest([self.copy(0).await, self.copy(1).await])
    }

    async fn copy(&mut self, place: usize) -> Option<Record> {
        let mut bytes = Bytes([0; RECORD_LEN]);
        let offset = self.base + (place * SECTOR_SIZE) as u32;
        self.flash.read(offset, &mut bytes.0).await.ok()?;
        Record::decode(&bytes.0)
    }
}
