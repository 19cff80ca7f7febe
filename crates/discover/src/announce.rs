//! Announcing a device, for the devices that are programs on this host.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use mdns_sd::{IfKind, ServiceDaemon, ServiceInfo};

use crate::Error;
use crate::browse::SERVICE_TYPE;
use crate::device::{DeviceId, DeviceInfo, Slot};
use crate::interfaces::{Interfaces, mdns};

/// The version of the API that devices announce.
pub const API: u32 = 1;

/// The longest label of a name (RFC 1035 section 2.3.4), in bytes.
const MAX_LABEL: usize = 63;
/// How long [`Announcement::withdraw`] waits for the goodbye to be sent.
const GOODBYE: Duration = Duration::from_millis(500);

/// What a device says about itself in its TXT record: a hint for whoever listens, and no identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txt {
    /// Who it is.
    pub id: DeviceId,
    /// The product whose releases it takes.
    pub product: String,
    /// The chip.
    pub chip: String,
    /// The version it runs; empty if it does not know.
    pub version: String,
    /// The slot it runs from.
    pub slot: Slot,
}

impl Txt {
    fn pairs(&self) -> [(&'static str, String); 6] {
        [
            ("id", self.id.to_string()),
            ("product", self.product.clone()),
            ("chip", self.chip.clone()),
            ("version", self.version.clone()),
            ("slot", self.slot.to_string()),
            ("api", API.to_string()),
        ]
    }
}

impl From<&DeviceInfo> for Txt {
    fn from(info: &DeviceInfo) -> Self {
        Self {
            id: info.id.clone(),
            product: info.product.clone(),
            chip: info.chip.clone(),
            version: info.running.version.clone().unwrap_or_default(),
            slot: info.running.slot,
        }
    }
}

/// An mDNS responder that many devices of one process share. Clones are the same responder; it stops
/// with the last clone and the last announcement.
#[derive(Clone)]
pub struct Announcer {
    responder: Arc<Responder>,
}

struct Responder {
    daemon: ServiceDaemon,
    interfaces: Interfaces,
}

impl Drop for Responder {
    fn drop(&mut self) {
        // Comes after the goodbyes in the daemon's queue, so they are sent.
        let _ = self.daemon.shutdown();
    }
}

impl Announcer {
    /// Starts a responder on these interfaces.
    ///
    /// # Errors
    /// [`Error::Mdns`] when it cannot be started.
    pub fn start(interfaces: Interfaces) -> Result<Self, Error> {
        let daemon = ServiceDaemon::new().map_err(mdns)?;
        // Owned from here on, so that it is shut down when what follows goes wrong.
        let responder = Responder { daemon, interfaces };
        responder.interfaces.restrict(&responder.daemon)?;
        Ok(Self {
            responder: Arc::new(responder),
        })
    }

    /// Announces a device that listens on `port`, under the instance name `instance` (at most 63
    /// bytes of UTF-8).
    ///
    /// # Errors
    /// [`Error::Mdns`] when the name or the TXT record is too long, or the responder is gone.
    pub fn announce(&self, instance: &str, port: u16, txt: &Txt) -> Result<Announcement, Error> {
        if instance.is_empty() || instance.len() > MAX_LABEL {
            let reason = format!("an instance name has 1 to {MAX_LABEL} bytes");
            return Err(Error::Mdns { reason });
        }
        let mut announcement = Announcement {
            announcer: self.clone(),
            instance: instance.to_owned(),
            port,
            registered: None,
        };
        announcement.update(txt)?;
        Ok(announcement)
    }
}

/// A device that is announced until this is dropped.
pub struct Announcement {
    announcer: Announcer,
    instance: String,
    port: u16,
    registered: Option<String>,
}

impl Announcement {
    /// Announces a device with a responder of its own. For many in one process see [`Announcer`].
    ///
    /// # Errors
    /// As [`Announcer::start`] and [`Announcer::announce`].
    pub fn new(
        instance: &str,
        port: u16,
        txt: &Txt,
        interfaces: Interfaces,
    ) -> Result<Self, Error> {
        Announcer::start(interfaces)?.announce(instance, port, txt)
    }

    /// Announces a changed TXT record.
    ///
    /// # Errors
    /// [`Error::Mdns`] when it is too long, or the responder is gone.
    pub fn update(&mut self, txt: &Txt) -> Result<(), Error> {
        // One host name a device: two devices on this computer are two hosts to whoever listens.
        let label = txt.id.as_str();
        let host = format!("{}.local.", label.get(..MAX_LABEL).unwrap_or(label));
        let Responder { daemon, interfaces } = &*self.announcer.responder;
        let pairs = txt.pairs();
        let service = |ip: &str| {
            ServiceInfo::new(
                SERVICE_TYPE,
                &self.instance,
                &host,
                ip,
                self.port,
                &pairs[..],
            )
        };
        let service = match interfaces {
            Interfaces::LoopbackOnly => service(&Ipv4Addr::LOCALHOST.to_string()),
            Interfaces::All => service("").map(ServiceInfo::enable_addr_auto),
            Interfaces::Named(names) => service("").map(|service| {
                let mut service = service.enable_addr_auto();
                service.set_interfaces(names.iter().cloned().map(IfKind::Name).collect());
                service
            }),
        }
        .map_err(mdns)?;
        let name = service.get_fullname().to_owned();
        daemon.register(service).map_err(mdns)?;
        self.registered = Some(name);
        Ok(())
    }

    /// Says goodbye and waits until that is sent, or half a second. Dropping says it without waiting, so
    /// a process that ends right then may not get to it.
    pub fn withdraw(mut self) {
        if let Some(name) = self.registered.take()
            && let Ok(sent) = self.announcer.responder.daemon.unregister(&name)
        {
            let _ = sent.recv_timeout(GOODBYE);
        }
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(name) = self.registered.take() {
            let _ = self.announcer.responder.daemon.unregister(&name);
        }
    }
}
