//! What a device is made of, in memory: a clock, connections, flash, files.
//!
//! Nothing here waits: a future either is ready or never will be, so one poll tells.

use crate::input::Pattern;
use airlift_updater::platform::{
    Clock, Connection, DirEntry, Files, FilesError, Flash, FlashError, Net, NetError, Platform,
    Random,
};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::pending;
use std::net::SocketAddr;
use std::ops::Bound;
use std::rc::Rc;

/// Bytes of a sector.
pub const SECTOR: usize = 4096;

/// A clock that only waiting moves.
#[derive(Clone, Default)]
pub struct Ticks(Rc<Cell<u64>>);

impl Clock for Ticks {
    fn now_ms(&self) -> u64 {
        self.0.get()
    }

    async fn sleep_ms(&self, ms: u32) {
        self.0.set(self.0.get() + u64::from(ms));
    }
}

/// What a connection does when everything was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The other side ends it.
    Ends,
    /// It breaks.
    Breaks,
    /// Nothing more comes.
    Stalls,
}

impl Then {
    /// One of the three.
    pub fn of(byte: u8) -> Self {
        match byte % 3 {
            0 => Self::Ends,
            1 => Self::Breaks,
            _ => Self::Stalls,
        }
    }
}

/// A connection whose other side has sent everything already.
pub struct Wire<'a> {
    /// What was not read yet.
    pub incoming: &'a [u8],
    /// In pieces of which sizes it arrives.
    pub pattern: Pattern,
    /// What happens behind it.
    pub then: Then,
    /// What was written.
    pub outgoing: Vec<u8>,
}

impl<'a> Wire<'a> {
    /// A connection on which `incoming` arrives.
    pub fn new(incoming: &'a [u8], pattern: Pattern, then: Then) -> Self {
        Self {
            incoming,
            pattern,
            then,
            outgoing: Vec::new(),
        }
    }
}

impl Connection for Wire<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        if self.incoming.is_empty() {
            return match self.then {
                Then::Ends => Ok(0),
                Then::Breaks => Err(NetError),
                Then::Stalls => pending().await,
            };
        }
        let n = self.pattern.next_size().min(buf.len());
        let (now, later) = self.incoming.split_at(n.min(self.incoming.len()));
        buf[..now.len()].copy_from_slice(now);
        self.incoming = later;
        Ok(now.len())
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        self.outgoing.extend_from_slice(data);
        Ok(())
    }
}

/// A network with nobody in it.
pub struct Nobody;

impl Net for Nobody {
    type Connection = Wire<'static>;

    async fn connect(&mut self, _: SocketAddr) -> Result<Self::Connection, NetError> {
        Err(NetError)
    }
}

/// Numbers that are always the same.
pub struct Fixed;

impl Random for Fixed {
    fn fill(&mut self, buf: &mut [u8]) {
        buf.fill(7);
    }
}

/// NOR flash: a write that would set a bit, or leaves its sector, does not work.
#[derive(Clone, PartialEq, Eq)]
pub struct Nor {
    /// The cells.
    pub cells: Vec<u8>,
    /// Reads, writes and erases so far.
    pub operations: usize,
}

impl Nor {
    /// Blank flash.
    pub fn blank(size: usize) -> Self {
        Self {
            cells: vec![0xFF; size],
            operations: 0,
        }
    }

    fn cells(&mut self, offset: u32, len: usize) -> Result<&mut [u8], FlashError> {
        self.operations += 1;
        let start = offset as usize;
        let end = start.checked_add(len).ok_or(FlashError { offset })?;
        self.cells.get_mut(start..end).ok_or(FlashError { offset })
    }
}

impl Flash for Nor {
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        buf.copy_from_slice(self.cells(offset, buf.len())?);
        Ok(())
    }

    async fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        assert!(offset.is_multiple_of(SECTOR as u32), "erase at {offset:#x}");
        self.cells(offset, SECTOR)?.fill(0xFF);
        Ok(())
    }

    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        assert!(offset.is_multiple_of(4) && data.len().is_multiple_of(4));
        assert!(offset as usize % SECTOR + data.len() <= SECTOR);
        let cells = self.cells(offset, data.len())?;
        if cells
            .iter()
            .zip(data)
            .any(|(cell, byte)| cell & byte != *byte)
        {
            return Err(FlashError { offset });
        }
        cells.copy_from_slice(data);
        Ok(())
    }
}

/// A file system in memory: what the updater's [`Files`] say, and nothing that a real one adds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    /// By absolute path, a folder's with a `/` at its end.
    nodes: BTreeMap<String, Vec<u8>>,
    open: Option<(String, Vec<u8>)>,
}

impl Tree {
    /// Every path, a folder's with a `/` at its end, and the content of each file.
    pub fn nodes(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.nodes
    }

    /// What a power cut leaves: the open file as it was last synced.
    pub fn cut(&mut self) {
        self.open = None;
    }

    fn is_folder(&self, path: &str) -> bool {
        path.is_empty() || path == "/" || self.nodes.contains_key(&format!("{path}/"))
    }

    fn check_new(&self, path: &str) -> Result<(), FilesError> {
        let parent = path.rfind('/').map_or("", |at| &path[..at]);
        let name = path.rsplit('/').next().unwrap_or("");
        if matches!(name, "" | "." | "..") || name.len() > 100 {
            return Err(FilesError::BadName);
        }
        if self.is_folder(parent) {
            Ok(())
        } else {
            Err(FilesError::NotFound)
        }
    }
}

impl Files for Tree {
    async fn next_entry(
        &mut self,
        folder: &str,
        after: &[u8],
    ) -> Result<Option<DirEntry>, FilesError> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let from = Bound::Excluded(prefix.clone());
        for (path, content) in self.nodes.range::<String, _>((from, Bound::Unbounded)) {
            let Some(key) = path.strip_prefix(&prefix) else {
                break;
            };
            let is_folder = key.ends_with('/');
            let name = key.trim_end_matches('/');
            if !name.contains('/') && key.as_bytes() > after {
                let size = content.len() as u32;
                let entry = DirEntry::new(name, is_folder, size);
                return entry.map(Some).ok_or(FilesError::BadName);
            }
        }
        Ok(None)
    }

    async fn read(&mut self, path: &str, offset: u32, buf: &mut [u8]) -> Result<usize, FilesError> {
        let content = self.nodes.get(path).ok_or(FilesError::NotFound)?;
        let rest = content.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    async fn create(&mut self, path: &str) -> Result<(), FilesError> {
        self.check_new(path)?;
        if self.open.is_some() || self.is_folder(path) {
            return Err(FilesError::Broken);
        }
        // A new file exists, empty, from now on; an old one keeps its content until the first sync.
        self.nodes.entry(path.to_owned()).or_default();
        self.open = Some((path.to_owned(), Vec::new()));
        Ok(())
    }

    async fn reopen(&mut self, path: &str, len: u32) -> Result<(), FilesError> {
        let content = self.nodes.get(path).ok_or(FilesError::NotFound)?;
        let start = content.get(..len as usize).ok_or(FilesError::BadName)?;
        if self.open.is_some() {
            return Err(FilesError::Broken);
        }
        self.open = Some((path.to_owned(), start.to_vec()));
        Ok(())
    }

    async fn append(&mut self, data: &[u8]) -> Result<(), FilesError> {
        let (_, content) = self.open.as_mut().ok_or(FilesError::Broken)?;
        content.extend_from_slice(data);
        Ok(())
    }

    async fn sync(&mut self) -> Result<(), FilesError> {
        if let Some((path, content)) = &self.open {
            self.nodes.insert(path.clone(), content.clone());
        }
        Ok(())
    }

    async fn close(&mut self) -> Result<(), FilesError> {
        if let Some((path, content)) = self.open.take() {
            self.nodes.insert(path, content);
        }
        Ok(())
    }

    async fn make_folder(&mut self, path: &str) -> Result<(), FilesError> {
        self.check_new(path)?;
        if self.nodes.contains_key(path) {
            return Err(FilesError::Broken);
        }
        self.nodes.entry(format!("{path}/")).or_default();
        Ok(())
    }

    async fn remove(&mut self, path: &str) -> Result<(), FilesError> {
        let folder = format!("{path}/");
        let mut behind = self.nodes.range(folder.clone()..);
        behind.next();
        if self.is_folder(path) && behind.next().is_some_and(|(p, _)| p.starts_with(&folder)) {
            return Err(FilesError::Broken);
        }
        self.nodes.remove(path);
        self.nodes.remove(&folder);
        Ok(())
    }

    async fn free_blocks(&mut self) -> Result<u32, FilesError> {
        Ok(1000)
    }
}

/// A device of these parts.
pub struct InMemory;

impl Platform for InMemory {
    type Flash = Nor;
    type Files = Tree;
    type Net = Nobody;
    type Clock = Ticks;
    type Random = Fixed;
}
