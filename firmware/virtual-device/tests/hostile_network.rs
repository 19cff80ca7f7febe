//! Updates through a network that lies, breaks and stalls.

mod support;

use airlift_release::SigningKey;
use airlift_virtual_device::Simulation;
use airlift_wire::partition::{TABLE_LEN, TABLE_OFFSET, Table};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};
use support::{config, release, serve, update, wait_for};

/// What the proxy did.
#[derive(Default)]
struct Deeds {
    flipped: AtomicU32,
    reset: AtomicU32,
    delayed: AtomicU32,
}

/// A pseudo-random number from a seed (SplitMix64): the same run every time.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

/// A proxy to `server` that flips a bit in one chunk of twenty, resets one connection in five
/// somewhere, and delays.
fn hostile_proxy(server: SocketAddr) -> (SocketAddr, Arc<Deeds>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let deeds = Arc::new(Deeds::default());
    let shared = deeds.clone();
    thread::spawn(move || {
        for (n, client) in listener.incoming().map_while(Result::ok).enumerate() {
            let deeds = shared.clone();
            thread::spawn(move || relay(client, server, Random(n as u64), &deeds));
        }
    });
    (address, deeds)
}

fn relay(mut client: TcpStream, server: SocketAddr, mut random: Random, deeds: &Deeds) {
    let Ok(mut upstream) = TcpStream::connect(server) else {
        return;
    };
    let requests = (client.try_clone().unwrap(), upstream.try_clone().unwrap());
    thread::spawn(move || {
        let (mut from, mut to) = requests;
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
    let breaks_after = (random.below(5) == 0).then(|| random.below(120_000));
    let mut passed = 0u64;
    let mut buf = [0; 4096];
    loop {
        let n = match upstream.read(&mut buf) {
            Ok(n) if n > 0 => n,
            _ => break,
        };
        // Heads stay as they are: a broken head is a broken connection, which is tried too.
        let is_content = !buf[..n].starts_with(b"HTTP/");
        if is_content && random.below(20) == 0 {
            let at = random.below(n as u64) as usize;
            buf[at] ^= 1 << random.below(8);
            deeds.flipped.fetch_add(1, Ordering::Relaxed);
        }
        if random.below(30) == 0 {
            thread::sleep(Duration::from_millis(random.below(20)));
            deeds.delayed.fetch_add(1, Ordering::Relaxed);
        }
        passed += n as u64;
        if breaks_after.is_some_and(|limit| passed > limit) {
            deeds.reset.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if client.write_all(&buf[..n]).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Both);
    let _ = upstream.shutdown(Shutdown::Both);
}

#[test]
fn flipped_bits_and_resets_are_survived_and_no_wrong_byte_reaches_flash() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let simulation = Simulation::start(&config(dir.path(), 1, &key)).unwrap();
    let device = simulation.devices().remove(0);
    wait_for(device.address, |_| true);
    let release = release(&key, 1);
    let server = serve(&release);
    let (proxy, deeds) = hostile_proxy(server.local_addr());

    let lines = update(device.address, proxy, &release);
    let last = lines.last().unwrap();
    assert_eq!(last["event"], "rebooting", "{last}");
    let refused = lines.iter().filter(|l| l["state"] == "refused").count();
    let flipped = deeds.flipped.load(Ordering::Relaxed);
    let reset = deeds.reset.load(Ordering::Relaxed);
    println!("{flipped} bits flipped, {reset} connections reset, {refused} chunks refused");
    assert!(flipped > 0 && reset > 0, "the proxy was not hostile");
    assert!(refused > 0, "no refused chunk was told");
    for line in lines.iter().filter(|l| l["state"] == "refused") {
        assert_ne!(line["expected"], line["computed"]);
    }
    wait_for(device.address, |info| {
        info["running"]["slot"] == "ota_0" && info["running"]["state"] == "valid"
    });

    let image = simulation.flash_image(0).unwrap();
    let table = &image[TABLE_OFFSET as usize..][..TABLE_LEN];
    let table = Table::parse(table, image.len() as u32).unwrap();
    let slot = table.labelled("ota_0").unwrap();
    let app = release.app().unwrap();
    assert_eq!(
        image[slot.offset as usize..][..app.bytes().len()],
        app.bytes()[..]
    );
    // A wrong chunk that was written and then replaced would have cost a second erase.
    let nor = simulation.flash(0).unwrap();
    let nor = nor.lock();
    for n in 0..app.chunks() {
        assert_eq!(nor.erases_at(slot.offset + n * 4096), 1, "sector {n}");
    }
}

#[test]
fn a_host_behind_a_firewall_is_told_within_seconds_and_nothing_is_erased() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let simulation = Simulation::start(&config(dir.path(), 1, &key)).unwrap();
    let device = simulation.devices().remove(0);
    wait_for(device.address, |_| true);
    let release = release(&key, 1);
    // Accepts, as a full backlog does, and never answers: what a dropping firewall looks like.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let before = simulation.flash_image(0).unwrap();
    let start = Instant::now();
    let lines = update(device.address, silent.local_addr().unwrap(), &release);
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["event"], &last["code"]),
        (&"failed".into(), &"host_unreachable".into())
    );
    assert!(start.elapsed() < Duration::from_secs(20), "told too late");
    assert!(
        simulation.flash_image(0).unwrap() == before,
        "something was written"
    );
}

#[test]
fn a_device_that_loses_power_fetches_only_what_it_does_not_hold() {
    let dir = tempfile::tempdir().unwrap();
    let key = SigningKey::generate().unwrap();
    let mut config = config(dir.path(), 1, &key);
    config.settings.network.bytes_per_second = 400_000;
    let simulation = Simulation::start(&config).unwrap();
    let device = simulation.devices().remove(0);
    wait_for(device.address, |_| true);
    let release = release(&key, 1);
    let server = serve(&release);
    let host = server.local_addr();
    let (address, first) = (device.address, release.clone());
    let updating = thread::spawn(move || update(address, host, &first));
    wait_for(device.address, |info| {
        info["updater"]["state"] == "updating"
    });
    // Half of the app is there once its 20th sector was erased.
    let image = simulation.flash_image(0).unwrap();
    let table = Table::parse(
        &image[TABLE_OFFSET as usize..][..TABLE_LEN],
        image.len() as u32,
    );
    let slot = table.unwrap().labelled("ota_0").unwrap();
    let nor = simulation.flash(0).unwrap();
    let end = Instant::now() + Duration::from_secs(30);
    while nor.lock().erases_at(slot.offset + 20 * 4096) == 0 {
        assert!(Instant::now() < end, "the update did not come far");
        thread::yield_now();
    }
    simulation.kill(0);
    let before = updating.join().unwrap();
    assert_ne!(before.last().unwrap()["event"], "rebooting");

    let image = simulation.flash_image(0).unwrap();
    let held = release.app().unwrap().bytes().chunks(4096);
    let held = held.zip(image[slot.offset as usize..].chunks(4096));
    let held = held.take_while(|(a, b)| b.starts_with(a)).count() as u64;

    simulation.start_device(0);
    wait_for(device.address, |_| true);
    let lines = update(device.address, host, &release);
    assert_eq!(lines.last().unwrap()["event"], "rebooting");
    let count = |state: &str| -> u64 {
        let chunks = lines
            .iter()
            .filter(|l| l["part"] == "app" && l["state"] == state);
        chunks.filter_map(|l| l["count"].as_u64()).sum()
    };
    let total = u64::from(release.app().unwrap().chunks());
    let (kept, fetched) = (count("kept"), count("read_back"));
    println!("{kept} of {total} chunks kept, {fetched} fetched");
    assert_eq!(kept + fetched, total);
    // The last one before the gap is written again: power may have gone while it was written.
    assert!(held >= 20, "held {held}");
    assert_eq!(kept, held - 1);
}
