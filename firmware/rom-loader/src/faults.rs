//! What goes wrong, at which command.
//!
//! A rule is `COMMAND:WHEN:ACTION`, for example `flash_defl_data:3:drop_response`:
//!
//! | Part | Values |
//! | --- | --- |
//! | command | the name of a [`Command`], or `any` |
//! | when | `3` the third such command, `3+` that and all later, `*` all, `5%` by chance |
//! | action | [`Action`], with its parameter after `=`, for example `delay=250` |

mod fate;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub(crate) use self::fate::Fate;
use crate::packet::Command;

/// All that goes wrong with a board.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// What happens at which command; the first that matches does.
    pub rules: Vec<Rule>,
    /// Sectors, by their first byte, that neither erase nor write.
    pub bad_sectors: BTreeSet<u32>,
    /// The flash takes no erase and no write, and no error says so.
    pub write_protected: bool,
    /// What the flash says that it is (JEDEC id: manufacturer, type, and size as a power of two),
    /// instead of the truth. 0 and `0xFFFFFF` are no flash at all.
    pub flash_id: Option<u32>,
    /// The chip id in the security info, instead of the truth.
    pub chip_id: Option<u32>,
    /// The word at the address that tells old chips apart, instead of the truth.
    pub magic: Option<u32>,
    /// Where chance starts.
    pub seed: u64,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self::default()
    }

    /// One rule from its text.
    pub fn rule(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        faults.add(text)?;
        Ok(faults)
    }

    /// Adds a rule, or a state of the board: `bad_sector=OFFSET`, `write_protected`,
    /// `flash_id=ID`, `chip_id=ID`, `magic=WORD`, `seed=NUMBER`.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        if text.contains(':') {
            self.rules.push(text.parse()?);
            return Ok(());
        }
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let number = || parse_number(value).ok_or_else(|| format!("{text:?} needs a number"));
        let word = || u32::try_from(number()?).map_err(|_| format!("{text:?} is too large"));
        match name {
            "bad_sector" => {
                let offset = word()?;
                self.bad_sectors
                    .insert(offset - offset % crate::flash::SECTOR);
            }
            "write_protected" => self.write_protected = true,
            "flash_id" => self.flash_id = Some(word()?),
            "chip_id" => self.chip_id = Some(word()?),
            "magic" => self.magic = Some(word()?),
            "seed" => self.seed = number()?,
            _ => {
                return Err(format!(
                    "{text:?} is neither COMMAND:WHEN:ACTION nor a known state"
                ));
            }
        }
        Ok(())
    }
}

/// Something that goes wrong at a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// At which; all without.
    pub command: Option<Command>,
    /// At which of them.
    pub when: When,
    /// What.
    pub action: Action,
}

/// Which of the commands of a kind, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// This one.
    Nth(u32),
    /// This and all later.
    From(u32),
    /// Each with this chance, in percent.
    Chance(u8),
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The request is lost on the way: neither done nor answered.
    DropRequest,
    /// It is done, and the response is lost.
    DropResponse,
    /// A bit of the response is wrong: the byte at this place, counted from the frame's start and
    /// around its end.
    CorruptResponse(u32),
    /// This bit of the response is wrong, counted as above, from the least significant of a byte.
    FlipBit(u32),
    /// Only the first half of the response arrives.
    TruncateResponse,
    /// The response comes later.
    Delay(Duration),
    /// The response is an error with this code, and nothing is done.
    Refuse(u8),
    /// Line noise comes before the response: so many bytes.
    Noise(u32),
    /// The response is one for another command.
    WrongCommand,
    /// The response comes twice.
    Repeat,
    /// The terminal closes before it is done, and is back at once, the board in its loader.
    HangUp,
    /// The board is gone before it is done, and back after this time, or when it is plugged in.
    Unplug(Option<Duration>),
    /// As [`Self::Unplug`], but it is done; only the response is lost.
    UnplugAfter(Option<Duration>),
    /// Neither this nor anything later is done or answered, until a reset.
    Silence,
    /// From now on the board sends garbage without end, until a reset.
    Flood,
    /// The response comes byte by byte, with this between two.
    Trickle(Duration),
    /// The board answers this, and then is at another baud rate than the host: garbage both ways,
    /// until a reset.
    BaudLost,
    /// The board resets by itself, and starts its application.
    Reset,
}

const DEFAULT_DELAY: Duration = Duration::from_millis(500);
const DEFAULT_TRICKLE: Duration = Duration::from_millis(50);
/// "Message is ok, but the running result is wrong" of a ROM.
const DEFAULT_REFUSAL: u8 = 0x06;
const DEFAULT_NOISE: u32 = 64;
/// The lowest of the first byte after the value.
const DEFAULT_BIT: u32 = 8 * 9;

impl Action {
    /// Its text, for example `delay=500`.
    fn parts(self) -> (&'static str, Option<u64>) {
        let millis = |time: Duration| time.as_millis() as u64;
        match self {
            Self::DropRequest => ("drop_request", None),
            Self::DropResponse => ("drop_response", None),
            Self::CorruptResponse(at) => ("corrupt_response", Some(at.into())),
            Self::FlipBit(at) => ("flip_bit", Some(at.into())),
            Self::TruncateResponse => ("truncate_response", None),
            Self::Delay(time) => ("delay", Some(millis(time))),
            Self::Refuse(code) => ("refuse", Some(code.into())),
            Self::Noise(bytes) => ("noise", Some(bytes.into())),
            Self::WrongCommand => ("wrong_command", None),
            Self::Repeat => ("repeat", None),
            Self::HangUp => ("hang_up", None),
            Self::Unplug(time) => ("unplug", time.map(millis)),
            Self::UnplugAfter(time) => ("unplug_after", time.map(millis)),
            Self::Silence => ("silence", None),
            Self::Flood => ("flood", None),
            Self::Trickle(time) => ("trickle", Some(millis(time))),
            Self::BaudLost => ("baud_lost", None),
            Self::Reset => ("reset", None),
        }
    }

    /// One of each, with usual parameters: what a test of all faults goes through.
    pub const ALL: [Self; 18] = [
        Self::DropRequest,
        Self::DropResponse,
        Self::CorruptResponse(9),
        Self::FlipBit(DEFAULT_BIT),
        Self::TruncateResponse,
        Self::Delay(DEFAULT_DELAY),
        Self::Refuse(DEFAULT_REFUSAL),
        Self::Noise(DEFAULT_NOISE),
        Self::WrongCommand,
        Self::Repeat,
        Self::HangUp,
        Self::Unplug(None),
        Self::UnplugAfter(None),
        Self::Silence,
        Self::Flood,
        Self::Trickle(DEFAULT_TRICKLE),
        Self::BaudLost,
        Self::Reset,
    ];
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parts() {
            (name, None) => f.write_str(name),
            (name, Some(value)) => write!(f, "{name}={value}"),
        }
    }
}

impl FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => {
                let value = parse_number(value);
                (
                    name,
                    Some(value.ok_or_else(|| format!("{text:?} needs a number"))?),
                )
            }
            None => (text, None),
        };
        let word = |default| value.map_or(Ok(default), u32::try_from);
        let time = |default| value.map_or(default, Duration::from_millis);
        let action = match name {
            "drop_request" => Self::DropRequest,
            "drop_response" => Self::DropResponse,
            "corrupt_response" => {
                Self::CorruptResponse(word(9).map_err(|_| format!("{text:?} is too large"))?)
            }
            "flip_bit" => {
                Self::FlipBit(word(DEFAULT_BIT).map_err(|_| format!("{text:?} is too large"))?)
            }
            "truncate_response" => Self::TruncateResponse,
            "delay" => Self::Delay(time(DEFAULT_DELAY)),
            "refuse" => Self::Refuse(
                value
                    .map_or(Ok(DEFAULT_REFUSAL), u8::try_from)
                    .map_err(|_| format!("{text:?} has a code above 255"))?,
            ),
            "noise" => {
                Self::Noise(word(DEFAULT_NOISE).map_err(|_| format!("{text:?} is too large"))?)
            }
            "wrong_command" => Self::WrongCommand,
            "repeat" => Self::Repeat,
            "hang_up" => Self::HangUp,
            "unplug" => Self::Unplug(value.map(Duration::from_millis)),
            "unplug_after" => Self::UnplugAfter(value.map(Duration::from_millis)),
            "silence" => Self::Silence,
            "flood" => Self::Flood,
            "trickle" => Self::Trickle(time(DEFAULT_TRICKLE)),
            "baud_lost" => Self::BaudLost,
            "reset" => Self::Reset,
            _ => return Err(format!("{name:?} is no action, for example drop_response")),
        };
        if value.is_some() && action.parts().1.is_none() {
            return Err(format!("{name:?} takes no number"));
        }
        Ok(action)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let command = self.command.map_or("any", Command::name);
        match self.when {
            When::Nth(n) => write!(f, "{command}:{n}:{}", self.action),
            When::From(1) => write!(f, "{command}:*:{}", self.action),
            When::From(n) => write!(f, "{command}:{n}+:{}", self.action),
            When::Chance(percent) => write!(f, "{command}:{percent}%:{}", self.action),
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let [command, when, action] = parts[..] else {
            return Err(format!("{text:?} is not COMMAND:WHEN:ACTION"));
        };
        let command = match command {
            "any" => None,
            name => Some(name.parse()?),
        };
        let count = |text: &str| text.parse().ok().filter(|count: &u32| *count > 0);
        let when = match (when, when.strip_suffix('+'), when.strip_suffix('%')) {
            ("*", ..) => Some(When::From(1)),
            (_, Some(first), _) => count(first).map(When::From),
            (.., Some(percent)) => percent.parse().ok().filter(|p| *p <= 100).map(When::Chance),
            (nth, ..) => count(nth).map(When::Nth),
        };
        Ok(Self {
            command,
            when: when.ok_or_else(|| format!("{text:?} says not when: 3, 3+, * or 5%"))?,
            action: action.parse()?,
        })
    }
}

/// A number as people write it: decimal, or hexadecimal after `0x`.
fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_is_read_back_from_its_text() {
        for action in Action::ALL {
            let rule = Rule {
                command: Some(Command::FlashDeflData),
                when: When::Nth(3),
                action,
            };
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
        for when in [When::From(1), When::From(4), When::Chance(5)] {
            let rule = Rule {
                command: None,
                when,
                action: Action::Unplug(Some(Duration::from_millis(20))),
            };
            assert_eq!(rule.to_string().parse(), Ok(rule));
        }
    }

    #[test]
    fn what_is_no_fault_is_refused() {
        for text in [
            "flash_data",
            "flash_data:1",
            "flash_data:0:silence",
            "flash_data:101%:silence",
            "flash_data:1:explode",
            "flash_data:1:silence=3",
            "flash_data:1:refuse=256",
            "nothing:1:silence",
            "bad_sector=first",
            "flash_id=0x1FFFFFFFF",
        ] {
            assert!(Faults::rule(text).is_err(), "{text}");
        }
    }

    #[test]
    fn states_are_read() {
        let mut faults = Faults::none();
        for text in [
            "bad_sector=0x10010",
            "write_protected",
            "flash_id=0",
            "chip_id=9",
        ] {
            faults.add(text).unwrap();
        }
        assert_eq!(faults.bad_sectors, BTreeSet::from([0x10000]));
        assert!(faults.write_protected);
        assert_eq!((faults.flash_id, faults.chip_id), (Some(0), Some(9)));
    }
}
