//! App images that are small and pass every check.

use crate::seeded::Seeded;
use airlift_wire::Digest;
use airlift_wire::image::{DESCRIPTOR_LEN, HEADER_LEN, MAGIC};

const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;
const CHECKSUM_SEED: u8 = 0xEF;
/// Header, segment header, descriptor, checksum and SHA-256.
const SMALLEST: usize = HEADER_LEN + 8 + DESCRIPTOR_LEN + 16 + 32;

/// An image of one segment with a descriptor, a checksum and an appended SHA-256, of at least `len`
/// bytes and at most 15 more; its content is drawn from `version`.
pub fn sample_app(chip: u16, version: &str, len: usize) -> Vec<u8> {
    // With its header the data ends one byte before a multiple of 16: there stands the checksum.
    let data_len = (len.max(SMALLEST) - HEADER_LEN - 8 - 32).next_multiple_of(16) - 1;
    let mut image = vec![0; HEADER_LEN];
    image[0] = MAGIC;
    image[1] = 1;
    image[2] = 2;
    image[3] = 0x2F;
    image[4..8].copy_from_slice(&0x4200_0020u32.to_le_bytes());
    image[12..14].copy_from_slice(&chip.to_le_bytes());
    image[23] = 1;
    image.extend_from_slice(&0x3C00_0020u32.to_le_bytes());
    image.extend_from_slice(&(data_len as u32).to_le_bytes());
    let mut descriptor = [0; DESCRIPTOR_LEN];
    descriptor[..4].copy_from_slice(&DESCRIPTOR_MAGIC.to_le_bytes());
    for (to, from) in descriptor[16..47].iter_mut().zip(version.bytes()) {
        *to = from;
    }
    descriptor[48..54].copy_from_slice(b"sample");
    let [a, b, c, d, e, f, g, h, ..] = Digest::of(version.as_bytes()).0;
    let mut random = Seeded::new(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    let rest = std::iter::repeat_with(|| random.next() as u8);
    let data = descriptor.into_iter().chain(rest).take(data_len);
    image.extend(data);
    let checksum = image[HEADER_LEN + 8..]
        .iter()
        .fold(CHECKSUM_SEED, |sum, byte| sum ^ byte);
    while image.len() % 16 != 15 {
        image.push(0);
    }
    image.push(checksum);
    let digest = Digest::of(&image);
    image.extend_from_slice(&digest.0);
    image
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_wire::image;

    #[test]
    fn samples_pass_every_check_and_differ_by_version() {
        for len in [0, 4096, 10_000, 10_001, 10_015] {
            let app = sample_app(5, "1.0.0", len);
            let checked = image::check(&app).unwrap();
            assert_eq!(checked.header.chip_id, 5);
            assert!(
                app.len() >= len && app.len() < len.max(SMALLEST) + 16,
                "{len}"
            );
            let descriptor = image::Descriptor::parse(&app).unwrap();
            assert_eq!(
                (descriptor.version, descriptor.project),
                ("1.0.0", "sample")
            );
        }
        assert_ne!(sample_app(5, "1", 5000), sample_app(5, "2", 5000));
    }
}
