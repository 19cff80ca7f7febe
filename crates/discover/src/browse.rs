//! Listening for announcements.

use std::collections::BTreeSet;
use std::net::{SocketAddr, SocketAddrV6};

use mdns_sd::{Receiver, ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent};

use crate::Error;
use crate::interfaces::{Interfaces, Network, mdns};
use crate::table::Input;

/// The service type that devices announce.
pub const SERVICE_TYPE: &str = "_airlift._tcp.local.";

/// One mDNS daemon that browses for devices until it is dropped.
pub(crate) struct Browse {
    daemon: ServiceDaemon,
    events: Receiver<ServiceEvent>,
}

impl Browse {
    pub(crate) fn start(interfaces: &Interfaces) -> Result<Self, Error> {
        let daemon = ServiceDaemon::new().map_err(mdns)?;
        let events = interfaces
            .restrict(&daemon)
            .and_then(|()| daemon.browse(SERVICE_TYPE).map_err(mdns))
            .inspect_err(|_| {
                let _ = daemon.shutdown();
            })?;
        Ok(Self { daemon, events })
    }

    /// The next announcement; `None` when the daemon is gone.
    pub(crate) async fn next(
        &self,
        interfaces: &Interfaces,
        networks: &BTreeSet<Network>,
    ) -> Option<Input> {
        loop {
            match self.events.recv_async().await.ok()? {
                ServiceEvent::ServiceResolved(service) => {
                    let addresses = addresses(&service)
                        .filter(|addr| interfaces.admits(addr.ip(), networks))
                        .collect();
                    return Some(Input::Announced {
                        instance: service.fullname,
                        addresses,
                    });
                }
                ServiceEvent::ServiceRemoved(_, instance) => {
                    return Some(Input::Withdrawn { instance });
                }
                _ => {}
            }
        }
    }
}

impl Drop for Browse {
    fn drop(&mut self) {
        // Its thread ends by itself; there is nothing to say goodbye for.
        let _ = self.daemon.shutdown();
    }
}

fn addresses(service: &ResolvedService) -> impl Iterator<Item = SocketAddr> {
    let port = service.port;
    service.addresses.iter().map(move |ip| match ip {
        // A link-local address is one per interface, and means nothing without it.
        ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
            SocketAddrV6::new(*v6.addr(), port, 0, v6.scope_id().index).into()
        }
        ip => SocketAddr::new(ip.to_ip_addr().to_canonical(), port),
    })
}
