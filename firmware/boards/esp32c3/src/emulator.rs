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

/// What esp-rtos does when no thread is ready: the emulator delivers an interrupt that came while
/// another was handled when interrupts are switched on again, and not before.
#[cfg(feature = "rtos")]
pub extern "C" fn idle() -> ! {
    loop {
        critical_section::with(|_| ());
        (0..IDLE_TURNS).for_each(|_| core::hint::spin_loop());
    }
}

/// Starts unit 0 of the system timer, which the ROM of a real chip leaves running.
pub(crate) fn start_system_timer() {
    esp_hal::peripherals::SYSTIMER::regs()
        .conf()
        .modify(|_, w| w.timer_unit0_work_en().set_bit().clk_en().set_bit());
}
