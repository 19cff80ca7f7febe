//! Reading a request (RFC 9112), and where it says the host is.

use super::HOST_PORT;
use crate::field::{field, is_token};
use crate::platform::{Connection, NetError};
use airlift_wire::digest::parse_hex;
use core::net::{IpAddr, SocketAddr};

/// Longest request line and fields.
pub const MAX_REQUEST_HEAD: usize = 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Other,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Request<'h> {
    pub method: Method,
    pub path: &'h str,
    pub query: &'h str,
    pub content_length: Option<usize>,
    pub is_cose: bool,
    pub has_origin: bool,
}

impl<'h> Request<'h> {
    /// Parses a head that ends in an empty line.
    pub fn parse(head: &'h [u8]) -> Option<Self> {
        let text = core::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let is_line = words.next().is_none()
            && is_token(method)
            && target.starts_with('/')
            && target.bytes().all(|b| b.is_ascii_graphic())
            && matches!(version, "HTTP/1.0" | "HTTP/1.1");
        if !is_line {
            return None;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut request = Self {
            method: match method {
                "GET" => Method::Get,
                "POST" => Method::Post,
                _ => Method::Other,
            },
            path,
            query,
            content_length: None,
            is_cose: false,
            has_origin: false,
        };
        for line in lines {
            let (name, value) = field(line)?;
            if name.eq_ignore_ascii_case("content-length") {
                if !value.bytes().all(|b| b.is_ascii_digit()) || request.content_length.is_some() {
                    return None;
                }
                request.content_length = Some(value.parse().ok()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                return None;
            } else if name.eq_ignore_ascii_case("content-type") {
                request.is_cose = value.eq_ignore_ascii_case("application/cose");
            } else if name.eq_ignore_ascii_case("origin") {
                request.has_origin = true;
            }
        }
        Some(request)
    }

    pub fn parameter(&self, name: &str) -> Option<&'h str> {
        self.query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// Undoes percent-encoding (RFC 3986 section 2.1) into `out`.
pub(super) fn decode<'o>(text: &str, out: &'o mut [u8]) -> Option<&'o str> {
    let mut bytes = text.bytes();
    let mut len = 0;
    while let Some(byte) = bytes.next() {
        let byte = if byte == b'%' {
            let pair = [
                bytes.next()?.to_ascii_lowercase(),
                bytes.next()?.to_ascii_lowercase(),
            ];
            parse_hex::<1>(core::str::from_utf8(&pair).ok()?)?[0]
        } else {
            byte
        };
        *out.get_mut(len)? = byte;
        len += 1;
    }
    core::str::from_utf8(out.get(..len)?).ok()
}

/// The host's address from `from=http://HOST:PORT`; HOST must be the peer's own address, or a
/// stranger could make the device call somebody else.
pub(super) fn host_of(from: Option<&str>, peer: SocketAddr) -> Option<SocketAddr> {
    let peer_ip = peer.ip().to_canonical();
    let Some(from) = from else {
        let mut to = peer;
        to.set_ip(peer_ip);
        to.set_port(HOST_PORT);
        return Some(to);
    };
    let mut buf = [0; 80];
    let url = decode(from, &mut buf)?.strip_prefix("http://")?;
    let authority = url.strip_suffix('/').unwrap_or(url);
    let host = authority.parse::<SocketAddr>().ok().or_else(|| {
        authority
            .parse::<IpAddr>()
            .ok()
            .map(|ip| SocketAddr::new(ip, 80))
    })?;
    // The peer's own address: a link-local one is of no use without its scope.
    let mut to = peer;
    to.set_ip(peer_ip);
    to.set_port(host.port());
    (host.ip().to_canonical() == peer_ip).then_some(to)
}

pub(super) async fn read_head<C: Connection>(
    connection: &mut C,
    head: &mut [u8; MAX_REQUEST_HEAD],
) -> Result<Option<(usize, usize)>, NetError> {
    let mut filled = 0;
    while filled < head.len() {
        let n = connection.read(&mut head[filled..]).await?;
        if n == 0 || n > head.len() - filled {
            return Err(NetError);
        }
        let from = filled.saturating_sub(3);
        filled += n;
        if let Some(at) = head[from..filled].windows(4).position(|w| w == b"\r\n\r\n") {
            return Ok(Some((from + at + 4, filled)));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer() -> SocketAddr {
        "10.0.0.5:50000".parse().unwrap()
    }

    #[test]
    fn from_must_be_the_peers_own_address() {
        let host = |from| host_of(from, peer()).map(|h| std::format!("{h}"));
        assert_eq!(host(None).as_deref(), Some("10.0.0.5:7410"));
        assert_eq!(
            host(Some("http://10.0.0.5:8000")).as_deref(),
            Some("10.0.0.5:8000")
        );
        assert_eq!(
            host(Some("http%3A%2F%2F10.0.0.5%3a8000/")).as_deref(),
            Some("10.0.0.5:8000")
        );
        assert_eq!(
            host(Some("http://10.0.0.5")).as_deref(),
            Some("10.0.0.5:80")
        );
        for bad in [
            "http://10.0.0.6:8000",
            "https://10.0.0.5",
            "10.0.0.5:1",
            "http://host:1",
            "%",
        ] {
            assert_eq!(host(Some(bad)), None, "{bad}");
        }
        let mapped: SocketAddr = "[::ffff:10.0.0.5]:1".parse().unwrap();
        assert!(host_of(Some("http://10.0.0.5:8000"), mapped).is_some());
    }

    #[test]
    fn the_scope_of_a_link_local_peer_is_kept() {
        let peer: SocketAddr = "[fe80::5%3]:50000".parse().unwrap();
        let host: SocketAddr = "[fe80::5%3]:8000".parse().unwrap();
        assert_eq!(host_of(Some("http://[fe80::5]:8000"), peer), Some(host));
        let host = host_of(None, peer).unwrap();
        assert_eq!(host, "[fe80::5%3]:7410".parse().unwrap());
    }

    #[test]
    fn requests_that_could_be_read_in_two_ways_are_refused() {
        for head in [
            "GET /v1/device\r\n\r\n",
            "GET  /v1/device HTTP/1.1\r\n\r\n",
            "GET http://x/ HTTP/1.1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            "POST / HTTP/1.1\r\nContent-Length : 1\r\n\r\n",
            "POST / HTTP/1.1\r\na: b\nContent-Length: 1\r\n\r\n",
            "POST / HTTP/1.1\r\na: b\r\n Origin: http://x\r\n\r\n",
            "GET /\n HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.12\r\n\r\n",
            " / HTTP/1.1\r\n\r\n",
        ] {
            assert_eq!(Request::parse(head.as_bytes()), None, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn any_head_is_parsed_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&bytes);
        }

        #[test]
        fn any_query_is_decoded_or_refused(text in "[ -~]{0,90}") {
            let _ = host_of(Some(&text), peer());
        }
    }
}
