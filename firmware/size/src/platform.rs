//! The updater's traits over [`crate::world`].

use crate::Files;
use crate::world;
use airlift_updater::platform::{Clock, Connection, FlashError, NetError, Platform, Random};
use core::future::poll_fn;
use core::net::SocketAddr;

/// The board.
pub struct Board;

impl Platform for Board {
    type Flash = Flash;
    type Files = Files;
    type Net = Net;
    type Clock = Time;
    type Random = Dice;
}

/// Flash.
pub struct Flash;

impl airlift_updater::platform::Flash for Flash {
    async fn read(&mut self, offset: u32, buf: &mut [u8]) -> Result<(), FlashError> {
        poll_fn(|_| world::flash_read(offset, buf)).await
    }

    async fn erase(&mut self, offset: u32) -> Result<(), FlashError> {
        poll_fn(|_| world::flash_erase(offset)).await
    }

    async fn write(&mut self, offset: u32, data: &[u8]) -> Result<(), FlashError> {
        poll_fn(|_| world::flash_write(offset, data)).await
    }
}

/// Connections to the host.
pub struct Net;

impl airlift_updater::platform::Net for Net {
    type Connection = Tcp;

    async fn connect(&mut self, _: SocketAddr) -> Result<Tcp, NetError> {
        poll_fn(|_| world::connect()).await.map(Tcp)
    }
}

/// A connection, incoming or outgoing.
pub struct Tcp(pub u8);

impl Connection for Tcp {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        poll_fn(|_| world::receive(self.0, buf)).await
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        poll_fn(|_| world::send(self.0, data)).await
    }
}

impl Drop for Tcp {
    fn drop(&mut self) {
        world::close(self.0);
    }
}

/// Time.
#[derive(Clone, Copy)]
pub struct Time;

impl Clock for Time {
    fn now_ms(&self) -> u64 {
        world::now()
    }

    async fn sleep_ms(&self, ms: u32) {
        let until = self.now_ms() + u64::from(ms);
        poll_fn(|_| world::is_past(until)).await;
    }
}

/// Randomness.
pub struct Dice;

impl Random for Dice {
    fn fill(&mut self, buf: &mut [u8]) {
        world::random(buf);
    }
}
