//! A network that is slow or loses, around any other.

use crate::pace::Pace;
use crate::seeded::Seeded;
use crate::settings::Network;
use airlift_updater::platform::{Connection, Net, NetError};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// What all connections of a device go through.
#[derive(Clone)]
pub(crate) struct Medium<C> {
    faults: Network,
    random: Rc<RefCell<Seeded>>,
    clock: C,
}

impl<C: Pace + Clone> Medium<C> {
    pub fn new(faults: Network, seed: u64, clock: C) -> Self {
        let random = Rc::new(RefCell::new(Seeded::new(seed)));
        Self {
            faults,
            random,
            clock,
        }
    }

    /// A connection that somebody made to the device: its bytes arrive as they were sent.
    pub fn incoming<N>(&self, inner: N) -> Faulty<N, C> {
        let mut medium = self.clone();
        medium.faults.flips_permille = 0;
        Faulty { inner, medium }
    }

    fn happens(&self, permille: u16) -> bool {
        permille > 0 && self.random.borrow_mut().below(1000) < u64::from(permille)
    }
}

/// Outgoing connections through a [`Medium`].
pub(crate) struct FaultyNet<N, C> {
    pub inner: N,
    pub medium: Medium<C>,
}

impl<N: Net, C: Pace + Clone> Net for FaultyNet<N, C> {
    type Connection = Faulty<N::Connection, C>;

    async fn connect(&mut self, peer: SocketAddr) -> Result<Self::Connection, NetError> {
        let inner = self.inner.connect(peer).await?;
        let medium = self.medium.clone();
        Ok(Faulty { inner, medium })
    }
}

/// A connection through a [`Medium`].
pub(crate) struct Faulty<N, C> {
    inner: N,
    medium: Medium<C>,
}

impl<N: Connection, C: Pace + Clone> Connection for Faulty<N, C> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        let n = self.inner.read(buf).await?;
        let faults = self.medium.faults;
        let mut wait = Duration::from_millis(faults.latency_ms.into());
        if faults.bytes_per_second > 0 {
            let seconds = n as f64 / f64::from(faults.bytes_per_second);
            wait += Duration::from_secs_f64(seconds);
        }
        if !wait.is_zero() {
            self.medium.clock.pause(wait).await;
        }
        if self.medium.happens(faults.resets_permille) {
            return Err(NetError);
        }
        if n > 0 && self.medium.happens(faults.flips_permille) {
            let mut random = self.medium.random.borrow_mut();
            buf[random.below(n as u64) as usize] ^= 1 << random.below(8);
        }
        Ok(n)
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        self.inner.write_all(data).await
    }
}
