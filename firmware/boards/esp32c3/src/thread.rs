//! A thread below the executor's: for work that takes long and cannot give way, such as littlefs.
//!
//! | Priority | What runs |
//! | ---: | --- |
//! | 2 and more | the radio's threads |
//! | 1 | the executor: network, API, updater |
//! | 0 | this thread |
#![allow(unsafe_code)]

use crate::memory::Painted;
use core::cell::Cell;
use core::ffi::c_void;
use core::mem;
use embassy_executor::task;
use embassy_sync::blocking_mutex::Mutex as BlockingMutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use esp_hal::time::Duration;
use esp_radio_rtos_driver as rtos;
use esp_rtos::CurrentThreadHandle;
use esp_rtos::embassy::Executor;
use static_cell::StaticCell;

/// Bytes of stack: littlefs, the driver of the flash, and an interrupt on top of them.
pub(crate) const STACK: usize = 8 * 1024;
/// Of it, what is left alone when the rest is painted: the frames that are in use, and the guard.
const IN_USE: usize = 1024;
const EXECUTOR_PRIORITY: usize = 1;
const PRIORITY: u32 = 0;

/// A closure somewhere in a future that waits for it.
struct Job {
    call: unsafe fn(*mut ()),
    place: *mut (),
}

// SAFETY: whoever posts a job touches nothing of it until `DONE`, so it has moved to the thread.
unsafe impl Send for Job {}

/// One job at a time.
static TURN: Mutex<CriticalSectionRawMutex, ()> = Mutex::new(());
static JOB: Signal<CriticalSectionRawMutex, Job> = Signal::new();
static DONE: Signal<CriticalSectionRawMutex, ()> = Signal::new();
static EXECUTOR: StaticCell<Executor> = StaticCell::new();
/// Bytes of its stack that were never used, as far as was looked.
static UNTOUCHED: BlockingMutex<CriticalSectionRawMutex, Cell<u32>> =
    BlockingMutex::new(Cell::new((STACK - IN_USE) as u32));

/// Bytes of the thread's stack that were never used.
pub(crate) fn untouched_stack() -> u32 {
    UNTOUCHED.lock(Cell::get)
}

/// Starts the thread, and lifts the one that calls this above it. Call it once, when esp-rtos runs.
pub(crate) fn start() {
    CurrentThreadHandle::get().set_priority(EXECUTOR_PRIORITY);
    // SAFETY: the thread takes no parameter.
    unsafe {
        rtos::task_create(
            "files",
            thread,
            core::ptr::null_mut(),
            PRIORITY,
            None,
            STACK,
        )
    };
}

extern "C" fn thread(_: *mut c_void) {
    let stack = Painted::below(STACK - IN_USE);
    EXECUTOR
        .init(Executor::new())
        .run(|spawner| spawner.spawn(work(stack).unwrap()))
}

#[task]
async fn work(stack: Painted) -> ! {
    loop {
        let job = JOB.wait().await;
        // SAFETY: the future that posted the job keeps it in its place until `DONE`.
        unsafe { (job.call)(job.place) };
        UNTOUCHED.lock(|untouched| untouched.set(stack.untouched()));
        DONE.signal(());
    }
}

struct Place<F, T> {
    work: Option<F>,
    result: Option<T>,
}

/// Runs `work` on the thread; everybody else goes on meanwhile.
pub(crate) async fn run<T>(work: impl FnOnce() -> T) -> T {
    let _turn = TURN.lock().await;
    let mut place = Place {
        work: Some(work),
        result: None,
    };
    JOB.signal(job(&mut place));
    // Dropped if whoever waits gives up: not before the thread is through with the place.
    let running = Running;
    DONE.wait().await;
    mem::forget(running);
    match place.result {
        Some(result) => result,
        None => unreachable!("the thread ran the work"),
    }
}

fn job<F: FnOnce() -> T, T>(place: &mut Place<F, T>) -> Job {
    unsafe fn call<F: FnOnce() -> T, T>(place: *mut ()) {
        // SAFETY: of this type, and nobody else's until `DONE`.
        let place = unsafe { &mut *place.cast::<Place<F, T>>() };
        place.result = place.work.take().map(|work| work());
    }
    Job {
        call: call::<F, T>,
        place: (&raw mut *place).cast(),
    }
}

struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        while DONE.try_take().is_none() {
            CurrentThreadHandle::get().delay(Duration::from_millis(1));
        }
    }
}
