//! Provisioning over the chip's own USB (Improv Serial), between the lines of the log.

use crate::settings::Settings;
use crate::{console, wifi};
use airlift_provision::improv::{Command, Fault, Packet, Receiver, State};
use core::fmt::Write as _;
use embassy_net::Stack;
use embassy_time::{Duration, with_timeout};
use esp_hal::peripherals::USB_DEVICE;
use esp_hal::usb::usb_serial_jtag::UsbSerialJtag;

/// How long a new network may take to give an address.
const JOIN: Duration = Duration::from_secs(30);
/// How long leaving the network before may take.
const LEAVE: Duration = Duration::from_secs(1);

/// What the board calls itself.
#[derive(Clone, Copy)]
pub struct Firmware {
    /// Of the program.
    pub name: &'static str,
    /// Of the program.
    pub version: &'static str,
}

/// Takes commands for ever; a network that could be joined is kept in `settings`.
pub async fn provision(
    usb: USB_DEVICE<'static>,
    mut settings: Settings,
    stack: Stack<'static>,
    firmware: Firmware,
    id: &str,
) -> ! {
    let (mut rx, _) = UsbSerialJtag::new(usb).into_async().split();
    let mut receiver = Receiver::new();
    let mut bytes = [0; 64];
    loop {
        let n = embedded_io_async::Read::read(&mut rx, &mut bytes)
            .await
            .unwrap_or(0);
        for byte in bytes.iter().take(n) {
            match receiver.take(*byte) {
                None => {}
                Some(Err(fault)) => send(Packet::error(Some(fault))),
                Some(Ok(Command::State)) => {
                    let joined = stack.is_config_up();
                    let state = if joined { State::Joined } else { State::Ready };
                    send(Packet::state(state));
                    if joined {
                        send(Packet::reached_at(url(stack).as_str()));
                    }
                }
                Some(Ok(Command::Info)) => {
                    let chip = esp_hal::chip!();
                    let Firmware { name, version } = firmware;
                    send(Packet::info(name, version, chip, id));
                }
                Some(Ok(Command::Scan)) => {
                    for network in wifi::scan().await.iter() {
                        send(Packet::network(network));
                    }
                    send(Packet::no_more_networks());
                }
                Some(Ok(Command::Join(network))) => {
                    send(Packet::state(State::Joining));
                    wifi::join(network);
                    // The address of the network before may be there for a moment.
                    let joining = async {
                        let _was_down = with_timeout(LEAVE, stack.wait_config_down()).await;
                        stack.wait_config_up().await;
                    };
                    if with_timeout(JOIN, joining).await.is_err() {
                        send(Packet::error(Some(Fault::CannotJoin)));
                        send(Packet::state(State::Ready));
                        continue;
                    }
                    if settings.set_network(Some(network)).await.is_err() {
                        log::error!("the network was joined, but cannot be kept");
                    }
                    send(Packet::state(State::Joined));
                    send(Packet::joined(url(stack).as_str()));
                }
            }
        }
    }
}

/// In one piece, between the lines of the log. Without anybody who reads, a board goes on.
fn send(packet: Packet) {
    console::write_usb(packet.bytes());
}

/// Where the board answers.
struct Url([u8; 48], usize);

impl Url {
    fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0[..self.1]).unwrap_or("")
    }
}

impl core::fmt::Write for Url {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.1 + text.len();
        let room = self.0.get_mut(self.1..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.1 = end;
        Ok(())
    }
}

fn url(stack: Stack<'static>) -> Url {
    let mut url = Url([0; 48], 0);
    if let Some(config) = stack.config_v4() {
        let _fits = write!(url, "http://{}/v1/device", config.address.address());
    }
    url
}
