//! Sockets to listen on.

use std::{
    io,
    net::{IpAddr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::Error;

/// Where a device looks for its host when the request does not say.
pub const DEFAULT_PORT: u16 = 7410;
/// How many ports [`bind_from`] tries before it gives up.
pub const PORTS_TRIED: u16 = 16;

/// Connections that wait for the server to take them; the kernel may allow fewer.
const BACKLOG: i32 = 1024;

/// Listens on exactly `addr`; port 0 is any free port.
///
/// Give the address of one interface. An unspecified address (`0.0.0.0`) listens on all of them,
/// which is for the user to ask for.
///
/// # Errors
///
/// [`Error::Bind`].
pub fn bind(addr: SocketAddr) -> Result<TcpListener, Error> {
    listen(addr).map_err(|source| Error::Bind { addr, source })
}

/// Listens on the first free port of `ip` from `first` on.
///
/// # Errors
///
/// [`Error::NoFreePort`] when [`PORTS_TRIED`] ports are all in use, [`Error::Bind`] when the address
/// cannot be listened on for another reason.
pub fn bind_from(ip: IpAddr, first: u16) -> Result<TcpListener, Error> {
    let last = first.saturating_add(PORTS_TRIED - 1);
    for port in first..=last {
        match bind((ip, port).into()) {
            Err(Error::Bind { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {}
            result => return result,
        }
    }
    Err(Error::NoFreePort { first, last })
}

fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Unix this permits a restart while old connections linger; on Windows it would let another
    // program take the port over.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        // The unspecified IPv6 address would take IPv4 along on some systems.
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use airlift_wire::ErrorCode;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[test]
    fn a_taken_port_makes_it_the_next_free_one() {
        let taken = bind((LOOPBACK, 0).into()).unwrap();
        let first = taken.local_addr().unwrap().port();
        let next = bind_from(LOOPBACK, first).unwrap().local_addr().unwrap();
        assert_eq!(next.ip(), LOOPBACK);
        assert!(
            next.port() > first && next.port() < first + PORTS_TRIED,
            "{next} after {first}"
        );
    }

    #[test]
    fn an_ipv6_address_can_be_listened_on() {
        let addr = (std::net::Ipv6Addr::LOCALHOST, 0).into();
        match bind(addr) {
            Ok(listener) => assert!(listener.local_addr().unwrap().is_ipv6()),
            // A machine without IPv6 says so; it does not listen somewhere else.
            Err(error) => assert_eq!(error.code(), ErrorCode::CannotListen),
        }
    }

    #[test]
    fn a_taken_port_asked_for_by_name_is_an_error() {
        let taken = bind((LOOPBACK, 0).into()).unwrap().local_addr().unwrap();
        let _held = bind(taken).unwrap();
        let error = bind(taken).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CannotListen);
        assert!(
            error
                .to_string()
                .starts_with(&format!("cannot listen on {taken}: ")),
            "{error}"
        );
    }

    #[test]
    fn an_address_of_somebody_else_is_not_tried_on_every_port() {
        // TEST-NET-1 (RFC 5737): no interface has it.
        let error = bind_from(Ipv4Addr::new(192, 0, 2, 1).into(), DEFAULT_PORT).unwrap_err();
        assert!(matches!(error, Error::Bind { addr, .. } if addr.port() == DEFAULT_PORT));
    }

    #[test]
    fn the_last_port_is_not_passed() {
        let error = match bind_from(LOOPBACK, u16::MAX) {
            Ok(held) => bind_from(LOOPBACK, held.local_addr().unwrap().port()).unwrap_err(),
            Err(error) => error,
        };
        assert!(matches!(error, Error::NoFreePort { last: u16::MAX, .. }));
    }
}
