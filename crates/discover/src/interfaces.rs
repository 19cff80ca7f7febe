//! Which network interfaces to look on.

use std::collections::BTreeSet;
use std::net::IpAddr;

use if_addrs::{IfAddr, IfOperStatus};
use mdns_sd::{IfKind, ServiceDaemon};

use crate::Error;

/// The interfaces to look on, and to announce on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Interfaces {
    /// All of them, loopback included.
    #[default]
    All,
    /// 127.0.0.0/8 and ::1 only: for tests and the demo, which must not touch a real device. Other
    /// addresses are refused wherever they come from.
    LoopbackOnly,
    /// Those with these names.
    Named(Vec<String>),
}

/// An address of an interface and the length of its prefix, as they are now.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Network {
    interface: String,
    /// An adapter that was replugged has its old name, and multicast groups to join again.
    index: Option<u32>,
    ip: IpAddr,
    prefix: u8,
}

impl Interfaces {
    /// The networks this host is in through these interfaces.
    pub(crate) fn networks(&self) -> std::io::Result<BTreeSet<Network>> {
        let up = |status| !matches!(status, IfOperStatus::Down | IfOperStatus::NotPresent);
        Ok(if_addrs::get_if_addrs()?
            .into_iter()
            .filter(|interface| up(interface.oper_status.clone()))
            .filter(|interface| match self {
                Self::All => true,
                Self::LoopbackOnly => interface.is_loopback(),
                Self::Named(names) => names.contains(&interface.name),
            })
            .map(|interface| Network {
                ip: interface.ip(),
                prefix: match &interface.addr {
                    IfAddr::V4(v4) => v4.prefixlen,
                    IfAddr::V6(v6) => v6.prefixlen,
                },
                index: interface.index,
                interface: interface.name,
            })
            .collect())
    }

    /// Whether an announcement may send us there. Announcements come from neighbours; without this
    /// one of them could have us knock at any host on the Internet.
    pub(crate) fn admits(&self, ip: IpAddr, networks: &BTreeSet<Network>) -> bool {
        if ip.is_loopback() {
            return networks.iter().any(|network| network.ip.is_loopback());
        }
        *self != Self::LoopbackOnly
            && (is_local(ip) || networks.iter().any(|network| network.contains(ip)))
    }

    /// Whether an address that the user gave, or that is known from before, may be probed.
    pub(crate) fn permits(&self, ip: IpAddr) -> bool {
        *self != Self::LoopbackOnly || ip.is_loopback()
    }

    /// Restricts an mDNS daemon to these interfaces.
    pub(crate) fn restrict(&self, daemon: &ServiceDaemon) -> Result<(), Error> {
        let result = match self {
            Self::All => Ok(()),
            Self::LoopbackOnly => daemon
                .disable_interface(IfKind::All)
                .and_then(|()| daemon.enable_interface(IfKind::LoopbackV4)),
            Self::Named(names) => daemon.disable_interface(IfKind::All).and_then(|()| {
                let kinds = names.iter().cloned().map(IfKind::Name);
                daemon.enable_interface(kinds.collect::<Vec<_>>())
            }),
        };
        result.map_err(mdns)
    }
}

impl Network {
    fn contains(&self, ip: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.ip, ip) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let mask = u32::MAX
                    .checked_shl(32_u32.saturating_sub(prefix))
                    .unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let mask = u128::MAX
                    .checked_shl(128_u32.saturating_sub(prefix))
                    .unwrap_or(0);
                net.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

/// Addresses that never leave a site: RFC 1918, RFC 3927, RFC 6598, RFC 4193, link-local IPv6.
fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64)
        }
        IpAddr::V6(ip) => ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

pub(crate) fn mdns(error: mdns_sd::Error) -> Error {
    Error::Mdns {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(ip: &str, prefix: u8) -> Network {
        Network {
            interface: "test0".into(),
            index: Some(2),
            ip: ip.parse().unwrap(),
            prefix,
        }
    }

    #[test]
    fn announcements_lead_to_neighbours_and_local_addresses_only() {
        let networks = [network("198.51.100.7", 24), network("2001:db8::7", 64)];
        let networks = networks.into_iter().collect();
        let admits = |ip: &str| Interfaces::All.admits(ip.parse().unwrap(), &networks);
        for ip in [
            "198.51.100.200",
            "2001:db8::1:2",
            "10.9.8.7",
            "169.254.1.1",
            "100.64.0.1",
        ] {
            assert!(admits(ip), "{ip}");
        }
        assert!(admits("fe80::1") && admits("fd12::1"));
        for ip in ["198.51.101.1", "8.8.8.8", "100.128.0.1", "2001:db8:0:1::1"] {
            assert!(!admits(ip), "{ip}");
        }
        assert!(
            !admits("127.0.0.1"),
            "there is no loopback among these networks"
        );
    }

    #[test]
    fn a_prefix_of_any_length_is_computed() {
        let ip = "203.0.113.9".parse().unwrap();
        assert!(network("203.0.113.9", 32).contains(ip));
        assert!(!network("203.0.113.8", 32).contains(ip));
        assert!(network("203.0.113.8", 31).contains(ip));
        assert!(network("0.0.0.0", 0).contains(ip));
        assert!(network("::", 0).contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn loopback_only_is_only_loopback() {
        let only = Interfaces::LoopbackOnly;
        let networks = only.networks().unwrap();
        assert!(networks.iter().all(|network| network.ip.is_loopback()));
        let networks = [network("127.0.0.1", 8), network("192.168.1.2", 24)]
            .into_iter()
            .collect();
        assert!(only.admits("127.0.0.1".parse().unwrap(), &networks));
        for ip in ["192.168.1.9", "10.0.0.1", "fe80::1"] {
            assert!(!only.admits(ip.parse().unwrap(), &networks), "{ip}");
            assert!(!only.permits(ip.parse().unwrap()), "{ip}");
        }
    }
}
