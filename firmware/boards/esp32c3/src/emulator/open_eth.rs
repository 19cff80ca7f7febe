//! The network of the emulator: the OpenCores Ethernet MAC that Espressif's QEMU gives an ESP32-C3.
//!
//! Registers and descriptors as in the "Ethernet IP Core Specification" of OpenCores; their addresses
//! as in ESP-IDF's `esp_eth_mac_openeth.c`. The emulator sends a frame at the moment its descriptor
//! is written, so one is enough. A chip has no such controller: on one, this module must not be used.
#![allow(unsafe_code)]

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::Context;
use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as Rx, TxToken as Tx,
};
use embassy_sync::waitqueue::AtomicWaker;
use embassy_time::Timer;

const BASE: usize = 0x600C_D000;
const DESCRIPTORS: usize = BASE + 0x400;
const MODER: usize = 0x00;
const INT_SOURCE: usize = 0x04;
const PACKETLEN: usize = 0x18;
const TX_BD_NUM: usize = 0x20;
const MAC_ADDR0: usize = 0x40;
const MAC_ADDR1: usize = 0x44;
const HASH0: usize = 0x48;
const HASH1: usize = 0x4C;

const MODER_RESET: u32 = 1 << 11;
/// Pad short frames, add a checksum, send and receive.
const MODER_RUN: u32 = 1 << 15 | 1 << 13 | 1 << 1 | 1;
const INT_RECEIVED: u32 = 1 << 2;

const TX_READY: u32 = 1 << 15;
const TX_WRAP: u32 = 1 << 13;
const TX_PAD: u32 = 1 << 12;
const TX_CRC: u32 = 1 << 11;
const RX_EMPTY: u32 = 1 << 15;
const RX_INTERRUPT: u32 = 1 << 14;
const RX_WRAP: u32 = 1 << 13;

const MTU: usize = 1514;
const BUFFER: usize = 1536;
/// Frames that may arrive before the program looks.
const FRAMES: usize = 16;
const FCS: usize = 4;

#[repr(C, align(4))]
struct Buffers {
    tx: [u8; BUFFER],
    rx: [[u8; BUFFER]; FRAMES],
}

static mut BUFFERS: Buffers = Buffers {
    tx: [0; BUFFER],
    rx: [[0; BUFFER]; FRAMES],
};
static TAKEN: AtomicBool = AtomicBool::new(false);
static WAKER: AtomicWaker = AtomicWaker::new();

fn read(register: usize) -> u32 {
    // SAFETY: a register of the controller, word aligned.
    unsafe { ((BASE + register) as *const u32).read_volatile() }
}

fn write(register: usize, value: u32) {
    // SAFETY: as above.
    unsafe { ((BASE + register) as *mut u32).write_volatile(value) }
}

/// Descriptor `n` is two words: length and flags, then the buffer's address. The receiver's follow
/// the one of the sender.
fn descriptor(n: usize) -> *mut u32 {
    (DESCRIPTORS + 8 * n) as *mut u32
}

fn set_descriptor(n: usize, flags: u32, buffer: *const u8) {
    // SAFETY: `n` is at most FRAMES, of 128 that there are. The flags come last: they start it.
    unsafe {
        descriptor(n).add(1).write_volatile(buffer.addr() as u32);
        descriptor(n).write_volatile(flags);
    }
}

fn receive_flags(n: usize) -> u32 {
    RX_EMPTY | RX_INTERRUPT | if n + 1 == FRAMES { RX_WRAP } else { 0 }
}

/// The controller.
pub struct OpenEth {
    mac: [u8; 6],
    next: usize,
}

impl OpenEth {
    /// Starts the controller with an address; `None` the second time.
    pub fn start(mac: [u8; 6]) -> Option<Self> {
        let taken = critical_section::with(|_| {
            let taken = TAKEN.load(Ordering::Relaxed);
            TAKEN.store(true, Ordering::Relaxed);
            taken
        });
        if taken {
            return None;
        }
        write(MODER, MODER_RESET);
        write(MODER, 0);
        write(TX_BD_NUM, 1);
        write(PACKETLEN, 64 << 16 | BUFFER as u32);
        let [a, b, c, d, e, f] = mac.map(u32::from);
        write(MAC_ADDR0, c << 24 | d << 16 | e << 8 | f);
        write(MAC_ADDR1, a << 8 | b);
        // Any multicast group: mDNS is the one that matters.
        write(HASH0, u32::MAX);
        write(HASH1, u32::MAX);
        for n in 0..FRAMES {
            // SAFETY: only the address is taken; `TAKEN` makes this the only user of the buffers.
            let buffer = unsafe { (&raw const BUFFERS.rx[n]).cast() };
            set_descriptor(1 + n, receive_flags(n), buffer);
        }
        write(MODER, MODER_RUN);
        Some(Self { mac, next: 0 })
    }
}

/// Looks for frames that arrived; the interrupt matrix of the chip has no line for this controller.
pub async fn poll() -> ! {
    loop {
        if read(INT_SOURCE) & INT_RECEIVED != 0 {
            write(INT_SOURCE, INT_RECEIVED);
            WAKER.wake();
        }
        Timer::after_millis(1).await;
    }
}

/// A frame that arrived.
pub struct RxToken<'d>(&'d mut usize);

impl Rx for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let n = *self.0;
        // SAFETY: the controller has given this buffer back, and there is one token at a time.
        let buffer = unsafe {
            let buffer = &raw mut BUFFERS.rx[n];
            &mut *buffer
        };
        // SAFETY: a descriptor of the controller.
        let len = unsafe { descriptor(1 + n).read_volatile() } as usize >> 16;
        let result = f(&mut buffer[..len.saturating_sub(FCS).min(BUFFER)]);
        set_descriptor(1 + n, receive_flags(n), buffer.as_ptr());
        *self.0 = (n + 1) % FRAMES;
        result
    }
}

/// Room for a frame to send.
pub struct TxToken;

impl Tx for TxToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // SAFETY: the emulator has taken the frame before by the time the descriptor was written, and
        // nobody keeps a token.
        let buffer = unsafe {
            let buffer = &raw mut BUFFERS.tx;
            &mut *buffer
        };
        let len = len.min(MTU);
        let result = f(&mut buffer[..len]);
        let flags = (len as u32) << 16 | TX_READY | TX_WRAP | TX_PAD | TX_CRC;
        set_descriptor(0, flags, buffer.as_ptr());
        result
    }
}

impl Driver for OpenEth {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken;

    fn receive(&mut self, cx: &mut Context) -> Option<(RxToken<'_>, TxToken)> {
        WAKER.register(cx.waker());
        // SAFETY: a descriptor of the controller.
        let flags = unsafe { descriptor(1 + self.next).read_volatile() };
        (flags & RX_EMPTY == 0).then_some((RxToken(&mut self.next), TxToken))
    }

    fn transmit(&mut self, _: &mut Context) -> Option<TxToken> {
        Some(TxToken)
    }

    fn link_state(&mut self, _: &mut Context) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MTU;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}
