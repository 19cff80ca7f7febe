//! A clock and the tasks that wait for it.

use crate::pace::Pace;
use airlift_updater::platform::Clock;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

/// Why a future did not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stalled {
    /// Everything waits for something that will not happen.
    #[error("everything waits, and nothing can happen any more")]
    Deadlock,
    /// The time is over.
    #[error("the time is over")]
    TimeOver,
}

/// Names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskId(u64);

/// Runs tasks on virtual time. Clones are the same scheduler.
#[derive(Clone, Default)]
pub struct Scheduler(Rc<Shared>);

#[derive(Default)]
struct Shared {
    now: Cell<Duration>,
    last_id: Cell<u64>,
    timers: RefCell<BTreeMap<(Duration, u64), Waker>>,
    tasks: RefCell<Vec<Task>>,
}

struct Task {
    id: u64,
    ready: Arc<Ready>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct Ready(AtomicBool);

impl Ready {
    fn new() -> Arc<Self> {
        Arc::new(Self(AtomicBool::new(true)))
    }

    fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Scheduler {
    /// A scheduler at time 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Time since the start.
    pub fn now(&self) -> Duration {
        self.0.now.get()
    }

    /// Adds a task, which runs whenever [`Scheduler::run`] does.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) -> TaskId {
        let id = self.next_id();
        self.0.tasks.borrow_mut().push(Task {
            id,
            ready: Ready::new(),
            future: Box::pin(future),
        });
        TaskId(id)
    }

    /// Drops a task between two of its steps, as a power cut does. Not from inside that task.
    pub fn abort(&self, task: TaskId) {
        let mut tasks = self.0.tasks.borrow_mut();
        let at = tasks.iter().position(|other| other.id == task.0);
        let task = at.map(|at| tasks.remove(at));
        drop(tasks);
        drop(task);
    }

    /// Drops all tasks. Not from inside one of them.
    pub fn abort_all(&self) {
        let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
        drop(tasks);
    }

    /// Runs `future` and all tasks until `future` ends.
    ///
    /// # Errors
    /// [`Stalled::Deadlock`].
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T, Stalled> {
        self.run_until(Duration::MAX, future)
    }

    /// As [`Scheduler::run`], for at most `duration`.
    ///
    /// # Errors
    /// [`Stalled`].
    pub fn run_for<T>(
        &self,
        duration: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Stalled> {
        self.run_until(self.now().saturating_add(duration), future)
    }

    fn run_until<T>(&self, end: Duration, future: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut future = pin!(future);
        let ready = Ready::new();
        let waker = Waker::from(Arc::clone(&ready));
        loop {
            let mut idle = true;
            if ready.take() {
                idle = false;
                let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
                if let Poll::Ready(value) = polled {
                    return Ok(value);
                }
            }
            idle &= !self.step();
            if idle {
                self.advance(end)?;
            }
        }
    }

    /// Polls each task that is ready once; whether there was one.
    fn step(&self) -> bool {
        let mut any = false;
        let ids: Vec<_> = self.0.tasks.borrow().iter().map(|task| task.id).collect();
        for id in ids {
            // A task is out of the list while it runs: it may start and end others.
            let mut tasks = self.0.tasks.borrow_mut();
            let found = tasks.iter().position(|task| task.id == id);
            let Some(at) = found.filter(|at| tasks[*at].ready.take()) else {
                continue;
            };
            let mut task = tasks.remove(at);
            drop(tasks);
            any = true;
            let waker = Waker::from(Arc::clone(&task.ready));
            let polled = task.future.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_pending() {
                let mut tasks = self.0.tasks.borrow_mut();
                let at = at.min(tasks.len());
                tasks.insert(at, task);
            }
        }
        any
    }

    /// Moves the clock to the next timer.
    fn advance(&self, end: Duration) -> Result<(), Stalled> {
        let first = self.0.timers.borrow_mut().pop_first();
        match first {
            None => Err(Stalled::Deadlock),
            Some(((at, id), waker)) if at > end => {
                self.0.timers.borrow_mut().insert((at, id), waker);
                self.0.now.set(end.max(self.now()));
                Err(Stalled::TimeOver)
            }
            Some(((at, _), waker)) => {
                self.0.now.set(at.max(self.now()));
                waker.wake();
                Ok(())
            }
        }
    }

    /// Waits until the clock shows `at`.
    pub async fn sleep_until(&self, at: Duration) {
        let key = (at, self.next_id());
        let _guard = Timer {
            shared: &self.0,
            key,
        };
        poll_fn(|context| {
            if self.now() >= at {
                return Poll::Ready(());
            }
            let waker = context.waker().clone();
            self.0.timers.borrow_mut().insert(key, waker);
            Poll::Pending
        })
        .await;
    }

    /// Waits.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().saturating_add(duration)).await;
    }

    fn next_id(&self) -> u64 {
        let id = self.0.last_id.get() + 1;
        self.0.last_id.set(id);
        id
    }
}

/// Takes its timer out of the list when nobody waits for it any more.
struct Timer<'s> {
    shared: &'s Shared,
    key: (Duration, u64),
}

impl Drop for Timer<'_> {
    fn drop(&mut self) {
        self.shared.timers.borrow_mut().remove(&self.key);
    }
}

/// A device's view of a scheduler's clock: since it started.
#[derive(Clone)]
pub struct VirtualClock {
    scheduler: Scheduler,
    start: Duration,
}

impl VirtualClock {
    pub(super) fn start(scheduler: &Scheduler) -> Self {
        Self {
            scheduler: scheduler.clone(),
            start: scheduler.now(),
        }
    }
}

impl Pace for VirtualClock {
    fn now(&self) -> Duration {
        self.scheduler.now().saturating_sub(self.start)
    }

    async fn pause(&self, duration: Duration) {
        self.scheduler.sleep(duration).await;
    }
}

impl Clock for VirtualClock {
    fn now_ms(&self) -> u64 {
        Pace::now(self).as_millis() as u64
    }

    async fn sleep_ms(&self, ms: u32) {
        self.scheduler.sleep(Duration::from_millis(ms.into())).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_waiting_takes_no_time_and_wakes_in_order() {
        let scheduler = Scheduler::new();
        let log = Rc::new(RefCell::new(Vec::new()));
        for minutes in [60, 1, 30] {
            let (log, own) = (Rc::clone(&log), scheduler.clone());
            scheduler.spawn(async move {
                own.sleep(Duration::from_secs(minutes * 60)).await;
                log.borrow_mut().push(minutes);
            });
        }
        let hour = Duration::from_secs(3600);
        scheduler
            .run(scheduler.sleep(hour + Duration::from_nanos(1)))
            .unwrap();
        assert_eq!(*log.borrow(), [1, 30, 60]);
    }

    #[test]
    fn waiting_for_nothing_is_a_deadlock() {
        let scheduler = Scheduler::new();
        let never = std::future::pending::<()>();
        assert_eq!(scheduler.run(never), Err(Stalled::Deadlock));
    }

    #[test]
    fn the_clock_stops_where_the_time_is_over() {
        let scheduler = Scheduler::new();
        let second = Duration::from_secs(1);
        let slow = scheduler.sleep(second * 2);
        assert_eq!(scheduler.run_for(second, slow), Err(Stalled::TimeOver));
        assert_eq!(scheduler.now(), second);
    }

    #[test]
    fn all_tasks_are_dropped_also_those_that_hold_the_scheduler() {
        let scheduler = Scheduler::new();
        let held = Rc::new(());
        for _ in 0..3 {
            let (own, holds) = (scheduler.clone(), Rc::clone(&held));
            scheduler.spawn(async move {
                own.sleep(Duration::from_secs(9)).await;
                drop(holds);
            });
        }
        scheduler.abort_all();
        assert_eq!(Rc::strong_count(&held), 1);
        assert_eq!(Rc::strong_count(&scheduler.0), 1);
    }

    #[test]
    fn an_aborted_task_is_dropped_and_its_timer_with_it() {
        let scheduler = Scheduler::new();
        let own = scheduler.clone();
        let held = Rc::new(());
        let holds = Rc::clone(&held);
        let task = scheduler.spawn(async move {
            own.sleep(Duration::from_secs(9)).await;
            drop(holds);
        });
        scheduler
            .run(scheduler.sleep(Duration::from_secs(1)))
            .unwrap();
        scheduler.abort(task);
        assert_eq!(Rc::strong_count(&held), 1);
        assert!(scheduler.0.timers.borrow().is_empty());
    }
}
