//! A partition of NOR flash in memory, with power cuts and bad blocks.

use airlift_littlefs::{
    BLOCK_SIZE, BlockDevice, DiskVersion, Error, FileSystem, Geometry, IoError, PROGRAM_SIZE,
    READ_SIZE, Storage,
};

/// NOR flash: an erase sets ones, a program may only clear bits.
#[derive(Clone)]
pub struct Ram {
    pub image: Vec<u8>,
    /// Programs and erases that still happen before the power goes.
    pub budget: Option<usize>,
    /// Programs and erases so far.
    pub changes: usize,
    /// Blocks that do not erase.
    pub bad: Vec<u32>,
}

impl Ram {
    pub fn new(block_count: u32) -> Self {
        let image = vec![0xFF; block_count as usize * BLOCK_SIZE as usize];
        Self {
            image,
            budget: None,
            changes: 0,
            bad: Vec::new(),
        }
    }

    /// A formatted one.
    pub fn formatted(block_count: u32) -> Self {
        let mut ram = Self::new(block_count);
        FileSystem::format(
            &mut Storage::new(),
            &mut ram,
            Geometry { block_count },
            DiskVersion::V2_1,
        )
        .unwrap();
        ram
    }

    pub fn geometry(&self) -> Geometry {
        Geometry {
            block_count: self.image.len() as u32 / BLOCK_SIZE,
        }
    }

    fn change(&mut self) -> Result<(), IoError> {
        if let Some(budget) = &mut self.budget {
            *budget = budget.checked_sub(1).ok_or(IoError::Device)?;
        }
        self.changes += 1;
        Ok(())
    }
}

impl BlockDevice for Ram {
    fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), IoError> {
        assert!(offset.is_multiple_of(READ_SIZE) && buf.len().is_multiple_of(READ_SIZE as usize));
        if self.budget == Some(0) {
            return Err(IoError::Device);
        }
        buf.copy_from_slice(&self.image[offset as usize..][..buf.len()]);
        Ok(())
    }

    fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), IoError> {
        assert!(offset.is_multiple_of(PROGRAM_SIZE));
        assert!(data.len().is_multiple_of(PROGRAM_SIZE as usize));
        assert!(
            offset % BLOCK_SIZE + data.len() as u32 <= BLOCK_SIZE,
            "a program crosses a block"
        );
        self.change()?;
        let cells = &mut self.image[offset as usize..][..data.len()];
        if cells
            .iter()
            .zip(data)
            .any(|(cell, byte)| cell & byte != *byte)
        {
            return Err(IoError::BadBlock);
        }
        cells.copy_from_slice(data);
        Ok(())
    }

    fn erase(&mut self, offset: u32) -> Result<(), IoError> {
        assert!(offset.is_multiple_of(BLOCK_SIZE));
        self.change()?;
        if self.bad.contains(&(offset / BLOCK_SIZE)) {
            return Err(IoError::BadBlock);
        }
        self.image[offset as usize..][..BLOCK_SIZE as usize].fill(0xFF);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), IoError> {
        Ok(())
    }
}

/// Mount, run, unmount.
pub fn mounted<T>(
    ram: &mut Ram,
    run: impl FnOnce(&mut FileSystem<'_, &mut Ram>) -> Result<T, Error>,
) -> Result<T, Error> {
    let geometry = ram.geometry();
    let mut storage = Storage::new();
    let mut fs = FileSystem::mount(&mut storage, ram, geometry)?;
    let value = run(&mut fs)?;
    fs.unmount()?;
    Ok(value)
}

pub fn write(fs: &mut FileSystem<'_, &mut Ram>, path: &str, content: &[u8]) -> Result<(), Error> {
    fs.create(path)?;
    let appended = content.chunks(1000).try_for_each(|chunk| fs.append(chunk));
    let closed = fs.close();
    appended.and(closed)
}

/// A whole file, read in pieces of an odd size.
pub fn read(fs: &mut FileSystem<'_, &mut Ram>, path: &str) -> Result<Vec<u8>, Error> {
    let mut content = Vec::new();
    let mut piece = [0; 333];
    loop {
        match fs.read_at(path, content.len() as u32, &mut piece)? {
            0 => return Ok(content),
            n => content.extend_from_slice(&piece[..n]),
        }
    }
}

/// Bytes that differ from place to place.
pub fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8 ^ seed).collect()
}
