//! Whether a new version is fit to stay.
//!
//! A trial is confirmed when, at one moment, all of this holds: the device is reached over the
//! network (link, address, a listening API), the application's own check says so, and the device has
//! been up for its minimum time. A check that fails ends the trial at once; what is not there when
//! the time is over ends it then. A trial that hangs does neither: the watchdog resets it, and the
//! boot guard goes back.

use crate::platform::{Clock, InTime as _, within};
use airlift_wire::state::{Cause, Detail};
use core::cell::Cell;
use embassy_futures::select::{Either, select};

/// How often a trial is looked at.
const LOOK_MS: u32 = 100;
/// How often the watchdog is fed while a trial goes on.
const FEED_MS: u32 = 500;

/// How far a device is on its way into the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// No link: the access point is not there, or the cable is not.
    NoLink,
    /// A link and no address.
    NoAddress,
    /// An address, but the API does not listen.
    NotListening,
    /// Whoever asks is answered.
    Listening,
}

impl Reach {
    /// What is missing; `None` when nothing is.
    const fn missing(self) -> Option<&'static str> {
        match self {
            Self::NoLink => Some("no link"),
            Self::NoAddress => Some("no address"),
            Self::NotListening => Some("the API does not listen"),
            Self::Listening => None,
        }
    }
}

/// What the application says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It works.
    Ready,
    /// It does not know yet; what it waits for.
    NotYet(Detail),
    /// It does not work and never will; why.
    Failed(Detail),
}

impl Verdict {
    /// Not yet, for this reason: at most 48 characters of printable ASCII are kept.
    pub fn not_yet(reason: &str) -> Self {
        Self::NotYet(Detail::printable(reason))
    }

    /// Failed, for this reason: at most 48 characters of printable ASCII are kept.
    pub fn failed(reason: &str) -> Self {
        Self::Failed(Detail::printable(reason))
    }
}

/// The application's word on whether a new version is fit to stay. Asked only while one is on trial.
pub trait Health {
    /// How far the network is. Asked again and again.
    fn network(&mut self) -> Reach;

    /// The application's own check: a sensor answers, a file is readable, a server is there. It may
    /// take its time and may say that it does not know yet; then it is asked again. Asked only while
    /// the network is reached. It is not called again before it has answered, and dropped when the
    /// time of the trial is over.
    async fn check(&mut self) -> Verdict;
}

/// Resets the device when it is not fed: the way out of a trial that hangs.
///
/// The boot guard's caller arms it before anything else runs, for longer than a start takes. It is fed
/// by the task that judges the trial, never by an interrupt: so a task that does not give way, a
/// deadlock and a loop without end all starve it.
pub trait Watchdog {
    /// Starts its time anew. Called every half second while a trial goes on.
    fn feed(&mut self);

    /// The trial is confirmed, or there is none: from now on the watchdog belongs to the application.
    fn release(&mut self) {}
}

/// No watchdog: for tests, and for devices whose watchdog the application feeds.
impl Watchdog for () {
    fn feed(&mut self) {}
}

/// Waits until a trial may be confirmed; why not otherwise. Times are since the start of the device.
pub(super) async fn judge(
    health: &mut impl Health,
    watchdog: &mut impl Watchdog,
    clock: &impl Clock,
    min_uptime_ms: u32,
    confirm_ms: u32,
) -> Result<(), (Cause, Detail)> {
    let missing = Cell::new((Cause::NotConfirmed, Detail::empty()));
    let judging = async {
        loop {
            match health.network().missing() {
                Some(what) => missing.set((Cause::NoNetwork, Detail::printable(what))),
                None => {
                    let what = "its own check does not answer";
                    missing.set((Cause::NotConfirmed, Detail::printable(what)));
                    match health.check().await {
                        Verdict::Ready if clock.now_ms() >= min_uptime_ms.into() => return Ok(()),
                        Verdict::Ready => {
                            let what = "it was not up for long enough";
                            missing.set((Cause::NotConfirmed, Detail::printable(what)));
                        }
                        Verdict::NotYet(why) => missing.set((Cause::NotConfirmed, why)),
                        Verdict::Failed(why) => return Err((Cause::HealthCheck, why)),
                    }
                }
            }
            clock.sleep_ms(LOOK_MS).await;
        }
    };
    let feeding = async {
        loop {
            watchdog.feed();
            clock.sleep_ms(FEED_MS).await;
        }
    };
    let passed = u32::try_from(clock.now_ms()).unwrap_or(u32::MAX);
    let left = confirm_ms.saturating_sub(passed);
    match within(clock, left, select(judging, feeding))
        .await
        .in_time()
    {
        Some(Either::First(verdict)) => verdict,
        Some(Either::Second(never)) => never,
        None => Err(missing.get()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::pin::pin;
    use core::task::Poll;
    use embassy_futures::poll_once;
    use std::string::String;
    use std::vec::Vec;

    /// Says one thing after the other, and the last one for ever.
    struct Script(Vec<(Reach, Option<Verdict>)>);

    impl Health for Script {
        fn network(&mut self) -> Reach {
            self.0[0].0
        }

        async fn check(&mut self) -> Verdict {
            let verdict = self.0[0].1;
            if self.0.len() > 1 {
                self.0.remove(0);
            }
            match verdict {
                Some(verdict) => verdict,
                None => core::future::pending().await,
            }
        }
    }

    #[derive(Default)]
    struct Count(u32);

    impl Watchdog for Count {
        fn feed(&mut self) {
            self.0 += 1;
        }
    }

    /// Time that passes when nothing else can happen.
    #[derive(Default)]
    struct Steps(Cell<u64>);

    impl Clock for Steps {
        fn now_ms(&self) -> u64 {
            self.0.get()
        }

        async fn sleep_ms(&self, ms: u32) {
            let end = self.now_ms() + u64::from(ms);
            core::future::poll_fn(|_| match self.now_ms() >= end {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
        }
    }

    /// Runs a trial; how it ended, when, and how often the watchdog was fed.
    fn run(script: &[(Reach, Option<Verdict>)], min_uptime_ms: u32) -> (Outcome, u64, u32) {
        let mut health = Script(script.to_vec());
        let (clock, mut watchdog) = (Steps::default(), Count::default());
        let outcome = {
            let trial = judge(&mut health, &mut watchdog, &clock, min_uptime_ms, 120_000);
            let mut trial = pin!(trial);
            loop {
                match poll_once(trial.as_mut()) {
                    Poll::Ready(outcome) => break outcome,
                    Poll::Pending => clock.0.set(clock.0.get() + 50),
                }
            }
        };
        let outcome = outcome.map_err(|(cause, why)| (cause, String::from(why.as_str())));
        (outcome, clock.now_ms(), watchdog.0)
    }

    type Outcome = Result<(), (Cause, String)>;

    #[test]
    fn whatever_is_missing_when_the_time_is_over_is_the_reason() {
        use Reach::*;
        let ready = Some(Verdict::Ready);
        let waits = Some(Verdict::not_yet("waits for the pump"));
        let cases = [
            (NoLink, ready, Cause::NoNetwork, "no link"),
            (NoAddress, ready, Cause::NoNetwork, "no address"),
            (
                NotListening,
                ready,
                Cause::NoNetwork,
                "the API does not listen",
            ),
            (
                Listening,
                None,
                Cause::NotConfirmed,
                "its own check does not answer",
            ),
            (Listening, waits, Cause::NotConfirmed, "waits for the pump"),
        ];
        for (reach, verdict, cause, why) in cases {
            let (outcome, took, fed) = run(&[(reach, verdict)], 0);
            assert_eq!(outcome, Err((cause, why.into())));
            assert_eq!(took, 120_000);
            assert!(
                (239..=241).contains(&fed),
                "fed {fed} times: its loop goes on"
            );
        }
    }

    #[test]
    fn a_check_that_fails_ends_the_trial_at_once() {
        let failed = [(Reach::Listening, Some(Verdict::failed("sensor missing")))];
        let (outcome, took, _) = run(&failed, 5_000);
        assert_eq!(outcome, Err((Cause::HealthCheck, "sensor missing".into())));
        assert_eq!(took, 0);
    }

    #[test]
    fn a_trial_is_confirmed_when_all_is_there_and_it_was_up_for_long_enough() {
        let ready = Some(Verdict::Ready);
        let (outcome, took, _) = run(&[(Reach::Listening, ready)], 0);
        assert_eq!((outcome, took), (Ok(()), 0));
        let (outcome, took, _) = run(&[(Reach::Listening, ready)], 5_000);
        assert_eq!((outcome, took), (Ok(()), 5_000));
        let waits = [
            (Reach::Listening, Some(Verdict::not_yet("warms up"))),
            (Reach::Listening, Some(Verdict::not_yet("warms up"))),
            (Reach::Listening, ready),
        ];
        assert_eq!(run(&waits, 0).0, Ok(()));
        let (outcome, _, _) = run(&[(Reach::Listening, ready)], 120_001);
        let why = "it was not up for long enough".into();
        assert_eq!(outcome, Err((Cause::NotConfirmed, why)));
    }
}
