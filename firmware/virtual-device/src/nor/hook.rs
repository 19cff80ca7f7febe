//! Faults, decided before each operation.

/// What is done to the flash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpKind {
    /// Cells are read.
    Read,
    /// A sector is set to ones.
    Erase,
    /// Bits are cleared.
    Write,
}

impl OpKind {
    /// Whether the operation changes cells: not a read.
    pub fn is_change(self) -> bool {
        self != Self::Read
    }
}

/// One operation, valid and about to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Op {
    /// Operations before this one, since the flash was made.
    pub index: u64,
    /// Erases and writes before this one. Cuts between reads all leave the same cells, so a test that
    /// cuts everywhere counts these.
    pub change: u64,
    /// What is done.
    pub kind: OpKind,
    /// Where, in bytes from the start of the flash.
    pub offset: u32,
    /// How many bytes; a sector for an erase.
    pub len: u32,
}

/// What becomes of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It happens.
    Proceed,
    /// The power goes before it happens.
    CutBefore,
    /// The power goes once it has happened; its caller never learns that it did.
    CutAfter,
    /// The power goes while it happens.
    ///
    /// A write does its 256-byte pages one after the other: those before the cut are done, in the
    /// one it hits some of the bits are cleared, those behind it are untouched. An erase first clears
    /// the whole sector, as flash does to wear its cells evenly, and then raises it: up to 500 some
    /// bits are cleared, at 500 all, beyond some are ones again.
    Tear {
        /// How far it got, in thousandths; more than 1000 counts as 1000.
        permille: u16,
        /// Which bits, where only some change.
        seed: u64,
    },
    /// The power goes while it happens, and bits are left on their way: what they read as is drawn
    /// anew for each read, until they are erased, or cleared by a write.
    ///
    /// It gets as far as [`Tear`](Verdict::Tear) does. Of the bits that it would still have changed,
    /// in the page of a write or the sector of an erase that the cut hits, half are unstable; with 999
    /// thousandths one bit is, and all the others are as they should.
    Unsettle {
        /// How far it got, in thousandths.
        permille: u16,
        /// Which bits, and what they read as.
        seed: u64,
    },
    /// It happens and goes unnoticed wrong: a write or erase leaves bits other than it should, a read
    /// returns bits other than there are.
    BitError {
        /// How many bits, each chosen anew.
        bits: u32,
        /// Which ones.
        seed: u64,
    },
    /// It does not happen, and its caller is told so ([`NorError::Failed`](super::NorError::Failed)).
    Fail,
}

/// Asked before every operation. It runs with the flash locked, so it must not use it.
pub trait Hook: Send {
    /// What becomes of `op`.
    fn before(&mut self, op: &Op) -> Verdict;
}

impl<F: FnMut(&Op) -> Verdict + Send> Hook for F {
    fn before(&mut self, op: &Op) -> Verdict {
        self(op)
    }
}

/// A hook for one fault: the verdict for the n-th erase or write from when it is set, once.
#[derive(Debug, Clone)]
pub struct AtChange {
    left: Option<u64>,
    verdict: Verdict,
}

impl AtChange {
    /// `verdict` for the erase or write after `skip` others.
    pub fn new(skip: u64, verdict: Verdict) -> Self {
        Self {
            left: Some(skip),
            verdict,
        }
    }
}

impl Hook for AtChange {
    fn before(&mut self, op: &Op) -> Verdict {
        if !op.kind.is_change() {
            return Verdict::Proceed;
        }
        match self.left {
            None => Verdict::Proceed,
            Some(0) => {
                self.left = None;
                self.verdict
            }
            Some(left) => {
                self.left = Some(left - 1);
                Verdict::Proceed
            }
        }
    }
}
