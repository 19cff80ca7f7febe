//! Gives a board that runs its Wi-Fi: the host's end of Improv Serial (improv-wifi.com/serial,
//! version 1), whose other end is `airlift-provision`.
//!
//! A packet is `IMPROV`, version, type, length, data, the low byte of the sum of all that. A board
//! logs on the same line: [`Scanner`] takes packets out of the log. [`Improv`] is what is said and
//! heard, with time passed in.

use std::time::{Duration, Instant};

use airlift_provision::Credentials;

use crate::error::Error;
use crate::monitor::text::printable;

/// What every packet starts with: name and version.
const START: [u8; 7] = *b"IMPROV\x01";
/// Bytes before the data: start, type, length.
const HEAD: usize = START.len() + 2;
const STATE: u8 = 1;
const ERROR: u8 = 2;
const COMMAND: u8 = 3;
const RESULT: u8 = 4;
const SET_WIFI: u8 = 1;
const GET_STATE: u8 = 2;
/// States of a board.
const READY: u8 = 2;
const JOINED: u8 = 4;
/// Errors of a board.
const MALFORMED: u8 = 1;
const CANNOT_JOIN: u8 = 3;
/// Until something is said again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the credentials are sent when they arrive damaged.
const TRIES: u32 = 3;

/// A packet: its type and its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    kind: u8,
    data: Vec<u8>,
}

/// Takes packets out of a log.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// What may become a packet.
    held: Vec<u8>,
}

impl Scanner {
    /// Takes a byte; the packet that it completes. What turns out to be log goes to `log`.
    pub(crate) fn take(&mut self, byte: u8, mut log: impl FnMut(&[u8])) -> Option<Packet> {
        self.held.push(byte);
        let at = self.held.len() - 1;
        if let Some(expected) = START.get(at) {
            if byte != *expected {
                // It may start a packet of its own: the first letter comes in no other place.
                self.held.pop();
                log(&self.held);
                self.held.clear();
                if byte == START[0] {
                    self.held.push(byte);
                } else {
                    log(&[byte]);
                }
            }
            return None;
        }
        let len = HEAD + usize::from(*self.held.get(HEAD - 1)?) + 1;
        if self.held.len() < len {
            return None;
        }
        let held = std::mem::take(&mut self.held);
        let (sum, body) = held.split_last()?;
        if *sum != checksum(body) {
            log(&held);
            return None;
        }
        Some(Packet {
            kind: *body.get(START.len())?,
            data: body.get(HEAD..)?.to_vec(),
        })
    }
}

fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// A command with its data, as it is sent.
fn command(kind: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = START.to_vec();
    // Credentials are at most 98 bytes.
    packet.extend([COMMAND, data.len() as u8 + 2, kind, data.len() as u8]);
    packet.extend(data);
    packet.push(checksum(&packet));
    packet.push(b'\n');
    packet
}

/// What is going on.
enum Step {
    /// The board is asked whether it is there.
    Calling { until: Option<Instant> },
    /// It has the credentials.
    Joining { until: Instant, tries: u32 },
}

/// Handing over credentials.
pub(crate) struct Improv {
    credentials: Vec<u8>,
    start: Duration,
    join: Duration,
    step: Step,
    /// When something is said next.
    next: Option<Instant>,
}

impl Improv {
    pub(crate) fn new(credentials: &Credentials, start: Duration, join: Duration) -> Self {
        let mut data = Vec::new();
        for text in [credentials.ssid(), credentials.password()] {
            data.push(text.len() as u8);
            data.extend(text);
        }
        Self {
            credentials: data,
            start,
            join,
            step: Step::Calling { until: None },
            next: None,
        }
    }

    /// What to send now, or why it is over.
    pub(crate) fn say(&mut self, now: Instant) -> Result<Option<Vec<u8>>, Error> {
        match &mut self.step {
            Step::Calling { until } => {
                if now >= *until.get_or_insert(now + self.start) {
                    return Err(Error::NoImprov);
                }
                if self.next.is_some_and(|next| now < next) {
                    return Ok(None);
                }
                self.next = Some(now + AGAIN);
                Ok(Some(command(GET_STATE, &[])))
            }
            Step::Joining { until, .. } if now >= *until => Err(Error::WifiRefused),
            Step::Joining { .. } => Ok(self
                .next
                .take()
                .map(|_| command(SET_WIFI, &self.credentials))),
        }
    }

    /// What a packet means: the end, or nothing yet.
    pub(crate) fn hear(&mut self, packet: &Packet, now: Instant) -> Option<Result<String, Error>> {
        let first = packet.data.first().copied();
        match (&mut self.step, packet.kind, first) {
            (Step::Calling { .. }, STATE, Some(READY..=JOINED)) => {
                let until = now + self.join;
                self.step = Step::Joining {
                    until,
                    tries: TRIES,
                };
                self.next = Some(now);
                None
            }
            (Step::Joining { tries, .. }, ERROR, Some(MALFORMED)) if *tries > 1 => {
                *tries -= 1;
                self.next = Some(now);
                None
            }
            (Step::Joining { .. }, ERROR, Some(CANNOT_JOIN)) => Some(Err(Error::WifiRefused)),
            (Step::Joining { .. }, ERROR, Some(1..)) => Some(Err(Error::NoImprov)),
            (Step::Joining { .. }, RESULT, Some(SET_WIFI)) => Some(Ok(address(&packet.data))),
            _ => None,
        }
    }
}

/// The first text of a result.
fn address(data: &[u8]) -> String {
    let text = || {
        let (len, rest) = data.get(2..)?.split_first()?;
        rest.get(..usize::from(*len))
    };
    printable(&String::from_utf8_lossy(text().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_provision::improv::{Command, Fault, Packet as Device, Receiver, State};
    use proptest::prelude::*;

    fn credentials() -> Credentials {
        Credentials::new(b"home", b"a long password").unwrap()
    }

    fn improv() -> Improv {
        let seconds = Duration::from_secs;
        Improv::new(&credentials(), seconds(5), seconds(30))
    }

    fn scan(bytes: &[u8]) -> (Vec<Packet>, Vec<u8>) {
        let mut scanner = Scanner::default();
        let mut log = Vec::new();
        let packets = bytes
            .iter()
            .filter_map(|byte| scanner.take(*byte, |bytes| log.extend_from_slice(bytes)))
            .collect();
        (packets, log)
    }

    /// What the board's end understands.
    fn commands(bytes: &[u8]) -> Vec<Result<Command, Fault>> {
        let mut receiver = Receiver::new();
        bytes
            .iter()
            .filter_map(|byte| receiver.take(*byte))
            .collect()
    }

    fn packet(device: Device) -> Packet {
        scan(device.bytes()).0.remove(0)
    }

    #[test]
    fn a_board_is_called_gets_its_network_and_says_where_it_is() {
        let mut improv = improv();
        let now = Instant::now();
        let call = improv.say(now).unwrap().unwrap();
        assert_eq!(commands(&call), [Ok(Command::State)]);
        assert_eq!(improv.say(now), Ok(None), "not again at once");
        assert_eq!(improv.hear(&packet(Device::state(State::Ready)), now), None);
        let join = improv.say(now).unwrap().unwrap();
        assert_eq!(commands(&join), [Ok(Command::Join(credentials()))]);
        assert_eq!(improv.say(now), Ok(None), "sent once");
        assert_eq!(
            improv.hear(&packet(Device::state(State::Joining)), now),
            None
        );
        assert_eq!(
            improv.hear(&packet(Device::state(State::Joined)), now),
            None
        );
        let end = improv.hear(&packet(Device::joined("http://10.0.0.7")), now);
        assert_eq!(end, Some(Ok("http://10.0.0.7".into())));
    }

    #[test]
    fn an_address_cannot_speak_to_the_terminal() {
        let data = b"\x01\x08\x07a\x1b[2J\xc2\x9b";
        assert_eq!(address(data), "a\u{fffd}[2J\u{fffd}");
    }

    #[test]
    fn a_wrong_password_is_said() {
        let mut improv = improv();
        let now = Instant::now();
        improv.hear(&packet(Device::state(State::Ready)), now);
        let refused = packet(Device::error(Some(Fault::CannotJoin)));
        assert_eq!(improv.hear(&refused, now), Some(Err(Error::WifiRefused)));
    }

    #[test]
    fn credentials_that_arrive_damaged_are_sent_again_and_not_for_ever() {
        let mut improv = improv();
        let now = Instant::now();
        improv.hear(&packet(Device::state(State::Ready)), now);
        let damaged = packet(Device::error(Some(Fault::Malformed)));
        for _ in 1..TRIES {
            assert!(improv.say(now).unwrap().is_some());
            assert_eq!(improv.hear(&damaged, now), None);
        }
        assert_eq!(improv.hear(&damaged, now), Some(Err(Error::NoImprov)));
    }

    #[test]
    fn silence_ends_each_step() {
        let mut improv = improv();
        let now = Instant::now();
        assert!(improv.say(now).is_ok());
        let later = now + Duration::from_secs(5);
        assert_eq!(improv.say(later), Err(Error::NoImprov));
        improv.hear(&packet(Device::state(State::Ready)), later);
        let later = later + Duration::from_secs(30);
        assert_eq!(improv.say(later), Err(Error::WifiRefused));
    }

    #[test]
    fn packets_are_taken_out_of_the_log() {
        let mut bytes = b"12 INFO IMPROVising\r\nIMIMPROV\r\nIMPR".to_vec();
        bytes.extend(Device::state(State::Ready).bytes());
        bytes.extend(b"more");
        let (packets, log) = scan(&bytes);
        assert_eq!(packets, [packet(Device::state(State::Ready))]);
        assert_eq!(log, b"12 INFO IMPROVising\r\nIMIMPROV\r\nIMPR\nmore");
    }

    proptest! {
        #[test]
        fn nothing_of_a_log_is_lost(log in "[IMPROV\\x01a]{0,60}") {
            let ended = format!("{log}\n");
            let (packets, passed) = scan(ended.as_bytes());
            if packets.is_empty() && !log.contains("IMPROV\x01") {
                prop_assert_eq!(passed, ended.into_bytes());
            }
        }

        #[test]
        fn no_packet_panics(kind in any::<u8>(), data in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut improv = improv();
            let now = Instant::now();
            improv.hear(&packet(Device::state(State::Ready)), now);
            let _end = improv.hear(&Packet { kind, data }, now);
        }
    }
}
