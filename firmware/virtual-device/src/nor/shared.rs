//! One flash for several owners.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Counters, Hook, NorError, NorFlash};

/// A handle to a [`NorFlash`]: clones reach the same cells.
///
/// The device holds one, whoever tests or watches it another: to cut its power, look at its cells, and
/// hand the same flash to the next boot.
#[derive(Clone)]
pub struct SharedNor(Arc<Mutex<NorFlash>>);

impl SharedNor {
    /// Share `flash`.
    pub fn new(flash: NorFlash) -> Self {
        Self(Arc::new(Mutex::new(flash)))
    }

    /// Use the flash itself; every other handle waits until the guard is dropped.
    pub fn lock(&self) -> MutexGuard<'_, NorFlash> {
        // A panic elsewhere (in a test's hook, say) leaves the cells as a cut would: usable.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`NorFlash::read`].
    ///
    /// # Errors
    /// Those of [`NorFlash::read`].
    pub fn read(&self, offset: u32, buf: &mut [u8]) -> Result<(), NorError> {
        self.lock().read(offset, buf)
    }

    /// See [`NorFlash::erase`].
    ///
    /// # Errors
    /// Those of [`NorFlash::erase`].
    pub fn erase(&self, offset: u32) -> Result<(), NorError> {
        self.lock().erase(offset)
    }

    /// See [`NorFlash::write`].
    ///
    /// # Errors
    /// Those of [`NorFlash::write`].
    pub fn write(&self, offset: u32, data: &[u8]) -> Result<(), NorError> {
        self.lock().write(offset, data)
    }

    /// See [`NorFlash::size`].
    pub fn size(&self) -> u32 {
        self.lock().size()
    }

    /// See [`NorFlash::counters`].
    pub fn counters(&self) -> Counters {
        self.lock().counters()
    }

    /// See [`NorFlash::snapshot`].
    pub fn snapshot(&self) -> Vec<u8> {
        self.lock().snapshot()
    }

    /// See [`NorFlash::set_hook`].
    pub fn set_hook(&self, hook: impl Hook + 'static) {
        self.lock().set_hook(hook);
    }

    /// See [`NorFlash::clear_hook`].
    pub fn clear_hook(&self) {
        self.lock().clear_hook();
    }

    /// See [`NorFlash::power_off`].
    pub fn power_off(&self) {
        self.lock().power_off();
    }

    /// See [`NorFlash::power_on`].
    pub fn power_on(&self) {
        self.lock().power_on();
    }

    /// See [`NorFlash::is_powered`].
    pub fn is_powered(&self) -> bool {
        self.lock().is_powered()
    }
}

impl From<NorFlash> for SharedNor {
    fn from(flash: NorFlash) -> Self {
        Self::new(flash)
    }
}
