//! Improv Serial (improv-wifi.com/serial, version 1): how a board gets its Wi-Fi over USB.
//!
//! A packet is `IMPROV`, version, type, length, data, the low byte of the sum of all that, and usually
//! a line feed. Whatever is between packets is somebody else's: a board logs on the same line.
//!
//! | Type | Direction | Data |
//! | --- | --- | --- |
//! | 1 state | board → host | 2 ready, 3 joining, 4 joined |
//! | 2 error | board → host | 0 none, 1 malformed, 2 unknown command, 3 cannot join |
//! | 3 command | host → board | command, length, its data |
//! | 4 result | board → host | command, length, texts, each with its length before it |
//!
//! [`Receiver`] finds commands in a stream of bytes, [`Packet`] is what a board answers.

use crate::Credentials;
use crate::scan::Network;
use core::fmt::Write as _;

const HEADER: &[u8; 6] = b"IMPROV";
const VERSION: u8 = 1;
/// What every packet starts with.
const START: [u8; 7] = *b"IMPROV\x01";
/// Type byte of a state.
pub const STATE: u8 = 1;
/// Type byte of an error.
pub const ERROR: u8 = 2;
const COMMAND: u8 = 3;
const RESULT: u8 = 4;
const SET_WIFI: u8 = 1;
const GET_STATE: u8 = 2;
const GET_INFO: u8 = 3;
const SCAN: u8 = 4;
/// Bytes before the data: header, version, type, length.
const HEAD: usize = HEADER.len() + 3;
/// Most data that is received: name and password with their lengths need 100 bytes.
const MAX_DATA: usize = 128;
/// Longest packet that is sent.
pub const MAX_PACKET: usize = 256;

/// What a host asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Join this network.
    Join(Credentials),
    /// Say the state.
    State,
    /// Say what you are.
    Info,
    /// Say which networks there are.
    Scan,
}

/// Why a packet is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its checksum or its lengths are wrong.
    Malformed,
    /// A command that this board does not know.
    Unknown,
    /// The network could not be joined.
    CannotJoin,
}

impl Fault {
    /// The byte of an error packet.
    pub const fn code(self) -> u8 {
        match self {
            Self::Malformed => 1,
            Self::Unknown => 2,
            Self::CannotJoin => 3,
        }
    }
}

/// How far a board is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits for a network.
    Ready,
    /// It tries one.
    Joining,
    /// It is in one.
    Joined,
}

impl State {
    /// The byte of a state packet.
    pub const fn code(self) -> u8 {
        match self {
            Self::Ready => 2,
            Self::Joining => 3,
            Self::Joined => 4,
        }
    }
}

/// Finds commands in what arrives, whatever else arrives with them.
pub struct Receiver {
    bytes: [u8; HEAD + MAX_DATA + 1],
    len: usize,
}

impl Receiver {
    /// Before the first byte.
    pub const fn new() -> Self {
        Self {
            bytes: [0; HEAD + MAX_DATA + 1],
            len: 0,
        }
    }

    /// Takes a byte; `Some` when it completes a packet.
    pub fn take(&mut self, byte: u8) -> Option<Result<Command, Fault>> {
        if let Some(&expected) = START.get(self.len) {
            if byte != expected {
                // It may start a header of its own: the first letter comes in no other place.
                self.len = 0;
            }
            if START.get(self.len) == Some(&byte) {
                self.push(byte);
            }
            return None;
        }
        self.push(byte);
        let expected = match self.bytes.get(HEAD - 1) {
            Some(&data) if self.len >= HEAD => HEAD + usize::from(data) + 1,
            _ => return None,
        };
        if expected > self.bytes.len() {
            self.len = 0;
            return Some(Err(Fault::Malformed));
        }
        if self.len < expected {
            return None;
        }
        self.len = 0;
        let packet = self.bytes.get(..expected)?;
        let (body, sum) = packet.split_at(expected - 1);
        if sum != [checksum(body)] {
            return Some(Err(Fault::Malformed));
        }
        // What other boards on the same line say is not for this one.
        (body.get(7) == Some(&COMMAND)).then(|| command(body.get(HEAD..).unwrap_or_default()))
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

fn command(data: &[u8]) -> Result<Command, Fault> {
    let (&kind, rest) = data.split_first().ok_or(Fault::Malformed)?;
    let (&len, rest) = rest.split_first().ok_or(Fault::Malformed)?;
    if usize::from(len) != rest.len() {
        return Err(Fault::Malformed);
    }
    match kind {
        SET_WIFI => {
            let (ssid, rest) = text(rest).ok_or(Fault::Malformed)?;
            let (password, rest) = text(rest).ok_or(Fault::Malformed)?;
            match Credentials::new(ssid, password) {
                Some(credentials) if rest.is_empty() => Ok(Command::Join(credentials)),
                _ => Err(Fault::Malformed),
            }
        }
        GET_STATE => Ok(Command::State),
        GET_INFO => Ok(Command::Info),
        SCAN => Ok(Command::Scan),
        _ => Err(Fault::Unknown),
    }
}

/// A text with its length before it, and what follows.
fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&len, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(len))
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// A packet to send.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    bytes: [u8; MAX_PACKET],
    len: usize,
}

impl Packet {
    /// How far the board is.
    pub fn state(state: State) -> Self {
        Self::of(STATE, &[state.code()])
    }

    /// What went wrong, or that nothing did.
    pub fn error(fault: Option<Fault>) -> Self {
        Self::of(ERROR, &[fault.map_or(0, Fault::code)])
    }

    /// The board is in the network and is reached at `url`; answers a [`Command::Join`].
    pub fn joined(url: &str) -> Self {
        Self::result(SET_WIFI, &[url.as_bytes()])
    }

    /// The same, as an answer to [`Command::State`].
    pub fn reached_at(url: &str) -> Self {
        Self::result(GET_STATE, &[url.as_bytes()])
    }

    /// Firmware, its version, the chip, the name of the board.
    pub fn info(firmware: &str, version: &str, chip: &str, name: &str) -> Self {
        Self::result(
            GET_INFO,
            &[firmware, version, chip, name].map(str::as_bytes),
        )
    }

    /// One of the networks that a [`Command::Scan`] found.
    pub fn network(network: &Network) -> Self {
        let mut dbm = Text::default();
        let _fits = write!(dbm, "{}", network.dbm);
        let protected: &[u8] = if network.protected { b"YES" } else { b"NO" };
        Self::result(SCAN, &[network.ssid(), dbm.bytes(), protected])
    }

    /// The end of the networks.
    pub fn no_more_networks() -> Self {
        Self::result(SCAN, &[])
    }

    /// Its bytes, line feed included.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Texts that do not fit are cut: they are for people.
    fn result(command: u8, texts: &[&[u8]]) -> Self {
        let mut data = [0; MAX_PACKET - HEAD - 2];
        let mut at = 2;
        for text in texts {
            let room = data.len() - at - 1;
            let len = text.len().min(room).min(60);
            if let (Some(slot), Some(bytes)) = (data.get_mut(at..=at + len), text.get(..len)) {
                slot[0] = len as u8;
                slot[1..].copy_from_slice(bytes);
                at += 1 + len;
            }
        }
        data[0] = command;
        data[1] = (at - 2) as u8;
        Self::of(RESULT, data.get(..at).unwrap_or_default())
    }

    /// `data` has at most [`MAX_PACKET`] - 11 bytes.
    fn of(kind: u8, data: &[u8]) -> Self {
        let mut packet = Self {
            bytes: [0; MAX_PACKET],
            len: 0,
        };
        packet.push(HEADER);
        packet.push(&[VERSION, kind, data.len() as u8]);
        packet.push(data);
        let sum = checksum(packet.bytes());
        packet.push(&[sum, b'\n']);
        packet
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
            self.len = end;
        }
    }
}

/// A number as text.
#[derive(Default)]
struct Text {
    bytes: [u8; 4],
    len: usize,
}

impl Text {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let end = self.len + text.len();
        let room = self.bytes.get_mut(self.len..end).ok_or(core::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// As a host makes it.
    fn packet(kind: u8, data: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::from(*HEADER);
        bytes.extend([VERSION, kind, data.len() as u8]);
        bytes.extend(data);
        bytes.push(checksum(&bytes));
        bytes
    }

    fn commands(bytes: &[u8]) -> Vec<Result<Command, Fault>> {
        let mut receiver = Receiver::new();
        bytes.iter().filter_map(|b| receiver.take(*b)).collect()
    }

    /// The example of the specification: network "MyWirelessAP", password "mysecurepassword".
    #[test]
    fn the_example_of_the_specification_is_understood() {
        let mut data = Vec::from([0x01, 0x1E, 0x0C]);
        data.extend(b"MyWirelessAP");
        data.push(0x10);
        data.extend(b"mysecurepassword");
        let expected = Credentials::new(b"MyWirelessAP", b"mysecurepassword").unwrap();
        assert_eq!(
            commands(&packet(COMMAND, &data)),
            [Ok(Command::Join(expected))]
        );
    }

    #[test]
    fn commands_are_found_between_the_lines_of_a_log() {
        let mut line = Vec::from(*b"12 INFO IMPROVising\r\nIMIMPROV\r\nIMPR");
        line.extend(packet(COMMAND, &[GET_STATE, 0]));
        line.extend(b"\n");
        line.extend(packet(COMMAND, &[GET_INFO, 0]));
        line.extend(packet(COMMAND, &[SCAN, 0]));
        let found = commands(&line);
        let expected = [Command::State, Command::Info, Command::Scan];
        assert_eq!(found, expected.map(Ok));
    }

    #[test]
    fn lengths_that_do_not_fit_together_are_malformed() {
        for data in [
            &[][..],
            &[SET_WIFI],
            &[SET_WIFI, 1],
            &[SET_WIFI, 2, 5, b'x'],
            &[SET_WIFI, 3, 1, b'x', 9],
            &[SET_WIFI, 4, 1, b'x', 0, 7],
            &[SET_WIFI, 2, 0, 0],
            &[GET_STATE, 1],
        ] {
            let found = commands(&packet(COMMAND, data));
            assert_eq!(found, [Err(Fault::Malformed)], "{data:?}");
        }
        assert_eq!(commands(&packet(COMMAND, &[9, 0])), [Err(Fault::Unknown)]);
    }

    #[test]
    fn a_wrong_checksum_is_malformed() {
        let mut bytes = packet(COMMAND, &[GET_STATE, 0]);
        *bytes.last_mut().unwrap() ^= 1;
        assert_eq!(commands(&bytes), [Err(Fault::Malformed)]);
    }

    #[test]
    fn what_another_board_says_is_ignored() {
        let mut bytes = packet(STATE, &[2]);
        bytes.extend(packet(RESULT, &[GET_INFO, 0]));
        assert_eq!(commands(&bytes), []);
    }

    #[test]
    fn answers_are_packets_of_the_right_type() {
        assert_eq!(
            Packet::state(State::Joined).bytes(),
            b"IMPROV\x01\x01\x01\x04\xE4\n"
        );
        assert_eq!(Packet::error(None).bytes(), b"IMPROV\x01\x02\x01\x00\xE1\n");
        let bytes = Packet::joined("http://10.0.0.7/v1/device");
        assert_eq!(&bytes.bytes()[..9], b"IMPROV\x01\x04\x1C");
        assert_eq!(&bytes.bytes()[9..12], &[SET_WIFI, 26, 25]);
        let found = Network::new(b"home", -128, true).unwrap();
        assert_eq!(
            &Packet::network(&found).bytes()[8..25],
            b"\x10\x04\x0E\x04home\x04-128\x03YES"
        );
        let open = Network::new("Café".as_bytes(), -7, false).unwrap();
        assert_eq!(
            &Packet::network(&open).bytes()[8..23],
            b"\x0E\x04\x0C\x05Caf\xC3\xA9\x02-7\x02NO"
        );
        assert_eq!(
            Packet::no_more_networks().bytes(),
            b"IMPROV\x01\x04\x02\x04\x00\xE8\n"
        );
        let info = Packet::info("airlift", "1.0.0", "esp32c3", "kitchen");
        assert_eq!(info.bytes().len(), HEAD + 2 + 8 + 6 + 8 + 8 + 2);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = commands(&bytes);
        }

        #[test]
        fn any_packet_is_a_command_or_a_fault(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = commands(&packet(COMMAND, &data));
            prop_assert!(!found.is_empty());
        }

        #[test]
        fn texts_of_any_length_give_a_whole_packet(
            a in "[a-z]{0,90}", b in "[a-z]{0,90}", c in "[a-z]{0,90}", d in "[a-z]{0,90}"
        ) {
            let packet = Packet::info(&a, &b, &c, &d);
            let bytes = packet.bytes();
            let data = usize::from(bytes[8]);
            prop_assert_eq!(bytes.len(), HEAD + data + 2);
            prop_assert_eq!(bytes[HEAD + data], checksum(&bytes[..HEAD + data]));
            prop_assert_eq!(usize::from(bytes[10]), data - 2);
        }
    }
}
