//! What a file is, from its first bytes: people drop all sorts of things.

use crate::image;
use airlift_wire::image::MAGIC;
use std::fmt;

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FileKind {
    /// No byte at all.
    Empty,
    /// Erased flash: nothing but `FF`.
    Blank,
    /// A release file: a tar that starts with `manifest.cose`.
    Release,
    /// An ESP app image, perhaps damaged.
    AppImage,
    /// A second-stage bootloader.
    Bootloader,
    /// Bootloader, partition table and app in one file, for the whole flash.
    MergedImage,
    /// An app image with a Secure Boot signature after it.
    SignedImage,
    /// A partition table in binary form.
    PartitionTable,
    /// An ELF file, as the linker writes it.
    Elf,
    /// A UF2 file.
    Uf2,
    /// Intel HEX text.
    IntelHex,
    /// A zip archive.
    Zip,
    /// Gzip, perhaps a compressed tar.
    Gzip,
    /// A tar that is no release.
    Tar,
    /// A private key in PEM form.
    PrivateKey,
    /// A public key in PEM form.
    PublicKey,
    /// A web page: often what a failed download leaves.
    WebPage,
    /// None of these.
    Unknown,
}

impl FileKind {
    /// Looks at the first bytes, and for ESP images at what follows.
    pub fn of(bytes: &[u8]) -> Self {
        let starts = |magic: &[u8]| bytes.starts_with(magic);
        let head = &bytes[..bytes.len().min(4096)];
        if bytes.is_empty() {
            Self::Empty
        } else if starts(&[MAGIC]) || starts(&[0xFF]) {
            image::kind_of(bytes)
        } else if starts(&[0xAA, 0x50]) {
            Self::PartitionTable
        } else if starts(b"\x7FELF") {
            Self::Elf
        } else if starts(b"UF2\n") {
            Self::Uf2
        } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
            Self::Zip
        } else if starts(b"\x1F\x8B") {
            Self::Gzip
        } else if starts(b"manifest.cose\0") {
            Self::Release
        } else if bytes.get(257..262) == Some(b"ustar") || is_empty_tar(bytes) {
            Self::Tar
        } else if contains(head, b"PRIVATE KEY-----") {
            Self::PrivateKey
        } else if contains(head, b"-----BEGIN PUBLIC KEY-----") {
            Self::PublicKey
        } else if is_web_page(head) {
            Self::WebPage
        } else if is_intel_hex(head) {
            Self::IntelHex
        } else {
            Self::Unknown
        }
    }

    /// The kind in words, with its article.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Empty => "an empty file",
            Self::Blank => "erased flash, nothing but FF bytes",
            Self::Release => "an Airlift release",
            Self::AppImage => "an ESP app image",
            Self::Bootloader => "a second-stage bootloader",
            Self::MergedImage => "a merged image with bootloader and partition table in it",
            Self::SignedImage => "an app image with a Secure Boot signature after it",
            Self::PartitionTable => "a partition table",
            Self::Elf => "an ELF file",
            Self::Uf2 => "a UF2 file",
            Self::IntelHex => "an Intel HEX file",
            Self::Zip => "a zip archive",
            Self::Gzip => "a gzip file",
            Self::Tar => "a tar",
            Self::PrivateKey => "a private key",
            Self::PublicKey => "a public key",
            Self::WebPage => "a web page",
            Self::Unknown => "a file of an unknown kind",
        }
    }

    pub(crate) const fn help_for_image(self) -> &'static str {
        match self {
            Self::Empty | Self::Blank => "Build the app again; this file holds nothing.",
            Self::Release => "It is a release already: add it as it is, or re-sign it.",
            Self::Bootloader => {
                "Give the app's own .bin; the bootloader is flashed over USB and never updated."
            }
            Self::MergedImage => {
                "Give the app's own .bin (ESP-IDF: build/NAME.bin; espflash save-image without \
                 --merge); a merged image is flashed over USB."
            }
            Self::SignedImage => {
                "Give the image as it was before Secure Boot signing; the release is signed instead."
            }
            Self::Elf => {
                "Make an image of it first: espflash save-image --chip CHIP APP.elf APP.bin, or \
                 esptool elf2image."
            }
            Self::Uf2 | Self::IntelHex => "Give the .bin that the build makes beside it.",
            Self::Zip | Self::Gzip => "Unpack it and give the .bin inside.",
            Self::Tar => "Give it as files, not as the app.",
            Self::PrivateKey => "Keep it secret; give the app's .bin.",
            Self::WebPage => {
                "Download it again: the server answered with a page, not with the file."
            }
            _ => airlift_wire::ErrorCode::BadImage.help(),
        }
    }

    pub(crate) const fn help_for_release(self) -> &'static str {
        match self {
            Self::AppImage => "Make a release of it: airlift pack --app APP.bin.",
            Self::Elf => "Make a release of it: airlift pack --app ELF.",
            Self::Tar => "Make a release of it: airlift pack --files FILES.tar.",
            Self::Bootloader | Self::MergedImage => {
                "Flash it over USB, or pack the app's own .bin."
            }
            Self::WebPage => {
                "Download it again: the server answered with a page, not with the file."
            }
            Self::Empty => "Get the release file again; this one is empty.",
            _ => "Give a .airlift file that airlift pack made.",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|w| w == what)
}

fn is_empty_tar(bytes: &[u8]) -> bool {
    bytes.len() >= 1024 && bytes.len().is_multiple_of(512) && bytes.iter().all(|b| *b == 0)
}

fn is_web_page(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    let begins = |tag: &[u8]| {
        text.get(..tag.len())
            .is_some_and(|t| t.eq_ignore_ascii_case(tag))
    };
    begins(b"<!doctype html") || begins(b"<html")
}

fn is_intel_hex(head: &[u8]) -> bool {
    let line = head
        .split(|b| *b == b'\n')
        .next()
        .unwrap_or(head)
        .trim_ascii_end();
    line.len() >= 11 && line[0] == b':' && line[1..].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_people_drop_is_recognised() {
        let mut tar = vec![0; 1024];
        tar[..5].copy_from_slice(b"a.txt");
        tar[257..262].copy_from_slice(b"ustar");
        for (bytes, kind) in [
            (&b""[..], FileKind::Empty),
            (&[0xFF; 100], FileKind::Blank),
            (b"\x7FELF\x01\x01", FileKind::Elf),
            (b"UF2\nWQ]\x9E", FileKind::Uf2),
            (b":020000040800F2\r\n", FileKind::IntelHex),
            (b"PK\x03\x04rest", FileKind::Zip),
            (b"\x1F\x8B\x08", FileKind::Gzip),
            (&tar, FileKind::Tar),
            (&[0; 10240], FileKind::Tar),
            (b"-----BEGIN PRIVATE KEY-----\n", FileKind::PrivateKey),
            (
                b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
                FileKind::PrivateKey,
            ),
            (b"-----BEGIN PUBLIC KEY-----\n", FileKind::PublicKey),
            (
                b"\n<!DOCTYPE html><title>Not found</title>",
                FileKind::WebPage,
            ),
            (b"\xAA\x50\x01\x02", FileKind::PartitionTable),
            (b"hello", FileKind::Unknown),
            (b":-) not hex at all", FileKind::Unknown),
        ] {
            assert_eq!(FileKind::of(bytes), kind);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), first in any::<Option<u8>>()) {
            if let (Some(first), Some(byte)) = (first, bytes.first_mut()) {
                *byte = if first < 128 { 0xE9 } else { 0xFF };
            }
            let _ = FileKind::of(&bytes);
        }
    }
}
