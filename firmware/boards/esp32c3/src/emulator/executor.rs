//! An executor and a clock that need no interrupts.

use super::IDLE_TURNS;
use core::cell::RefCell;
use core::task::Waker;
use critical_section::Mutex;
use embassy_executor::{Spawner, raw};
use embassy_time_driver::Driver;
use embassy_time_queue_utils::Queue;
use esp_hal::time::Instant;
use static_cell::StaticCell;

struct Timers(Mutex<RefCell<Queue>>);

impl Driver for Timers {
    fn now(&self) -> u64 {
        Instant::now().duration_since_epoch().as_micros()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| self.0.borrow_ref_mut(cs).schedule_wake(at, waker));
    }
}

embassy_time_driver::time_driver_impl!(
    static TIMERS: Timers = Timers(Mutex::new(RefCell::new(Queue::new())))
);

static EXECUTOR: StaticCell<raw::Executor> = StaticCell::new();

/// Every task is looked at anyway.
#[unsafe(export_name = "__pender")]
#[allow(unsafe_code)]
fn pender(_: *mut ()) {}

/// Runs tasks for ever; `start` spawns the first.
#[allow(unsafe_code)]
pub fn run(start: impl FnOnce(Spawner)) -> ! {
    let executor: &'static raw::Executor = EXECUTOR.init(raw::Executor::new(core::ptr::null_mut()));
    start(executor.spawner());
    loop {
        // SAFETY: called from here alone, and never from a task.
        unsafe { executor.poll() };
        let now = TIMERS.now();
        let next = critical_section::with(|cs| TIMERS.0.borrow_ref_mut(cs).next_expiration(now));
        if next > now {
            (0..IDLE_TURNS).for_each(|_| core::hint::spin_loop());
        }
    }
}
