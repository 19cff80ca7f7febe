//! The whole of it on loopback: real announcements, real connections, devices that are not real.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

use airlift_discover::announce::{Announcement, Announcer, Txt};
use airlift_discover::{
    Change, Config, DeviceId, Discovery, Error, Interfaces, Remembered, Source,
};
use tokio::sync::broadcast::Receiver;
use tokio::time::{Instant, timeout_at};

#[path = "common/fake_device.rs"]
mod fake_device;

use fake_device::{FakeDevice, info, unique_id};

/// Waits for the change of that device that `wanted` accepts.
async fn change(
    changes: &mut Receiver<Change>,
    id: &DeviceId,
    within: Duration,
    wanted: impl Fn(&Change) -> bool,
) -> Change {
    let end = Instant::now() + within;
    loop {
        let change = timeout_at(end, changes.recv())
            .await
            .expect("it does not happen")
            .unwrap();
        if change.id() == id && wanted(&change) {
            return change;
        }
    }
}

/// Whether a datagram to the mDNS group comes back on the loopback interface of this host. Some
/// sandboxes have no multicast.
async fn loopback_multicast() -> bool {
    use socket2::{Domain, Protocol, Socket, Type};
    let group = Ipv4Addr::new(224, 0, 0, 251);
    let attempt = || -> std::io::Result<(std::net::UdpSocket, std::net::UdpSocket)> {
        let listener = std::net::UdpSocket::bind("0.0.0.0:0")?;
        listener.join_multicast_v4(&group, &Ipv4Addr::LOCALHOST)?;
        listener.set_nonblocking(true)?;
        let sender = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        sender.set_multicast_if_v4(&Ipv4Addr::LOCALHOST)?;
        let port = listener.local_addr()?.port();
        sender.send_to(
            b"hello",
            &SocketAddr::from(SocketAddrV4::new(group, port)).into(),
        )?;
        Ok((listener, sender.into()))
    };
    let Ok((listener, _sender)) = attempt() else {
        return false;
    };
    let listener = tokio::net::UdpSocket::from_std(listener).unwrap();
    let mut buffer = [0; 16];
    let received = tokio::time::timeout(Duration::from_secs(1), listener.recv(&mut buffer)).await;
    matches!(received, Ok(Ok(5)))
}

#[tokio::test]
async fn an_announced_device_appears_changes_dies_and_comes_back_elsewhere() {
    if !loopback_multicast().await {
        eprintln!("skipped: this host has no multicast on loopback");
        return;
    }
    let id = unique_id("mdns");
    let config = Config {
        interfaces: Interfaces::LoopbackOnly,
        ..Config::default()
    };
    let discovery = Discovery::start(config);
    let mut changes = discovery.subscribe();

    let device = FakeDevice::start(&id, "127.0.0.1:0").await;
    let announcer = Announcer::start(Interfaces::LoopbackOnly).unwrap();
    let txt = Txt::from(&info(&id));
    let mut announcement = announcer
        .announce(id.as_str(), device.addr.port(), &txt)
        .unwrap();
    let appeared = change(&mut changes, &id, Duration::from_secs(15), |_| true).await;
    let Change::Appeared(seen) = appeared else {
        panic!("{appeared:?}")
    };
    assert_eq!(seen.addresses, [device.addr]);
    assert_eq!(seen.source, Source::Mdns);
    assert_eq!(seen.local_addr, Some(device.addr.ip()));
    assert!(seen.online && seen.last_seen_unix.is_some());
    assert_eq!(discovery.mdns_error(), None);

    device.info.lock().unwrap().running.version = Some("1.1.0".into());
    announcement
        .update(&Txt {
            version: "1.1.0".into(),
            ..txt.clone()
        })
        .unwrap();
    let version = Some("1.1.0".to_owned());
    let newer = |change: &Change| matches!(change, Change::Changed(seen) if seen.info.running.version == version);
    change(&mut changes, &id, Duration::from_secs(8), newer).await;

    // It loses power: no goodbye, and its announcement is still valid for more than an hour.
    let died = Instant::now();
    drop(device);
    let gone = |change: &Change| matches!(change, Change::Gone(_));
    change(&mut changes, &id, Duration::from_secs(10), gone).await;
    assert!(died.elapsed() < Duration::from_secs(10));
    assert!(!discovery.device(id.as_str()).unwrap().online);

    drop(announcement);
    let device = FakeDevice::start(&id, "127.0.0.1:0").await;
    let announcement = announcer
        .announce(id.as_str(), device.addr.port(), &txt)
        .unwrap();
    let back = |change: &Change| matches!(change, Change::Appeared(_));
    change(&mut changes, &id, Duration::from_secs(15), back).await;
    let seen = discovery.device(id.as_str()).unwrap();
    assert_eq!(
        seen.address(),
        Some(device.addr),
        "the id finds it, not the address"
    );

    // Starting over, as after an interface went down and up, finds it without a new announcement.
    discovery.rescan();
    discovery.forget(&id);
    let forgotten = |change: &Change| matches!(change, Change::Forgotten(_));
    change(&mut changes, &id, Duration::from_secs(1), forgotten).await;
    change(&mut changes, &id, Duration::from_secs(15), back).await;
    announcement.withdraw();
    discovery.stop().await;
}

#[tokio::test]
async fn a_manual_address_needs_no_mdns() {
    let id = unique_id("manual");
    let device = FakeDevice::start(&id, "127.0.0.1:0").await;
    let config = Config {
        interfaces: Interfaces::LoopbackOnly,
        mdns: false,
        ..Config::default()
    };
    let discovery = Discovery::start(config);
    let mut changes = discovery.subscribe();
    let text = format!("localhost:{}", device.addr.port());
    let found = discovery.add_manual(&text).await.unwrap();
    assert!(found.contains(&device.addr));
    change(&mut changes, &id, Duration::from_secs(5), |c| {
        matches!(c, Change::Appeared(_))
    })
    .await;
    let seen = discovery.device(id.as_str()).unwrap();
    assert_eq!(
        (seen.source, seen.address()),
        (Source::Manual, Some(device.addr))
    );

    discovery.forget(&id);
    assert!(discovery.devices().is_empty());
    discovery.remove_manual(&text);
    assert!(discovery.unanswered().is_empty());
}

#[tokio::test]
async fn a_remembered_device_is_listed_at_once_and_found_where_it_was() {
    let id = unique_id("remembered");
    let device = FakeDevice::start(&id, "127.0.0.1:0").await;
    let config = Config {
        interfaces: Interfaces::LoopbackOnly,
        mdns: false,
        remembered: vec![Remembered {
            id: id.clone(),
            info: Some(info(&id)),
            // The first is a real network: loopback only means that it is never asked.
            addresses: vec!["192.0.2.1:80".parse().unwrap(), device.addr],
            last_seen_unix: Some(1),
        }],
        ..Config::default()
    };
    let discovery = Discovery::start(config);
    let seen = discovery.device(id.as_str()).unwrap();
    assert!(!seen.online);
    assert_eq!(seen.addresses, [device.addr]);
    let mut changes = discovery.subscribe();
    change(&mut changes, &id, Duration::from_secs(5), |c| {
        matches!(c, Change::Appeared(_))
    })
    .await;
    assert!(discovery.device(id.as_str()).unwrap().online);
}

#[tokio::test]
async fn what_is_no_address_is_said_to_be_none() {
    let config = Config {
        interfaces: Interfaces::LoopbackOnly,
        mdns: false,
        ..Config::default()
    };
    let discovery = Discovery::start(config);
    let long = "a".repeat(400);
    for text in [
        "",
        "localhost",
        "localhost:0",
        "localhost:http",
        "192.0.2.1:80",
        &long,
    ] {
        let error = discovery.add_manual(text).await.unwrap_err();
        assert!(matches!(error, Error::BadAddress { .. }), "{text}: {error}");
    }
    assert!(discovery.unanswered().is_empty());
}

#[tokio::test]
async fn a_name_that_is_too_long_is_not_announced() {
    let Ok(announcer) = Announcer::start(Interfaces::LoopbackOnly) else {
        eprintln!("skipped: this host has no mDNS");
        return;
    };
    let txt = Txt::from(&info(&unique_id("long")));
    for instance in ["", &"a".repeat(64)] {
        assert!(matches!(
            announcer.announce(instance, 1, &txt),
            Err(Error::Mdns { .. })
        ));
    }
    let long = Txt {
        product: "p".repeat(300),
        ..txt
    };
    let result = Announcement::new("x", 1, &long, Interfaces::LoopbackOnly);
    assert!(matches!(result, Err(Error::Mdns { .. })));
}
