//! `airlift pack` and `airlift resign`

use super::{new_keys, signer};
use crate::args::{Pack, Resign};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_app::elf;
use airlift_app::mpy::MpyCross;
use airlift_release::write::{Access, Existing, write_file};
use airlift_release::{FilesInput, PackOptions, PartKind, Release, SigningKey, UnverifiedRelease};
use std::path::Path;

pub fn pack(args: Pack) -> Result<u8, Failure> {
    if args.app.is_none() && args.files.is_none() && args.new_keys.new_release_key.is_empty() {
        return Err(Failure::usage(
            "a release carries an app (--app), files (--files), or both",
        ));
    }
    let key = signer::read(&args.key)?;
    let new_keys = new_keys::read(&args.new_keys, &key, &args.product)?;
    let mut options = PackOptions::new(&args.product, args.sequence, &key);
    options.version = args.version.as_deref();
    options.chip = args.chip.as_deref();
    options.created = signer::created()?;
    options.new_keys = new_keys;
    if let Some(path) = &args.app {
        options.app = Some(elf::read_app(path, args.chip.as_deref())?);
    }
    let mut compiled = None;
    if let Some(path) = &args.files {
        let mut files = FilesInput::from_path(path)?;
        if args.mpy {
            let tool = MpyCross::find()?;
            let done = tool.compile(files.read()?)?;
            let plural = if done.modules == 1 { "" } else { "s" };
            let tool = tool.version();
            compiled = Some(format!("{} module{plural} by {tool}", done.modules));
            files = FilesInput::Ready(done.files);
        }
        options.files = Some(files);
    }
    let base = args
        .base
        .as_deref()
        .map(|path| open_own(path, &key))
        .transpose()?;
    options.base = base.as_ref();
    let packed = airlift_release::pack(options)?;
    for warning in &packed.warnings {
        eprintln!("warning: {warning}");
    }
    let code = finish(&packed.release, &args.output)?;
    if let Some(compiled) = compiled {
        output::line(&format!("mpy      {compiled}"))?;
    }
    Ok(code)
}

pub fn resign(args: Resign) -> Result<u8, Failure> {
    let key = signer::read(&args.key)?;
    let old = open_own(&args.release, &key)?;
    let created = signer::created()?;
    let product = &old.manifest().product;
    let release = match new_keys::read(&args.new_keys, &key, product)? {
        None => airlift_release::resign(&old, args.sequence, &key, created)?,
        Some(keys) => airlift_release::resign_with_keys(&old, args.sequence, keys, &key, created)?,
    };
    finish(&release, &args.output)
}

/// Opens a release that is to be built on: signed by this very key, or by one that this host
/// trusts.
fn open_own(path: &Path, key: &SigningKey) -> Result<Release, Failure> {
    let mut trusted = super::trusted_keys()?;
    trusted.push(key.public());
    Ok(UnverifiedRelease::read_file(path)?.verify(&trusted)?)
}

fn finish(release: &Release, output: &Path) -> Result<u8, Failure> {
    let bytes = release.to_file();
    // A full disk, or Ctrl-C, leaves the old file.
    write_file(output, &[&bytes], Existing::Replace, Access::Usual)
        .map_err(|error| Failure::io(output, &error))?;
    let manifest = release.manifest();
    output::line(&format!("release  {}", release.id()))?;
    output::line(&format!(
        "         {} {} sequence {} for {}, signed by {}",
        manifest.product,
        manifest.version,
        manifest.sequence,
        manifest.chip_name().unwrap_or("any chip"),
        release.signer().id(),
    ))?;
    for (kind, part) in release.parts() {
        let chunks = part.chunks();
        output::line(&format!(
            "{:<8} {} in {chunks} chunks",
            kind.as_str(),
            output::size(part.size().into())
        ))?;
        let image = (kind == PartKind::App).then(|| release.image()).flatten();
        if let Some(interpreter) = image.and_then(|image| image.interpreter()) {
            output::line(&format!("         {interpreter}"))?;
        }
    }
    if let Some(keys) = release.summary().keys {
        output::line(&format!("keys     {}", keys.describe(super::key_name()?)))?;
    }
    output::line(&format!(
        "file     {} ({})",
        output.display(),
        output::size(bytes.len() as u64)
    ))?;
    Ok(exit::DONE)
}
