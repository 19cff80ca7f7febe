//! Which slot this program runs from.

use esp_bootloader_esp_idf::partitions::{
    Error, PARTITION_TABLE_MAX_LEN, PartitionEntry, read_partition_table,
};
use esp_storage::FlashStorage;

/// Bytes of the buffer that [`running`] reads the partition table into.
pub const TABLE_LEN: usize = PARTITION_TABLE_MAX_LEN;

/// The partition that the flash cache is mapped to, which is the one that was really booted;
/// `otadata` only says which one was asked for.
///
/// `None` if no entry of the partition table starts there.
pub fn running(
    flash: &mut FlashStorage<'_>,
    table: &mut [u8; TABLE_LEN],
) -> Result<Option<PartitionEntry>, Error> {
    read_partition_table(flash, table)?.booted_partition()
}
