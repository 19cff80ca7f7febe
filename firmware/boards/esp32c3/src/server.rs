//! Answers the device's HTTP API.

use crate::clock::BoardClock;
use crate::log::LOGGER;
use crate::net::Incoming;
use crate::{memory, status};
use airlift_updater::device::{Device, MAX_WATCHERS, Vitals};
use airlift_updater::platform::{Clock, within};
use airlift_wire::state::Cause;
use core::net::SocketAddr;
use embassy_net::tcp::{State, TcpSocket};
use embassy_time::Duration;

/// Port of the API.
pub const PORT: u16 = 80;
/// Connections that are answered at once: those that watch an update, and others that ask for the
/// status or cancel it.
pub(crate) const CONNECTIONS: usize = 4;
const _: () = assert!(
    CONNECTIONS > MAX_WATCHERS,
    "watchers leave nobody room to cancel"
);
/// How long the other side may be silent while something is sent to it.
const TIMEOUT: Duration = Duration::from_secs(20);
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// How long the end of an answer may take to be read.
const CLOSE_MS: u32 = 2_000;

/// What the API says of this board.
#[derive(Clone, Copy)]
pub(crate) struct Board {
    /// Why it restarted.
    pub reset: Cause,
}

impl Vitals for Board {
    fn free_memory(&self) -> u32 {
        memory::free()
    }

    fn reset_reason(&self) -> Cause {
        self.reset
    }

    fn signal_dbm(&self) -> Option<i8> {
        status::signal_dbm()
    }

    fn log(&self, from: u64, out: &mut [u8]) -> (u64, usize) {
        LOGGER.read(from, out)
    }
}

/// Answers one connection after the other.
pub(crate) async fn serve(socket: &mut TcpSocket<'static>, device: &Device, board: Board) -> ! {
    let clock = BoardClock;
    socket.set_timeout(Some(TIMEOUT));
    socket.set_keep_alive(Some(KEEP_ALIVE));
    // A line of progress goes out when it is written, not when the one before was acknowledged.
    socket.set_nagle_enabled(false);
    loop {
        if socket.accept(PORT).await.is_ok()
            && let Some(peer) = socket.remote_endpoint()
        {
            let peer = SocketAddr::new(peer.addr.into(), peer.port);
            device
                .serve_with(&mut Incoming(socket), peer, &clock, &board)
                .await;
            socket.close();
            let _late = within(&clock, CLOSE_MS, closed(socket)).await;
        }
        socket.abort();
        let _sent = within(&clock, CLOSE_MS, socket.flush()).await;
    }
}

/// Resolves when both sides have closed; what is still sent is dropped.
async fn closed(socket: &mut TcpSocket<'static>) {
    let mut rest = [0; 64];
    let _sent = socket.flush().await;
    while !matches!(socket.state(), State::Closed | State::TimeWait) {
        match socket.read(&mut rest).await {
            Ok(n) if n > 0 => {}
            _ => return BoardClock.sleep_ms(10).await,
        }
    }
}
