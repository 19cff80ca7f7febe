//! The updater's connections over embassy-net.

use airlift_updater::platform::{Connection, Net, NetError};
use core::cell::Cell;
use core::net::SocketAddr;
use embassy_net::tcp::TcpSocket;

/// Outgoing connections, one at a time, over a socket that lives as long as the program.
///
/// A socket that is dropped is forgotten without a word to the other side; this one is kept, so that
/// closing it is heard.
pub struct BoardNet(&'static Cell<Option<TcpSocket<'static>>>);

impl BoardNet {
    /// Around a place that holds a socket.
    pub fn new(socket: &'static Cell<Option<TcpSocket<'static>>>) -> Self {
        Self(socket)
    }
}

impl Net for BoardNet {
    type Connection = Outgoing;

    async fn connect(&mut self, peer: SocketAddr) -> Result<Outgoing, NetError> {
        // Whoever gives up waiting drops this, which puts the socket back.
        let mut connection = Outgoing {
            socket: self.0.take(),
            home: self.0,
        };
        let socket = connection.socket.as_mut().ok_or(NetError)?;
        // The stack is built for IPv4 alone, so no host of another kind can have asked.
        let SocketAddr::V4(peer) = peer else {
            return Err(NetError);
        };
        socket.connect(peer).await.map_err(|_| NetError)?;
        Ok(connection)
    }
}

/// The connection to the chunk server.
pub struct Outgoing {
    socket: Option<TcpSocket<'static>>,
    home: &'static Cell<Option<TcpSocket<'static>>>,
}

impl Connection for Outgoing {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        let socket = self.socket.as_mut().ok_or(NetError)?;
        socket.read(buf).await.map_err(|_| NetError)
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        write_all(self.socket.as_mut().ok_or(NetError)?, data).await
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            socket.abort();
            self.home.set(Some(socket));
        }
    }
}

/// A connection that somebody made to the device.
pub(crate) struct Incoming<'s>(pub &'s mut TcpSocket<'static>);

impl Connection for Incoming<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, NetError> {
        self.0.read(buf).await.map_err(|_| NetError)
    }

    async fn write_all(&mut self, data: &[u8]) -> Result<(), NetError> {
        write_all(self.0, data).await
    }
}

async fn write_all(socket: &mut TcpSocket<'_>, mut data: &[u8]) -> Result<(), NetError> {
    while !data.is_empty() {
        match socket.write(data).await {
            Ok(n) if n > 0 => data = &data[n..],
            _ => return Err(NetError),
        }
    }
    Ok(())
}
