use super::*;

const A: &str = "192.0.2.10:80";
const A6: &str = "[fd00::10]:80";
const B: &str = "192.0.2.20:80";

#[test]
fn an_announced_device_appears_with_its_first_answer() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    assert!(
        lan.table.devices().is_empty(),
        "an announcement alone makes no device"
    );
    lan.pass(secs(1));
    let seen = lan.device("a");
    assert!(seen.online);
    assert_eq!(seen.addresses, [addr(A)]);
    assert_eq!(seen.source, Source::Mdns);
    assert_eq!(seen.local_addr, Some("192.0.2.1".parse().unwrap()));
    assert_eq!(seen.last_seen_unix, Some(1_800_001_000));
    assert_eq!(lan.news(), ["+a"]);
}

#[test]
fn a_device_that_stays_is_no_news_and_is_probed_every_three_seconds() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(60));
    assert_eq!(lan.news(), ["+a"]);
    let probes = lan.probes.len();
    assert!((17..=21).contains(&probes), "{probes} probes in a minute");
}

#[test]
fn addresses_come_one_by_one_and_belong_to_one_device() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.places.insert(addr(A6), lan.places[&addr(A)].clone());
    lan.announce("one", &[A]);
    lan.pass(secs(1));
    lan.announce("one", &[A6]);
    lan.pass(secs(1));
    let seen = lan.device("a");
    assert_eq!(
        seen.addresses,
        [addr(A), addr(A6)],
        "the first that answered stays first"
    );
    assert!(seen.rivals.is_empty());
    lan.pass(secs(120));
    assert_eq!(
        lan.news(),
        ["+a", "~a"],
        "two ways to one device do not alternate"
    );
}

#[test]
fn the_other_address_takes_over_when_the_first_dies() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.places.insert(addr(A6), lan.places[&addr(A)].clone());
    lan.announce("one", &[A, A6]);
    lan.pass(secs(5));
    let first = lan.device("a").addresses[0];
    lan.places.remove(&first);
    lan.news();
    lan.pass(secs(8));
    let seen = lan.device("a");
    assert!(seen.online);
    assert_ne!(seen.addresses[0], first);
    assert!(!lan.news().contains(&"-a".to_owned()), "it was never gone");
}

#[test]
fn a_device_that_dies_is_gone_within_ten_seconds_whenever_it_dies() {
    for place in [None, Some(Place::Closed), Some(Place::Garbage)] {
        for millis in (0..4000).step_by(50) {
            let mut lan = Lan::new();
            lan.put(A, "a");
            lan.announce("one", &[A]);
            lan.pass(secs(20) + Duration::from_millis(millis));
            match &place {
                Some(place) => lan.places.insert(addr(A), place.clone()),
                None => lan.places.remove(&addr(A)),
            };
            let died = lan.now;
            lan.news();
            // Announcements, as of a reflector that repeats them, keep nobody alive.
            for _ in 0..10 {
                lan.announce("one", &[A]);
                lan.pass(secs(1));
            }
            assert!(!lan.device("a").online, "died at {died:?} as {place:?}");
            assert_eq!(lan.news(), ["-a"]);
        }
    }
}

#[test]
fn one_lost_answer_is_not_death() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    let place = lan.places.remove(&addr(A)).unwrap();
    let before = lan.probes.len();
    while lan.probes.len() == before {
        lan.pass(Duration::from_millis(50));
    }
    lan.pass(PROBE_TIMEOUT);
    lan.places.insert(addr(A), place);
    lan.pass(secs(30));
    assert_eq!(lan.news(), ["+a"]);
}

#[test]
fn a_device_that_comes_back_is_seen_within_seconds() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.places.remove(&addr(A));
    lan.pass(secs(60));
    lan.news();
    lan.put(A, "a");
    lan.pass(RECENT_BACKOFF + PROBE_TIMEOUT + MAX_JITTER);
    assert!(lan.device("a").online);
    assert_eq!(lan.news(), ["+a"]);
}

#[test]
fn a_device_that_is_off_for_long_is_probed_rarely_and_at_once_when_announced() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.places.remove(&addr(A));
    lan.pass(secs(600));
    let before = lan.probes.len();
    lan.pass(secs(330));
    assert!(
        (9..=11).contains(&(lan.probes.len() - before)),
        "every 30 s and the time-out"
    );
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(3));
    assert!(lan.device("a").online);
}

#[test]
fn a_goodbye_is_checked_and_not_believed() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.input(Input::Withdrawn {
        instance: "one".into(),
    });
    let before = lan.probes.len();
    lan.pass(Duration::from_millis(1100));
    assert!(lan.probes.len() > before, "it is asked at once");
    lan.pass(secs(60));
    assert!(lan.device("a").online);
    assert_eq!(lan.device("a").source, Source::Remembered);
}

#[test]
fn a_device_at_a_new_address_is_the_same_device_moved() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.places.remove(&addr(A));
    lan.pass(secs(1));
    lan.put(B, "a");
    lan.announce("one", &[B]);
    lan.pass(secs(5));
    let seen = lan.device("a");
    assert_eq!(seen.addresses[0], addr(B));
    assert!(seen.online && seen.rivals.is_empty());
    assert_eq!(lan.table.devices().len(), 1);
    lan.pass(secs(600));
    lan.announce("one", &[B]);
    assert!(
        !lan.news().contains(&"-a".to_owned()),
        "it was online all the time"
    );
}

#[test]
fn an_address_that_answers_with_another_id_leaves_the_old_device() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.put(A, "b");
    lan.pass(secs(4));
    assert!(lan.device("b").online);
    let old = lan.device("a");
    assert!(!old.online && old.addresses.is_empty());
    assert_eq!(lan.news(), ["+a", "-a", "+b"]);
    lan.put(B, "a");
    lan.announce("two", &[B]);
    lan.pass(secs(1));
    assert_eq!(lan.device("a").addresses, [addr(B)]);
    assert_eq!(lan.device("b").addresses, [addr(A)]);
}

#[test]
fn two_devices_swap_addresses() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.put(B, "b");
    lan.announce("one", &[A]);
    lan.announce("two", &[B]);
    lan.pass(secs(10));
    lan.put(A, "b");
    lan.put(B, "a");
    lan.pass(secs(10));
    assert_eq!(lan.device("a").addresses, [addr(B)]);
    assert_eq!(lan.device("b").addresses, [addr(A)]);
    assert!(lan.device("a").online && lan.device("b").online);
}

#[test]
fn two_devices_with_one_id_are_told_and_do_not_alternate() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(60));
    lan.put(B, "a");
    lan.announce("two", &[B]);
    lan.pass(secs(20));
    let seen = lan.device("a");
    assert_eq!(seen.addresses, [addr(A)]);
    assert_eq!(seen.rivals, [addr(B)]);
    lan.news();
    lan.pass(secs(300));
    assert!(lan.news().is_empty(), "the one that was there stays");

    lan.places.remove(&addr(A));
    lan.pass(secs(12));
    let seen = lan.device("a");
    assert_eq!(seen.addresses[0], addr(B), "the one that answers wins");
    assert!(seen.online && seen.rivals.is_empty());
}

#[test]
fn a_rival_does_not_take_over_because_of_one_lost_answer() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(60));
    lan.put(B, "a");
    lan.announce("two", &[B]);
    lan.pass(secs(20));
    lan.news();
    let place = lan.places.remove(&addr(A)).unwrap();
    let probed = |lan: &Lan| lan.probes.iter().filter(|(_, at)| *at == addr(A)).count();
    let before = probed(&lan);
    while probed(&lan) == before {
        lan.pass(Duration::from_millis(50));
    }
    lan.pass(PROBE_TIMEOUT);
    lan.places.insert(addr(A), place);
    lan.pass(secs(30));
    assert_eq!(lan.device("a").addresses, [addr(A)]);
    assert_eq!(lan.device("a").rivals, [addr(B)]);
}

#[test]
fn a_reboot_of_a_device_with_two_addresses_is_no_conflict() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.places.insert(addr(A6), lan.places[&addr(A)].clone());
    lan.announce("one", &[A, A6]);
    lan.pass(secs(60));
    let (boot_a, boot_a6) = (lan.places.remove(&addr(A)), lan.places.remove(&addr(A6)));
    assert!(boot_a.is_some() && boot_a6.is_some());
    lan.pass(Duration::from_millis(500));
    lan.put(A, "a");
    lan.put(A6, "a");
    for _ in 0..60 {
        lan.pass(secs(1));
        assert!(lan.device("a").rivals.is_empty());
    }
    assert_eq!(lan.device("a").addresses.len(), 2);
}

#[test]
fn a_remembered_device_is_listed_offline_and_found_without_mdns() {
    let mut lan = Lan::new();
    let known = Box::new(info("a", secs(1)));
    let addresses = vec![addr(A), addr(B)];
    let last_seen_unix = Some(5);
    lan.input(Input::Remembered {
        id: id("a"),
        info: Some(known),
        addresses,
        last_seen_unix,
    });
    let seen = lan.device("a");
    assert!(!seen.online);
    assert_eq!(
        (seen.source, seen.last_seen_unix),
        (Source::Remembered, Some(5))
    );
    assert!(lan.news().is_empty());
    lan.put(B, "a");
    lan.pass(secs(40));
    let seen = lan.device("a");
    assert_eq!(seen.addresses[0], addr(B));
    assert_eq!(lan.news()[0], "+a");
    lan.pass(secs(120));
    assert_eq!(
        lan.device("a").addresses,
        [addr(B)],
        "where it never is again is dropped"
    );
}

#[test]
fn what_is_remembered_under_a_wrong_id_is_not_believed() {
    let mut lan = Lan::new();
    let other = Box::new(info("b", secs(1)));
    let addresses = vec![addr(A)];
    let input = Input::Remembered {
        id: id("a"),
        info: Some(other),
        addresses,
        last_seen_unix: None,
    };
    lan.input(input);
    assert!(lan.table.devices().is_empty());
    lan.put(A, "c");
    lan.pass(secs(40));
    assert!(lan.device("c").online, "whoever answers is who it says");
}

#[test]
fn a_manual_address_is_probed_until_it_answers_and_says_why_it_does_not() {
    let mut lan = Lan::new();
    lan.input(Input::Manual(addr(A)));
    lan.places.insert(addr(A), Place::Garbage);
    lan.pass(secs(5));
    let unanswered = lan.table.unanswered();
    assert_eq!(unanswered.len(), 1);
    assert_eq!(unanswered[0].source, Source::Manual);
    assert!(matches!(unanswered[0].error, Error::NotADevice { .. }));
    assert!(lan.table.devices().is_empty(), "garbage makes no device");
    lan.put(A, "a");
    lan.pass(secs(32));
    assert_eq!(lan.device("a").source, Source::Manual);
    assert!(lan.table.unanswered().is_empty());
}

#[test]
fn a_manual_address_that_is_taken_back_is_not_probed() {
    let mut lan = Lan::new();
    lan.input(Input::Manual(addr(A)));
    lan.pass(secs(10));
    lan.input(Input::RemoveManual(addr(A)));
    let before = lan.probes.len();
    lan.pass(secs(100));
    assert_eq!(lan.probes.len(), before);
    assert_eq!(lan.table.next_wake(), None, "nothing is left to do");
}

#[test]
fn a_forgotten_device_is_gone_and_comes_back_only_if_it_is_there() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.input(Input::Manual(addr(B)));
    lan.put(B, "b");
    lan.pass(secs(10));
    lan.places.clear();
    lan.pass(secs(20));
    lan.news();
    lan.input(Input::Forget(id("a")));
    lan.input(Input::Forget(id("b")));
    assert_eq!(lan.news(), ["xa", "xb"]);
    assert!(lan.table.devices().is_empty());
    lan.put(A, "a");
    lan.put(B, "b");
    lan.pass(secs(60));
    assert_eq!(
        lan.news(),
        ["+a"],
        "the announced one is found, the manual one was taken back"
    );
}

#[test]
fn an_interface_that_comes_back_has_everything_probed_at_once() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.announce("two", &[B]);
    lan.pass(secs(10));
    lan.places.clear();
    lan.pass(secs(900));
    lan.put(A, "a");
    lan.input(Input::InterfacesChanged);
    lan.pass(secs(3));
    assert!(lan.device("a").online);
    assert!(
        lan.table.unanswered().is_empty(),
        "what never answered must be announced again"
    );
}

#[test]
fn a_host_that_slept_does_not_lose_its_devices() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(secs(10));
    lan.now += secs(3600);
    lan.pass(secs(5));
    assert_eq!(
        lan.news(),
        ["+a"],
        "it was not asked, so its silence means nothing"
    );
}

#[test]
fn probe_now_asks_at_once() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("one", &[A]);
    lan.pass(Duration::from_millis(500));
    let before = lan.probes.len();
    lan.input(Input::ProbeNow(id("a")));
    assert_eq!(lan.probes.len(), before + 1);
}

#[test]
fn a_flood_of_announcements_is_bounded_and_does_not_hide_a_real_device() {
    let mut lan = Lan::new();
    lan.put(A, "a");
    lan.announce("real", &[A]);
    lan.pass(secs(10));
    lan.checked = false;
    for n in 0..2400_u32 {
        let fake = |k| addr(&format!("10.{k}.{}.{}:9", n >> 8, n & 255));
        let instance = format!("fake {n}");
        lan.input(Input::Announced {
            instance,
            addresses: (0..4).map(fake).collect(),
        });
    }
    lan.table.check();
    assert_eq!(lan.table.targets.len(), MAX_TARGETS);
    lan.put(B, "b");
    lan.input(Input::Manual(addr(B)));
    lan.pass(secs(20));
    lan.table.check();
    assert!(lan.most_at_once <= MAX_PROBES);
    assert!(lan.device("b").online, "a manual address is reached");
    assert_eq!(lan.news(), ["+a", "+b"], "the real device stays online");
}

#[test]
fn a_full_table_of_devices_is_kept_and_those_that_die_are_gone_in_time() {
    let mut lan = Lan::new();
    lan.checked = false;
    for n in 0..MAX_DEVICES + 20 {
        let name: &'static str = format!("d{n}").leak();
        let at = format!("10.0.{}.{}:80", n >> 8, n & 255);
        lan.put(&at, name);
        lan.announce(name, &[&at]);
    }
    lan.pass(secs(15));
    lan.table.check();
    assert_eq!(lan.table.devices().len(), MAX_DEVICES);
    assert!(lan.table.devices().iter().all(|seen| seen.online));
    // One of four loses power, all at one time.
    let mut n = 0;
    lan.places.retain(|_, _| {
        n += 1;
        n % 4 != 0
    });
    lan.pass(secs(10));
    for seen in lan.table.devices() {
        assert_eq!(
            seen.online,
            lan.places.contains_key(&seen.addresses[0]),
            "{}",
            seen.id
        );
    }
    lan.pass(secs(30));
    lan.table.check();
    assert!(lan.most_at_once <= MAX_PROBES);
    assert_eq!(
        lan.table.devices().len(),
        MAX_DEVICES,
        "a new device takes an offline one's place"
    );
    assert!(lan.news().iter().any(|news| news.starts_with('x')));
}
