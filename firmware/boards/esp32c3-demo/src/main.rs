//! The demo firmware for an ESP32-C3: says which version runs from which slot, checks that it can
//! verify an Ed25519 signature, and blinks.
//!
//! It carries an ESP-IDF application descriptor, so that the bootloader, `esptool image-info` and
//! Airlift read project and version from the image itself. It has no network and no updater yet:
//! a new version reaches the board over USB.

#![no_std]
#![no_main]

mod panic;
mod self_test;
mod slot;
#[cfg(feature = "slot-report")]
mod slot_report;

use esp_bootloader_esp_idf::{
    BUILD_DATE, BUILD_TIME, ESP_IDF_COMPATIBLE_VERSION, MMU_PAGE_SIZE, SECURE_VERSION,
};
use esp_hal::delay::Delay;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::time::Instant;
use esp_println::println;
use esp_storage::FlashStorage;

/// The version in the application descriptor and on the console.
const VERSION: &str = env!("AIRLIFT_VERSION");

/// Milliseconds the LED is on and off, in turn. 1.1.0 blinks twice, so that one sees which runs.
#[cfg(not(feature = "slot-report"))]
const BLINK_MS: &[u32] = &[1000, 1000];
#[cfg(feature = "slot-report")]
const BLINK_MS: &[u32] = &[150, 150, 150, 1550];

/// How many rounds of [`BLINK_MS`] pass between two lines on the console.
const ROUNDS_PER_LINE: u32 = 5;

esp_bootloader_esp_idf::esp_app_desc!(
    VERSION,
    env!("CARGO_PKG_NAME"),
    BUILD_TIME,
    BUILD_DATE,
    ESP_IDF_COMPATIBLE_VERSION,
    MMU_PAGE_SIZE,
    // Any eFuse block revision.
    0,
    u16::MAX,
    SECURE_VERSION
);

#[esp_hal::main]
fn main() -> ! {
    let peripherals = esp_hal::init(esp_hal::Config::default());
    #[cfg(feature = "emulator")]
    start_system_timer();
    println!(
        "{} {VERSION} (built {BUILD_DATE} {BUILD_TIME})",
        env!("CARGO_PKG_NAME")
    );

    let mut flash = FlashStorage::new(peripherals.FLASH);
    let mut table = [0; slot::TABLE_LEN];
    match slot::running(&mut flash, &mut table) {
        Ok(Some(slot)) => {
            println!(
                "running from {} at {:#x}",
                slot.label_as_str(),
                slot.offset()
            );
        }
        Ok(None) => println!("running from a place that the partition table does not name"),
        Err(error) => println!("partition table unreadable: {error}"),
    }

    match self_test::run() {
        Ok(()) => println!("self test passed: Ed25519"),
        Err(error) => println!("self test failed: {error}"),
    }

    #[cfg(feature = "slot-report")]
    slot_report::print(&mut flash, &mut table);

    // Many small C3 boards have a plain LED from 3.3 V to GPIO8: low is on. Boards with an
    // addressable LED there stay dark, and the console tells as much.
    let mut led = Output::new(peripherals.GPIO8, Level::High, OutputConfig::default());
    let delay = Delay::new();
    loop {
        for _ in 0..ROUNDS_PER_LINE {
            for ms in BLINK_MS {
                led.toggle();
                delay.delay_millis(*ms);
            }
        }
        println!(
            "{VERSION} up {} s",
            Instant::now().duration_since_epoch().as_secs()
        );
    }
}

/// Starts unit 0 of the system timer, which the ROM of a real chip leaves running.
#[cfg(feature = "emulator")]
fn start_system_timer() {
    esp_hal::peripherals::SYSTIMER::regs()
        .conf()
        .modify(|_, w| w.timer_unit0_work_en().set_bit().clk_en().set_bit());
}
