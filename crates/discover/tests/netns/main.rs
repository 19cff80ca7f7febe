//! Real interfaces that come and go, in network namespaces of this test's own: two hosts on one
//! computer, with virtual cables between them. Needs Linux, root and iproute2; is skipped elsewhere.
//!
//! ```text
//!   Discovery ── lan1 10.99.1.1 ══════ 10.99.1.2 lan1 ── GET /v1/device
//!   (host)       lan2 10.99.2.1 ══════ 10.99.2.2 lan2    and mDNS (device)
//! ```
#![cfg(target_os = "linux")]

use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

#[path = "../common/fake_device.rs"]
mod fake_device;
mod lab;
mod role;

use fake_device::unique_id;
use lab::{Lab, Side};
use role::{ROLE, Seen};

/// A device whose link went down is shown as gone within this.
const GONE: Duration = Duration::from_secs(10);
/// And is online again within this, where it was, from the moment the link is up.
const BACK: Duration = Duration::from_secs(10);
/// What has to be announced first is online within this. The announcer looks at its interfaces every
/// 5 s, and this computer may be busy.
const ONLINE: Duration = Duration::from_secs(20);

/// Any port of any IPv4 address, as on a microcontroller without IPv6.
const IPV4: &str = "0.0.0.0:0";

type Scenario = (&'static str, fn(&Lab));

const SCENARIOS: [Scenario; 7] = [
    (
        "an_interface_that_appears_goes_down_and_comes_back_is_used_each_time",
        an_interface_that_appears_goes_down_and_comes_back_is_used_each_time,
    ),
    (
        "an_adapter_that_is_replugged_at_once_is_listened_on",
        an_adapter_that_is_replugged_at_once_is_listened_on,
    ),
    (
        "a_device_that_moved_while_its_cable_was_out_is_the_same_device",
        a_device_that_moved_while_its_cable_was_out_is_the_same_device,
    ),
    (
        "a_device_that_changes_its_address_is_followed",
        a_device_that_changes_its_address_is_followed,
    ),
    (
        "a_device_on_two_networks_is_one_and_survives_the_loss_of_either",
        a_device_on_two_networks_is_one_and_survives_the_loss_of_either,
    ),
    (
        "an_interface_that_is_not_chosen_is_not_listened_on",
        an_interface_that_is_not_chosen_is_not_listened_on,
    ),
    (
        "a_network_without_ipv4_is_enough",
        a_network_without_ipv4_is_enough,
    ),
];

/// All at once, for they spend their time waiting.
#[test]
fn devices_on_another_host_are_found_lost_and_found_again() {
    if let Err(reason) = permitted() {
        eprintln!("skipped: no network namespaces here: {reason}");
        return;
    }
    lab::sweep();
    let failed: Vec<&str> = std::thread::scope(|scope| {
        let running: Vec<_> = SCENARIOS
            .iter()
            .enumerate()
            .map(|(n, (name, scenario))| {
                let run = move || {
                    let lab = Lab::new(&n.to_string()).unwrap();
                    scenario(&lab);
                };
                let run = move || catch_unwind(AssertUnwindSafe(run)).is_ok();
                let thread = std::thread::Builder::new().name((*name).into());
                (*name, thread.spawn_scoped(scope, run).unwrap())
            })
            .collect();
        let failed = running
            .into_iter()
            .filter_map(|(name, thread)| (!thread.join().unwrap_or(false)).then_some(name));
        failed.collect()
    });
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Not a test: what [`Lab`] starts in a namespace.
#[tokio::test]
#[ignore = "is started by the test in this file"]
async fn in_a_role() {
    match std::env::var(ROLE) {
        Ok(role) => role::play(&role).await,
        Err(_) => eprintln!("skipped: only the test in this file gives it a role"),
    }
}

/// Whether this host lets us make namespaces, cables and processes in them.
fn permitted() -> Result<(), String> {
    let lab = Lab::new("try")?;
    lab.plug(1)?;
    lab.exec_works()
}

fn report(what: &str, took: Duration) {
    let scenario = std::thread::current();
    let scenario = scenario.name().unwrap_or_default();
    eprintln!("{scenario}: {what} after {:.1} s", took.as_secs_f32());
}

fn addr(text: &str, port: u16) -> SocketAddr {
    SocketAddr::new(text.parse().unwrap(), port)
}

fn gone(seen: &Seen) -> bool {
    !seen.online
}

/// Is used at that address.
fn at(addr: SocketAddr) -> impl Fn(&Seen) -> bool {
    move |seen| seen.online && seen.addresses.first() == Some(&addr)
}

fn an_interface_that_appears_goes_down_and_comes_back_is_used_each_time(lab: &Lab) {
    let id = unique_id("returns");
    // A network adapter that is put in while the program runs.
    let mut host = lab.host(None);
    let start = Instant::now();
    lab.network(1);
    let (_device, port) = lab.device(&id, IPV4, None);
    let home = addr("10.99.1.2", port);
    let (seen, took) = host.wait(&id, start, ONLINE, at(home));
    report("a device on a new interface: online", took);
    assert_eq!(seen.addresses, [home]);
    assert_eq!(seen.local_addr, Some("10.99.1.1".parse().unwrap()));

    // Down, and without its address, as the programs that configure networks leave it.
    lab.must(Side::Host, "link set lan1 down");
    let down = Instant::now();
    lab.must(Side::Host, "address flush dev lan1");
    let (_, took) = host.wait(&id, down, GONE, gone);
    report("interface down: gone", took);

    lab.up(Side::Host, 1);
    let up = Instant::now();
    let (seen, took) = host.wait(&id, up, BACK, at(home));
    report("interface up: online", took);
    assert_eq!(seen.local_addr, Some("10.99.1.1".parse().unwrap()));

    // That one was remembered. One never heard of can only come from mDNS, which lives again.
    let stranger = unique_id("stranger");
    let start = Instant::now();
    let (_device, port) = lab.device(&stranger, IPV4, None);
    let (_, took) = host.wait(&stranger, start, ONLINE, at(addr("10.99.1.2", port)));
    report("another device after that: online", took);
}

fn an_adapter_that_is_replugged_at_once_is_listened_on(lab: &Lab) {
    let (known, stranger) = (unique_id("known"), unique_id("stranger"));
    let plug = || {
        lab.plug(1).unwrap();
        // Without IPv6 there is one multicast group, and the new adapter has not joined it.
        lab.must(Side::Host, "link set lan1 addrgenmode none");
        lab.up(Side::Host, 1);
        lab.up(Side::Device, 1);
    };
    plug();
    let mut host = lab.host(None);
    let (_device, port) = lab.device(&known, IPV4, None);
    let start = Instant::now();
    host.wait(&known, start, ONLINE, at(addr("10.99.1.2", port)));

    // Sooner than anybody looks: the same name and the same address as before.
    lab.must(Side::Host, "link delete lan1");
    plug();
    let start = Instant::now();
    let (_device, port) = lab.device(&stranger, IPV4, None);
    let (_, took) = host.wait(&stranger, start, ONLINE, at(addr("10.99.1.2", port)));
    report("another device after that: online", took);
}

fn a_device_that_moved_while_its_cable_was_out_is_the_same_device(lab: &Lab) {
    let id = unique_id("moves");
    lab.network(1);
    let mut host = lab.host(Some("lan1"));
    let (_device, port) = lab.device(&id, IPV4, None);
    let start = Instant::now();
    let (_, took) = host.wait(&id, start, ONLINE, at(addr("10.99.1.2", port)));
    report("online", took);

    // The other end: the host keeps its address and sees that the carrier is lost.
    lab.must(Side::Device, "link set lan1 down");
    let down = Instant::now();
    let (_, took) = host.wait(&id, down, GONE, gone);
    report("cable out: gone", took);

    lab.must(Side::Device, "address flush dev lan1");
    lab.must(Side::Device, "address add 10.99.1.3/24 dev lan1");
    lab.must(Side::Device, "link set lan1 up");
    let up = Instant::now();
    let (_, took) = host.wait(&id, up, ONLINE, at(addr("10.99.1.3", port)));
    report("cable in, at another address: online", took);
}

fn a_device_that_changes_its_address_is_followed(lab: &Lab) {
    let id = unique_id("renumbered");
    lab.network(1);
    let mut host = lab.host(None);
    let (_device, port) = lab.device(&id, IPV4, Some("lan1"));
    let start = Instant::now();
    let (_, took) = host.wait(&id, start, ONLINE, at(addr("10.99.1.2", port)));
    report("online", took);

    lab.must(Side::Device, "address delete 10.99.1.2/24 dev lan1");
    lab.must(Side::Device, "address add 10.99.1.3/24 dev lan1");
    let moved = Instant::now();
    let (seen, took) = host.wait(&id, moved, ONLINE, at(addr("10.99.1.3", port)));
    report("another address: online there", took);
    assert_eq!(seen.local_addr, Some("10.99.1.1".parse().unwrap()));
}

fn a_device_on_two_networks_is_one_and_survives_the_loss_of_either(lab: &Lab) {
    let id = unique_id("twice");
    lab.network(1);
    lab.network(2);
    let mut host = lab.host(None);
    let (_device, port) = lab.device(&id, IPV4, None);
    let (one, two) = (addr("10.99.1.2", port), addr("10.99.2.2", port));
    let start = Instant::now();
    let both = |seen: &Seen| {
        seen.online
            && seen.addresses.len() == 2
            && [one, two].iter().all(|addr| seen.addresses.contains(addr))
    };
    let (seen, took) = host.wait(&id, start, ONLINE, both);
    report("two addresses under one id", took);

    // Whichever it is used at: that cable goes.
    let (lost, other, local) = if seen.addresses[0] == one {
        ("lan1", two, "10.99.2.1")
    } else {
        ("lan2", one, "10.99.1.1")
    };
    lab.must(Side::Device, &format!("link set {lost} down"));
    let down = Instant::now();
    let (seen, took) = host.wait(&id, down, GONE, at(other));
    report("one cable out: used at the other address", took);
    assert_eq!(seen.local_addr, Some(local.parse().unwrap()));
    assert!(host.seen.iter().all(|seen| seen.online), "it never went");
    assert!(host.seen.iter().all(|seen| seen.id == id.as_str()));
}

fn an_interface_that_is_not_chosen_is_not_listened_on(lab: &Lab) {
    let (chosen, other) = (unique_id("chosen"), unique_id("other"));
    lab.network(1);
    lab.network(2);
    // That this one sees it shows that it is announced to this host.
    let mut everywhere = lab.host(None);
    let (_other, port) = lab.device(&other, IPV4, Some("lan2"));
    let start = Instant::now();
    everywhere.wait(&other, start, ONLINE, at(addr("10.99.2.2", port)));

    let mut host = lab.host(Some("lan1"));
    let (device, port) = lab.device(&chosen, IPV4, Some("lan1"));
    let start = Instant::now();
    let (_, took) = host.wait(&chosen, start, ONLINE, at(addr("10.99.1.2", port)));
    report("online on the interface that is chosen", took);
    // It has asked, and asked again, by the time that this device counts as gone.
    drop(device);
    let (_, took) = host.wait(&chosen, Instant::now(), GONE, gone);
    report("switched off: gone", took);
    assert!(host.seen.iter().all(|seen| seen.id == chosen.as_str()));
}

fn a_network_without_ipv4_is_enough(lab: &Lab) {
    if !Path::new("/proc/net/if_inet6").exists() {
        eprintln!("skipped: this kernel has no IPv6");
        return;
    }
    let id = unique_id("ipv6");
    lab.plug(1).unwrap();
    lab.must(Side::Host, "link set lan1 up");
    lab.must(Side::Device, "link set lan1 up");
    let mut host = lab.host(None);
    let start = Instant::now();
    let (_device, port) = lab.device(&id, "[::]:0", None);
    let link_local = |seen: &Seen| match seen.addresses.first() {
        Some(SocketAddr::V6(v6)) => {
            v6.ip().is_unicast_link_local() && v6.scope_id() != 0 && v6.port() == port
        }
        _ => false,
    };
    let (seen, took) = host.wait(&id, start, ONLINE, |seen| seen.online && link_local(seen));
    report("online at a link-local address", took);
    let ours = seen.local_addr.unwrap();
    assert!(matches!(ours, IpAddr::V6(v6) if v6.is_unicast_link_local()));
}
