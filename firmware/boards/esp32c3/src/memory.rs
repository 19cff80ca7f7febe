//! How much memory is left.

use core::fmt;
use core::ptr::addr_of;

/// What untouched stack holds.
const PAINT: u32 = 0x5AA5_C33C;
/// Stack below the painter's own frame that it leaves alone, in words.
const MARGIN: usize = 64;

#[allow(unsafe_code)]
mod linker {
    unsafe extern "C" {
        /// The lowest word of the stack (esp-hal's `stack.x`).
        pub static _stack_end_cpu0: u32;
        /// One past the highest.
        pub static _stack_start_cpu0: u32;
    }
}

/// The words above the guard at the end of the stack.
#[allow(unsafe_code)]
fn bottom() -> *mut u32 {
    // The guard word that the hardware watches, and what is below it.
    const GUARD_WORDS: usize = 64;
    // SAFETY: the stack is far larger than this.
    unsafe {
        addr_of!(linker::_stack_end_cpu0)
            .cast_mut()
            .add(GUARD_WORDS)
    }
}

/// One past the highest word.
fn top() -> *const u32 {
    addr_of!(linker::_stack_start_cpu0)
}

/// Memory below a stack pointer, painted to tell how deep the stack went.
#[derive(Clone, Copy)]
pub(crate) struct Painted {
    bottom: *mut u32,
    top: *const u32,
}

#[allow(unsafe_code)]
impl Painted {
    /// Paints from `bottom` up to the stack that is in use.
    #[inline(never)]
    fn new(bottom: *mut u32, top: *const u32) -> Self {
        // In this frame, the last one: nothing that lives is below it.
        let here = 0u32;
        let end = addr_of!(here).cast_mut().wrapping_sub(MARGIN);
        let mut at = bottom;
        while at < end {
            // SAFETY: between the end of the stack and, well below, the frame of this function: nothing
            // lives there, and an interrupt handler that comes in between leaves nothing that it
            // needs.
            unsafe {
                at.write_volatile(PAINT);
                at = at.add(1);
            }
        }
        Self { bottom, top }
    }

    /// Paints the `len` bytes below the frame of the caller, which are stack.
    #[cfg(feature = "rtos")]
    #[inline(never)]
    pub fn below(len: usize) -> Self {
        let here = 0u32;
        let top = addr_of!(here);
        Self::new(top.cast_mut().wrapping_sub(len / 4), top)
    }

    /// Bytes that were never used since.
    pub fn untouched(self) -> u32 {
        let mut at = self.bottom;
        // SAFETY: inside the stack.
        while at.cast_const() < self.top && unsafe { at.read_volatile() } == PAINT {
            at = at.wrapping_add(1);
        }
        (at.addr() - self.bottom.addr()) as u32
    }
}

/// Fills the stack that is not in use, so that [`untouched_stack`] can tell how deep it ever went.
pub(crate) fn paint_stack() {
    Painted::new(bottom(), top());
}

/// Bytes of stack that were never used since the start.
pub fn untouched_stack() -> u32 {
    let (bottom, top) = (bottom(), top());
    Painted { bottom, top }.untouched()
}

/// How much of the stacks was ever used.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct StackUse {
    main: u32,
    files: Option<u32>,
}

/// How much of the stacks was used since the start.
pub(crate) fn stack_use() -> StackUse {
    StackUse {
        main: stack_size() - untouched_stack(),
        #[cfg(feature = "rtos")]
        files: Some(crate::thread::STACK as u32 - crate::thread::untouched_stack()),
        #[cfg(not(feature = "rtos"))]
        files: None,
    }
}

impl fmt::Display for StackUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes were used", self.main, stack_size())?;
        match self.files {
            Some(files) => write!(f, ", {files} by the file system's thread"),
            None => Ok(()),
        }
    }
}

/// Bytes of the whole stack.
pub fn stack_size() -> u32 {
    (top().addr() - bottom().addr()) as u32
}

/// Free bytes: of the heap if there is one, otherwise of stack that was never used.
pub fn free() -> u32 {
    #[cfg(feature = "rtos")]
    return u32::try_from(esp_alloc::HEAP.free()).unwrap_or(u32::MAX);
    #[cfg(not(feature = "rtos"))]
    return untouched_stack();
}
