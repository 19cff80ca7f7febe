//! ESP-IDF's app image (ESP-IDF: "App Image Format", `esp_app_format.h`, `esp_app_desc.h`).
//!
//! ```text
//!  0  magic E9        1  segments       2  SPI mode       3  SPI speed and size
//!  4  entry u32       8  WP pin, drive  12 chip_id u16    14 minimum revision (old)
//! 15  min revision u16, 17 max revision u16, 19 reserved, 23 hash appended
//! 24  segments: address u32, length u32, data
//!     zeros until one byte is left of a 16-byte block, then the checksum: EF xor all data bytes
//!     SHA-256 of all before it, when "hash appended" is 1
//! ```
//!
//! The app descriptor is the first 256 bytes of the first segment: magic ABCD5432, secure version,
//! two words, version\[32\], project\[32\], time\[16\], date\[16\], IDF version\[32\], ELF SHA-256.

use crate::digest::{Digest, Hasher};
use crate::limits::MAX_SEGMENTS;
use core::fmt;

/// First byte of an image.
pub const MAGIC: u8 = 0xE9;
/// Bytes of the image header.
pub const HEADER_LEN: usize = 24;
/// Where the app descriptor is in an image: after the header and the first segment's header.
pub const DESCRIPTOR_OFFSET: usize = 32;
/// Bytes of the app descriptor.
pub const DESCRIPTOR_LEN: usize = 256;
const DESCRIPTOR_MAGIC: u32 = 0xABCD_5432;
const CHECKSUM_SEED: u8 = 0xEF;

/// `chip_id` values and their names (`esp_chip_id_t`).
pub const CHIPS: &[(u16, &str)] = &[
    (0, "esp32"),
    (2, "esp32s2"),
    (5, "esp32c3"),
    (9, "esp32s3"),
    (12, "esp32c2"),
    (13, "esp32c6"),
    (16, "esp32h2"),
    (18, "esp32p4"),
    (20, "esp32c61"),
    (23, "esp32c5"),
];

/// The name of a chip id; `None` when it is not known.
pub fn chip_name(id: u16) -> Option<&'static str> {
    CHIPS
        .iter()
        .find(|(chip, _)| *chip == id)
        .map(|(_, name)| *name)
}

/// The id of a chip name.
pub fn chip_id(name: &str) -> Option<u16> {
    CHIPS
        .iter()
        .find(|(_, chip)| *chip == name)
        .map(|(id, _)| *id)
}

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Number of segments, 1 to 16.
    pub segments: u8,
    /// SPI mode.
    pub spi_mode: u8,
    /// Flash size code, the upper half of byte 3: the size is `1 MiB << code`.
    pub flash_size_code: u8,
    /// Entry address.
    pub entry: u32,
    /// Chip.
    pub chip_id: u16,
    /// Lowest revision of the chip that it runs on, major * 100 + minor; 0 is any.
    pub min_revision: u16,
    /// Highest revision of the chip that an app runs on; `None` when nobody set one.
    pub max_revision: Option<u16>,
    /// Whether a SHA-256 follows the checksum.
    pub hash_appended: bool,
}

impl Header {
    /// Reads the header from the first bytes of an image.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let h: &[u8; HEADER_LEN] = bytes.first_chunk().ok_or(ImageError::Truncated)?;
        if h[0] != MAGIC {
            return Err(ImageError::Magic);
        }
        if h[1] == 0 || h[1] > MAX_SEGMENTS {
            return Err(ImageError::Segments);
        }
        Ok(Self {
            segments: h[1],
            spi_mode: h[2],
            flash_size_code: h[3] >> 4,
            entry: u32::from_le_bytes([h[4], h[5], h[6], h[7]]),
            chip_id: u16::from_le_bytes([h[12], h[13]]),
            min_revision: revision(h[15], h[16]).unwrap_or(0),
            max_revision: revision(h[17], h[18]),
            hash_appended: h[23] == 1,
        })
    }
}

/// A revision, if the field is set: neither 0 nor all ones (`IS_MAX_REV_SET`).
fn revision(low: u8, high: u8) -> Option<u16> {
    let set = u16::from_le_bytes([low, high]);
    (set != 0 && set != u16::MAX).then_some(set)
}

/// The app descriptor; text borrows from the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor<'a> {
    /// Version text.
    pub version: &'a str,
    /// Project name.
    pub project: &'a str,
    /// Build date.
    pub date: &'a str,
    /// Build time.
    pub time: &'a str,
    /// ESP-IDF version.
    pub idf: &'a str,
}

impl<'a> Descriptor<'a> {
    /// Reads the descriptor of an image; `None` when there is none.
    pub fn parse(image: &'a [u8]) -> Option<Self> {
        let d = image.get(DESCRIPTOR_OFFSET..DESCRIPTOR_OFFSET + DESCRIPTOR_LEN)?;
        if d[..4] != DESCRIPTOR_MAGIC.to_le_bytes() {
            return None;
        }
        Some(Self {
            version: text(&d[16..48]),
            project: text(&d[48..80]),
            time: text(&d[80..96]),
            date: text(&d[96..112]),
            idf: text(&d[112..144]),
        })
    }
}

fn text(field: &[u8]) -> &str {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    core::str::from_utf8(&field[..end]).unwrap_or("")
}

/// Why bytes are not an app image. Its code is `bad_image`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageError {
    /// The first byte is not `E9`.
    Magic,
    /// No segment, or more than 16.
    Segments,
    /// The image ends too early.
    Truncated,
    /// Bytes follow the image.
    TrailingBytes,
    /// The checksum does not match.
    Checksum {
        /// As computed.
        computed: u8,
        /// As found.
        found: u8,
    },
    /// The appended SHA-256 does not match.
    Hash,
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => f.write_str("it does not start with E9"),
            Self::Segments => f.write_str("its number of segments is not 1 to 16"),
            Self::Truncated => f.write_str("it ends inside a segment"),
            Self::TrailingBytes => f.write_str("bytes follow the image"),
            Self::Checksum { computed, found } => {
                write!(f, "its checksum is {found:02x}, computed {computed:02x}")
            }
            Self::Hash => f.write_str("its appended SHA-256 does not match"),
        }
    }
}

impl core::error::Error for ImageError {}

/// What a whole image turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The header.
    pub header: Header,
    /// Bytes of the image, checksum and appended hash included.
    pub len: u32,
    /// The checksum.
    pub checksum: u8,
    /// The appended SHA-256, if there is one.
    pub sha256: Option<Digest>,
}

enum Stage {
    Header,
    SegmentHeader,
    Data(u32),
    Pad,
    Hash,
    Done,
}

/// Checks an image piece by piece, as the second-stage bootloader does before it boots one.
pub struct Checker {
    stage: Stage,
    header: Option<Header>,
    left: u8,
    buf: [u8; 32],
    fill: usize,
    len: u32,
    checksum: u8,
    found_checksum: u8,
    hasher: Hasher,
}

impl Default for Checker {
    fn default() -> Self {
        Self::new()
    }
}

impl Checker {
    /// A checker that has seen nothing.
    pub fn new() -> Self {
        Self {
            stage: Stage::Header,
            header: None,
            left: 0,
            buf: [0; 32],
            fill: 0,
            len: 0,
            checksum: CHECKSUM_SEED,
            found_checksum: 0,
            hasher: Hasher::new(),
        }
    }

    /// Whether the image has ended; bytes after that are not part of it.
    pub fn is_done(&self) -> bool {
        matches!(self.stage, Stage::Done)
    }

    /// Adds bytes and returns how many belong to the image: fewer than given once it has ended.
    pub fn update(&mut self, mut bytes: &[u8]) -> Result<usize, ImageError> {
        let given = bytes.len();
        while !bytes.is_empty() {
            let used = match self.stage {
                Stage::Done => break,
                Stage::Header => self.collect(bytes, HEADER_LEN)?,
                Stage::SegmentHeader => self.collect(bytes, 8)?,
                Stage::Data(left) => {
                    let n = bytes.len().min(left as usize);
                    self.checksum = bytes[..n].iter().fold(self.checksum, |c, b| c ^ b);
                    self.took(&bytes[..n])?;
                    self.stage = match left - n as u32 {
                        0 => self.next_segment(),
                        left => Stage::Data(left),
                    };
                    n
                }
                Stage::Pad => {
                    let n = bytes.len().min(16 - self.len as usize % 16);
                    self.took(&bytes[..n])?;
                    if self.len.is_multiple_of(16) {
                        self.found_checksum = bytes[n - 1];
                        let hash = self.header.is_some_and(|h| h.hash_appended);
                        self.stage = if hash { Stage::Hash } else { Stage::Done };
                    }
                    n
                }
                Stage::Hash => {
                    let n = bytes.len().min(32 - self.fill);
                    self.buf[self.fill..self.fill + n].copy_from_slice(&bytes[..n]);
                    self.fill += n;
                    self.len = self.len.saturating_add(n as u32);
                    if self.fill == 32 {
                        self.stage = Stage::Done;
                    }
                    n
                }
            };
            bytes = &bytes[used..];
        }
        Ok(given - bytes.len())
    }

    fn next_segment(&mut self) -> Stage {
        self.fill = 0;
        if self.left == 0 {
            Stage::Pad
        } else {
            Stage::SegmentHeader
        }
    }

    fn took(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.hasher.update(bytes);
        let n = u32::try_from(bytes.len()).map_err(|_| ImageError::TrailingBytes)?;
        self.len = self.len.checked_add(n).ok_or(ImageError::TrailingBytes)?;
        Ok(())
    }

    fn collect(&mut self, bytes: &[u8], want: usize) -> Result<usize, ImageError> {
        let n = bytes.len().min(want - self.fill);
        self.buf[self.fill..self.fill + n].copy_from_slice(&bytes[..n]);
        self.fill += n;
        self.took(&bytes[..n])?;
        if self.fill == want {
            self.fill = 0;
            if want == HEADER_LEN {
                let header = Header::parse(&self.buf)?;
                self.left = header.segments;
                self.header = Some(header);
                self.stage = self.next_segment();
            } else {
                self.left -= 1;
                let len = u32::from_le_bytes([self.buf[4], self.buf[5], self.buf[6], self.buf[7]]);
                self.stage = if len == 0 {
                    self.next_segment()
                } else {
                    Stage::Data(len)
                };
            }
        }
        Ok(n)
    }

    /// The verdict on all that was added.
    pub fn finish(self) -> Result<Checked, ImageError> {
        let (Stage::Done, Some(header)) = (&self.stage, self.header) else {
            return Err(ImageError::Truncated);
        };
        if self.checksum != self.found_checksum {
            let (computed, found) = (self.checksum, self.found_checksum);
            return Err(ImageError::Checksum { computed, found });
        }
        let sha256 = header.hash_appended.then_some(Digest(self.buf));
        if sha256.is_some_and(|found| found != self.hasher.finish()) {
            return Err(ImageError::Hash);
        }
        Ok(Checked {
            header,
            len: self.len,
            checksum: self.found_checksum,
            sha256,
        })
    }
}

/// Checks an image that is whole in memory; nothing may follow it.
pub fn check(image: &[u8]) -> Result<Checked, ImageError> {
    let mut checker = Checker::new();
    let used = checker.update(image)?;
    let checked = checker.finish()?;
    if used < image.len() {
        Err(ImageError::TrailingBytes)
    } else {
        Ok(checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// An image with the given segments, made from the format's description.
    fn image(segments: &[&[u8]]) -> Vec<u8> {
        let mut b = std::vec![0; HEADER_LEN];
        b[0] = MAGIC;
        b[1] = segments.len() as u8;
        b[12] = 5;
        b[23] = 1;
        let mut sum = CHECKSUM_SEED;
        for data in segments {
            b.extend_from_slice(&0x4200_0000u32.to_le_bytes());
            b.extend_from_slice(&(data.len() as u32).to_le_bytes());
            b.extend_from_slice(data);
            sum = data.iter().fold(sum, |s, d| s ^ d);
        }
        while b.len() % 16 != 15 {
            b.push(0);
        }
        b.push(sum);
        let hash = Digest::of(&b);
        b.extend_from_slice(&hash.0);
        b
    }

    #[test]
    fn a_good_image_is_accepted_whole_and_in_any_pieces() {
        let img = image(&[b"first segment", b"", &[9; 300]]);
        let whole = check(&img).unwrap();
        assert_eq!((whole.header.chip_id, whole.len as usize), (5, img.len()));
        for step in [1, 7, 16, 100] {
            let mut checker = Checker::new();
            for piece in img.chunks(step) {
                assert_eq!(checker.update(piece), Ok(piece.len()));
            }
            assert_eq!(checker.finish(), Ok(whole));
        }
    }

    #[test]
    fn revisions_are_those_that_were_set() {
        let mut img = image(&[b"code"]);
        let of = |img: &[u8]| {
            let header = Header::parse(img).unwrap();
            (header.min_revision, header.max_revision)
        };
        assert_eq!(of(&img), (0, None));
        img[15..19].copy_from_slice(&[0x65, 0, 0xC7, 0]);
        assert_eq!(of(&img), (101, Some(199)));
        img[15..19].fill(0xFF);
        assert_eq!(of(&img), (0, None));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let img = image(&[b"some code"]);
        for at in 0..img.len() {
            let mut bad = img.clone();
            bad[at] ^= 1;
            assert!(check(&bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_short_or_long_image_is_refused() {
        let img = image(&[b"some code"]);
        for len in 0..img.len() {
            assert_eq!(check(&img[..len]), Err(ImageError::Truncated));
        }
        let mut long = img;
        long.push(0);
        assert_eq!(check(&long), Err(ImageError::TrailingBytes));
    }

    #[test]
    fn bytes_after_the_image_in_a_slot_are_not_part_of_it() {
        let img = image(&[b"some code"]);
        let mut slot = img.clone();
        slot.resize(4096, 0xFF);
        let mut checker = Checker::new();
        assert_eq!(checker.update(&slot), Ok(img.len()));
        assert!(checker.is_done() && checker.finish().is_ok());
    }

    #[test]
    fn chips_have_one_name_each() {
        for (id, name) in CHIPS {
            assert_eq!((chip_name(*id), chip_id(name)), (Some(*name), Some(*id)));
        }
        assert_eq!(chip_name(0xFFFF), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_checked_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), e9: bool) {
            if e9 && bytes.len() > 1 {
                bytes[0] = MAGIC;
                bytes[1] %= 17;
            }
            let _ = check(&bytes);
            let _ = Descriptor::parse(&bytes);
        }
    }
}
