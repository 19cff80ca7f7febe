//! Making a release.

use crate::files::{Files, FilesInput, Skipped};
use crate::part::{Part, PartKind};
use crate::release::{OwnedManifest, PartState, Release};
use crate::{Error, SigningKey, image, keys};
use airlift_wire::image::{chip_id, chip_name};
use airlift_wire::limits::{MAX_PRODUCT, MAX_VERSION};
use airlift_wire::manifest::{ANY_CHIP, is_product, is_version};
use airlift_wire::{Digest, KeySet};
use bytes::Bytes;
use std::fmt;

/// What a release is made from.
#[derive(Debug)]
#[non_exhaustive]
pub struct PackOptions<'a> {
    /// Product name: 1 to 64 of `a-z`, `0-9`, `.`, `_`, `-`.
    pub product: &'a str,
    /// Version for people; `None` takes the one in the image's descriptor.
    pub version: Option<&'a str>,
    /// Must grow with every release of the product; 1 or more.
    pub sequence: u32,
    /// Chip name. Needed only without an app; with one it must agree with the image.
    pub chip: Option<&'a str>,
    /// The app image.
    pub app: Option<Bytes>,
    /// The files.
    pub files: Option<FilesInput>,
    /// The release that gives the digest of a part which is not carried.
    pub base: Option<&'a Release>,
    /// Digest of the files that devices run, when no base says it: a release of an app alone then goes
    /// to devices with these very files, and to no other.
    pub running_files: Option<Digest>,
    /// Unix seconds. The caller honours `SOURCE_DATE_EPOCH`.
    pub created: u64,
    /// The key that signs.
    pub key: &'a SigningKey,
    /// Keys that devices trust from this release on; `key` must then be their current root.
    pub new_keys: Option<KeySet>,
}

impl<'a> PackOptions<'a> {
    /// Options with nothing in them yet; `created` is 0.
    pub fn new(product: &'a str, sequence: u32, key: &'a SigningKey) -> Self {
        Self {
            product,
            version: None,
            sequence,
            chip: None,
            app: None,
            files: None,
            base: None,
            running_files: None,
            created: 0,
            key,
            new_keys: None,
        }
    }
}

/// A release and what its maker should know.
#[derive(Clone, Debug)]
pub struct Packed {
    /// The release.
    pub release: Release,
    /// What may not be as its maker thinks. Show all of them.
    pub warnings: Vec<Warning>,
}

/// What a maker of releases should know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The part is null: no base was given, so whatever the device runs stays.
    LeftAsItIs(PartKind),
    /// The base itself says nothing of the part, so this release does not either.
    BaseSaysNothing(PartKind),
    /// A device that runs the base has confirmed a sequence that is not below this one.
    SequenceNotAboveBase {
        /// Sequence of the base.
        base: u32,
        /// Sequence of this release.
        sequence: u32,
    },
    /// No release can follow this one.
    LastSequence,
    /// Devices with any chip take the release.
    AnyChip,
    /// The chip id of the image has no name here.
    UnknownChip(u16),
    /// The image has no SHA-256 that the bootloader could check.
    NoAppendedHash,
    /// The files part is empty: it removes every file.
    NoFiles,
    /// These were left out of the files part.
    Skipped(Vec<Skipped>),
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftAsItIs(kind) => write!(
                f,
                "{kind}: null. Without --base nothing says which {kind} this release belongs to: \
                 whatever the board runs stays, and a pair that nobody tested together may run"
            ),
            Self::BaseSaysNothing(kind) => write!(
                f,
                "{kind}: null. The base does not say which {kind} it runs with, so whatever the \
                 board runs stays, and a pair that nobody tested together may run"
            ),
            Self::SequenceNotAboveBase { base, sequence } => write!(
                f,
                "sequence {sequence} is not above {base}, the base's: devices that confirmed the \
                 base will refuse this release"
            ),
            Self::LastSequence => f.write_str("no sequence is left after this one"),
            Self::AnyChip => f.write_str(
                "chip: any. Without an app, a base or --chip, boards with every chip take this \
                 release",
            ),
            Self::UnknownChip(id) => write!(f, "chip id {id} has no name in this version"),
            Self::NoAppendedHash => f.write_str(
                "the image has no appended SHA-256, so a bootloader checks only one byte of it",
            ),
            Self::NoFiles => f.write_str("the files part is empty: it removes every file"),
            Self::Skipped(skipped) => {
                const SHOWN: usize = 5;
                write!(f, "left out {}: ", skipped.len())?;
                for (n, entry) in skipped.iter().take(SHOWN).enumerate() {
                    write!(f, "{}{entry}", if n == 0 { "" } else { ", " })?;
                }
                match skipped.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
        }
    }
}

/// Makes and signs a release. The same options give the same bytes.
pub fn pack(options: PackOptions<'_>) -> Result<Packed, Error> {
    let mut warnings = Vec::new();
    check_numbers(&options, &mut warnings)?;
    let image = match &options.app {
        Some(bytes) => {
            crate::part::check_size(PartKind::App, bytes.len() as u64)?;
            let info = image::check(bytes)?;
            if info.sha256.is_none() {
                warnings.push(Warning::NoAppendedHash);
            }
            Some(info)
        }
        None => None,
    };
    let chip = choose_chip(&options, image.as_ref().map(|i| i.chip_id), &mut warnings)?;
    let offered = image.and_then(|i| i.descriptor).map(|d| d.version);
    let version = choose_version(options.version, offered)?;
    let files = options.files.map(FilesInput::read).transpose()?;
    if let Some(files) = &files {
        warnings.extend(files_warnings(files));
    }
    if options.app.is_none() && files.is_none() && options.new_keys.is_none() {
        let text = "nothing to release: give an app, files, or new keys";
        return Err(Error::Usage(text.to_owned()));
    }
    let app = options
        .app
        .map(|bytes| Part::new(PartKind::App, bytes, None))
        .transpose()?;
    let files = files
        .map(|f| Part::new(PartKind::Files, f.tar.clone(), Some(f.listing.blocks)))
        .transpose()?;
    let mut state = |kind, carried: bool| match options.base {
        _ if carried => PartState::Any,
        None if kind == PartKind::Files && options.running_files.is_some() => options
            .running_files
            .map_or(PartState::Any, PartState::Running),
        None => {
            warnings.push(Warning::LeftAsItIs(kind));
            PartState::Any
        }
        Some(base) => match base.manifest.part(kind).digest() {
            Some(digest) => PartState::Running(digest),
            None => {
                warnings.push(Warning::BaseSaysNothing(kind));
                PartState::Any
            }
        },
    };
    let manifest = OwnedManifest {
        product: options.product.to_owned(),
        chip,
        version,
        sequence: options.sequence,
        created: options.created,
        app: state(PartKind::App, app.is_some()),
        files: state(PartKind::Files, files.is_some()),
        keys: options.new_keys,
    };
    let release = Release::sign(manifest, app, files, options.key)?;
    Ok(Packed { release, warnings })
}

fn check_numbers(options: &PackOptions<'_>, warnings: &mut Vec<Warning>) -> Result<(), Error> {
    let product = options.product;
    if !is_product(product) {
        return Err(Error::Usage(format!(
            "\"{}\" is not a product name: 1 to {MAX_PRODUCT} of a-z, 0-9, '.', '_' and '-'",
            crate::error::printable(product)
        )));
    }
    // A device that has confirmed nothing stands at 0 and would call 0 a conflict.
    if options.sequence == 0 {
        return Err(Error::Usage("the sequence starts at 1".to_owned()));
    }
    if options.sequence == u32::MAX {
        warnings.push(Warning::LastSequence);
    }
    if let Some(base) = options.base {
        if base.manifest.product != product {
            return Err(Error::WrongProduct {
                base: base.manifest.product.clone(),
                wanted: product.to_owned(),
            });
        }
        if base.manifest.sequence >= options.sequence {
            warnings.push(Warning::SequenceNotAboveBase {
                base: base.manifest.sequence,
                sequence: options.sequence,
            });
        }
    }
    options.new_keys.as_ref().map_or(Ok(()), keys::check_set)
}

fn choose_chip(
    options: &PackOptions<'_>,
    image: Option<u16>,
    warnings: &mut Vec<Warning>,
) -> Result<u16, Error> {
    let asked = match options.chip {
        None => None,
        Some(name) => Some(chip_id(name).ok_or_else(|| {
            let name = crate::error::printable(name);
            Error::Usage(format!("\"{name}\" is not a chip that is known here"))
        })?),
    };
    let base = options.base.map(|base| base.manifest.chip);
    let base = base.filter(|chip| *chip != ANY_CHIP);
    let chip = asked.or(image).or(base).unwrap_or(ANY_CHIP);
    for (of, found) in [("image", image), ("base", base)] {
        if let Some(found) = found.filter(|found| *found != chip) {
            let wanted = chip;
            return Err(Error::WrongChip { of, found, wanted });
        }
    }
    if chip == ANY_CHIP {
        warnings.push(Warning::AnyChip);
    } else if chip_name(chip).is_none() {
        warnings.push(Warning::UnknownChip(chip));
    }
    Ok(chip)
}

fn choose_version(asked: Option<&str>, offered: Option<String>) -> Result<String, Error> {
    let version = match (asked, offered) {
        (Some(asked), _) => asked.to_owned(),
        (None, Some(offered)) if !offered.is_empty() => offered,
        _ => {
            let text = "no version is given, and no app image offers one";
            return Err(Error::Usage(text.to_owned()));
        }
    };
    if !is_version(&version) {
        return Err(Error::Usage(format!(
            "a version is 1 to {MAX_VERSION} bytes of text that can be shown in a line"
        )));
    }
    Ok(version)
}

fn files_warnings(files: &Files) -> impl Iterator<Item = Warning> {
    let skipped = (!files.skipped.is_empty()).then(|| Warning::Skipped(files.skipped.clone()));
    let empty = files.listing.entries.is_empty().then_some(Warning::NoFiles);
    skipped.into_iter().chain(empty)
}
