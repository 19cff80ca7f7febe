//! What happens when the program cannot go on: say why, then start again.
//!
//! A board on a wall has nobody to press its button, and a new image that dies must come back to
//! the boot guard, or nothing can put the old one back.

use core::fmt::Write as _;
use core::panic::PanicInfo;

use airlift_esp::Console;
use esp_backtrace::Backtrace;
use esp_hal::delay::Delay;

/// Long enough to read the console, and to keep a board that dies at once from spinning.
const PAUSE_MS: u32 = 2_000;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    airlift_esp::note_panic();
    let _never_fails = writeln!(Console, "\n{info}");
    for frame in Backtrace::capture().frames() {
        let _never_fails = writeln!(Console, "  at {:#010x}", frame.program_counter());
    }
    Delay::new().delay_millis(PAUSE_MS);
    esp_hal::system::software_reset()
}
