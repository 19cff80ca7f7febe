//! What parts of the program tell each other: whether an update runs, how good the signal is.

use core::cell::Cell;
use critical_section::Mutex;

struct Status {
    updating: Cell<bool>,
    signal: Cell<Option<i8>>,
}

static STATUS: Mutex<Status> = Mutex::new(Status {
    updating: Cell::new(false),
    signal: Cell::new(None),
});

/// Whether an update runs now.
pub fn is_updating() -> bool {
    critical_section::with(|cs| STATUS.borrow(cs).updating.get())
}

/// Strength of the radio's signal in dBm; `None` without a radio or a connection.
pub fn signal_dbm() -> Option<i8> {
    critical_section::with(|cs| STATUS.borrow(cs).signal.get())
}

pub(crate) fn set_updating(updating: bool) {
    critical_section::with(|cs| STATUS.borrow(cs).updating.set(updating));
}

#[cfg(feature = "wifi")]
pub(crate) fn set_signal(dbm: Option<i8>) {
    critical_section::with(|cs| STATUS.borrow(cs).signal.set(dbm));
}
