//! Paths as littlefs takes them: bytes, checked, NUL-terminated.

use core::ffi::CStr;

use crate::{Error, NAME_MAX, PATH_MAX};

/// Whether littlefs could have been given this name. A damaged directory may hold others, and a `/` or
/// `..` in one would lead elsewhere.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.iter().any(|byte| matches!(byte, 0 | b'/'))
}

/// A checked path: components joined by one `/`, none of them `.` or `..`, a NUL at the end.
#[derive(Clone, Copy)]
pub(crate) struct Path {
    /// Zero from `len` on.
    bytes: [u8; PATH_MAX + 1],
    len: usize,
}

impl Path {
    pub(crate) const ROOT: Self = Self {
        bytes: [0; PATH_MAX + 1],
        len: 0,
    };

    /// A folder or the root: `/` at either end is accepted and dropped.
    pub(crate) fn folder(path: &[u8]) -> Result<Self, Error> {
        let mut checked = Self::ROOT;
        for name in path
            .split(|&byte| byte == b'/')
            .filter(|name| !name.is_empty())
        {
            if name.len() > NAME_MAX {
                return Err(Error::NameTooLong);
            }
            if !is_name(name) {
                return Err(Error::Invalid);
            }
            checked.push(name)?;
        }
        Ok(checked)
    }

    /// A file: not the root, and no `/` behind the name.
    pub(crate) fn file(path: &[u8]) -> Result<Self, Error> {
        if path.ends_with(b"/") {
            return Err(Error::Invalid);
        }
        Self::not_root(path)
    }

    /// Anything but the root.
    pub(crate) fn not_root(path: &[u8]) -> Result<Self, Error> {
        let checked = Self::folder(path)?;
        if checked.len == 0 {
            Err(Error::Invalid)
        } else {
            Ok(checked)
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Append one component as it was found on disk, of whatever length.
    pub(crate) fn push(&mut self, name: &[u8]) -> Result<(), Error> {
        if !is_name(name) {
            return Err(Error::Corrupt);
        }
        let start = if self.len == 0 { 0 } else { self.len + 1 };
        let end = start + name.len();
        if end > PATH_MAX {
            return Err(Error::NameTooLong);
        }
        if start > 0 {
            self.bytes[self.len] = b'/';
        }
        self.bytes[start..end].copy_from_slice(name);
        self.len = end;
        Ok(())
    }

    /// Drop the last component.
    pub(crate) fn pop(&mut self) {
        let keep = self
            .as_bytes()
            .iter()
            .rposition(|&byte| byte == b'/')
            .unwrap_or(0);
        self.bytes[keep..self.len].fill(0);
        self.len = keep;
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// For littlefs, which names the root `/`.
    pub(crate) fn as_c_str(&self) -> &CStr {
        if self.len == 0 {
            return c"/";
        }
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"/")
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_folded_and_trimmed() {
        for given in [&b"a/b"[..], b"/a/b", b"a//b", b"/a/b/"] {
            assert_eq!(Path::folder(given).unwrap().as_bytes(), b"a/b");
        }
        assert_eq!(Path::folder(b"/").unwrap().as_c_str(), c"/");
    }

    #[test]
    fn dots_nuls_and_the_root_are_refused() {
        for given in [&b"a/../b"[..], b".", b"..", b"a\0b", b"a/./b"] {
            assert_eq!(Path::folder(given).err(), Some(Error::Invalid));
        }
        assert_eq!(Path::not_root(b"/").err(), Some(Error::Invalid));
        assert_eq!(Path::file(b"").err(), Some(Error::Invalid));
        assert_eq!(Path::file(b"a/").err(), Some(Error::Invalid));
    }

    #[test]
    fn a_name_of_101_bytes_and_a_path_of_256_are_too_long() {
        assert!(Path::file(&[b'n'; NAME_MAX]).is_ok());
        assert_eq!(
            Path::file(&[b'n'; NAME_MAX + 1]).err(),
            Some(Error::NameTooLong)
        );

        let mut long = [b'n'; PATH_MAX + 1];
        for slash in long.iter_mut().skip(50).step_by(51) {
            *slash = b'/';
        }
        assert!(Path::file(&long[..PATH_MAX - 1]).is_ok());
        assert_eq!(
            Path::folder(&[&long[..PATH_MAX], b"n"].concat()).err(),
            Some(Error::NameTooLong)
        );
    }

    #[test]
    fn popping_goes_back_to_the_root_and_stays_terminated() {
        let mut path = Path::folder(b"a/bc").unwrap();
        path.pop();
        assert_eq!(path.as_c_str(), c"a");
        path.pop();
        assert_eq!(path.as_c_str(), c"/");
    }
}
