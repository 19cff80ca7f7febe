//! Entry, a painted stack, and the two system calls that the program needs.
//!
//! It runs under `qemu-riscv32`, which gives a program Linux' system calls and nothing else is used
//! of it: the stack is a static of ours, so that all of it can be painted.

use core::arch::{asm, global_asm};

global_asm!(
    ".globl _start",
    "_start:",
    "la sp, __stack_end",
    "call {main}",
    main = sym crate::main,
);

unsafe extern "C" {
    static mut __stack_start: u8;
}

const PAINT: u32 = 0xA5C3_5A3C;
/// Bytes below the caller that are left alone: the painter's own.
const MARGIN: usize = 256;

/// The stack pointer, as of the caller.
#[inline(always)]
pub fn stack_pointer() -> usize {
    let sp: usize;
    // SAFETY: reads a register.
    unsafe { asm!("mv {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags)) };
    sp
}

/// Paints all of the stack that is not in use.
#[inline(never)]
pub fn paint() {
    let end = stack_pointer() - MARGIN;
    let mut at = &raw mut __stack_start as usize;
    while at < end {
        // SAFETY: between the start of the stack and its top nothing is alive.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
}

/// How many bytes below `base` were touched since [`paint`].
#[inline(never)]
pub fn deepest(base: usize) -> usize {
    let mut at = &raw mut __stack_start as usize;
    // SAFETY: all of the stack can be read.
    while at < base && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += 4;
    }
    base.saturating_sub(at)
}

/// Ends the program.
pub fn exit(code: usize) -> ! {
    // SAFETY: exit_group(2), which does not return.
    unsafe { asm!("ecall", in("a0") code, in("a7") 94, options(noreturn)) }
}

/// Writes to the standard output.
#[inline(never)]
pub fn print(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let n: usize;
        // SAFETY: write(2) from memory that is ours.
        unsafe {
            asm!("ecall", inlateout("a0") 1usize => n, in("a1") rest.as_ptr(), in("a2") rest.len(),
                 in("a7") 64, options(nostack));
        }
        rest = rest.get(n..).unwrap_or_default();
    }
}

/// Writes a line of a name and a number. Without `core::fmt`: what formatting costs is counted.
#[inline(never)]
pub fn report(name: &str, number: usize) {
    let mut digits = [0; 12];
    let mut at = digits.len() - 1;
    digits[at] = b'\n';
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    print(name);
    print(" ");
    print(core::str::from_utf8(&digits[at..]).unwrap_or("?\n"));
}

/// A panic of a board resets it; here it ends the program.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}
