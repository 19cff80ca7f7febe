//! How much memory is left.

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

/// Fills the stack that is not in use, so that [`untouched_stack`] can tell how deep it ever went.
#[allow(unsafe_code)]
#[inline(never)]
pub(crate) fn paint_stack() {
    let here = 0u32;
    let end = addr_of!(here).cast_mut().wrapping_sub(MARGIN);
    let mut at = bottom();
    while at < end {
        // SAFETY: between the end of the stack and, well below, the frame of this function: nothing
        // lives there, and an interrupt handler that comes in between leaves nothing that it needs.
        unsafe {
            at.write_volatile(PAINT);
            at = at.add(1);
        }
    }
}

/// Bytes of stack that were never used since the start.
#[allow(unsafe_code)]
pub fn untouched_stack() -> u32 {
    let (start, mut at) = (bottom(), bottom());
    let top = addr_of!(linker::_stack_start_cpu0);
    // SAFETY: inside the stack.
    while at.cast_const() < top && unsafe { at.read_volatile() } == PAINT {
        at = at.wrapping_add(1);
    }
    (at.addr() - start.addr()) as u32
}

/// Bytes of the whole stack.
pub fn stack_size() -> u32 {
    (addr_of!(linker::_stack_start_cpu0).addr() - bottom().addr()) as u32
}

/// Free bytes: of the heap if there is one, otherwise of stack that was never used.
pub fn free() -> u32 {
    #[cfg(feature = "wifi")]
    return u32::try_from(esp_alloc::HEAP.free()).unwrap_or(u32::MAX);
    #[cfg(not(feature = "wifi"))]
    return untouched_stack();
}
