//! What every app slot holds: project, version, and whether the image is intact.

use esp_bootloader_esp_idf::partitions::{PartitionEntry, read_partition_table};
use esp_println::{print, println};
use esp_storage::FlashStorage;

use crate::slot::TABLE_LEN;

/// Type of an app partition in the partition table.
const TYPE_APP: u8 = 0;

/// First byte of an ESP image.
const IMAGE_MAGIC: u8 = 0xE9;

/// Offset of the header's flag for an appended SHA-256.
const HASH_APPENDED: usize = 23;

/// The application descriptor starts the first segment: after the image header (24 bytes) and the
/// segment's own header (8 bytes).
const DESCRIPTOR: usize = 24 + 8;
const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;
/// Offsets of two texts in the descriptor, 32 bytes each, and where the second one ends.
const VERSION: usize = DESCRIPTOR + 16;
const PROJECT: usize = DESCRIPTOR + 48;
const END: usize = DESCRIPTOR + 80;

/// Prints a line for each app slot. Hashes every image it finds, which takes some 100 ms a slot.
pub fn print(flash: &mut FlashStorage<'_>, table: &mut [u8; TABLE_LEN]) {
    let table = match read_partition_table(flash, table) {
        Ok(table) => table,
        Err(error) => return println!("slot report: {error}"),
    };
    for slot in table.iter().filter(|entry| entry.raw_type() == TYPE_APP) {
        print!(
            "{:<8} {:#08x} {:>8} bytes: ",
            slot.label_as_str(),
            slot.offset(),
            slot.len()
        );
        match read_head(flash, slot) {
            Some(head) => print_image(flash, slot, &head),
            None => println!("no image"),
        }
    }
}

/// The first bytes of a slot, if an image starts there.
fn read_head(flash: &mut FlashStorage<'_>, slot: PartitionEntry) -> Option<[u8; END]> {
    let mut head = [0; END];
    slot.as_flash_region(flash).read(0, &mut head).ok()?;
    (head[0] == IMAGE_MAGIC).then_some(head)
}

fn print_image(flash: &mut FlashStorage<'_>, slot: PartitionEntry, head: &[u8; END]) {
    let described = head[DESCRIPTOR..DESCRIPTOR + 4] == DESCRIPTOR_MAGIC.to_le_bytes();
    if described {
        print!(
            "{} {}, ",
            text(&head[PROJECT..END]),
            text(&head[VERSION..PROJECT])
        );
    }
    // Recomputes the hash over the whole image, and compares it with the appended one if it has one.
    match slot.sha256(flash) {
        Ok(digest) => {
            print!(
                "{}, sha256 ",
                if head[HASH_APPENDED] == 0 {
                    "unchecked"
                } else {
                    "intact"
                }
            );
            for byte in digest {
                print!("{byte:02x}");
            }
            println!();
        }
        Err(error) => println!("not intact: {error}"),
    }
}

/// A text of the descriptor up to its NUL, or `?` if it is none.
fn text(field: &[u8]) -> &str {
    let end = field
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(field.len());
    core::str::from_utf8(&field[..end]).unwrap_or("?")
}
