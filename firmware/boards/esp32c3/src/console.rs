//! The console: the same bytes on the UART that ROM and bootloader use, and on the chip's own USB.
//!
//! Registers as in the ESP32-C3 Technical Reference Manual, chapters "UART Controller" and "USB
//! Serial/JTAG Controller". The UART is as the ROM set it up: 115200 baud.
#![allow(unsafe_code)]

use core::cell::Cell;
use core::fmt;
use critical_section::Mutex;
use esp_hal::peripherals::{UART0, USB_DEVICE};
use esp_hal::time::{Duration, Instant};

/// Bytes that the UART holds at most before more are written.
const UART_FIFO: u16 = 120;
/// How long a computer that reads may take for a packet of 64 bytes; it asks every millisecond.
const USB_WAIT: Duration = Duration::from_millis(5);
/// How long anything may take on the UART: far more than a full FIFO needs.
const UART_WAIT: Duration = Duration::from_millis(50);

/// Whether nobody took the last packet: then nothing more is sent until somebody does.
static UNREAD: Mutex<Cell<bool>> = Mutex::new(Cell::new(false));

/// The console, for a panic handler: works without the log, and in any state of the program.
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(text.as_bytes());
        Ok(())
    }
}

/// Writes to both. Waits for the UART; for USB only while somebody reads.
pub(crate) fn write(bytes: &[u8]) {
    write_usb(bytes);
    let uart = UART0::regs();
    for byte in bytes {
        let room = || uart.status().read().txfifo_cnt().bits() < UART_FIFO as _;
        if !soon(UART_WAIT, room) {
            return;
        }
        // SAFETY: any byte may be sent.
        uart.fifo()
            .write(|w| unsafe { w.rxfifo_rd_byte().bits(*byte) });
    }
}

/// Writes to USB alone. Without anybody who reads, it is dropped.
pub(crate) fn write_usb(bytes: &[u8]) {
    let usb = USB_DEVICE::regs();
    let room = || usb.ep1_conf().read().serial_in_ep_data_free().bit();
    let unread = critical_section::with(|cs| UNREAD.borrow(cs).get());
    if unread && !room() {
        return;
    }
    let mut sent = true;
    for byte in bytes {
        sent = soon(USB_WAIT, room);
        if !sent {
            break;
        }
        // SAFETY: any byte may be sent.
        usb.ep1().write(|w| unsafe { w.rdwr_byte().bits(*byte) });
        if !room() {
            flush_usb();
        }
    }
    flush_usb();
    critical_section::with(|cs| UNREAD.borrow(cs).set(!sent));
}

/// Lets the computer have what was written.
fn flush_usb() {
    USB_DEVICE::regs()
        .ep1_conf()
        .modify(|_, w| w.wr_done().set_bit());
}

/// Whether `ready` holds before the time is over.
fn soon(wait: Duration, ready: impl Fn() -> bool) -> bool {
    if ready() {
        return true;
    }
    let begin = Instant::now();
    while begin.elapsed() < wait {
        if ready() {
            return true;
        }
    }
    false
}
