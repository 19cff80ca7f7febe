//! What dropped files are good for, and what a new release of them would be.

use std::fs;
use std::path::{Path, PathBuf};

use airlift_release::{FileKind, FilesInput, UnverifiedRelease, image};
use airlift_wire::ErrorCode;
use airlift_wire::manifest::is_product;

use crate::Error;
use crate::airlift::Shared;
use crate::dto::{Draft, DraftPart, DropPlan, ErrorInfo, FieldProblem};
use crate::elf::read_app;
use crate::error::info;
use crate::keys::{read_public, stem};
use crate::library::describe;

/// How many bytes of a file are read to know what it is: an image's kind is seen from its header
/// and partition table.
const HEAD: u64 = 64 * 1024;

/// What a path is.
enum Dropped {
    Release,
    PublicKey,
    App(FileKind),
    Files,
    Other(FileKind),
}

/// What letting go would do. Never fails: a refusal is a plan too.
pub(crate) fn plan(shared: &Shared, paths: &[PathBuf]) -> DropPlan {
    try_plan(shared, paths).unwrap_or_else(|error| DropPlan::Refuse {
        error: (&error).into(),
    })
}

fn try_plan(shared: &Shared, paths: &[PathBuf]) -> Result<DropPlan, Error> {
    if let [path] = paths {
        let shown = path.display().to_string();
        match look(path)? {
            Dropped::Release => {
                let release =
                    UnverifiedRelease::read_file(path)?.verify(&shared.keys.trusted()?)?;
                let release = describe(&release, 0.0);
                let known = shared.library.get(&release.id).is_ok();
                let (product, version) = (&release.product, &release.version);
                let sentence = if known {
                    format!("{product} {version} is in the library already")
                } else {
                    format!("Add release {product} {version}")
                };
                return Ok(DropPlan::AddRelease {
                    path: shown,
                    sentence,
                    known,
                });
            }
            Dropped::PublicKey => {
                let key_id = read_public(path)?.id().to_string();
                let sentence = format!("Trust the key {} ({key_id})", stem(path));
                return Ok(DropPlan::TrustKey {
                    path: shown,
                    sentence,
                    key_id,
                });
            }
            _ => {}
        }
    }
    let draft = draft(shared, paths)?;
    let names: Vec<String> = paths.iter().map(|path| shown_name(path)).collect();
    let sentence = format!("New release from {}", names.join(" and "));
    Ok(DropPlan::NewRelease { sentence, draft })
}

/// What the sheet starts with: an app image, a folder or tar of files, or one of each.
pub(crate) fn draft(shared: &Shared, paths: &[PathBuf]) -> Result<Draft, Error> {
    let (mut app, mut files) = (None, None);
    for path in paths {
        let place = match look(path)? {
            Dropped::App(_) => &mut app,
            Dropped::Files => &mut files,
            Dropped::Other(FileKind::PrivateKey) => {
                let message = "this is a private key; import it in Settings";
                return Err(Error::Usage(message.into()));
            }
            Dropped::Other(kind) => return Err(airlift_release::Error::NotAnImage(kind).into()),
            Dropped::Release | Dropped::PublicKey => {
                return Err(Error::Usage("drop a release or a key on its own".into()));
            }
        };
        if place.replace(path.as_path()).is_some() {
            return Err(Error::Usage(
                "a release has one app and one folder of files".into(),
            ));
        }
    }
    if paths.is_empty() {
        return Err(Error::Usage("nothing is held over the window".into()));
    }
    fill(shared, app, files)
}

fn fill(shared: &Shared, app: Option<&Path>, files: Option<&Path>) -> Result<Draft, Error> {
    let mut draft = Draft {
        product: String::new(),
        version: String::new(),
        sequence: 1,
        chip: None,
        app: None,
        files: None,
        keys: shared
            .keys
            .list()?
            .into_iter()
            .filter(|key| key.can_sign)
            .collect(),
        bases: Vec::new(),
        problems: Vec::new(),
    };
    if let Some(path) = app {
        fill_app(&mut draft, path)?;
    }
    if let Some(path) = files {
        fill_files(&mut draft, path);
    }
    let releases = shared.releases();
    if !is_product(&draft.product) {
        draft.product = releases
            .first()
            .map(|r| r.product.clone())
            .unwrap_or_default();
    }
    draft.sequence = shared.next_sequence(&draft.product);
    draft.bases = releases
        .into_iter()
        .filter(|r| r.product == draft.product)
        .collect();
    if draft.keys.is_empty() {
        let error = info(
            ErrorCode::BadKey,
            "no key that can sign is on this computer yet",
        );
        problem(&mut draft, "key", error, false);
    }
    if draft.product.is_empty() {
        let error = info(
            ErrorCode::Usage,
            "a product is needed: what kind of device this is for",
        );
        problem(&mut draft, "product", error, false);
    }
    if draft.version.is_empty() {
        let error = info(
            ErrorCode::Usage,
            "a version is needed: any text that people know it by",
        );
        problem(&mut draft, "version", error, false);
    }
    let missing = match (app, files) {
        (Some(_), None) => "files",
        (None, Some(_)) => "app",
        _ => return Ok(draft),
    };
    let message = format!(
        "without a base, nothing says which {missing} this release belongs to: whatever the board \
         runs stays"
    );
    problem(
        &mut draft,
        missing,
        info(ErrorCode::WrongBase, message),
        true,
    );
    Ok(draft)
}

fn fill_app(draft: &mut Draft, path: &Path) -> Result<(), Error> {
    let bytes = read_app(path, None)?;
    let found = image::inspect(&bytes)?;
    let chip = found
        .chip
        .map_or_else(|| format!("chip{}", found.chip_id), str::to_owned);
    let mut lines = Vec::new();
    if let Some(about) = &found.descriptor {
        draft.version = about.version.clone();
        draft.product = product_of(&about.project);
        lines.push(format!("{} {}", about.project, about.version));
        let built = [about.date.as_str(), about.time.as_str()].join(" ");
        if !built.trim().is_empty() {
            lines.push(format!("Built {}", built.trim()));
        }
    }
    lines.push(format!("For {chip}, {} segments", found.segments.len()));
    if let Some(interpreter) = found.interpreter() {
        lines.push(format!("{interpreter}; its application is in the files"));
    }
    match (&found.damage, &found.sha256) {
        (Some(damage), _) => {
            let error = info(
                ErrorCode::BadImage,
                format!("the app image is damaged: {damage}"),
            );
            problem(draft, "app", error, false);
        }
        (None, Some(_)) => lines.push("Checksum and SHA-256 are right".to_owned()),
        (None, None) => lines.push("Checksum is right; no SHA-256 is appended".to_owned()),
    }
    if matches!(look(path)?, Dropped::App(FileKind::Elf)) {
        lines.push("Image made from the ELF file".to_owned());
    }
    draft.chip = Some(chip);
    draft.app = Some(DraftPart {
        path: path.display().to_string(),
        size: found.size,
        found: lines,
    });
    Ok(())
}

fn fill_files(draft: &mut Draft, path: &Path) {
    let read = FilesInput::from_path(path).and_then(FilesInput::read);
    let (size, found) = match &read {
        Ok(files) => {
            let listing = files.listing();
            let count = listing.files();
            let plural = if count == 1 { "" } else { "s" };
            let mut lines = vec![format!("{count} file{plural}, {} bytes", listing.bytes())];
            let skipped: Vec<String> = files.skipped().iter().map(ToString::to_string).collect();
            if !skipped.is_empty() {
                lines.push(format!("Left out: {}", skipped.join(", ")));
            }
            (u32::try_from(files.tar().len()).unwrap_or(u32::MAX), lines)
        }
        Err(error) => {
            let error = ErrorInfo::from(&Error::from_release(error));
            problem(draft, "files", error, false);
            (0, Vec::new())
        }
    };
    draft.files = Some(DraftPart {
        path: path.display().to_string(),
        size,
        found,
    });
}

fn problem(draft: &mut Draft, field: &str, error: ErrorInfo, warning: bool) {
    draft.problems.push(FieldProblem {
        field: field.to_owned(),
        error,
        warning,
    });
}

fn look(path: &Path) -> Result<Dropped, Error> {
    if fs::metadata(path).map_err(|e| Error::io(path, e))?.is_dir() {
        return Ok(Dropped::Files);
    }
    let mut head = Vec::new();
    let file = fs::File::open(path).map_err(|e| Error::io(path, e))?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, HEAD), &mut head)
        .map_err(|e| Error::io(path, e))?;
    Ok(match FileKind::of(&head) {
        FileKind::Release => Dropped::Release,
        FileKind::PublicKey => Dropped::PublicKey,
        // An image is made of an ELF when it is read.
        kind @ (FileKind::AppImage | FileKind::Elf) => Dropped::App(kind),
        FileKind::Tar => Dropped::Files,
        other => Dropped::Other(other),
    })
}

fn shown_name(path: &Path) -> String {
    let name = path
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    if path.is_dir() {
        format!("{name}/")
    } else {
        name
    }
}

/// A project's name as a product's: the characters that a product may have.
fn product_of(project: &str) -> String {
    let lower = project.to_ascii_lowercase();
    let name: String = lower
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._-".contains(c) {
                c
            } else {
                '-'
            }
        })
        .take(airlift_wire::limits::MAX_PRODUCT)
        .collect();
    name.trim_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_name_becomes_a_product_name() {
        assert_eq!(product_of("Field Logger"), "field-logger");
        assert_eq!(product_of("airlift-demo"), "airlift-demo");
        assert!(is_product(&product_of("Ünïcode")));
    }
}
