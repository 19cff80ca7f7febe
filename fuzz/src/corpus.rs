//! The inputs that are kept: seeds that are made, the corpora, and what once broke something.

use crate::{Target, seeds};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An input and where it is from.
pub struct Kept {
    /// A file, or which seed.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Everything that is kept for a target.
///
/// # Errors
/// Those of reading the folders; one that is not there has no files.
pub fn of(target: &Target) -> io::Result<Vec<Kept>> {
    let seeds = seeds::of(target.name).into_iter().enumerate();
    let mut all: Vec<Kept> = seeds
        .map(|(n, bytes)| Kept {
            name: format!("seed {n} of {}", target.name),
            bytes,
        })
        .collect();
    for folder in ["corpus", "regressions"] {
        for path in files(&folder_of(folder, target))? {
            all.push(Kept {
                name: path.display().to_string(),
                bytes: fs::read(path)?,
            });
        }
    }
    Ok(all)
}

/// `fuzz/FOLDER/TARGET`.
pub fn folder_of(folder: &str, target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(target.name)
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}
