use proptest::prelude::*;

use super::*;

/// One thing that happens, drawn from a small world so that things collide.
#[derive(Debug, Clone)]
enum Event {
    Announced(u8, Vec<u8>),
    Withdrawn(u8),
    Remembered(u8, bool, Vec<u8>),
    Manual(u8),
    RemoveManual(u8),
    ProbeNow(u8),
    Forget(u8),
    InterfacesChanged,
    /// The `n`th of the probes under way ends, well or not.
    Probed(prop::sample::Index, Option<(u8, u32)>),
    /// The end of a probe that never was.
    Stray(u64),
    Pass(u32),
    Back(u32),
}

fn event() -> impl Strategy<Value = Event> {
    let place = 0..20_u8;
    let places = prop::collection::vec(place.clone(), 0..12);
    let answer = prop::option::weighted(0.7, (0..5_u8, 0..100_000_u32));
    prop_oneof![
        4 => (0..6_u8, places.clone()).prop_map(|(i, at)| Event::Announced(i, at)),
        1 => (0..6_u8).prop_map(Event::Withdrawn),
        1 => (0..5_u8, any::<bool>(), places).prop_map(|(d, i, at)| Event::Remembered(d, i, at)),
        1 => place.clone().prop_map(Event::Manual),
        1 => place.prop_map(Event::RemoveManual),
        1 => (0..5_u8).prop_map(Event::ProbeNow),
        1 => (0..5_u8).prop_map(Event::Forget),
        1 => Just(Event::InterfacesChanged),
        12 => (any::<prop::sample::Index>(), answer).prop_map(|(n, a)| Event::Probed(n, a)),
        1 => any::<u64>().prop_map(Event::Stray),
        6 => (0..20_000_u32).prop_map(Event::Pass),
        1 => any::<u32>().prop_map(Event::Back),
    ]
}

fn place(n: u8) -> SocketAddr {
    match n {
        0 => addr("0.0.0.0:80"),
        1 => addr("224.0.0.251:80"),
        2 => addr("192.0.2.1:0"),
        n if n % 2 == 0 => addr(&format!("192.0.2.{n}:80")),
        n => addr(&format!("[fe80::{n}%3]:80")),
    }
}

fn name(n: u8) -> DeviceId {
    id(&format!("d{n}"))
}

proptest! {
    #[test]
    fn no_sequence_of_inputs_breaks_the_table(events in prop::collection::vec(event(), 1..200)) {
        let mut table = Table::new(3);
        let mut now = secs(100);
        let mut under_way: Vec<(ProbeToken, SocketAddr)> = Vec::new();
        let mut online = BTreeSet::new();
        for event in events {
            let at = |places: Vec<u8>| places.into_iter().map(place).collect::<Vec<_>>();
            let input = match event {
                Event::Announced(i, places) => {
                    Input::Announced { instance: format!("i{i}"), addresses: at(places) }
                }
                Event::Withdrawn(i) => Input::Withdrawn { instance: format!("i{i}") },
                Event::Remembered(d, with, places) => Input::Remembered {
                    id: name(d),
                    info: with.then(|| Box::new(info(name(d).as_str(), secs(1)))),
                    addresses: at(places),
                    last_seen_unix: None,
                },
                Event::Manual(n) => Input::Manual(place(n)),
                Event::RemoveManual(n) => Input::RemoveManual(place(n)),
                Event::ProbeNow(d) => Input::ProbeNow(name(d)),
                Event::Forget(d) => Input::Forget(name(d)),
                Event::InterfacesChanged => Input::InterfacesChanged,
                Event::Probed(_, _) if under_way.is_empty() => Input::Tick,
                Event::Probed(n, answer) => {
                    let (token, addr) = under_way.swap_remove(n.index(under_way.len()));
                    let result = match answer {
                        Some((d, uptime)) => Ok(Box::new(Answer {
                            info: info(name(d).as_str(), Duration::from_millis(uptime.into())),
                            local_addr: IpAddr::V4(Ipv4Addr::LOCALHOST),
                            round_trip: secs(0),
                            unix: 0,
                        })),
                        None => Err(Error::TimedOut { addr }),
                    };
                    Input::Probed { token, result }
                }
                Event::Stray(n) => Input::Probed {
                    token: ProbeToken(n | 1 << 40),
                    result: Err(Error::TimedOut { addr: place(4) }),
                },
                Event::Pass(millis) => {
                    now += Duration::from_millis(millis.into());
                    Input::Tick
                }
                Event::Back(millis) => {
                    let earlier = now.saturating_sub(Duration::from_millis(millis.into()));
                    under_way.extend(probes(table.handle(Input::Tick, earlier), &mut online));
                    continue;
                }
            };
            under_way.extend(probes(table.handle(input, now), &mut online));
            table.check();
            prop_assert_eq!(under_way.len(), table.lanes.in_flight());
            let really: BTreeSet<_> =
                table.devices().into_iter().filter(|d| d.online).map(|d| d.id).collect();
            prop_assert_eq!(&online, &really, "the changes add up to the snapshot");
            prop_assert!(table.next_wake().is_none_or(|at| at > now), "no busy loop");
        }
        // Whatever happened: with nothing answering, all are offline after ten seconds.
        let end = now + secs(10);
        while now < end {
            now += Duration::from_millis(100);
            for (token, addr) in std::mem::take(&mut under_way) {
                let input = Input::Probed { token, result: Err(Error::TimedOut { addr }) };
                under_way.extend(probes(table.handle(input, now), &mut online));
            }
            under_way.extend(probes(table.handle(Input::Tick, now), &mut online));
        }
        prop_assert!(table.devices().iter().all(|device| !device.online));
    }
}

/// The probes among the effects; the changes are applied to `online`.
fn probes(effects: Vec<Effect>, online: &mut BTreeSet<DeviceId>) -> Vec<(ProbeToken, SocketAddr)> {
    let mut probes = Vec::new();
    for effect in effects {
        match effect {
            Effect::Probe { token, addr } => probes.push((token, addr)),
            Effect::Change(change) => match *change {
                Change::Appeared(seen) => assert!(online.insert(seen.id), "it appeared twice"),
                Change::Changed(seen) => assert_eq!(online.contains(&seen.id), seen.online),
                Change::Gone(seen) => assert!(online.remove(&seen.id), "it was not there"),
                Change::Forgotten(id) => drop(online.remove(&id)),
            },
        }
    }
    probes
}
