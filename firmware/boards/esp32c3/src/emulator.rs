//! What takes the place of the radio and of esp-rtos in Espressif's QEMU.
//!
//! That emulator has an Ethernet controller and no radio. Of the interrupt matrix it leaves the status
//! registers out, by which esp-hal finds the source of an interrupt: no handler is ever called, and a
//! scheduler that waits for one hangs. So tasks and timers are polled here. Everything else, from the
//! boot guard to the API, is the code that boards run. An emulator that has those registers runs
//! esp-rtos as well: feature `rtos`.

#[cfg(not(feature = "rtos"))]
mod executor;
mod open_eth;

/// Turns of the loop that the emulator's other thread gets when there is nothing to do: each look at
/// the clock takes a lock that the devices need too.
const IDLE_TURNS: u32 = 4_000;

#[cfg(not(feature = "rtos"))]
pub use executor::run;
pub use open_eth::{OpenEth, poll};

/// What esp-rtos does when no thread is ready. The emulator forgets an interrupt that comes while
/// another is handled; it looks again when its line is switched on.
#[cfg(feature = "rtos")]
#[allow(unsafe_code)]
pub extern "C" fn idle() -> ! {
    let enable = esp_hal::peripherals::INTERRUPT_CORE0::regs().cpu_int_enable();
    loop {
        critical_section::with(|_| {
            let lines = enable.read().bits();
            // SAFETY: the lines that were on, off and on again.
            unsafe {
                enable.write(|w| w.bits(0));
                enable.write(|w| w.bits(lines));
            }
        });
        (0..IDLE_TURNS).for_each(|_| core::hint::spin_loop());
    }
}

/// Starts unit 0 of the system timer, which the ROM of a real chip leaves running.
pub(crate) fn start_system_timer() {
    esp_hal::peripherals::SYSTIMER::regs()
        .conf()
        .modify(|_, w| w.timer_unit0_work_en().set_bit().clk_en().set_bit());
}
