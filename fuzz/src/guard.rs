//! A device that starts from flash with anything in it.

use crate::device::{Fixed, InMemory, Nobody, Nor, SECTOR, Then, Ticks, Tree, Wire};
use crate::formats::{with_right_crc, with_right_md5};
use crate::input::{Input, Pattern};
use airlift_discover::DeviceInfo;
use airlift_updater::device::{Config, Device, Identity, Parts, Runner};
use airlift_updater::guard::{self, Boot};
use airlift_updater::store::Store;
use airlift_updater::{Buffers, Layout, SlotId};
use airlift_wire::otadata::{self, ENTRY_LEN, Entry, ImageState};
use airlift_wire::partition::{
    Partition, SUBTYPE_FACTORY, SUBTYPE_OTA_0, SUBTYPE_OTADATA, TABLE_LEN, TABLE_OFFSET, TYPE_APP,
    TYPE_DATA,
};
use airlift_wire::state::{Cause, STATE_LEN, Text};
use embassy_futures::{block_on, poll_once};
use std::pin::pin;
use std::sync::LazyLock;

/// Bytes of the flash: all that a device needs, and no more.
const FLASH: u32 = 0x2_0000;
const OTADATA: u32 = 0x9000;
const AIRLIFT: u32 = 0xB000;
const OTA_0: u32 = 0x1_4000;
const OTA_1: u32 = 0x1_6000;
const FACTORY: u32 = 0x1_8000;

/// Where an input may put its bytes.
const PLACES: [u32; 12] = [
    0,
    TABLE_OFFSET,
    OTADATA,
    OTADATA + 0x1000,
    AIRLIFT,
    AIRLIFT + 0x1000,
    AIRLIFT + 0x2000,
    AIRLIFT + 0x3000,
    AIRLIFT + 0x4000,
    OTA_0,
    OTA_1,
    FACTORY,
];

const CAUSES: [Cause; 6] = [
    Cause::PowerOn,
    Cause::Software,
    Cause::Watchdog,
    Cause::Panic,
    Cause::Brownout,
    Cause::HealthCheck,
];

/// The partitions of the device that inputs start from.
pub(crate) fn partitions() -> [Partition; 5] {
    let of = Partition::new;
    [
        of("otadata", TYPE_DATA, SUBTYPE_OTADATA, OTADATA, 0x2000),
        of("airlift", TYPE_DATA, 0x40, AIRLIFT, 0x8000),
        of("ota_0", TYPE_APP, SUBTYPE_OTA_0, OTA_0, 0x2000),
        of("ota_1", TYPE_APP, SUBTYPE_OTA_0 + 1, OTA_1, 0x2000),
        of("factory", TYPE_APP, SUBTYPE_FACTORY, FACTORY, 0x2000),
    ]
}

/// What becomes of the sums of what an input put somewhere: bits of its first byte.
const RIGHT_TABLE: u8 = 1;
const RIGHT_OTADATA: u8 = 2;
const RIGHT_STATE: u8 = 4;

/// Whatever is in flash, the guard decides, within a few starts; it changes nothing but otadata and
/// the state, and never lowers what the state promises. What the device then says of itself, the host
/// understands.
pub fn boot_guard(data: &[u8]) {
    let (mut nor, running, cause) = flash(data);
    let mut scratch = vec![0; 8192];
    let layout = block_on(Layout::load(&mut nor, FLASH, running, &mut scratch));
    if let Ok(layout) = layout {
        apart(&layout);
        if let Some(layout) = starts(&mut nor, layout, cause, &mut scratch) {
            describes_itself(nor, layout);
        }
    }
}

fn flash(data: &[u8]) -> (Nor, SlotId, Cause) {
    let mut input = Input::new(data);
    let sums = !input.byte();
    let running = SlotId::ALL[usize::from(input.byte() % 3)];
    let cause = CAUSES[usize::from(input.byte()) % CAUSES.len()];
    let mut nor = Nor::blank(FLASH as usize);
    while !input.is_empty() {
        let place = PLACES[usize::from(input.byte()) % PLACES.len()] as usize;
        let content = input.piece();
        let end = (place + content.len()).min(nor.cells.len());
        nor.cells[place..end].copy_from_slice(&content[..end - place]);
    }
    mend(&mut nor.cells, sums);
    (nor, running, cause)
}

/// Starts the updater of a device that has keys and nothing else; what it says of itself stays.
pub(crate) fn start(device: &Device, clock: &Ticks) {
    static CALM: LazyLock<(Nor, Layout)> = LazyLock::new(|| {
        let (mut nor, running, _) = flash(&crate::seeds::flashes()[1]);
        let mut scratch = vec![0; TABLE_LEN];
        let layout = block_on(Layout::load(&mut nor, FLASH, running, &mut scratch));
        (nor, layout.expect("a table"))
    });
    let (nor, layout) = CALM.clone();
    assert!(runs(device, clock, nor, layout));
}

fn mend(cells: &mut [u8], sums: u8) {
    let table = TABLE_OFFSET as usize..TABLE_OFFSET as usize + TABLE_LEN;
    if sums & RIGHT_TABLE != 0 {
        let right = with_right_md5(&cells[table.clone()]);
        cells[table].copy_from_slice(&right);
    }
    for n in 0..2 {
        if sums & RIGHT_OTADATA != 0 {
            let at = OTADATA as usize + n * SECTOR;
            let entry = cells[at..at + ENTRY_LEN].first_chunk().expect("32 bytes");
            let entry = Entry::decode(entry);
            let crc = otadata::sequence_crc(entry.sequence);
            let entry = Entry { crc, ..entry };
            cells[at..at + ENTRY_LEN].copy_from_slice(&entry.encode());
        }
        let at = AIRLIFT as usize + n * SECTOR;
        let state = cells[at..].first_chunk::<STATE_LEN>().expect("a sector");
        if sums & RIGHT_STATE != 0 && *state != [0xFF; STATE_LEN] {
            let right = with_right_crc(state);
            cells[at..at + STATE_LEN].copy_from_slice(&right);
        }
    }
}

/// No partition of the updater is another one of its own.
fn apart(layout: &Layout) {
    let all = [
        Some(layout.otadata),
        Some(layout.airlift),
        layout.factory,
        layout.vfs,
    ];
    let ota = layout.ota.map(Some);
    let mut all: Vec<_> = all
        .iter()
        .chain(&ota)
        .flatten()
        .map(|p| (p.offset, p.end()))
        .collect();
    all.sort_unstable();
    assert!(
        all.windows(2).all(|pair| pair[0].1 <= pair[1].0),
        "{all:x?}"
    );
}

/// Starts until nothing is on trial; `None` when the flash does not let the guard decide.
fn starts(nor: &mut Nor, mut layout: Layout, cause: Cause, scratch: &mut [u8]) -> Option<Layout> {
    for _ in 0..6 {
        let before = nor.clone();
        let promised = block_on(Store::load(nor, &layout))
            .expect("flash that reads")
            .state;
        let entries = block_on(layout.read_otadata(nor)).expect("flash that reads");
        let started_by = layout.running_entry(&entries);
        let boot = block_on(guard::run(nor, &layout, cause, scratch)).ok()?;
        unchanged(&before.cells, &nor.cells, &layout);
        let kept = block_on(Store::load(nor, &layout))
            .expect("flash that reads")
            .state;
        assert!(kept.sequence >= promised.sequence, "a sequence went down");
        let epoch = |state: airlift_wire::state::State| state.trust.map(|trust| trust.epoch);
        assert!(epoch(kept) >= epoch(promised), "an epoch went down");
        let entries = block_on(layout.read_otadata(nor)).expect("flash that reads");
        match boot {
            Boot::Confirmed => return Some(layout),
            Boot::Trial { .. } => {
                confirms(nor.clone(), &layout, scratch);
                // It dies: the next start of the same slot must go back.
                let again = block_on(guard::run(nor, &layout, Cause::Watchdog, scratch)).ok()?;
                assert_eq!(again, Boot::GoBack, "a trial that died starts again");
            }
            // The other entry may select the same slot; one that was torn selects nothing.
            Boot::GoBack => {
                let again = started_by.is_some_and(|n| entries[n].is_selectable());
                assert!(!again, "it would start again");
            }
        }
        let entries = block_on(layout.read_otadata(nor)).expect("flash that reads");
        let next = otadata::active(&entries).and_then(|n| entries[n].slot(2));
        layout.running = match next {
            Some(0) => SlotId::Ota0,
            Some(_) => SlotId::Ota1,
            None if layout.factory.is_some() => SlotId::Factory,
            None => SlotId::Ota0,
        };
    }
    panic!("it goes back and back again");
}

/// A trial that confirms stays.
fn confirms(mut nor: Nor, layout: &Layout, scratch: &mut [u8]) {
    if block_on(guard::confirm(&mut nor, layout, scratch)).is_err() {
        return;
    }
    let entries = block_on(layout.read_otadata(&mut nor)).expect("flash that reads");
    assert_eq!(layout.running_state(&entries), ImageState::Valid);
    let boot = block_on(guard::run(&mut nor, layout, Cause::PowerOn, scratch));
    assert_eq!(boot, Ok(Boot::Confirmed));
}

fn unchanged(before: &[u8], after: &[u8], layout: &Layout) {
    let sectors =
        |partition: Partition| partition.offset as usize..partition.offset as usize + 2 * SECTOR;
    let own = [sectors(layout.otadata), sectors(layout.airlift)];
    for (at, (old, new)) in before.chunks(SECTOR).zip(after.chunks(SECTOR)).enumerate() {
        let is_own = own.iter().any(|range| range.contains(&(at * SECTOR)));
        assert!(is_own || old == new, "sector {at:#x} changed");
    }
}

/// Whether the updater starts.
fn runs(device: &Device, clock: &Ticks, flash: Nor, layout: Layout) -> bool {
    let mut buffers = Buffers::new();
    let identity = Identity {
        id: Text::new("c3-000000000001"),
        chip: 5,
        flash_size: FLASH,
    };
    let parts: Parts<InMemory> = Parts {
        flash,
        files: Tree::default(),
        net: Nobody,
        clock: clock.clone(),
        random: Fixed,
    };
    let (config, boot) = (Config::default(), Boot::Confirmed);
    let starting = Runner::start(device, identity, config, parts, layout, boot, &mut buffers);
    block_on(starting).is_ok()
}

/// Runs the updater on it and asks it who it is.
fn describes_itself(nor: Nor, layout: Layout) {
    let (device, clock) = (Device::new(), Ticks::default());
    if !runs(&device, &clock, nor, layout) {
        return;
    }
    let request = b"GET /v1/device HTTP/1.1\r\n\r\n";
    let mut wire = Wire::new(request, Pattern::default(), Then::Stalls);
    {
        let peer = ([10, 0, 0, 5], 50_000).into();
        let serving = pin!(device.serve(&mut wire, peer, &clock, 0));
        assert!(poll_once(serving).is_ready());
    }
    let answer = String::from_utf8(wire.outgoing).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    if let Err(error) = DeviceInfo::parse(body.as_bytes()) {
        panic!("{error}\n{body}");
    }
}
