//! What the window and `--json` see of boards on USB.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use super::{BINDINGS, ErrorInfo};
use crate::Secret;

/// A serial port, and what is known of the board behind it.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbPort {
    /// What the system calls it, such as `/dev/ttyACM0` or `COM3`; names it everywhere.
    pub path: String,
    /// USB vendor id.
    pub vendor_id: Option<u16>,
    /// USB product id.
    pub product_id: Option<u16>,
    /// What people read: "USB-Serial-JTAG", "CP210x", "CH340", or what the device calls itself.
    pub adapter: String,
    /// Its serial number.
    pub serial_number: Option<String>,
    /// What is likely behind it, such as `ESP32-C3, C6, H2 or S3`; a guess by the ids.
    pub likely: Option<String>,
    /// Whether it is there now. One with a session stays listed when it is unplugged.
    pub present: bool,
    /// Whether it was named by hand and is listed though the system does not list it.
    pub named: bool,
    /// Why it cannot be opened, as far as can be seen without opening it.
    pub problem: Option<ErrorInfo>,
    /// What is being done with it.
    pub activity: UsbActivity,
    /// What hides in it, once it was connected.
    pub board: Option<UsbBoard>,
    /// What was found in its flash last.
    pub diagnosis: Option<Diagnosis>,
    /// The last plan that was made for it and not yet carried out or dropped.
    pub plan: Option<FlashPlan>,
    /// The running or last job.
    pub job: Option<UsbJob>,
    /// Why the last thing asked of it did not work.
    pub error: Option<ErrorInfo>,
    /// What the user calls this board; goes into the list of what was flashed on what.
    pub label: Option<String>,
}

/// What a port is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum UsbActivity {
    /// Nothing; it is closed.
    Idle,
    /// The board is being reset into its ROM loader.
    Connecting,
    /// The board cannot be reset from here: "hold BOOT, press RESET".
    WaitingForBoot,
    /// Connected, nothing to do.
    Connected,
    /// Its flash is being read.
    Diagnosing,
    /// A job runs.
    Working,
    /// Its log is being shown.
    Monitoring,
    /// It went away in the middle of a job, which goes on when it is back.
    Unplugged,
}

/// A board, as its ROM loader describes it.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbBoard {
    /// Chip, such as `esp32c3`.
    pub chip: String,
    /// Its revision, such as `0.4`.
    pub revision: Option<String>,
    /// Its address, lower case with colons.
    pub mac: Option<String>,
    /// The id that it has on the network when it runs Airlift's updater.
    pub device_id: Option<String>,
    /// Bytes of flash.
    pub flash_size: u32,
    /// What its eFuses say that it has.
    pub features: Vec<String>,
    /// Whether it boots signed images only.
    pub secure_boot: bool,
    /// Whether its flash is encrypted.
    pub flash_encryption: bool,
    /// Whether its loader refuses to read.
    pub secure_download: bool,
    /// Why Airlift will not write to it, if so.
    pub refused: Option<ErrorInfo>,
}

/// What is in a board's flash, what is wrong with it and what it will do.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Diagnosis {
    /// `blank_flash`, `no_bootloader`, … or `healthy`: the code of the worst finding.
    pub code: String,
    /// How bad it is.
    pub verdict: Verdict,
    /// What is wrong, one sentence.
    pub sentence: String,
    /// What will happen at the next start, one sentence.
    pub next_boot: String,
    /// The slot that will be started, if any will.
    pub boots: Option<String>,
    /// The whole flash in order, without gaps.
    pub regions: Vec<FlashRegion>,
    /// Everything found, worst first.
    pub findings: Vec<Finding>,
    /// Product, if the board says one.
    pub product: Option<String>,
    /// Name, if the board has one.
    pub name: Option<String>,
    /// Confirmed sequence.
    pub sequence: Option<u32>,
    /// Ids of the keys that it trusts; the root first.
    pub trusts: Vec<String>,
    /// Whether all that matters was read; a quick look leaves large slots unchecked.
    pub complete: bool,
    /// Bytes that were read over the wire.
    pub bytes_read: u32,
    /// Milliseconds that it took.
    pub took_ms: u32,
}

/// How bad a diagnosis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It starts, and everything is right.
    Healthy,
    /// It starts, and something is not right.
    Impaired,
    /// It does not start.
    Dead,
    /// Nothing of ours is in it: other firmware, or none.
    Foreign,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Stable code.
    pub code: String,
    /// One sentence.
    pub sentence: String,
    /// The region that it is about.
    pub region: Option<String>,
    /// Whether the board starts nevertheless.
    pub harmless: bool,
}

/// A stretch of flash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct FlashRegion {
    /// Label of the partition, or `bootloader`, `partition table`, `free`.
    pub name: String,
    /// `bootloader`, `table`, `otadata`, `app`, `airlift`, `files`, `nvs`, `phy`, `data`, `free`.
    pub kind: String,
    /// Where it starts.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Bytes in use, if known.
    pub used: Option<u32>,
    /// How it is.
    pub health: RegionHealth,
    /// What is in it, a few words: "demo 1.1.0, hash right".
    pub summary: String,
    /// More lines, for whoever looks closer.
    pub details: Vec<String>,
    /// Whether the next start runs it.
    pub boots: bool,
}

/// How a stretch of flash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum RegionHealth {
    /// Checked and right.
    Good,
    /// Erased.
    Empty,
    /// Checked and wrong.
    Damaged,
    /// Not checked, or not to be checked.
    Unknown,
    /// Right, but not what belongs there.
    Foreign,
}

/// What would be written, before anything is.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct FlashPlan {
    /// Number, unique in this process; says which plan is meant when it is carried out.
    pub id: u32,
    /// Repair or flash.
    pub kind: UsbJobKind,
    /// What it does, one sentence.
    pub sentence: String,
    /// Its steps in order. Nothing outside them is written.
    pub steps: Vec<FlashStep>,
    /// Bytes that the steps rewrite.
    pub bytes: u32,
    /// Seconds that it will take, a guess from the speed of the link.
    pub seconds: u32,
    /// What it will be like afterwards, one sentence.
    pub afterwards: String,
    /// What is lost, one sentence each; empty when nothing is.
    pub losses: Vec<String>,
    /// Why it cannot be carried out, such as that no release fits.
    pub blocked: Option<ErrorInfo>,
    /// Other plans for the same board, smallest first: what each is called, and how it is asked for.
    pub others: Vec<PlanChoice>,
}

/// One way to mend a board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct PlanChoice {
    /// `smallest`, `back`, `slot`, `files`, `everything`.
    pub how: String,
    /// A few words: "Rewrite ota_0 from demo 1.1.0".
    pub title: String,
    /// Bytes that it rewrites.
    pub bytes: u32,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct FlashStep {
    /// A few words: "Point otadata at ota_0".
    pub title: String,
    /// Why it is needed.
    pub why: String,
    /// Label of the region.
    pub region: String,
    /// Where it starts.
    pub offset: u32,
    /// Bytes of flash that it rewrites, whole sectors.
    pub bytes: u32,
    /// Seconds that it will take.
    pub seconds: u32,
}

/// What a job on a port does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum UsbJobKind {
    /// Carries out a repair plan.
    Repair,
    /// Writes a board from nothing.
    Flash,
    /// Puts a backup back.
    Restore,
}

/// Where a job on a port stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum UsbPhase {
    /// Finding out what is there already.
    Compare,
    /// Saving what will be overwritten.
    Backup,
    /// Writing.
    Write,
    /// Reading back.
    Verify,
    /// Starting the board.
    Restart,
    /// Over.
    Ended,
}

/// How a job on a port ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "snake_case")]
pub enum UsbEnd {
    /// Written and verified.
    Done,
    /// Not carried out to the end; see the error.
    Failed,
    /// Cancelled between two segments, or within a long one; the summary says what is incomplete.
    Cancelled,
}

/// A repair, a flash or a restore.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbJob {
    /// Number, unique in this process.
    pub id: u32,
    /// What it does.
    pub kind: UsbJobKind,
    /// Where it stands.
    pub phase: UsbPhase,
    /// The step that it is at, from 0, in the phases that have steps.
    pub step: u32,
    /// How many steps it has.
    pub steps: u32,
    /// Bytes of flash done in this phase: written, compared, saved or verified.
    pub bytes: u32,
    /// Bytes of flash in this phase.
    pub total: u32,
    /// Bytes that were right already and were not written.
    pub skipped: u32,
    /// Bytes of flash a second.
    pub rate: Option<f64>,
    /// Seconds left in this phase.
    pub seconds_left: Option<u32>,
    /// The backup that was taken, for `Airlift::usb_restore`.
    pub backup: Option<String>,
    /// How it ended.
    pub end: Option<UsbEnd>,
    /// Why it did not end well.
    pub error: Option<ErrorInfo>,
    /// What came of it, one sentence; empty while it runs.
    pub summary: String,
}

/// What to put on a board.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlashRequest {
    /// What to write.
    pub source: FlashSource,
    /// Name of the board; with a release or an ELF.
    #[serde(default)]
    pub name: Option<String>,
    /// Ids of the keys that it will trust, the root first; without any, those of this computer.
    #[serde(default)]
    pub trusts: Vec<String>,
    /// Wi-Fi to join.
    #[serde(default)]
    pub wifi: Option<WifiCredentials>,
    /// Whether there is a `factory` slot besides the two that updates use.
    pub factory_slot: bool,
    /// Another bootloader than the bundled one, such as one with rollback: a file.
    #[serde(default)]
    pub bootloader: Option<String>,
    /// Whether what `nvs` holds, such as Wi-Fi credentials, stays as it is.
    pub keep_nvs: bool,
    /// Whether what is overwritten is saved first. It takes as long as writing it.
    #[serde(default)]
    #[ts(as = "Option<bool>", optional)]
    pub backup: bool,
}

/// What is written on a board.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum FlashSource {
    /// A release of the library, with everything that a board needs besides.
    #[serde(rename_all = "camelCase")]
    Release {
        /// Its id.
        id: String,
    },
    /// A `.airlift`, an ELF or a merged image; which of them, its bytes say.
    #[serde(rename_all = "camelCase")]
    File {
        /// The file.
        path: String,
    },
    /// Files at offsets, as they are.
    #[serde(rename_all = "camelCase")]
    Parts {
        /// The files.
        parts: Vec<FlashPart>,
    },
}

/// A file at an offset.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FlashPart {
    /// Where it goes, a multiple of 4096.
    pub offset: u32,
    /// The file.
    pub path: String,
}

/// A Wi-Fi network to join.
#[derive(Clone, Debug, Deserialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WifiCredentials {
    /// Its name.
    pub ssid: String,
    /// Its password.
    #[ts(as = "String")]
    pub password: Secret,
}

/// A line of a board's log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbLogLine {
    /// Number of the line since the monitor was started, from 0.
    pub n: u32,
    /// Milliseconds since the monitor was started.
    pub ms: u32,
    /// The text, without colour codes and control characters.
    pub text: String,
    /// What it is: `log`, `error`, `warning`, `boot`, `reset`, `panic`, `backtrace`.
    pub kind: String,
    /// What addresses in it mean, a line each, when the ELF is known.
    pub resolved: Vec<String>,
}

/// A row of what was flashed on what.
#[derive(Clone, Debug, PartialEq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbRecord {
    /// When it ended.
    pub time: f64,
    /// Port.
    pub port: String,
    /// Serial number of the adapter.
    pub serial_number: Option<String>,
    /// Chip.
    pub chip: String,
    /// Address of the board.
    pub mac: Option<String>,
    /// Label that the user gave it.
    pub label: Option<String>,
    /// What was done.
    pub kind: UsbJobKind,
    /// What was written, such as `demo 1.1.0` or a file name.
    pub what: String,
    /// Bytes written.
    pub bytes: u32,
    /// How it ended.
    pub end: UsbEnd,
    /// Code, when it did not end well.
    pub code: Option<String>,
}

/// A backup of flash that a job overwrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, TS)]
#[ts(export, export_to = BINDINGS)]
#[serde(rename_all = "camelCase")]
pub struct UsbBackup {
    /// Names it.
    pub id: String,
    /// When it was taken, Unix seconds.
    pub time: u32,
    /// The board's address.
    pub mac: Option<String>,
    /// Chip.
    pub chip: String,
    /// Bytes.
    pub bytes: u32,
    /// Before what it was taken, one sentence.
    pub summary: String,
}
