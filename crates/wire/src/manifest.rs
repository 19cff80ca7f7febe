//! The manifest: what a release is, in deterministic CBOR (RFC 8949 section 4.2).
//!
//! ```text
//! Manifest = { 0: 1,                    ; format
//!              1: tstr,                 ; product, 1..64 bytes of [a-z0-9._-]
//!              2: uint,                 ; chip: chip_id of the ESP image header; 0xFFFF = any, only without an app part
//!              3: tstr,                 ; version shown to people, 1..64 bytes, printable
//!              4: uint32,               ; sequence: grows with every release of a product
//!              5: uint,                 ; created, Unix seconds
//!              6: Part / digest / null, ; app: carried / the one that must already run / whatever runs
//!              7: Part / digest / null, ; files: likewise
//!            ? 8: KeySet }
//! Part     = { 0: 1..16777216, 1: digest, 2: [+ digest], ? 3: uint }   ; 3: files only
//! KeySet   = { 0: uint, 1: key, 2: [1*4 key] }
//! ```
//!
//! Keys 0-7 must all be present. A decoder refuses unknown keys below 16 and skips others. Every key
//! of a set must be usable ([`PublicKey::is_usable`]).

use crate::cbor::{ARRAY, BYTES, CborError, KeyOrder, MAP, NULL, Reader, Writer};
use crate::digest::Digest;
use crate::index;
use crate::keys::PublicKey;
use crate::limits::{
    FIRST_ROOT_SEQUENCE, MAX_PART_SIZE, MAX_PRODUCT, MAX_RELEASE_KEYS, MAX_VERSION,
    SEQUENCES_AN_EPOCH,
};
use crate::text::is_printable;
use core::fmt;

/// The value of `chip` that fits every chip.
pub const ANY_CHIP: u16 = 0xFFFF;
/// The only format that this crate speaks.
pub const FORMAT: u64 = 1;
/// Unknown keys from this one on are skipped; below it they are refused.
const FIRST_SKIPPED_KEY: u64 = 16;

/// A decoded manifest; text and page hashes borrow from its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Product name: a release is for devices of this product only.
    pub product: &'a str,
    /// `chip_id` of the ESP image header, or [`ANY_CHIP`].
    pub chip: u16,
    /// Version text for people; never compared.
    pub version: &'a str,
    /// Grows with every release of a product.
    pub sequence: u32,
    /// When it was made, in Unix seconds.
    pub created: u64,
    /// The app image.
    pub app: PartRef<'a>,
    /// The canonical tar of files.
    pub files: PartRef<'a>,
    /// New keys, in force once this release is confirmed.
    pub keys: Option<KeySet>,
}

/// What a release says of one of its two parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRef<'a> {
    /// The release carries the part.
    Carried(Part<'a>),
    /// The part that the device must already run.
    Running(Digest),
    /// Whatever the device runs.
    Any,
}

impl<'a> PartRef<'a> {
    /// The carried part, if it is carried.
    pub fn carried(&self) -> Option<Part<'a>> {
        match self {
            Self::Carried(part) => Some(*part),
            _ => None,
        }
    }

    /// The digest that the part must have, if the release names one.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Carried(part) => Some(part.digest),
            Self::Running(digest) => Some(*digest),
            Self::Any => None,
        }
    }
}

/// A carried part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Size in bytes, 1 to 16 MiB.
    pub size: u32,
    /// SHA-256 of the whole part.
    pub digest: Digest,
    /// SHA-256 of each index page, in order.
    pub pages: Pages<'a>,
    /// Files only: file-system blocks of 4 KiB that it needs unpacked, folders included.
    pub blocks: Option<u32>,
}

impl Part<'_> {
    /// Number of chunks.
    pub fn chunks(&self) -> u32 {
        index::chunk_count(self.size)
    }
}

/// The hashes of a part's index pages.
#[derive(Clone, Copy)]
pub struct Pages<'a> {
    raw: &'a [u8],
    /// Bytes before each hash: 2 in CBOR (`58 20`), 0 in a flat list.
    skip: usize,
}

impl<'a> Pages<'a> {
    /// From hashes concatenated; `None` unless the length is a multiple of 32.
    pub fn flat(hashes: &'a [u8]) -> Option<Self> {
        hashes.len().is_multiple_of(Digest::LEN).then_some(Self {
            raw: hashes,
            skip: 0,
        })
    }

    /// Number of pages.
    pub fn len(&self) -> usize {
        self.raw.len() / (self.skip + Digest::LEN)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// The hash of page `n`.
    pub fn get(&self, n: usize) -> Option<Digest> {
        let stride = self.skip + Digest::LEN;
        let start = n.checked_mul(stride)?.checked_add(self.skip)?;
        Digest::from_slice(self.raw.get(start..start + Digest::LEN)?)
    }

    /// All hashes in order.
    pub fn iter(&self) -> impl Iterator<Item = Digest> + '_ {
        (0..self.len()).filter_map(|n| self.get(n))
    }
}

impl PartialEq for Pages<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Pages<'_> {}

impl fmt::Debug for Pages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The first sequence that a release key may not give in this epoch; the root may.
///
/// A device never takes a lower sequence than it has confirmed. Somebody with a stolen release key
/// who gave the highest of all would leave none for the release with which the root takes that key
/// away. So the upper half belongs to the root, and each epoch opens the next
/// [`SEQUENCES_AN_EPOCH`] of it to the release keys: they can go on after such a change.
pub const fn first_root_sequence(epoch: u32) -> u32 {
    let opened = epoch.saturating_mul(SEQUENCES_AN_EPOCH);
    let last = u32::MAX - SEQUENCES_AN_EPOCH;
    match FIRST_ROOT_SEQUENCE.saturating_add(opened) {
        first if first < last => first,
        _ => last,
    }
}

/// The keys that a device trusts: one root, up to four release keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySet {
    /// Rises with every change of the set.
    pub epoch: u32,
    /// Signs releases that change the set.
    pub root: PublicKey,
    keys: [PublicKey; MAX_RELEASE_KEYS],
    count: u8,
}

impl KeySet {
    /// A set with one to four release keys; `None` with none or with more.
    pub fn new(epoch: u32, root: PublicKey, release: &[PublicKey]) -> Option<Self> {
        if release.is_empty() || release.len() > MAX_RELEASE_KEYS {
            return None;
        }
        let mut keys = [PublicKey([0; 32]); MAX_RELEASE_KEYS];
        keys[..release.len()].copy_from_slice(release);
        Some(Self {
            epoch,
            root,
            keys,
            count: release.len() as u8,
        })
    }

    /// The release keys.
    pub fn release_keys(&self) -> &[PublicKey] {
        &self.keys[..usize::from(self.count)]
    }

    /// See [`first_root_sequence`].
    pub const fn first_root_sequence(&self) -> u32 {
        first_root_sequence(self.epoch)
    }

    /// Whether signatures of all its keys prove something. A set that is not is never encoded nor
    /// decoded in a manifest.
    pub fn is_usable(&self) -> bool {
        self.root.is_usable() && self.release_keys().iter().all(PublicKey::is_usable)
    }
}

/// Why bytes are not a manifest. Its code is `bad_manifest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not deterministic CBOR, or another type where a field should be.
    Cbor(&'static str),
    /// A format that this version does not know.
    Format(u64),
    /// An unknown key below 16.
    UnknownKey(u64),
    /// A field is missing or outside its range.
    Field(&'static str),
}

impl From<CborError> for ManifestError {
    fn from(error: CborError) -> Self {
        Self::Cbor(match error {
            CborError::Truncated => "it ends inside an item",
            CborError::NotDeterministic => "an item is not in its shortest form",
            CborError::UnexpectedType => "an item has another type than its field",
            CborError::KeyOrder => "map keys are unsorted or repeat",
            CborError::NotUtf8 => "text is not UTF-8",
            CborError::TooDeep => "items nest too deeply",
            CborError::TrailingBytes => "bytes follow it",
            CborError::NoRoom => "it is larger than its limit",
        })
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cbor(what) => write!(f, "the manifest is not deterministic CBOR: {what}"),
            Self::Format(n) => write!(f, "the manifest has format {n}, and only 1 is known"),
            Self::UnknownKey(key) => write!(f, "the manifest has the unknown key {key}"),
            Self::Field(name) => write!(f, "the manifest's {name} is missing or out of range"),
        }
    }
}

impl core::error::Error for ManifestError {}

/// Whether `text` is a product name: 1 to 64 bytes of `[a-z0-9._-]`.
pub fn is_product(text: &str) -> bool {
    (1..=MAX_PRODUCT).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
}

/// Whether `text` is a version: 1 to 64 bytes of [printable](is_printable) text, which cannot change
/// what a terminal or a log shows.
pub fn is_version(text: &str) -> bool {
    (1..=MAX_VERSION).contains(&text.len()) && text.chars().all(is_printable)
}

impl<'a> Manifest<'a> {
    /// Decodes a manifest; every byte must belong to it.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, ManifestError> {
        use ManifestError::Field;
        let mut r = Reader::new(bytes);
        let mut order = KeyOrder::default();
        let (mut format, mut product, mut chip, mut version) = (None, None, None, None);
        let (mut sequence, mut created, mut app, mut files, mut keys) =
            (None, None, None, None, None);
        for _ in 0..r.map()? {
            let key = r.uint()?;
            order.check(key)?;
            match key {
                0 => format = Some(r.uint()?),
                1 => product = Some(r.text()?),
                2 => chip = Some(u16::try_from(r.uint()?).map_err(|_| Field("chip"))?),
                3 => version = Some(r.text()?),
                4 => sequence = Some(u32::try_from(r.uint()?).map_err(|_| Field("sequence"))?),
                5 => created = Some(r.uint()?),
                6 => app = Some(decode_part_ref(&mut r, false)?),
                7 => files = Some(decode_part_ref(&mut r, true)?),
                8 => keys = Some(decode_keys(&mut r)?),
                FIRST_SKIPPED_KEY.. => r.skip()?,
                _ => return Err(ManifestError::UnknownKey(key)),
            }
            // Another format may give the other keys another meaning: say so before complaining
            // about them.
            if let Some(other) = format.filter(|f| *f != FORMAT) {
                return Err(ManifestError::Format(other));
            }
        }
        r.end()?;
        format.ok_or(Field("format"))?;
        let manifest = Self {
            product: product.ok_or(Field("product"))?,
            chip: chip.ok_or(Field("chip"))?,
            version: version.ok_or(Field("version"))?,
            sequence: sequence.ok_or(Field("sequence"))?,
            created: created.ok_or(Field("created"))?,
            app: app.ok_or(Field("app"))?,
            files: files.ok_or(Field("files"))?,
            keys,
        };
        manifest.check()?;
        Ok(manifest)
    }

    /// The rules that hold across fields, the same for reading and writing.
    fn check(&self) -> Result<(), ManifestError> {
        use ManifestError::Field;
        if !is_product(self.product) {
            return Err(Field("product"));
        }
        if !is_version(self.version) {
            return Err(Field("version"));
        }
        if !self.keys.is_none_or(|keys| keys.is_usable()) {
            return Err(Field("keys"));
        }
        if self.chip == ANY_CHIP && self.app.carried().is_some() {
            return Err(Field("chip"));
        }
        for (name, part) in [("app", &self.app), ("files", &self.files)] {
            if let Some(part) = part.carried() {
                let right = (1..=MAX_PART_SIZE).contains(&part.size)
                    && part.pages.len() == index::page_count(part.size)
                    && (part.blocks.is_none() || name == "files");
                if !right {
                    return Err(Field(name));
                }
            }
        }
        Ok(())
    }

    /// Encodes into `out` and returns the length. Fails when a field is out of range or `out` is
    /// too small.
    pub fn encode(&self, out: &mut [u8]) -> Result<usize, ManifestError> {
        self.check()?;
        let mut w = Writer::new(out);
        w.head(MAP, 8 + u64::from(self.keys.is_some()))?;
        w.uint(0)?;
        w.uint(FORMAT)?;
        w.uint(1)?;
        w.text(self.product)?;
        w.uint(2)?;
        w.uint(self.chip.into())?;
        w.uint(3)?;
        w.text(self.version)?;
        w.uint(4)?;
        w.uint(self.sequence.into())?;
        w.uint(5)?;
        w.uint(self.created)?;
        w.uint(6)?;
        encode_part_ref(&mut w, &self.app)?;
        w.uint(7)?;
        encode_part_ref(&mut w, &self.files)?;
        if let Some(keys) = &self.keys {
            w.uint(8)?;
            w.head(MAP, 3)?;
            w.uint(0)?;
            w.uint(keys.epoch.into())?;
            w.uint(1)?;
            w.bytes(&keys.root.0)?;
            w.uint(2)?;
            w.head(ARRAY, keys.release_keys().len() as u64)?;
            for key in keys.release_keys() {
                w.bytes(&key.0)?;
            }
        }
        Ok(w.len())
    }
}

fn decode_digest(r: &mut Reader<'_>, name: &'static str) -> Result<Digest, ManifestError> {
    Digest::from_slice(r.bytes()?).ok_or(ManifestError::Field(name))
}

fn decode_part_ref<'a>(r: &mut Reader<'a>, files: bool) -> Result<PartRef<'a>, ManifestError> {
    let name = if files { "files" } else { "app" };
    match r.peek() {
        Some(NULL) => {
            r.skip()?;
            Ok(PartRef::Any)
        }
        Some(first) if first >> 5 == BYTES => Ok(PartRef::Running(decode_digest(r, name)?)),
        _ => decode_part(r, name).map(PartRef::Carried),
    }
}

fn decode_part<'a>(r: &mut Reader<'a>, name: &'static str) -> Result<Part<'a>, ManifestError> {
    let missing = ManifestError::Field(name);
    let mut order = KeyOrder::default();
    let (mut size, mut digest, mut pages, mut blocks) = (None, None, None, None);
    for _ in 0..r.map()? {
        let key = r.uint()?;
        order.check(key)?;
        match key {
            0 => size = Some(u32::try_from(r.uint()?).map_err(|_| missing)?),
            1 => digest = Some(decode_digest(r, name)?),
            2 => {
                let count = r.array()?;
                let start = r.rest();
                for _ in 0..count {
                    decode_digest(r, name)?;
                }
                // Each hash is `58 20` and 32 bytes, so the list needs no second parse.
                let raw = &start[..start.len() - r.rest().len()];
                pages = Some(Pages { raw, skip: 2 });
            }
            3 => blocks = Some(u32::try_from(r.uint()?).map_err(|_| missing)?),
            FIRST_SKIPPED_KEY.. => r.skip()?,
            _ => return Err(ManifestError::UnknownKey(key)),
        }
    }
    Ok(Part {
        size: size.ok_or(missing)?,
        digest: digest.ok_or(missing)?,
        pages: pages.ok_or(missing)?,
        blocks,
    })
}

fn encode_part_ref(w: &mut Writer<'_>, part: &PartRef<'_>) -> Result<(), CborError> {
    let part = match part {
        PartRef::Any => return w.raw(&[NULL]),
        PartRef::Running(digest) => return w.bytes(&digest.0),
        PartRef::Carried(part) => part,
    };
    w.head(MAP, 3 + u64::from(part.blocks.is_some()))?;
    w.uint(0)?;
    w.uint(part.size.into())?;
    w.uint(1)?;
    w.bytes(&part.digest.0)?;
    w.uint(2)?;
    w.head(ARRAY, part.pages.len() as u64)?;
    for hash in part.pages.iter() {
        w.bytes(&hash.0)?;
    }
    if let Some(blocks) = part.blocks {
        w.uint(3)?;
        w.uint(blocks.into())?;
    }
    Ok(())
}

fn decode_keys(r: &mut Reader<'_>) -> Result<KeySet, ManifestError> {
    let missing = ManifestError::Field("keys");
    let mut order = KeyOrder::default();
    let (mut epoch, mut root, mut release) = (None, None, None);
    for _ in 0..r.map()? {
        let key = r.uint()?;
        order.check(key)?;
        match key {
            0 => epoch = Some(u32::try_from(r.uint()?).map_err(|_| missing)?),
            1 => root = Some(PublicKey::from_slice(r.bytes()?).ok_or(missing)?),
            2 => {
                let count = r.array()?;
                let mut keys = [PublicKey([0; 32]); MAX_RELEASE_KEYS];
                if count == 0 || count > MAX_RELEASE_KEYS as u64 {
                    return Err(missing);
                }
                for slot in keys.iter_mut().take(count as usize) {
                    *slot = PublicKey::from_slice(r.bytes()?).ok_or(missing)?;
                }
                release = Some((keys, count as u8));
            }
            FIRST_SKIPPED_KEY.. => r.skip()?,
            _ => return Err(ManifestError::UnknownKey(key)),
        }
    }
    let (keys, count) = release.ok_or(missing)?;
    Ok(KeySet {
        epoch: epoch.ok_or(missing)?,
        root: root.ok_or(missing)?,
        keys,
        count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn small() -> Manifest<'static> {
        Manifest {
            product: "demo",
            chip: 5,
            version: "1.0.0",
            sequence: 1,
            created: 0,
            app: PartRef::Any,
            files: PartRef::Any,
            keys: None,
        }
    }

    fn key(seed: u8) -> PublicKey {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        PublicKey(key.verifying_key().to_bytes())
    }

    fn encoded(manifest: &Manifest<'_>) -> Vec<u8> {
        let mut buf = [0; 4096];
        let len = manifest.encode(&mut buf).unwrap();
        buf[..len].to_vec()
    }

    #[test]
    fn each_epoch_opens_more_sequences_and_the_root_keeps_the_last() {
        let mut before = 0;
        for epoch in [0, 1, 2, 32_000] {
            let first = first_root_sequence(epoch);
            assert!(first > before);
            assert_eq!(first, (1 << 31) + epoch * SEQUENCES_AN_EPOCH);
            before = first;
        }
        for epoch in [1 << 16, u32::MAX] {
            let root_has = u32::MAX - first_root_sequence(epoch);
            assert_eq!(root_has, SEQUENCES_AN_EPOCH);
        }
    }

    #[test]
    fn the_smallest_manifest_is_the_golden_vector_read_by_hand() {
        // a8                map of 8
        // 00 01             0: 1
        // 01 64 64656d6f    1: "demo"
        // 02 05             2: 5
        // 03 65 312e302e30  3: "1.0.0"
        // 04 01  05 00  06 f6  07 f6
        let golden =
            b"\xa8\x00\x01\x01\x64demo\x02\x05\x03\x651.0.0\x04\x01\x05\x00\x06\xf6\x07\xf6";
        assert_eq!(encoded(&small()), golden);
        assert_eq!(Manifest::decode(golden), Ok(small()));
    }

    #[test]
    fn a_carried_part_and_a_key_set_read_back() {
        let hashes = [7; 32 * 3];
        let part = Part {
            size: 2 * 128 * 4096 + 1,
            digest: Digest([9; 32]),
            pages: Pages::flat(&hashes).unwrap(),
            blocks: None,
        };
        let keys = KeySet::new(3, key(1), &[key(2), key(3)]).unwrap();
        let manifest = Manifest {
            app: PartRef::Carried(part),
            files: PartRef::Running(Digest([4; 32])),
            keys: Some(keys),
            ..small()
        };
        assert_eq!(Manifest::decode(&encoded(&manifest)), Ok(manifest));
    }

    #[test]
    fn a_set_with_a_key_that_proves_nothing_is_refused_in_both_directions() {
        // The neutral element: every signature (R = S*B, S) verifies under it, for any message.
        let weak = {
            let mut bytes = [0; 32];
            bytes[0] = 1;
            PublicKey(bytes)
        };
        let with = |root, release: &[PublicKey]| Manifest {
            keys: KeySet::new(2, root, release),
            ..small()
        };
        let good = encoded(&with(key(1), &[key(2), key(3)]));
        assert!(Manifest::decode(&good).is_ok());
        for (bad, place) in [
            (with(weak, &[key(2), key(3)]), key(1)),
            (with(key(1), &[weak, key(3)]), key(2)),
            (with(key(1), &[key(2), weak]), key(3)),
        ] {
            let refused = ManifestError::Field("keys");
            assert_eq!(bad.encode(&mut [0; 4096]), Err(refused));
            let at = good.windows(32).position(|w| *w == place.0).unwrap();
            let mut bytes = good.clone();
            bytes[at..at + 32].copy_from_slice(&weak.0);
            assert_eq!(Manifest::decode(&bytes), Err(refused));
        }
    }

    #[test]
    fn a_version_that_cannot_be_shown_is_refused_in_both_directions() {
        let good = encoded(&small());
        let at = good.windows(5).position(|w| w == b"1.0.0").unwrap();
        for bad in ["1\n0.0", "1\x1b[2m", "1.0.\0", "1.0\u{9b}", "1.\u{202e}"] {
            let manifest = Manifest {
                version: bad,
                ..small()
            };
            let refused = ManifestError::Field("version");
            assert_eq!(manifest.encode(&mut [0; 64]), Err(refused), "{bad:?}");
            let mut bytes = good.clone();
            bytes[at..at + 5].copy_from_slice(bad.as_bytes());
            assert_eq!(Manifest::decode(&bytes), Err(refused), "{bad:?}");
        }
    }

    #[test]
    fn unknown_keys_below_16_are_refused_and_others_skipped() {
        let mut bytes = encoded(&small());
        bytes[0] += 1;
        let with = |tail: &[u8]| {
            let mut b = bytes.clone();
            b.extend_from_slice(tail);
            Manifest::decode(&b).err()
        };
        assert_eq!(with(&[9, 0]), Some(ManifestError::UnknownKey(9)));
        assert_eq!(with(&[15, 0]), Some(ManifestError::UnknownKey(15)));
        assert_eq!(with(&[16, 0]), None);
        assert_eq!(with(&[16, 0x82, 1, 0x61, b'x']), None);
        assert_eq!(
            with(&[0x18, 16, 0]),
            Some(CborError::NotDeterministic.into())
        );
    }

    #[test]
    fn trailing_repeated_and_missing_fields_are_refused() {
        let bytes = encoded(&small());
        let mut trailing = bytes.clone();
        trailing.push(0);
        assert_eq!(
            Manifest::decode(&trailing),
            Err(CborError::TrailingBytes.into())
        );
        let mut repeated = bytes.clone();
        repeated[0] += 1;
        repeated.extend_from_slice(&[7, 0xF6]);
        assert_eq!(Manifest::decode(&repeated), Err(CborError::KeyOrder.into()));
        let mut missing = bytes.clone();
        missing[0] -= 1;
        missing.truncate(bytes.len() - 2);
        assert_eq!(
            Manifest::decode(&missing),
            Err(ManifestError::Field("files"))
        );
    }

    #[test]
    fn another_format_is_named() {
        let mut bytes = encoded(&small());
        bytes[2] = 2;
        assert_eq!(Manifest::decode(&bytes), Err(ManifestError::Format(2)));
    }

    #[test]
    fn fields_out_of_range_are_refused_in_both_directions() {
        let hashes = [7; 32];
        let part = |size, pages: &'static [u8], blocks| {
            PartRef::Carried(Part {
                size,
                digest: Digest([0; 32]),
                pages: Pages::flat(pages).unwrap(),
                blocks,
            })
        };
        let hashes: &'static [u8] = std::boxed::Box::leak(std::boxed::Box::new(hashes));
        let bad = [
            (
                "product",
                Manifest {
                    product: "",
                    ..small()
                },
            ),
            (
                "product",
                Manifest {
                    product: "Demo",
                    ..small()
                },
            ),
            (
                "product",
                Manifest {
                    product: "a/b",
                    ..small()
                },
            ),
            (
                "version",
                Manifest {
                    version: "",
                    ..small()
                },
            ),
            (
                "chip",
                Manifest {
                    chip: ANY_CHIP,
                    app: part(1, hashes, None),
                    ..small()
                },
            ),
            (
                "app",
                Manifest {
                    app: part(0, hashes, None),
                    ..small()
                },
            ),
            (
                "app",
                Manifest {
                    app: part(1, &[], None),
                    ..small()
                },
            ),
            (
                "app",
                Manifest {
                    app: part(1, hashes, Some(1)),
                    ..small()
                },
            ),
            (
                "app",
                Manifest {
                    app: part(MAX_PART_SIZE + 1, hashes, None),
                    ..small()
                },
            ),
        ];
        for (name, manifest) in bad {
            assert_eq!(
                manifest.encode(&mut [0; 4096]),
                Err(ManifestError::Field(name))
            );
        }
        assert!(
            Manifest {
                chip: ANY_CHIP,
                ..small()
            }
            .encode(&mut [0; 64])
            .is_ok()
        );
    }

    #[test]
    fn a_key_set_holds_one_to_four_release_keys() {
        let key = PublicKey([1; 32]);
        assert!(KeySet::new(0, key, &[]).is_none());
        assert!(KeySet::new(0, key, &[key; 4]).is_some());
        assert!(KeySet::new(0, key, &[key; 5]).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Manifest::decode(&bytes);
        }

        #[test]
        fn a_manifest_that_decodes_encodes_to_the_same_bytes(with_keys: bool, at in 0usize..256, value: u8) {
            let keys = KeySet::new(2, key(1), &[key(2), key(3)]).filter(|_| with_keys);
            let mut bytes = encoded(&Manifest { keys, ..small() });
            let at = at % bytes.len();
            bytes[at] = value;
            if let Ok(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(encoded(&manifest), bytes);
            }
        }
    }
}
