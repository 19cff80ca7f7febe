//! Makes the flash of a board as it leaves the factory: bootloader, partition table, a release
//! installed and confirmed, a littlefs with its files, and the keys that the board will trust.
//!
//! The formats are the ones that virtual devices are made of; the bootloader is ESP-IDF's, as espflash
//! carries it, or a file.

use airlift_release::{Release, UnverifiedRelease, keys};
use airlift_updater::SlotId;
use airlift_virtual_device::Factory;
use airlift_wire::KeySet;
use airlift_wire::partition::TABLE_OFFSET;
use anyhow::{Context, Result, bail};
use clap::Parser;
use espflash::flasher::{FlashData, FlashFrequency, FlashMode, FlashSettings, FlashSize};
use espflash::image_format::idf::IdfBootloaderFormat;
use espflash::target::{Chip, XtalFrequency};
use std::path::PathBuf;

/// Makes the whole flash of a board, to be written at offset 0.
#[derive(Parser)]
struct Args {
    /// The release that the board starts with; it carries an app.
    release: PathBuf,
    /// The public key that the board trusts, as root and for releases.
    #[arg(long)]
    trust: PathBuf,
    /// The name of the board.
    #[arg(long, default_value = "")]
    name: String,
    /// Mebibytes of flash.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=16))]
    flash_size: u8,
    /// Without a `factory` slot: two bigger ones, the first of which holds the release.
    #[arg(long)]
    no_factory: bool,
    /// The board takes a release only with a signed statement that it is the newest.
    #[arg(long)]
    require_fresh: bool,
    /// The ELF file of the app: tells espflash what its bootloader has to start.
    #[arg(long, required_unless_present = "bootloader")]
    elf: Option<PathBuf>,
    /// Another bootloader than the one of espflash, such as one with rollback.
    #[arg(long)]
    bootloader: Option<PathBuf>,
    /// Where the flash goes.
    #[arg(short, long)]
    output: PathBuf,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let key = keys::public_from_pem(&read_text(&args.trust)?)?;
    let trust = KeySet::new(1, key, &[key]).context("this key cannot be trusted")?;
    let release = UnverifiedRelease::read_file(&args.release)?.verify(&[key])?;
    let slot = if args.no_factory {
        SlotId::Ota0
    } else {
        SlotId::Factory
    };
    if release.app().is_none() {
        bail!("{} carries no app", args.release.display());
    }
    let mut factory = Factory::new(&release.manifest().product, &args.name, trust);
    factory.flash_size = usize::from(args.flash_size) << 20;
    factory.factory_slot = !args.no_factory;
    factory.freshness_required = args.require_fresh;
    factory.installed = Some((slot, &release));
    let mut flash = factory.build()?;
    let bootloader = bootloader(&args, &release)?;
    // Up to the partition table the flash is the bootloader's.
    let (area, _) = flash.split_at_mut(TABLE_OFFSET as usize);
    area.fill(0xFF);
    area.get_mut(..bootloader.len())
        .context("the bootloader does not fit before the partition table")?
        .copy_from_slice(&bootloader);
    std::fs::write(&args.output, &flash)
        .with_context(|| format!("{} cannot be written", args.output.display()))?;
    println!(
        "{}: {} MiB, {} {} in {}, trusts {}",
        args.output.display(),
        args.flash_size,
        release.manifest().product,
        release.manifest().version,
        slot.name(),
        key.id(),
    );
    Ok(())
}

fn read_text(path: &PathBuf) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// The second-stage bootloader, its header set for the size of the flash.
fn bootloader(args: &Args, release: &Release) -> Result<Vec<u8>> {
    if let Some(path) = &args.bootloader {
        return std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()));
    }
    let elf = args
        .elf
        .as_ref()
        .context("--elf or --bootloader is missing")?;
    let elf = std::fs::read(elf).with_context(|| format!("{} cannot be read", elf.display()))?;
    let chip = match release.manifest().chip {
        5 => Chip::Esp32c3,
        13 => Chip::Esp32c6,
        other => bail!("there is no board program for chip {other}"),
    };
    let size = match args.flash_size {
        4 => FlashSize::_4Mb,
        8 => FlashSize::_8Mb,
        16 => FlashSize::_16Mb,
        other => bail!("there is no flash of {other} MiB"),
    };
    let settings = FlashSettings::new(
        Some(FlashMode::Dio),
        Some(size),
        Some(FlashFrequency::_80Mhz),
    );
    let data = FlashData::new(settings, 0, None, chip, XtalFrequency::_40Mhz);
    let image = IdfBootloaderFormat::new(&elf, &data, None, None, None, None)?;
    let segment = image.flash_segments().find(|segment| segment.addr == 0);
    Ok(segment
        .context("espflash has no bootloader for this chip")?
        .data()
        .to_vec())
}
