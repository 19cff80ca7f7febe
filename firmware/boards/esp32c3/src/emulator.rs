//! What takes the place of the radio and of esp-rtos in Espressif's QEMU.
//!
//! That emulator has an Ethernet controller and no radio. Of the interrupt matrix it leaves the status
//! registers out, by which esp-hal finds the source of an interrupt: no handler is ever called, and a
//! scheduler that waits for one hangs. So tasks and timers are polled here. Everything else, from the
//! boot guard to the API, is the code that boards run.

mod executor;
mod open_eth;

pub use executor::run;
pub use open_eth::{OpenEth, poll};

/// Starts unit 0 of the system timer, which the ROM of a real chip leaves running.
pub(crate) fn start_system_timer() {
    esp_hal::peripherals::SYSTIMER::regs()
        .conf()
        .modify(|_, w| w.timer_unit0_work_en().set_bit().clk_en().set_bit());
}
