//! Makes the flash of a board as it leaves the factory: bootloader, partition table, a release
//! installed and confirmed, a littlefs with its files, and the keys that the board will trust.
//!
//! What is in it, and the bootloader if none is given, comes from `airlift-flash`.

use airlift_flash::{Factory, Rollback, Target, bootloader, factory};
use airlift_release::{UnverifiedRelease, keys};
use airlift_updater::SlotId;
use airlift_wire::KeySet;
use anyhow::{Context, Result, bail};
use clap::Parser;
use std::path::{Path, PathBuf};

/// Makes the whole flash of a board, to be written at offset 0; or its partition table alone.
#[derive(Parser)]
struct Args {
    /// The release that the board starts with; it carries an app.
    #[arg(required_unless_present = "partition_table", requires_all = ["trust", "output"])]
    release: Option<PathBuf>,
    /// The public key that the board trusts, as root and for releases.
    #[arg(long)]
    trust: Option<PathBuf>,
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
    /// Another bootloader than ESP-IDF's without rollback.
    #[arg(long)]
    bootloader: Option<PathBuf>,
    /// Where the flash goes.
    #[arg(short, long)]
    output: Option<PathBuf>,
    /// Where the partition table goes, 3 KiB for offset 0x8000.
    #[arg(long)]
    partition_table: Option<PathBuf>,
}

impl Args {
    fn flash_bytes(&self) -> u32 {
        u32::from(self.flash_size) << 20
    }
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(path) = &args.partition_table {
        let table = factory::table(args.flash_bytes(), !args.no_factory)?;
        write(path, &table)?;
    }
    if let (Some(release), Some(trust), Some(output)) = (&args.release, &args.trust, &args.output) {
        make_flash(&args, release, trust, output)?;
    }
    Ok(())
}

fn make_flash(args: &Args, release: &Path, trust: &Path, output: &Path) -> Result<()> {
    let key = keys::public_from_pem(&String::from_utf8(read(trust)?)?)?;
    let trust = KeySet::new(1, key, &[key]).context("this key cannot be trusted")?;
    let carried = UnverifiedRelease::read_file(release)?.verify(&[key])?;
    let manifest = carried.manifest();
    if carried.app().is_none() {
        bail!("{} carries no app", release.display());
    }
    let slot = if args.no_factory {
        SlotId::Ota0
    } else {
        SlotId::Factory
    };
    let target = Target::new(manifest.chip, args.flash_bytes());
    let bootloader = match &args.bootloader {
        Some(path) => bootloader::from_file(&read(path)?, &target, Rollback::Unknown)?,
        None => bootloader::for_target(&target)?,
    };
    let mut factory = Factory::new(&manifest.product, &args.name, trust);
    factory.flash_size = args.flash_bytes() as usize;
    factory.factory_slot = !args.no_factory;
    factory.freshness_required = args.require_fresh;
    factory.installed = Some((slot, &carried));
    factory.bootloader = Some(&bootloader);
    write(output, &factory.build()?)?;
    println!(
        "{}: {} MiB, {} {} in {}, trusts {}",
        output.display(),
        args.flash_size,
        manifest.product,
        manifest.version,
        slot.name(),
        key.id(),
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("{} cannot be written", path.display()))
}
