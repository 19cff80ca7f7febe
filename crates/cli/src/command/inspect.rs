//! `airlift inspect` and `airlift verify`

use super::trust;
use crate::args::{Inspect, Verify};
use crate::exit;
use crate::failure::Failure;
use crate::output;
use airlift_release::{ImageInfo, PartSummary, Summary, UnverifiedRelease};

pub fn inspect(args: Inspect) -> Result<u8, Failure> {
    let limit = airlift_release::MAX_RELEASE_FILE;
    let bytes = airlift_release::read_bounded(&args.release, "release file", limit)?;
    let inspection = airlift_release::inspect(bytes, &super::trusted_keys()?)?;
    let summary = &inspection.summary;
    if args.json {
        output::json(summary)?;
    } else {
        print(summary)?;
    }
    let sound =
        summary.problems.is_empty() && inspection.signature != airlift_release::SignatureState::Bad;
    Ok(if sound { exit::DONE } else { exit::BAD_RELEASE })
}

fn print(summary: &Summary) -> Result<(), Failure> {
    let chip = summary.chip.map_or_else(
        || {
            summary
                .chip_id
                .map_or("any".to_owned(), |id| format!("chip {id}"))
        },
        str::to_owned,
    );
    output::line(&format!("release   {}", summary.id))?;
    output::line(&format!("product   {}", summary.product))?;
    output::line(&format!("version   {}", summary.version))?;
    output::line(&format!("sequence  {}", summary.sequence))?;
    output::line(&format!("chip      {chip}"))?;
    output::line(&format!("created   {} (Unix seconds)", summary.created))?;
    output::line(&format!(
        "key       {} ({})",
        summary.key,
        summary.signature.describe()
    ))?;
    output::line(&format!("app       {}", part(&summary.app)))?;
    if let Some(image) = &summary.image {
        output::line(&format!("          {}", describe(image)))?;
        if let Some(interpreter) = image.interpreter() {
            let text = "its application is in the files";
            output::line(&format!("          {interpreter}; {text}"))?;
        }
    }
    output::line(&format!("files     {}", part(&summary.files)))?;
    if let Some(listing) = &summary.listing {
        let (files, bytes) = (listing.files(), listing.bytes());
        let blocks = listing.blocks;
        output::line(&format!(
            "          {files} files of {bytes} bytes, at most {blocks} blocks on the device"
        ))?;
    }
    if let Some(keys) = &summary.keys {
        output::line(&format!("new keys  {}", keys.describe(super::key_name()?)))?;
    }
    for problem in &summary.problems {
        output::line(&format!("problem   {problem}"))?;
    }
    Ok(())
}

/// What the release says of a part, in a line.
fn part(part: &PartSummary) -> String {
    match part {
        PartSummary::Carried {
            size,
            sha256,
            chunks,
            ..
        } => format!("{size} bytes, {chunks} chunks, SHA-256 {sha256}"),
        PartSummary::Running { sha256 } => {
            format!("not carried; the device must run SHA-256 {sha256}")
        }
        PartSummary::Any => "not carried; whatever the device runs stays".to_owned(),
    }
}

/// What the image says of itself, in a line.
fn describe(image: &ImageInfo) -> String {
    let name = match &image.descriptor {
        Some(d) => format!("{} {}, built {} {}", d.project, d.version, d.date, d.time),
        None => "no app descriptor".to_owned(),
    };
    let hash = match &image.sha256 {
        Some(_) => "appended SHA-256",
        None => "no appended SHA-256",
    };
    format!("{name}, {} segments, {hash}", image.segments.len())
}

pub fn verify(args: Verify) -> Result<u8, Failure> {
    let key = trust::read(&args.trust)?;
    let release = UnverifiedRelease::read_file(&args.release)?.verify(&[key])?;
    let manifest = release.manifest();
    let chunks: u32 = release.parts().map(|(_, part)| part.chunks()).sum();
    output::line(&format!(
        "good: {} {} sequence {}, {chunks} chunks, signed by {}",
        manifest.product,
        manifest.version,
        manifest.sequence,
        release.signer().id(),
    ))?;
    if let Some(keys) = release.summary().keys {
        output::line(&format!("new keys: {}", keys.describe(super::key_name()?)))?;
    }
    Ok(exit::DONE)
}
