//! A whole update from a host that sends whatever it likes, or loses it.

use airlift_discover::DeviceInfo;
use airlift_discover::device::SlotState;
use airlift_release::Release;
use airlift_updater::SlotId;
use airlift_virtual_device::deterministic::{Bench, Fate};
use airlift_virtual_device::{Factory, Settings};
use airlift_wire::KeySet;
use std::sync::LazyLock;
use std::time::Duration;

static OLD: LazyLock<Release> = LazyLock::new(|| crate::seeds::release(1));
static NEW: LazyLock<Release> = LazyLock::new(|| crate::seeds::release(2));

static FLASH: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let key = crate::seeds::key().public();
    let keys = KeySet::new(1, key, &[key]).expect("one key");
    let mut factory = Factory::new("demo", "kitchen", keys);
    factory.factory_slot = false;
    factory.installed = Some((SlotId::Ota0, &OLD));
    factory.build().expect("room")
});

/// Whatever a host sends, the update ends in time, and the device runs the old or the new release,
/// confirmed and whole.
pub fn update(data: &[u8]) {
    let bench = Bench::new(1);
    let added = bench.add_device(FLASH.clone(), Settings::default());
    added.expect("a size that flash has");
    bench.host().add(&NEW);
    let script = data.to_vec();
    let mut script = script.into_iter();
    bench.host().set_tamper(move |_, bytes| {
        let mut byte = || script.next().unwrap_or(0);
        let kind = byte();
        let at = usize::from(byte()) * 16 + usize::from(kind >> 4);
        let inside = at % bytes.len();
        match kind % 16 {
            0..=7 => {}
            8 => bytes[inside] ^= byte() | 1,
            9 => bytes.truncate(at),
            10 => bytes.extend(std::iter::repeat_n(byte(), at)),
            11 => bytes.clear(),
            12 => bytes.fill(byte()),
            13 => bytes.rotate_left(inside),
            14 => return Fate::Reset,
            _ => return Fate::Stall,
        }
        Fate::Send
    });
    let told = bench.run(async {
        let start = bench.scheduler().now();
        let lines = bench.client().update(&NEW, "").await.expect("an answer");
        let lines = lines.all().await;
        let took = bench.scheduler().now() - start;
        assert!(took < Duration::from_secs(600), "it took {took:?}");
        lines.last().cloned().unwrap_or_default()
    });
    let told = told.expect("an end");
    let last: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let done = last["event"] == "rebooting";
    assert!(done || last["event"] == "failed", "{told}");
    let after = bench.run(async {
        // A trial confirms a moment after its start.
        bench.scheduler().sleep(Duration::from_secs(30)).await;
        bench.client().get("/v1/device").await
    });
    let answer = after.expect("an end").expect("an answer");
    let info = DeviceInfo::parse(answer.text.as_bytes()).expect("a device");
    let wanted: &Release = if done { &NEW } else { &OLD };
    assert_eq!(info.running.release, Some(wanted.id()), "{told}");
    assert_eq!(info.running.state, SlotState::Valid);
    assert_eq!(
        info.running.app_sha256,
        wanted.app().map(|part| part.digest())
    );
    assert_eq!(
        info.running.files_sha256,
        wanted.files().map(|part| part.digest())
    );
}

/// Scripts that make something happen, for a start.
pub(crate) fn scripts() -> Vec<Vec<u8>> {
    let calm = [0, 0];
    let mut out = vec![calm.to_vec()];
    for kind in 8..16_u8 {
        out.push([calm.repeat(usize::from(kind % 5)), vec![kind | 0x30, 7, 1]].concat());
    }
    out
}
