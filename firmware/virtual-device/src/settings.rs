//! What a virtual device does besides working well.

use crate::boot::Bootloader;
use crate::nor::{BadSector, Hook, Op, Verdict};
use crate::seeded::Seeded;
use crate::timing::Timing;

/// How a device behaves.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// How long flash operations take.
    pub timing: Timing,
    /// The bootloader.
    pub bootloader: Bootloader,
    /// What new images do on their first trial; the first rule that fits counts.
    pub trials: Vec<TrialRule>,
    /// How long after its start a trial may confirm at the latest, in milliseconds.
    pub confirm_ms: u32,
    /// How long a trial must have been up before it confirms, in milliseconds.
    pub min_uptime_ms: u32,
    /// After how long without a sign of life the watchdog resets, in milliseconds.
    pub watchdog_ms: u32,
    /// How long a start takes, in milliseconds.
    pub boot_ms: u32,
    /// The network as the device sees it.
    pub network: Network,
    /// Silent errors of the flash, in a million erases and writes.
    pub bit_errors_ppm: u32,
    /// Worn sectors: a byte in each, and how it behaves.
    pub bad_sectors: Vec<(u32, BadSector)>,
    /// What all random faults are drawn from.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            timing: Timing::None,
            bootloader: Bootloader::Plain,
            trials: Vec::new(),
            confirm_ms: 120_000,
            min_uptime_ms: 0,
            watchdog_ms: 8_000,
            boot_ms: 300,
            network: Network::default(),
            bit_errors_ppm: 0,
            bad_sectors: Vec::new(),
            seed: 1,
        }
    }
}

/// A network that is slow or loses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// Milliseconds before each arrival.
    pub latency_ms: u32,
    /// Bytes a second that arrive at most; 0 is no limit.
    pub bytes_per_second: u32,
    /// In a thousand arrivals, connections that break instead.
    pub resets_permille: u16,
    /// In a thousand arrivals from a host, those with one bit flipped.
    pub flips_permille: u16,
}

/// Which new image does what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrialRule {
    /// Which release.
    pub release: Which,
    /// What it does.
    pub behaviour: Behaviour,
}

/// A release by what its manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// Any.
    Any,
    /// With this version.
    Version(String),
    /// With this sequence.
    Sequence(u32),
}

/// What a new image does on its first trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Works.
    #[default]
    Normal,
    /// Runs and answers, but its own check never says anything.
    NeverConfirms,
    /// Runs and answers, but its own check says [`NOT_READY`] for ever.
    NeverReady,
    /// Its own check says [`CHECK_FAILED`].
    FailsCheck,
    /// Never gets an address.
    NoNetwork,
    /// Stops after the boot guard, until the watchdog resets the device.
    Hangs,
    /// Works for a second, then a loop without end keeps everything else from running, until the
    /// watchdog resets the device.
    Blocks,
    /// Panics after the boot guard.
    Panics,
    /// Works for a second, then panics.
    PanicsLater,
}

/// What [`Behaviour::FailsCheck`] says.
pub const CHECK_FAILED: &str = "sensor missing";
/// What [`Behaviour::NeverReady`] says.
pub const NOT_READY: &str = "waits for the sensor";

impl Settings {
    /// What a trial of this release does.
    pub fn behaviour(&self, version: &str, sequence: u32) -> Behaviour {
        let fits = |rule: &&TrialRule| match &rule.release {
            Which::Any => true,
            Which::Version(wanted) => wanted == version,
            Which::Sequence(wanted) => *wanted == sequence,
        };
        let rule = self.trials.iter().find(fits);
        rule.map_or(Behaviour::Normal, |rule| rule.behaviour)
    }

    /// A rule for all releases with this version.
    #[must_use]
    pub fn with_trial(mut self, version: &str, behaviour: Behaviour) -> Self {
        let release = Which::Version(version.to_owned());
        self.trials.push(TrialRule { release, behaviour });
        self
    }
}

/// Silent bit errors, as often as [`Settings::bit_errors_ppm`] says.
pub(crate) struct BitErrors {
    random: Seeded,
    ppm: u32,
}

impl BitErrors {
    pub fn new(seed: u64, ppm: u32) -> Self {
        let random = Seeded::new(seed);
        Self { random, ppm }
    }
}

impl Hook for BitErrors {
    fn before(&mut self, op: &Op) -> Verdict {
        if op.kind.is_change() && self.random.below(1_000_000) < u64::from(self.ppm) {
            let seed = self.random.next();
            Verdict::BitError { bits: 1, seed }
        } else {
            Verdict::Proceed
        }
    }
}
