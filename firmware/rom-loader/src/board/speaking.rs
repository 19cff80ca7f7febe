//! What a board sends: answers with their faults, its log, Improv Serial; and the wire it goes over.

use std::time::{Duration, Instant};

use airlift_provision::improv::{Command as Improv, Fault, Packet, State};
use airlift_provision::scan::Network;
use rustix::event::PollFlags;

use super::{
    BAUD_TOLERANCE_PERCENT, Behaviour, Board, HOST_PATIENCE, Interrupted, LOG_PATIENCE, START_BAUD,
};
use crate::faults::Action;
use crate::packet::Command;
use crate::slip;
use crate::timing::Timing;

/// Of a response that comes byte by byte, only so many do: a host that waits for each would wait for
/// minutes.
const TRICKLED: usize = 64;

/// How strong the one network is that a board hears.
const SIGNAL_DBM: i8 = -55;

impl Board {
    /// Sends frames, on the wire from `now` on; when they have left it.
    pub(super) fn send_answer(
        &mut self,
        mut frames: Vec<Vec<u8>>,
        action: Option<Action>,
        mut now: Instant,
    ) -> Result<Instant, Interrupted> {
        if frames.is_empty() {
            return Ok(now);
        }
        if action == Some(Action::WrongCommand) {
            for code in frames.iter_mut().filter_map(|frame| frame.get_mut(1)) {
                *code = if *code == Command::ReadReg as u8 {
                    Command::Sync as u8
                } else {
                    Command::ReadReg as u8
                };
            }
        }
        let mut bytes: Vec<u8> = frames
            .iter()
            .flat_map(|frame| slip::encode(frame))
            .collect();
        match action {
            Some(Action::DropResponse) => return Ok(now),
            Some(Action::CorruptResponse(at)) => {
                let length = bytes.len();
                bytes[at as usize % length] ^= 1 << (at % 8);
            }
            Some(Action::FlipBit(at)) => {
                let length = bytes.len();
                bytes[at as usize / 8 % length] ^= 1 << (at % 8);
            }
            Some(Action::TruncateResponse) => bytes.truncate(bytes.len() / 2),
            Some(Action::Delay(time)) => self.pause(time)?,
            Some(Action::Noise(count)) => {
                let mut noise = self.fate.chance().bytes(count as usize);
                noise.append(&mut bytes);
                bytes = noise;
            }
            Some(Action::Repeat) => bytes = bytes.repeat(2),
            Some(Action::Trickle(pause)) => {
                let rest = bytes.split_off(bytes.len().min(TRICKLED));
                for byte in bytes {
                    self.send(&[byte], HOST_PATIENCE)?;
                    self.pause(pause)?;
                }
                bytes = rest;
            }
            _ => {}
        }
        if self.config.timing.is_some() {
            now += Timing::wire(bytes.len(), self.wire_baud());
            self.pause_until(now)?;
        }
        self.send(&bytes, HOST_PATIENCE)?;
        Ok(now)
    }

    /// A host that does not read loses the log, as with a board.
    pub(super) fn send_log(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        self.send(bytes, LOG_PATIENCE)
    }

    fn send(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Interrupted> {
        let bytes = self.through_the_wire(bytes);
        let mut left = &bytes[..];
        let until = Instant::now() + patience;
        while !left.is_empty() {
            let Some(port) = &self.port else {
                return Ok(());
            };
            match port.write(left) {
                Ok(written) => left = &left[written..],
                Err(_) if Instant::now() >= until => return Ok(()),
                Err(_) => {
                    self.wait(PollFlags::OUT, until)?;
                }
            }
        }
        Ok(())
    }

    /// What is left of bytes when both ends are at different rates.
    pub(super) fn through_the_wire(&mut self, bytes: &[u8]) -> Vec<u8> {
        let host = self.host_baud();
        let board = self.baud.unwrap_or(host);
        let off = host.abs_diff(board) > board / 100 * BAUD_TOLERANCE_PERCENT;
        if self.behaviour == Behaviour::Lost || self.config.baud_matters && off {
            self.fate.chance().bytes(bytes.len())
        } else {
            bytes.to_vec()
        }
    }

    pub(super) fn host_baud(&self) -> u32 {
        self.port.as_ref().map_or(START_BAUD, |port| port.baud())
    }

    /// The rate that bytes take their time at.
    pub(super) fn wire_baud(&self) -> u32 {
        self.baud.unwrap_or_else(|| self.host_baud())
    }

    pub(super) fn hear_improv(&mut self, bytes: &[u8]) -> Result<(), Interrupted> {
        let Some(application) = self.config.application.improv.clone() else {
            return Ok(());
        };
        for byte in bytes {
            let packets = match self.improv.take(*byte) {
                None => continue,
                Some(Err(fault)) => vec![Packet::error(Some(fault))],
                Some(Ok(Improv::State)) if self.joined => vec![
                    Packet::state(State::Joined),
                    Packet::reached_at(&application.url),
                ],
                Some(Ok(Improv::State)) => vec![Packet::state(State::Ready)],
                Some(Ok(Improv::Info)) => vec![Packet::info(
                    &application.firmware,
                    &application.version,
                    self.config.chip.title(),
                    &application.name,
                )],
                Some(Ok(Improv::Join(credentials))) => {
                    let (name, password) = &application.network;
                    let expected = (name.as_bytes(), password.as_bytes());
                    self.joined = (credentials.ssid(), credentials.password()) == expected;
                    if self.joined {
                        vec![
                            Packet::state(State::Joining),
                            Packet::state(State::Joined),
                            Packet::joined(&application.url),
                        ]
                    } else {
                        vec![
                            Packet::state(State::Joining),
                            Packet::error(Some(Fault::CannotJoin)),
                            Packet::state(State::Ready),
                        ]
                    }
                }
                Some(Ok(Improv::Scan)) => {
                    let (name, password) = &application.network;
                    let protected = !password.is_empty();
                    let heard = Network::new(name.as_bytes(), SIGNAL_DBM, protected);
                    let found = heard.iter().map(Packet::network);
                    found.chain([Packet::no_more_networks()]).collect()
                }
            };
            for packet in packets {
                self.send(packet.bytes(), HOST_PATIENCE)?;
            }
        }
        Ok(())
    }
}
