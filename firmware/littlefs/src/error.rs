//! What can go wrong, in littlefs' own terms.

use core::fmt;

use littlefs2_sys as ffi;

/// Why an operation did not happen.
///
/// After [`Io`](Self::Io) or [`Corrupt`](Self::Corrupt) from an operation that writes, mount again:
/// littlefs' picture in memory may be ahead of the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// No file or folder of that name.
    NoEntry,
    /// A file or folder of that name is there already.
    Exists,
    /// A part of the path, or the path, is a file where a folder is needed.
    NotDirectory,
    /// The path is a folder where a file is needed.
    IsDirectory,
    /// The folder still has entries.
    NotEmpty,
    /// No free block is left.
    NoSpace,
    /// What is on the flash is not a (whole) file system.
    Corrupt,
    /// The block device reported [`IoError::Device`](crate::IoError::Device).
    Io,
    /// A name is longer than [`NAME_MAX`](crate::NAME_MAX) or a path than [`PATH_MAX`](crate::PATH_MAX).
    NameTooLong,
    /// The file would grow over 2^31 - 1 bytes.
    TooLarge,
    /// An argument that means nothing here: an empty path, a `.` or `..`, a NUL, a length past the end.
    Invalid,
    /// A file system of another block size, block count, name limit or disk version.
    Unsupported,
    /// A file is open for writing and has to be closed first.
    AlreadyOpen,
    /// No file is open for writing.
    NotOpen,
}

impl Error {
    /// The error of a negative return value.
    pub(crate) fn from_code(code: i32) -> Self {
        match code {
            ffi::lfs_error_LFS_ERR_NOENT => Self::NoEntry,
            ffi::lfs_error_LFS_ERR_EXIST => Self::Exists,
            ffi::lfs_error_LFS_ERR_NOTDIR => Self::NotDirectory,
            ffi::lfs_error_LFS_ERR_ISDIR => Self::IsDirectory,
            ffi::lfs_error_LFS_ERR_NOTEMPTY => Self::NotEmpty,
            ffi::lfs_error_LFS_ERR_NOSPC => Self::NoSpace,
            ffi::lfs_error_LFS_ERR_CORRUPT => Self::Corrupt,
            ffi::lfs_error_LFS_ERR_NAMETOOLONG => Self::NameTooLong,
            ffi::lfs_error_LFS_ERR_FBIG => Self::TooLarge,
            ffi::lfs_error_LFS_ERR_INVAL => Self::Invalid,
            _ => Self::Io,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEntry => "no such file or folder",
            Self::Exists => "the file or folder already exists",
            Self::NotDirectory => "not a folder",
            Self::IsDirectory => "is a folder",
            Self::NotEmpty => "the folder is not empty",
            Self::NoSpace => "no space left in the file system",
            Self::Corrupt => "the file system is damaged or not there",
            Self::Io => "the flash reported an error",
            Self::NameTooLong => "name or path too long",
            Self::TooLarge => "file too large",
            Self::Invalid => "invalid argument",
            Self::Unsupported => "a file system of another size or version",
            Self::AlreadyOpen => "a file is open for writing",
            Self::NotOpen => "no file is open for writing",
        })
    }
}

impl core::error::Error for Error {}
