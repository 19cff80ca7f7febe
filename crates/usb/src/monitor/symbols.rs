//! What addresses of a program mean.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use addr2line::gimli::{self, EndianArcSlice, LittleEndian, SectionId};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind};

use crate::error::Error;

/// Longest program that is read.
const MAX_ELF: u64 = 256 * 1024 * 1024;
/// Most functions that were inlined at an address, of which each is shown.
const MAX_FRAMES: usize = 8;

type Reader = EndianArcSlice<LittleEndian>;

/// Functions and lines of a program, from its ELF.
pub struct Symbols {
    context: addr2line::Context<Reader>,
    /// Functions: start, length, name; by start.
    functions: Vec<(u64, u64, String)>,
}

impl Symbols {
    /// Reads an ELF.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::BadElf`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let io = |error| Error::io(path, &error);
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(io)?;
        file.take(MAX_ELF).read_to_end(&mut bytes).map_err(io)?;
        Self::parse(&bytes).map_err(|why| Error::BadElf {
            path: path.display().to_string(),
            why,
        })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let elf = object::File::parse(bytes).map_err(|error| error.to_string())?;
        let section = |id: SectionId| -> Result<Reader, gimli::Error> {
            let section = elf.section_by_name(id.name());
            let data = section.and_then(|section| section.data().ok());
            Ok(Reader::new(
                Arc::from(data.unwrap_or_default()),
                LittleEndian,
            ))
        };
        let dwarf = gimli::Dwarf::load(section).map_err(|error| error.to_string())?;
        let context = addr2line::Context::from_dwarf(dwarf).map_err(|error| error.to_string())?;
        let mut functions: Vec<_> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0)
            .filter_map(|symbol| {
                let name = addr2line::demangle_auto(symbol.name().ok()?.into(), None);
                Some((symbol.address(), symbol.size(), name.into_owned()))
            })
            .collect();
        functions.sort();
        if functions.is_empty() {
            return Err("it has no functions".into());
        }
        Ok(Self { context, functions })
    }

    /// What is at an address: `0x42001234: main at src/main.rs:12`, innermost first; nothing when it
    /// is not in a function.
    pub fn at(&self, address: u32) -> Vec<String> {
        let Some(function) = self.function(address.into()) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        // A DWARF that makes no sense still leaves the function.
        if let Ok(mut frames) = self.context.find_frames(address.into()).skip_all_loads() {
            while let Ok(Some(frame)) = frames.next() {
                let name = frame
                    .function
                    .as_ref()
                    .and_then(|name| name.demangle().ok());
                let name = name.as_deref().unwrap_or(function);
                let place = frame.location.and_then(|place| {
                    let line = place
                        .line
                        .map(|line| format!(":{line}"))
                        .unwrap_or_default();
                    Some(format!(" at {}{line}", place.file?))
                });
                let place = place.unwrap_or_default();
                found.push(format!("{address:#010x}: {name}{place}"));
                if found.len() == MAX_FRAMES {
                    break;
                }
            }
        }
        if found.is_empty() {
            found.push(format!("{address:#010x}: {function}"));
        }
        found
    }

    fn function(&self, address: u64) -> Option<&str> {
        let after = self
            .functions
            .partition_point(|(start, ..)| *start <= address);
        let (start, len, name) = self.functions.get(after.checked_sub(1)?)?;
        (address - start < *len).then_some(name)
    }
}

impl std::fmt::Debug for Symbols {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let functions = self.functions.len();
        f.debug_struct("Symbols")
            .field("functions", &functions)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_function_and_its_line_are_found() {
        // This very test: its own code is the program that is at hand everywhere.
        let bytes = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let symbols = Symbols::parse(&bytes).unwrap();
        let named = |(_, len, name): &&(u64, u64, String)| {
            *len > 4 && name.contains("monitor::symbols::Symbols::parse")
        };
        let (start, ..) = symbols.functions.iter().find(named).unwrap();
        let Ok(address) = u32::try_from(*start) else {
            return;
        };
        let found = symbols.at(address);
        assert!(
            found.iter().any(|frame| frame.contains("symbols.rs:")),
            "{found:?}"
        );
        assert!(symbols.at(0).is_empty());
    }

    #[test]
    fn what_is_no_program_has_no_symbols() {
        assert!(Symbols::parse(b"no ELF").is_err());
        let missing = Symbols::open(Path::new("/no/such/file"));
        assert!(matches!(missing, Err(Error::Io { .. })));
    }

    proptest! {
        #[test]
        fn no_damaged_program_panics(cut in 0_usize..4096, at in 0_usize..4096, flip in 1_u8..) {
            let mut bytes = Vec::new();
            let exe = File::open(std::env::current_exe().unwrap()).unwrap();
            exe.take(4096).read_to_end(&mut bytes).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= flip;
            bytes.truncate(cut.max(at));
            if let Ok(symbols) = Symbols::parse(&bytes) {
                let _nothing = symbols.at(0x4200_0000);
            }
        }
    }
}
