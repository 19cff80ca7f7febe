//! Why the chip restarted.

use airlift_wire::state::Cause;
use esp_hal::ram;
use esp_hal::rtc_cntl::{SocResetReason, reset_reason};
use esp_hal::system::Cpu;

/// What [`note_panic`] leaves behind.
const PANICKED: u32 = 0x50_41_4E_21;

/// Survives a reset, but not a power cut.
#[ram(unstable(rtc_fast, persistent))]
static mut NOTE: u32 = 0;

/// Notes that the program panics, for the boot guard after the reset. Call it in the panic handler,
/// before [`esp_hal::system::software_reset`]: a reset alone does not say why.
#[allow(unsafe_code)]
pub fn note_panic() {
    // SAFETY: one core, and a program that panics runs nothing else; the boot guard reads it before
    // any task or interrupt handler of the next start exists.
    unsafe { (&raw mut NOTE).write_volatile(PANICKED) }
}

/// Why the chip restarted; forgets a panic that was noted.
#[allow(unsafe_code)]
pub(crate) fn cause() -> Cause {
    // SAFETY: as in `note_panic`.
    let note = unsafe {
        let note = (&raw const NOTE).read_volatile();
        (&raw mut NOTE).write_volatile(0);
        note
    };
    let Some(reason) = reset_reason(Cpu::ProCpu) else {
        return Cause::None;
    };
    match reason {
        SocResetReason::CoreSw | SocResetReason::Cpu0Sw if note == PANICKED => Cause::Panic,
        SocResetReason::CoreSw | SocResetReason::Cpu0Sw => Cause::Software,
        SocResetReason::CoreMwdt0
        | SocResetReason::CoreMwdt1
        | SocResetReason::CoreRtcWdt
        | SocResetReason::Cpu0Mwdt0
        | SocResetReason::Cpu0Mwdt1
        | SocResetReason::Cpu0RtcWdt
        | SocResetReason::SysRtcWdt
        | SocResetReason::SysSuperWdt => Cause::Watchdog,
        SocResetReason::SysBrownOut => Cause::Brownout,
        SocResetReason::ChipPowerOn => Cause::PowerOn,
        _ => Cause::None,
    }
}
