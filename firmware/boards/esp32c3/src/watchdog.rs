//! Two watchdogs: one for a program that hangs, one for a trial that never ends.

use esp_hal::peripherals::{RTC_TIMER, TIMG1};
use esp_hal::rtc_cntl::{Rtc, RwdtStage};
use esp_hal::time::Duration;
use esp_hal::timer::timg::{MwdtStage, TimerGroup, Wdt};

/// How long the executor may be busy with one thing. An erase takes 45 ms, at worst 400.
const HANG: Duration = Duration::from_secs(8);
/// How long a trial may last altogether: the time to confirm, and some for the start.
const TRIAL: Duration = Duration::from_secs(150);

/// The watchdog of timer group 1 is fed by a task, or by whoever judges a trial; the one of the RTC, which also sees a program that
/// keeps feeding but never confirms, is armed for a trial and fed by nobody.
pub(crate) struct Watchdog {
    hang: Wdt<TIMG1<'static>>,
    trial: Rtc<'static>,
    on_trial: bool,
}

impl Watchdog {
    /// Starts the watchdog for hangs.
    pub fn start(group: TIMG1<'static>, rtc: RTC_TIMER<'static>) -> Self {
        let mut hang = TimerGroup::new(group).wdt;
        // The emulator takes its clock from the first prescaler that differs from 1, and divides by
        // zero without one; a time that needs a prescaler gives it that.
        #[cfg(feature = "emulator")]
        hang.set_timeout(MwdtStage::Stage0, Duration::from_secs(1_000));
        hang.set_timeout(MwdtStage::Stage0, HANG);
        hang.enable();
        let mut trial = Rtc::new(rtc);
        trial.rwdt.disable();
        Self {
            hang,
            trial,
            on_trial: false,
        }
    }

    /// Bounds a trial.
    pub fn start_trial(&mut self) {
        self.on_trial = true;
        self.trial.rwdt.set_timeout(RwdtStage::Stage0, TRIAL);
        self.trial.rwdt.enable();
    }

    /// The trial is over.
    pub fn end_trial(&mut self) {
        self.on_trial = false;
        self.trial.rwdt.disable();
    }

    /// Whether a trial goes on.
    pub fn on_trial(&self) -> bool {
        self.on_trial
    }

    /// The executor still runs.
    pub fn feed(&mut self) {
        self.hang.feed();
    }
}
