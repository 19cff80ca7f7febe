//! An input as a source of decisions: what a structured target does with its bytes.

/// Takes numbers and pieces from the front of an input; zeros when it is used up.
#[derive(Clone)]
pub struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// From all bytes of an input.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes, or what is left.
    pub fn take(&mut self, n: usize) -> &'a [u8] {
        let (head, rest) = self.rest.split_at(n.min(self.rest.len()));
        self.rest = rest;
        head
    }

    /// All that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// The next `N` bytes, zeros behind the end.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        let bytes = self.take(N);
        out[..bytes.len()].copy_from_slice(bytes);
        out
    }

    /// A byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes, little endian.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes, little endian.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// A piece with its length, two bytes, before it.
    pub fn piece(&mut self) -> &'a [u8] {
        let len = self.u16();
        self.take(len.into())
    }

    /// A pattern of up to seven sizes: how a stream arrives.
    pub fn pattern(&mut self) -> Pattern {
        let count = usize::from(self.byte() % 8);
        Pattern {
            sizes: self.take(count).to_vec(),
            at: 0,
        }
    }
}

/// The sizes of the pieces of a stream, over and over.
#[derive(Clone, Default)]
pub struct Pattern {
    sizes: Vec<u8>,
    at: usize,
}

impl Pattern {
    /// The most bytes of the next piece: 1 to 256, or any number without a pattern.
    pub fn next_size(&mut self) -> usize {
        let Some(size) = self.sizes.get(self.at) else {
            return usize::MAX;
        };
        self.at = (self.at + 1) % self.sizes.len();
        usize::from(*size) + 1
    }
}
