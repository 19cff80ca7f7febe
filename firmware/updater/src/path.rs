//! Paths in a fixed buffer.

use airlift_wire::limits::MAX_PATH;

/// Longest absolute path: `/factory/` and a path of a tar.
pub const CAPACITY: usize = MAX_PATH + 12;

/// A path; grows and shrinks by components.
#[derive(Clone, Copy)]
pub struct Path {
    bytes: [u8; CAPACITY],
    len: u8,
}

impl Path {
    /// No path.
    pub const EMPTY: Self = Self {
        bytes: [0; CAPACITY],
        len: 0,
    };

    /// From text; `None` when it is too long.
    pub fn new(text: &str) -> Option<Self> {
        let mut path = Self::EMPTY;
        path.push_str(text)?;
        Some(path)
    }

    /// The folder of a slot: `/ota_0`.
    pub fn slot(slot: crate::SlotId) -> Self {
        let mut path = Self::EMPTY;
        // Slot names are short.
        let _ = path.push_str("/");
        let _ = path.push_str(slot.name());
        path
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends text as it is; `None`, and no change, when it does not fit.
    pub fn push_str(&mut self, text: &str) -> Option<()> {
        let start = self.len();
        let end = start + text.len();
        self.bytes
            .get_mut(start..end)?
            .copy_from_slice(text.as_bytes());
        self.len = u8::try_from(end).ok()?;
        Some(())
    }

    /// Appends `/` and a name.
    pub fn push(&mut self, name: &str) -> Option<()> {
        let before = self.len;
        let done = self.push_str("/").and_then(|()| self.push_str(name));
        if done.is_none() {
            self.len = before;
        }
        done
    }

    /// Takes the last component off and returns its name in a path of its own.
    pub fn pop(&mut self) -> Self {
        let at = self.as_str().rfind('/').unwrap_or(0);
        let mut name = Self::EMPTY;
        let text = self.as_str().get(at + 1..).unwrap_or("");
        let _ = name.push_str(text);
        self.len = at as u8;
        name
    }

    /// Cuts it to `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len() && self.as_str().is_char_boundary(len) {
            self.len = len as u8;
        }
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        // What is behind the end is left over from longer paths.
        self.as_str() == other.as_str()
    }
}

impl Eq for Path {}

impl core::fmt::Debug for Path {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_come_off_as_they_went_on() {
        let mut path = Path::slot(crate::SlotId::Ota0);
        path.push("lib").unwrap();
        path.push("x.py").unwrap();
        assert_eq!(path.as_str(), "/ota_0/lib/x.py");
        assert_eq!(path.pop().as_str(), "x.py");
        assert_eq!(path.as_str(), "/ota_0/lib");
    }

    #[test]
    fn a_path_that_was_longer_before_is_equal() {
        let root = Path::slot(crate::SlotId::Ota0);
        let mut path = root;
        path.push("lib").unwrap();
        assert_ne!(path, root);
        path.pop();
        assert_eq!(path, root);
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let mut path = Path::new("/a").unwrap();
        assert_eq!(path.push(core::str::from_utf8(&[b'x'; 120]).unwrap()), None);
        assert_eq!(path.as_str(), "/a");
        assert_eq!(Path::new(core::str::from_utf8(&[b'x'; 200]).unwrap()), None);
    }
}
