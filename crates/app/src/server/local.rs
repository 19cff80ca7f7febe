//! Which addresses of this computer devices can reach.

use if_addrs::IfOperStatus;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of this computer.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// On local networks, and loopback.
    pub local: Vec<IpAddr>,
    /// Those that may be reached from anywhere.
    pub public: Vec<IpAddr>,
}

/// The addresses of the interfaces that are up.
pub fn addresses() -> std::io::Result<Addresses> {
    let down = |status| matches!(status, IfOperStatus::Down | IfOperStatus::NotPresent);
    let interfaces = if_addrs::get_if_addrs()?.into_iter();
    let up = interfaces.filter(|interface| !down(interface.oper_status.clone()));
    Ok(sort(up.map(|interface| interface.ip())))
}

fn sort(all: impl Iterator<Item = IpAddr>) -> Addresses {
    let mut addresses = Addresses::default();
    for ip in all {
        let list = match reach(ip) {
            Some(Reach::Local) => &mut addresses.local,
            Some(Reach::Public) => &mut addresses.public,
            None => continue,
        };
        if !list.contains(&ip) {
            list.push(ip);
        }
    }
    addresses.local.sort();
    addresses.public.sort();
    addresses
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Local,
    Public,
}

/// Who can reach an address; `None` for those that no URL names well: link-local IPv6 needs a zone,
/// and the loopback of IPv6 adds nothing to that of IPv4.
fn reach(ip: IpAddr) -> Option<Reach> {
    /// RFC 6598: between a provider and its customers, and on some overlay networks.
    const SHARED: u32 = u32::from_be_bytes([100, 64, 0, 0]);
    let local = match ip {
        IpAddr::V6(ip) if ip == Ipv6Addr::LOCALHOST || ip.is_unicast_link_local() => return None,
        IpAddr::V6(ip) => ip.is_unique_local(),
        IpAddr::V4(ip) => {
            let shared = ip.to_bits() & 0xFFC0_0000 == SHARED;
            ip == Ipv4Addr::LOCALHOST || ip.is_private() || ip.is_link_local() || shared
        }
    };
    Some(if local { Reach::Local } else { Reach::Public })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_networks_are_served_and_the_rest_is_only_named() {
        let all = [
            "203.0.113.5",
            "192.168.1.5",
            "127.0.0.1",
            "::1",
            "fe80::1",
            "fd00::5",
            "2001:db8::5",
            "100.64.3.4",
            "100.128.0.1",
            "169.254.7.7",
            "192.168.1.5",
        ];
        let all = all.map(|text| text.parse().unwrap());
        let sorted = sort(all.into_iter());
        let text = |list: &[IpAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            text(&sorted.local),
            [
                "100.64.3.4",
                "127.0.0.1",
                "169.254.7.7",
                "192.168.1.5",
                "fd00::5"
            ]
        );
        assert_eq!(
            text(&sorted.public),
            ["100.128.0.1", "203.0.113.5", "2001:db8::5"]
        );
    }
}
