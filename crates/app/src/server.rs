//! The chunk server: what devices fetch from while they are updated.
//!
//! A listener for each local address that reaches a device, opened when it is first needed; never
//! an unspecified address. It serves the releases that jobs offer, and nothing else of the library.

pub mod local;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use airlift_release::Release;
use airlift_serve::{Limits, MemoryStore, PlainOffer, Server, bind_from, router};
use airlift_wire::{Digest, ErrorCode};

use crate::Error;
use crate::dto::{self, ErrorInfo, Event, Settings};
use crate::events::Events;

/// The listeners of this process and what they serve.
pub struct ChunkServer {
    store: Arc<MemoryStore>,
    /// What boards that check no signature are given.
    plain: PlainOffer,
    /// Offered releases, oldest first, and how many jobs use each.
    offered: Mutex<Vec<(Digest, usize)>>,
    listeners: Mutex<BTreeMap<IpAddr, Server>>,
    error: Mutex<Option<ErrorInfo>>,
    events: Events,
}

/// A release that a job needs served. Dropping it lets it be taken back when room is needed.
pub struct Offer {
    server: Arc<ChunkServer>,
    id: Digest,
}

impl ChunkServer {
    /// A server that listens nowhere yet.
    pub fn new(events: Events, plain: PlainOffer) -> Self {
        Self {
            store: Arc::default(),
            plain,
            offered: Mutex::default(),
            listeners: Mutex::default(),
            error: Mutex::default(),
            events,
        }
    }

    /// Where a device that this local address reaches can fetch from; opens the listener if it is
    /// not open.
    ///
    /// # Errors
    /// `cannot_listen`, when no port is free or the interface is switched off in the settings.
    pub fn ensure(&self, ip: IpAddr, settings: &Settings) -> Result<SocketAddr, Error> {
        if let Some(server) = lock(&self.listeners).get(&ip) {
            return Ok(server.local_addr());
        }
        let opened = self.listen(ip, settings);
        *lock(&self.error) = opened.as_ref().err().map(ErrorInfo::from);
        self.events.send(Event::Server(self.view()));
        opened
    }

    /// Listens on every local address that the settings permit: boards of the plain protocol are not
    /// found, they ask.
    ///
    /// # Errors
    /// `cannot_listen`, when there is no address on which it could.
    pub fn ensure_all(&self, settings: &Settings) -> Result<(), Error> {
        let addresses = local::addresses().map_err(airlift_serve::Error::Start)?;
        let permitted = |ip: &IpAddr| permitted(*ip, &settings.interfaces).is_ok();
        let mut refused = None;
        let mut listens = false;
        for ip in addresses.local.into_iter().filter(permitted) {
            match self.ensure(ip, settings) {
                Ok(_) => listens = true,
                Err(error) => refused = Some(error),
            }
        }
        match refused {
            Some(error) if !listens => Err(error),
            _ => Ok(()),
        }
    }

    fn listen(&self, ip: IpAddr, settings: &Settings) -> Result<SocketAddr, Error> {
        if ip.is_unspecified() {
            return Err(Error::Internal(
                "no local address reaches the device".into(),
            ));
        }
        permitted(ip, &settings.interfaces)?;
        let mut listeners = lock(&self.listeners);
        let listener = bind_from(ip, settings.port)?;
        let address = listener
            .local_addr()
            .map_err(|e| Error::Internal(e.to_string()))?;
        let routes = router(self.store.clone()).merge(self.plain.router(address));
        let server = Server::start(listener, routes, Limits::default())?;
        listeners.insert(ip, server);
        tracing::info!(%address, "chunk server listens");
        Ok(address)
    }

    /// Serves a release until the offer is dropped, and longer if there is room.
    pub fn offer(self: &Arc<Self>, release: &Release) -> Result<Offer, Error> {
        let id = release.id();
        let mut offered = lock(&self.offered);
        loop {
            let parts = release.parts().map(|(_, part)| part.bytes().clone());
            match self.store.insert(release.envelope().clone(), parts) {
                Ok(_) => break,
                Err(full @ airlift_serve::Error::StoreFull { .. }) => {
                    let Some(unused) = offered.iter().position(|(_, jobs)| *jobs == 0) else {
                        return Err(full.into());
                    };
                    let (gone, _) = offered.remove(unused);
                    self.store.remove(&gone);
                }
                Err(other) => return Err(other.into()),
            }
        }
        match offered.iter_mut().find(|(known, _)| *known == id) {
            Some((_, jobs)) => *jobs += 1,
            None => offered.push((id, 1)),
        }
        Ok(Offer {
            server: self.clone(),
            id,
        })
    }

    /// What the window sees of it.
    pub fn view(&self) -> dto::Server {
        let listeners = lock(&self.listeners);
        dto::Server {
            addresses: listeners
                .values()
                .map(|s| s.local_addr().to_string())
                .collect(),
            error: lock(&self.error).clone(),
        }
    }

    /// Closes every listener; jobs that still need one open it again.
    pub async fn stop(&self) {
        let listeners = std::mem::take(&mut *lock(&self.listeners));
        for (_, server) in listeners {
            server.stop().await;
        }
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let mut offered = lock(&self.server.offered);
        if let Some((_, jobs)) = offered.iter_mut().find(|(id, _)| *id == self.id) {
            *jobs = jobs.saturating_sub(1);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing inside is left half-changed where a panic could come.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the user lets Airlift listen on the interface of this address. Loopback always is: it
/// reaches nothing but this computer.
fn permitted(ip: IpAddr, interfaces: &[String]) -> Result<(), Error> {
    if interfaces.is_empty() || ip.is_loopback() {
        return Ok(());
    }
    let here = if_addrs::get_if_addrs().unwrap_or_default();
    let name = here
        .into_iter()
        .find(|interface| interface.ip() == ip)
        .map(|i| i.name);
    if name.as_ref().is_some_and(|name| interfaces.contains(name)) {
        return Ok(());
    }
    let name = name.unwrap_or_else(|| ip.to_string());
    let message =
        format!("the device is reached through {name}, which is switched off in Settings");
    Err(Error::refused(ErrorCode::CannotListen, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use airlift_release::{FilesInput, PackOptions, SigningKey, pack};
    use std::net::Ipv4Addr;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn settings() -> Settings {
        // Far from the default, so that a running Airlift on this computer is left alone.
        Settings {
            theme: "system".into(),
            port: 41_410,
            interfaces: vec![],
            notify: true,
        }
    }

    fn release(n: u32, size: usize) -> Release {
        let key = SigningKey::from_seed(&[9; 32]);
        let mut options = PackOptions::new("server-test", n, &key);
        options.version = Some("1");
        let name = format!("f{n}");
        options.files = Some(FilesInput::from_iter([(
            name.as_str(),
            vec![n as u8; size],
        )]));
        pack(options).unwrap().release
    }

    #[test]
    fn one_listener_an_address_and_never_all_of_them() {
        let server = ChunkServer::new(Events::default(), PlainOffer::default());
        let first = server.ensure(LOOPBACK, &settings()).unwrap();
        assert_eq!(server.ensure(LOOPBACK, &settings()).unwrap(), first);
        assert_eq!(server.view().addresses, [first.to_string()]);
        assert!(
            server
                .ensure(Ipv4Addr::UNSPECIFIED.into(), &settings())
                .is_err()
        );
    }

    #[test]
    fn a_second_process_on_the_same_address_gets_the_next_port() {
        let (a, b) = (
            ChunkServer::new(Events::default(), PlainOffer::default()),
            ChunkServer::new(Events::default(), PlainOffer::default()),
        );
        let first = a.ensure(LOOPBACK, &settings()).unwrap();
        assert_ne!(b.ensure(LOOPBACK, &settings()).unwrap(), first);
    }

    #[test]
    fn a_release_nobody_needs_makes_room_for_one_that_somebody_does() {
        let mut server = ChunkServer::new(Events::default(), PlainOffer::default());
        server.store = Arc::new(MemoryStore::with_limit(3 << 20));
        let server = Arc::new(server);
        let held = server.offer(&release(1, 1 << 20)).unwrap();
        drop(server.offer(&release(2, 1 << 20)).unwrap());
        let third = server.offer(&release(3, 1 << 20)).unwrap();
        assert!(
            server.offer(&release(4, 1 << 20)).is_err(),
            "both are in use"
        );
        drop((held, third));
        assert!(server.offer(&release(4, 1 << 20)).is_ok());
    }

    #[test]
    fn an_interface_that_is_switched_off_is_not_listened_on() {
        let error = permitted(Ipv4Addr::new(192, 0, 2, 1).into(), &["eth9".into()]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::CannotListen);
        assert!(permitted(LOOPBACK, &["eth9".into()]).is_ok());
    }
}
