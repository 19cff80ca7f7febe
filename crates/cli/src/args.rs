//! The command line as types.

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod usb;

pub use usb::{Diagnose, Flash, Monitor, OnePort, Repair, Restore, Source, Usb, Wifi};

/// Updates ESP32-class devices over the network with signed releases.
#[derive(Debug, Parser)]
#[command(name = "airlift", version, arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make, trust and list keys
    #[command(subcommand)]
    Key(Key),
    /// Make a release from an app image, files, or both
    Pack(Pack),
    /// Sign an old release again under a new sequence, to go back to it
    Resign(Resign),
    /// Change which keys devices trust
    Rekey(Rekey),
    /// Show what a release holds, whoever signed it
    Inspect(Inspect),
    /// Check a release against a key
    Verify(Verify),
    /// Run virtual devices until Ctrl-C
    Simulate(Simulate),
    /// List the devices on the network
    Devices(Devices),
    /// Update devices to a release
    Update(Update),
    /// Put a build on a device and show its log until Ctrl-C
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Serve a release's chunks until Ctrl-C
    Serve(Serve),
    /// Rescue and flash boards on USB
    #[command(subcommand)]
    Usb(Usb),
    /// List past and running updates
    History(History),
    /// Do the main job on two virtual devices
    Demo,
}

impl Command {
    /// Whether output, errors included, is JSON.
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Inspect(Inspect { json, .. })
            | Self::Devices(Devices { json, .. })
            | Self::Update(Update { json, .. })
            | Self::Run(Run { json, .. })
            | Self::Rekey(Rekey { json, .. })
            | Self::Key(Key::List { json })
            | Self::History(History { json })
            | Self::Simulate(Simulate { json, .. }) => *json,
            Self::Usb(usb) => usb.wants_json(),
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Key {
    /// Make a key: KEY.pem, and KEY.pub.pem beside it
    New(NewKey),
    /// Accept releases that this key signed
    Trust {
        /// Public key
        #[arg(value_name = "KEY.pub.pem")]
        key: PathBuf,
    },
    /// List what this host has and trusts
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show a key: what it is here, and which devices trust it
    Show {
        /// Key, by id, name, or file of its public part
        #[arg(value_name = "ID|NAME|KEY.pub.pem")]
        key: String,
    },
    /// Make a key that this computer does not keep: only its public part stays here
    Offline(OfflineKey),
}

#[derive(Debug, ClapArgs)]
pub struct OfflineKey {
    /// File for the private key, on a stick for example; must not exist
    #[arg(value_name = "KEY.pem")]
    pub key: PathBuf,
    /// Name of its public part here; default: the file's
    #[arg(long)]
    pub name: Option<String>,
    #[command(flatten)]
    pub passphrase: Passphrase,
}

/// Keys that devices trust from a release on.
#[derive(Debug, ClapArgs)]
pub struct NewKeys {
    /// New root: signs changes of keys from then on; default: the key that signs this one
    #[arg(long, value_name = "R.pub.pem", requires = "new_release_key")]
    pub new_root: Option<PathBuf>,
    /// New release key; up to four. All others are trusted no more
    #[arg(long, value_name = "A.pub.pem", requires = "epoch")]
    pub new_release_key: Vec<PathBuf>,
    /// Number of the new keys, above that of the devices
    #[arg(long, requires = "new_release_key")]
    pub epoch: Option<u32>,
}

#[derive(Debug, ClapArgs)]
pub struct Rekey {
    /// Device whose keys change, by id or address; can be repeated
    #[arg(
        long,
        value_name = "ID|HOST:PORT",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub device: Vec<String>,
    /// All online devices of the product that trust the signing key as their root
    #[arg(long, requires = "product")]
    pub all: bool,
    /// Product for --all
    #[arg(long, requires = "all")]
    pub product: Option<String>,
    /// Root of the devices
    #[command(flatten)]
    pub key: Signer,
    /// New root: signs changes of keys from then on; default: the key that signs this one
    #[arg(long, value_name = "R.pub.pem")]
    pub new_root: Option<PathBuf>,
    /// New release key; up to four. All others are trusted no more
    #[arg(long, value_name = "A.pub.pem", required = true)]
    pub new_release_key: Vec<PathBuf>,
    /// Number of the new keys; default: the next one
    #[arg(long)]
    pub epoch: Option<u32>,
    /// How long to look for devices
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub wait: Duration,
    /// Do not look around with mDNS: only known devices and given addresses
    #[arg(long)]
    pub no_mdns: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct NewKey {
    /// File for the private key; must not exist
    #[arg(value_name = "KEY.pem")]
    pub key: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
}

#[derive(Debug, ClapArgs)]
pub struct Passphrase {
    /// Environment variable that holds the key's passphrase
    #[arg(long, value_name = "VAR")]
    pub passphrase_env: Option<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Pack {
    /// Product: 1 to 64 of a-z, 0-9, '.', '_', '-'
    #[arg(long)]
    pub product: String,
    /// Version for people; without it, the one in the app image
    #[arg(long)]
    pub version: Option<String>,
    /// Number that grows with every release of the product
    #[arg(long)]
    pub sequence: u32,
    /// Chip, such as esp32c3; the app image knows its own
    #[arg(long)]
    pub chip: Option<String>,
    /// App image, or the ELF file that cargo build leaves
    #[arg(long, value_name = "APP.bin|ELF")]
    pub app: Option<PathBuf>,
    /// Folder or tar of files
    #[arg(long, value_name = "DIR|TAR")]
    pub files: Option<PathBuf>,
    /// Compile the files' Python with mpy-cross, all but boot.py and main.py at the top. The program is
    /// the one on the PATH, or the one that AIRLIFT_MPY_CROSS names
    #[arg(long, requires = "files")]
    pub mpy: bool,
    /// Release that names the part which is not carried
    #[arg(long, value_name = "R.airlift")]
    pub base: Option<PathBuf>,
    #[command(flatten)]
    pub key: Signer,
    #[command(flatten)]
    pub new_keys: NewKeys,
    /// File for the release
    #[arg(short, long, value_name = "R.airlift")]
    pub output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Signer {
    /// Private key that signs
    #[arg(long, value_name = "KEY.pem")]
    pub key: PathBuf,
    #[command(flatten)]
    pub passphrase: Passphrase,
}

#[derive(Debug, ClapArgs)]
pub struct Resign {
    /// The old release
    #[arg(value_name = "R.airlift")]
    pub release: PathBuf,
    /// The new sequence, above every one in use
    #[arg(long)]
    pub sequence: u32,
    #[command(flatten)]
    pub key: Signer,
    #[command(flatten)]
    pub new_keys: NewKeys,
    /// File for the release
    #[arg(short, long, value_name = "R2.airlift")]
    pub output: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Inspect {
    /// The release
    #[arg(value_name = "R.airlift")]
    pub release: PathBuf,
    /// One JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Verify {
    /// The release
    #[arg(value_name = "R.airlift")]
    pub release: PathBuf,
    /// Public key to check it against
    #[arg(long, value_name = "KEY.pub.pem")]
    pub trust: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub struct Simulate {
    /// Folder that keeps the devices' flash, ids and ports
    #[arg(long)]
    pub dir: PathBuf,
    /// How many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,
    /// Public key that the devices trust
    #[arg(long, value_name = "KEY.pub.pem")]
    pub trust: PathBuf,
    /// Product that the devices are
    #[arg(long, default_value = "demo")]
    pub product: String,
    /// App image, or ELF file, in the factory slot of new devices; default: the demo, version 1.0.0
    #[arg(long, value_name = "APP.bin|ELF", conflicts_with = "installed")]
    pub app: Option<PathBuf>,
    /// Release that new devices run from the start
    #[arg(long, value_name = "R.airlift")]
    pub installed: Option<PathBuf>,
    /// Flash timing
    #[arg(long, value_enum, default_value_t = Timing::None)]
    pub timing: Timing,
    /// Bootloader: with rollback of its own, or without
    #[arg(long, value_enum, default_value_t = Bootloader::Plain)]
    pub bootloader: Bootloader,
    /// Milliseconds before each arrival from the network
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency: u32,
    /// Most bytes that arrive in a second; 0 is no limit
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub rate: u32,
    /// Arrivals at which the connection breaks instead, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = percent())]
    pub loss: u8,
    /// Arrivals with one bit flipped, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0, value_parser = percent())]
    pub flips: u8,
    /// A version that starts and never confirms
    #[arg(long, value_name = "VERSION")]
    pub never_confirms: Option<String>,
    /// A version that hangs at its first start
    #[arg(long, value_name = "VERSION")]
    pub hangs: Option<String>,
    /// A version that panics at its first start
    #[arg(long, value_name = "VERSION")]
    pub panics: Option<String>,
    /// A version whose own check fails
    #[arg(long, value_name = "VERSION")]
    pub fails_check: Option<String>,
    /// A version whose own check waits for ever
    #[arg(long, value_name = "VERSION")]
    pub never_ready: Option<String>,
    /// A version that does not reach the network
    #[arg(long, value_name = "VERSION")]
    pub no_network: Option<String>,
    /// A version that works for a second, then loops without end
    #[arg(long, value_name = "VERSION")]
    pub blocks: Option<String>,
    /// A version that works for a second, then panics
    #[arg(long, value_name = "VERSION")]
    pub panics_later: Option<String>,
    /// Seconds that a new version has to confirm
    #[arg(long, value_name = "SECONDS")]
    pub confirm_within: Option<u32>,
    /// Seconds that a new version must have been up before it confirms
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub min_uptime: u32,
    /// New devices take a release only with a signed statement that it is the newest
    #[arg(long)]
    pub require_fresh: bool,
    /// Do not announce the devices with mDNS
    #[arg(long)]
    pub no_mdns: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Timing {
    /// As fast as the computer
    None,
    /// Typical erase and program times of a common part
    Typical,
    /// The longest times that its data sheet allows
    Maximum,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Bootloader {
    /// Without rollback, like the one that espflash bundles
    Plain,
    /// With rollback
    Rollback,
}

#[derive(Debug, ClapArgs)]
pub struct Devices {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
    /// How long to look
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds)]
    pub wait: Duration,
    /// Do not look around with mDNS: only known devices and given addresses
    #[arg(long)]
    pub no_mdns: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Update {
    /// The release
    #[arg(value_name = "R.airlift")]
    pub release: PathBuf,
    /// Device to update, by id or address; can be repeated
    #[arg(
        long,
        value_name = "ID|HOST:PORT",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    pub device: Vec<String>,
    /// All online devices of the product and chip that are not there yet
    #[arg(long)]
    pub all: bool,
    /// Try again a release that was rolled back before
    #[arg(long)]
    pub retry: bool,
    /// Private key that tells devices which release is the newest, for devices that ask; default: a
    /// key of this computer
    #[arg(long, value_name = "KEY.pem")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// How long to look for devices
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub wait: Duration,
    /// Do not look around with mDNS: only known devices and given addresses
    #[arg(long)]
    pub no_mdns: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// How cargo does it.
const RUN_HELP: &str = "\
Packs the build as the next release of the device's product, updates the device, and shows its log.
Without --files or --base the device keeps the files that it runs with.

As cargo's runner, in .cargo/config.toml, it makes `cargo run --release` do all of it:

    [target.riscv32imc-unknown-none-elf]
    runner = \"airlift run --device DEVICE\"

Exit codes are those of airlift update; Ctrl-C while the log is shown is 0.";

#[derive(Debug, ClapArgs)]
pub struct Run {
    /// ELF file that cargo build leaves, or app image
    #[arg(value_name = "ELF|APP.bin")]
    pub app: PathBuf,
    /// Device, by id or address
    #[arg(long, value_name = "ID|HOST:PORT")]
    pub device: String,
    /// Folder or tar of files; default: the device keeps what it has
    #[arg(long, value_name = "DIR|TAR", conflicts_with = "base")]
    pub files: Option<PathBuf>,
    /// Release that names the files which are not carried
    #[arg(long, value_name = "R.airlift")]
    pub base: Option<PathBuf>,
    /// Version for people; without it, the one in the app
    #[arg(long)]
    pub version: Option<String>,
    /// Private key that signs; default: a key of this computer that the device trusts
    #[arg(long, value_name = "KEY.pem")]
    pub key: Option<PathBuf>,
    #[command(flatten)]
    pub passphrase: Passphrase,
    /// End when the build runs, and show no log
    #[arg(long)]
    pub no_log: bool,
    /// How long to look for the device
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub wait: Duration,
    /// Do not look around with mDNS: only known devices and given addresses
    #[arg(long)]
    pub no_mdns: bool,
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Serve {
    /// The release
    #[arg(value_name = "R.airlift")]
    pub release: PathBuf,
    /// Address to listen on; default: port 7410, or the next free one, on the local addresses
    #[arg(long, value_name = "ADDR:PORT")]
    pub bind: Option<SocketAddr>,
    /// Serve it also to boards that check no signature (512-byte chunks, /updatemeta): anyone on the
    /// network can then put other code on them
    #[arg(long)]
    pub plain: bool,
}

#[derive(Debug, ClapArgs)]
pub struct History {
    /// One JSON object a line
    #[arg(long)]
    pub json: bool,
}

/// Most seconds that a command looks for devices.
const LONGEST_WAIT: f64 = 86_400.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if (0.0..=LONGEST_WAIT).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(format!("not between 0 and {LONGEST_WAIT} seconds"))
    }
}

fn percent() -> impl clap::builder::TypedValueParser<Value = u8> {
    clap::value_parser!(u8).range(0..=90)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn waits_are_seconds_with_a_limit() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for text in ["-1", "NaN", "inf", "1e9", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }

    #[test]
    fn update_needs_devices_or_all_and_not_both() {
        let parse = |args: &str| Args::try_parse_from(args.split(' '));
        assert!(parse("airlift update r.airlift").is_err());
        assert!(parse("airlift update r.airlift --all").is_ok());
        assert!(parse("airlift update r.airlift --device a --device 127.0.0.1:80").is_ok());
        assert!(parse("airlift update r.airlift --all --device a").is_err());
    }
}
