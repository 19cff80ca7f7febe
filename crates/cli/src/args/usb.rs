//! `airlift usb` as types.

use clap::{Args as ClapArgs, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::str::FromStr;

/// For each command what people type most.
const FLASH_HELP: &str = "\
A release or an ELF file gets what a board needs besides: bootloader, partition table, file system, the
keys that it will trust. A merged image and files at offsets are written as they are.

    airlift usb flash demo.airlift
    airlift usb flash demo.airlift --port /dev/ttyACM0 --port /dev/ttyACM1 --label left --label right
    airlift usb flash target/riscv32imc-unknown-none-elf/release/lamp --wifi home --password-env WIFI
    airlift usb flash 0x0=bootloader.bin 0x8000=partitions.bin 0x10000=app.bin

What is right already is not written, and all is verified. A board that is unplugged is waited for, and
the job goes on when it is back, also under another name.

Exit codes: 0 all done, 4 no such board, 5 some board failed, 6 cancelled.";

const REPAIR_HELP: &str = "\
Looks at all of the board's flash and writes as little as mends it. On a terminal it shows the plan and
asks; elsewhere it needs --yes. What is overwritten is saved first: airlift usb backups.

    airlift usb repair --plan
    airlift usb repair --how slot --yes";

const DIAGNOSE_HELP: &str = "\
Reads and writes nothing. Exit code 0 when the board starts and everything is right, else 5.

    airlift usb diagnose
    airlift usb diagnose --quick --json";

const MONITOR_HELP: &str = "\
    airlift usb monitor
    airlift usb monitor --elf target/riscv32imc-unknown-none-elf/release/lamp --save lamp.log";

const WIFI_HELP: &str = "\
The board has to run firmware that speaks Improv Serial, as Airlift's own does.

    airlift usb wifi home --password-env WIFI";

/// Which board.
#[derive(Debug, Default, ClapArgs)]
pub struct OnePort {
    /// Serial port; default: the only one with a board
    #[arg(long, value_name = "PATH")]
    pub port: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Usb {
    /// List the serial ports and what is likely behind them
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show what a board is: chip, address, flash, fuses
    Info {
        #[command(flatten)]
        port: OnePort,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Say what is in a board's flash, what is wrong, and what it will do
    #[command(after_help = DIAGNOSE_HELP)]
    Diagnose(Diagnose),
    /// Put a release, an ELF, an image or files on boards, whatever is on them
    #[command(after_help = FLASH_HELP)]
    Flash(Box<Flash>),
    /// Mend a board with the smallest change that works
    #[command(after_help = REPAIR_HELP)]
    Repair(Repair),
    /// List what was saved before it was overwritten
    Backups {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Put a backup back on the board that it is of
    Restore(Restore),
    /// Show a board's log until Ctrl-C
    #[command(after_help = MONITOR_HELP)]
    Monitor(Monitor),
    /// Tell a board which Wi-Fi network to join
    #[command(after_help = WIFI_HELP)]
    Wifi(Wifi),
    /// Start a board anew
    Reset {
        #[command(flatten)]
        port: OnePort,
    },
    /// List what was done to which board
    Records {
        /// File for all of it as CSV
        #[arg(long, value_name = "FILE", conflicts_with = "json")]
        csv: Option<PathBuf>,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Print the udev rule that lets everybody at this computer open the ports of boards
    Rule,
}

impl Usb {
    /// Whether output, errors included, is JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::List { json }
            | Self::Info { json, .. }
            | Self::Backups { json }
            | Self::Records { json, .. } => *json,
            Self::Diagnose(args) => args.json,
            Self::Flash(args) => args.json,
            Self::Repair(args) => args.json,
            Self::Restore(args) => args.json,
            Self::Monitor(args) => args.json,
            Self::Wifi(args) => args.json,
            Self::Reset { .. } | Self::Rule => false,
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct Diagnose {
    #[command(flatten)]
    pub port: OnePort,
    /// Leave large images that no known release explains unchecked
    #[arg(long)]
    pub quick: bool,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Flash {
    /// What to write: R.airlift, ELF, merged image, id of a release of the library, or files at
    /// offsets
    #[arg(value_name = "FILE|RELEASE|OFFSET=FILE", required = true)]
    pub source: Vec<Source>,
    /// Serial port; can be repeated: boards are written in parallel. Default: the only one with a board
    #[arg(long, value_name = "PATH")]
    pub port: Vec<String>,
    /// What the board is called in the records; one for each port, in their order
    #[arg(long)]
    pub label: Vec<String>,
    /// Name of the board on the network
    #[arg(long)]
    pub name: Option<String>,
    /// Key that the board will trust, by id, name or file; the first is the root. Default: the keys of
    /// this computer
    #[arg(long, value_name = "ID|NAME|KEY.pub.pem")]
    pub trust: Vec<String>,
    /// Wi-Fi network that the board joins
    #[arg(long, value_name = "SSID", requires = "password_env")]
    pub wifi: Option<String>,
    /// Environment variable that holds the network's password
    #[arg(long, value_name = "VAR", requires = "wifi")]
    pub password_env: Option<String>,
    /// Have a factory slot besides the two for updates
    #[arg(long)]
    pub factory_slot: bool,
    /// Another bootloader than the bundled one, such as one with rollback
    #[arg(long, value_name = "FILE")]
    pub bootloader: Option<PathBuf>,
    /// Empty nvs too: Wi-Fi credentials and calibration of other firmware
    #[arg(long)]
    pub erase_nvs: bool,
    /// Save what is overwritten first; takes as long as writing it
    #[arg(long)]
    pub backup: bool,
    /// Only show what would be written
    #[arg(long)]
    pub plan: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Something to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file that says by itself what it is, or the id of a release.
    Whole(PathBuf),
    /// A file at an offset.
    Part(u32, PathBuf),
}

impl FromStr for Source {
    type Err = String;

    /// `0x10000=app.bin` is a file at an offset, anything else a file.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((offset, path)) = text.split_once('=') else {
            return Ok(Self::Whole(text.into()));
        };
        let number = match offset.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16),
            None => offset.parse(),
        };
        match number {
            Ok(_) if path.is_empty() => Err(format!("there is no file behind {offset}=")),
            Ok(offset) => Ok(Self::Part(offset, path.into())),
            Err(_) => Err(format!("\"{offset}\" is no offset, such as 0x10000")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// The fewest bytes after which the board starts as well as it can
    Smallest,
    /// Back from a release that is on trial to the one before
    Back,
    /// One slot from a release of the library
    Slot,
    /// The file system anew, with the files that can be read
    Files,
    /// Everything but nvs and the files that can be read
    Everything,
}

impl How {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smallest => "smallest",
            Self::Back => "back",
            Self::Slot => "slot",
            Self::Files => "files",
            Self::Everything => "everything",
        }
    }
}

#[derive(Debug, ClapArgs)]
pub struct Repair {
    #[command(flatten)]
    pub port: OnePort,
    /// Only show what would be done
    #[arg(long)]
    pub plan: bool,
    /// How much to rewrite
    #[arg(long, value_enum, default_value_t = How::Smallest)]
    pub how: How,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Restore {
    /// Backup, as airlift usb backups lists it
    #[arg(value_name = "BACKUP")]
    pub backup: String,
    #[command(flatten)]
    pub port: OnePort,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Monitor {
    #[command(flatten)]
    pub port: OnePort,
    /// ELF file that the board runs: addresses are resolved
    #[arg(long, value_name = "FILE")]
    pub elf: Option<PathBuf>,
    /// File for the log
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Start the board anew first
    #[arg(long)]
    pub reset: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Wifi {
    /// Name of the network
    #[arg(value_name = "SSID")]
    pub ssid: String,
    /// Environment variable that holds the password; on a terminal it is asked for without
    #[arg(long, value_name = "VAR")]
    pub password_env: Option<String>,
    #[command(flatten)]
    pub port: OnePort,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_file_or_a_file_at_an_offset() {
        let parse = |text: &str| text.parse::<Source>();
        assert_eq!(
            parse("demo.airlift"),
            Ok(Source::Whole("demo.airlift".into()))
        );
        let part = Source::Part(0x10000, "app.bin".into());
        assert_eq!(parse("0x10000=app.bin"), Ok(part.clone()));
        assert_eq!(parse("65536=app.bin"), Ok(part));
        for bad in ["0x=a", "x=a", "0x1ffffffff=a", "0x0="] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
