//! What must hold, read from the cells alone.
//!
//! Nothing here asks the device: partitions, entries, state, envelopes and images are read with the
//! formats' own code, files through littlefs. What unstable bits hide is looked at twice, once with all
//! of them ones and once with all of them zeros.

use crate::folders::{self, Tree};
use crate::snapshot::Snapshot;
use airlift_release::Release;
use airlift_updater::{Layout, SlotId};
use airlift_virtual_device::Bootloader;
use airlift_wire::limits::MAX_ENVELOPE;
use airlift_wire::otadata::{self, ENTRY_LEN, Entry, ImageState};
use airlift_wire::partition::{Partition, TABLE_LEN, TABLE_OFFSET, Table};
use airlift_wire::state::{Cause, End, FIRST_ENVELOPE_SECTOR, STATE_LEN, State, newest};
use airlift_wire::tar::VERSION_FILE;
use airlift_wire::{Digest, Envelope, KeySet, PublicKey, envelope, image};
use serde_json::Value;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// File systems that are kept as they were read.
const TREES: usize = 1000;

/// A release as it must stand in a slot.
#[derive(Clone)]
pub struct Whole {
    /// The release.
    pub release: Release,
    /// The app, carried or copied.
    pub app: Vec<u8>,
    /// The folder, carried or copied, without `VERSION`; paths from the slot's folder on.
    pub files: Tree,
    /// Whether its image works. If not, it must never be confirmed.
    pub works: bool,
    /// Why it may be given up, besides for a power cut.
    pub causes: &'static [Cause],
}

/// What a device was before, and what may become of it.
pub struct World {
    /// The flash before.
    pub start: Snapshot,
    /// The bootloader.
    pub bootloader: Bootloader,
    /// The chip.
    pub chip: u16,
    /// The slot that runs before.
    pub running: SlotId,
    /// Releases that are installed, in order, all into the slot behind the running one.
    pub goals: Vec<Whole>,
}

/// What was reached and may not be lost again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Floor {
    /// Confirmed sequence.
    pub sequence: u32,
    /// Epoch of the keys.
    pub epoch: u32,
    /// How many goals were confirmed.
    pub confirmed: usize,
    /// Whether the trial of a goal was possible, or has left its end in the state.
    pub tried: bool,
}

/// Checks snapshots of one device.
pub struct Oracle<'w> {
    world: &'w World,
    layout: Layout,
    target: SlotId,
    state: State,
    entries: [Entry; 2],
    tree: Rc<Tree>,
    keys: Vec<PublicKey>,
    trees: RefCell<HashMap<u128, Rc<Tree>>>,
}

type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+));
        }
    };
}

impl<'w> Oracle<'w> {
    /// Learns what the device was before.
    ///
    /// # Errors
    /// A sentence, for a device that is not fit to start with.
    pub fn new(world: &'w World) -> Checked<Self> {
        let start = &world.start;
        let table = start.bytes(TABLE_OFFSET, TABLE_LEN);
        let table = Table::parse(&table, start.len()).map_err(|e| e.to_string())?;
        let layout = Layout::from_table(&table, start.len(), world.running);
        let layout = layout.ok_or("the partitions do not allow updates")?;
        let state = read_state(start, &layout).ok_or("there is no state")?;
        let vfs = layout.vfs.ok_or("there is no file system")?;
        let tree = folders::read(start, vfs).map_err(|e| format!("files: {e}"))?;
        let sets = world.goals.iter().filter_map(|g| g.release.manifest().keys);
        let keys = state
            .trust
            .into_iter()
            .chain(sets)
            .flat_map(|set| [&[set.root], set.release_keys()].concat())
            .collect();
        Ok(Self {
            world,
            layout,
            target: world.running.next(),
            state,
            entries: read_otadata(start, &layout),
            tree: Rc::new(tree),
            keys,
            trees: RefCell::default(),
        })
    }

    /// What was reached before.
    pub fn floor(&self) -> Floor {
        Floor {
            sequence: self.state.sequence,
            epoch: self.state.trust.map_or(0, |t| t.epoch),
            ..Floor::default()
        }
    }

    /// Checks what must hold at every instant. Returns what has been reached by now.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check(&self, at: &Snapshot, floor: Floor) -> Checked<Floor> {
        let reached = self.check_reading(at, floor)?;
        match at.with_zeros() {
            None => Ok(reached),
            Some(zeros) => {
                let other = self
                    .check_reading(&zeros, floor)
                    .map_err(|e| format!("{e} (unstable bits read as 0)"))?;
                // Only what both readings say was reached for good.
                Ok(Floor {
                    sequence: reached.sequence.min(other.sequence),
                    epoch: reached.epoch.min(other.epoch),
                    confirmed: reached.confirmed.min(other.confirmed),
                    tried: reached.tried || other.tried,
                })
            }
        }
    }

    fn check_reading(&self, at: &Snapshot, floor: Floor) -> Checked<Floor> {
        self.check_outside(at)?;
        let tree = self.tree(at)?;
        self.check_other_folders(&tree)?;
        let in_target = self.check_target(at, &tree)?;
        let entries = read_otadata(at, &self.layout);
        self.check_entries(&entries, in_target)?;
        self.check_boot(at, &entries, in_target)?;
        let confirmed = self.confirmed(&entries, in_target);
        let state = self.check_state(at, floor, confirmed)?;
        let selectable = |e: &Entry| e.is_selectable() && self.selects_target(e);
        let goals = &self.world.goals;
        let of_goal = |id: Digest| goals.iter().any(|g| g.release.id() == id);
        let begun = of_goal(state.last.release)
            && (state.last.end == End::RolledBack || state.last.boots > 0);
        let given_up =
            |e: &Entry| e.has_right_crc() && self.selects_target(e) && !self.entries.contains(e);
        Ok(Floor {
            sequence: state.sequence.max(floor.sequence),
            epoch: state.trust.map_or(0, |t| t.epoch).max(floor.epoch),
            confirmed: confirmed.max(floor.confirmed),
            tried: floor.tried || begun || entries.iter().any(|e| selectable(e) || given_up(e)),
        })
    }

    /// No sector outside of the target slot, the file system, otadata and the state has changed.
    fn check_outside(&self, at: &Snapshot) -> Checked {
        let start = &self.world.start;
        let airlift = self.layout.airlift;
        let sector = |n: u32| Partition {
            offset: airlift.offset + n * 4096,
            size: 4096,
            ..airlift
        };
        let envelope = self.layout.envelope_offset(self.target);
        let own = Partition {
            offset: envelope,
            size: 4096,
            ..airlift
        };
        let mut may_change = vec![
            self.layout.otadata,
            sector(0),
            sector(1),
            own,
            self.partition(self.target)?,
        ];
        may_change.extend(self.layout.vfs);
        may_change.sort_by_key(|p| p.offset);
        let mut from = 0;
        let end = Partition {
            offset: start.len(),
            size: 0,
            ..airlift
        };
        for part in may_change.iter().chain([&end]) {
            if !at.same(start, from, part.offset - from) {
                let at = (from..part.offset)
                    .step_by(4096)
                    .find(|offset| !at.same(start, *offset, 4096));
                return Err(format!(
                    "a byte at {:#x}, outside of the target slot, has changed",
                    at.unwrap_or(from)
                ));
            }
            from = part.end();
        }
        Ok(())
    }

    fn tree(&self, at: &Snapshot) -> Checked<Rc<Tree>> {
        let vfs = self.layout.vfs.ok_or("there is no file system")?;
        if at.same(&self.world.start, vfs.offset, vfs.size) {
            return Ok(Rc::clone(&self.tree));
        }
        let hash = at.hash_of(vfs.offset, vfs.size);
        if let Some(tree) = self.trees.borrow().get(&hash) {
            return Ok(Rc::clone(tree));
        }
        let tree =
            folders::read(at, vfs).map_err(|e| format!("the file system is damaged: {e}"))?;
        let tree = Rc::new(tree);
        let mut trees = self.trees.borrow_mut();
        if trees.len() >= TREES {
            trees.clear();
        }
        trees.insert(hash, Rc::clone(&tree));
        Ok(tree)
    }

    /// Everything outside of the target's folder is as it was.
    fn check_other_folders(&self, tree: &Tree) -> Checked {
        let folder = format!("/{}/", self.target.name());
        let outside = |tree: &'_ Tree| -> Vec<(String, Vec<u8>)> {
            let outside = tree.iter().filter(|(path, _)| !path.starts_with(&folder));
            outside.map(|(p, c)| (p.clone(), c.clone())).collect()
        };
        let (now, before) = (outside(tree), outside(&self.tree));
        if now == before {
            return Ok(());
        }
        let changed = now.iter().find(|e| !before.contains(e));
        let gone = before.iter().find(|e| !now.contains(e));
        let (path, _) = changed.or(gone).ok_or("the order of files changed")?;
        Err(format!("{path}, outside of {folder}, has changed"))
    }

    /// A slot with an envelope is whole, and so is a folder with a `VERSION`. Which goal is in the target.
    fn check_target(&self, at: &Snapshot, tree: &Tree) -> Checked<Option<usize>> {
        let folder = format!("/{}/", self.target.name());
        let version = tree.get(&format!("{folder}{VERSION_FILE}"));
        if let Some(version) = version
            && !version.is_empty()
            && !self.is_start_folder(tree, &folder)
        {
            let said = self.world.goals.iter().any(|goal| {
                format!("{}\n", goal.release.manifest().version).as_bytes() == version
                    && self.folder_is(tree, &folder, goal)
            });
            ensure!(
                said,
                "VERSION names a release whose files are not all there"
            );
        }
        let Some(id) = self.envelope_in(at, self.target) else {
            return Ok(None);
        };
        if self.envelope_in(&self.world.start, self.target) == Some(id)
            && !self.world.goals.iter().any(|g| g.release.id() == id)
        {
            let app = self.partition(self.target)?;
            ensure!(
                at.same(&self.world.start, app.offset, app.size),
                "the app of the target slot changed under its old envelope"
            );
            ensure!(
                self.is_start_folder(tree, &folder),
                "files of the target slot changed under its old envelope"
            );
            return Ok(None);
        }
        let goals = &self.world.goals;
        let goal = goals.iter().position(|g| g.release.id() == id);
        let goal = goal.ok_or("the target slot has an envelope that nobody sent")?;
        self.check_whole(at, tree, &goals[goal])?;
        Ok(Some(goal))
    }

    fn is_start_folder(&self, tree: &Tree, folder: &str) -> bool {
        folders::below(tree, folder).eq(folders::below(&self.tree, folder))
    }

    fn folder_is(&self, tree: &Tree, folder: &str, whole: &Whole) -> bool {
        let files = whole.files.iter().map(|(p, c)| (p.as_str(), c.as_slice()));
        folders::below(tree, folder)
            .filter(|(path, _)| *path != VERSION_FILE)
            .eq(files)
    }

    fn check_whole(&self, at: &Snapshot, tree: &Tree, whole: &Whole) -> Checked {
        let folder = format!("/{}/", self.target.name());
        let offset = self.partition(self.target)?.offset;
        ensure!(
            at.bytes(offset, whole.app.len()) == whole.app,
            "the envelope is stored, and the app is not what it says"
        );
        ensure!(
            self.folder_is(tree, &folder, whole),
            "the envelope is stored, and the files are not what it says"
        );
        let version = format!("{}\n", whole.release.manifest().version);
        ensure!(
            tree.get(&format!("{folder}{VERSION_FILE}"))
                .map(Vec::as_slice)
                == Some(version.as_bytes()),
            "the envelope is stored, and VERSION is not what it says"
        );
        Ok(())
    }

    /// Id of the envelope in a slot, if there is one that a known key has signed.
    fn envelope_in(&self, at: &Snapshot, slot: SlotId) -> Option<Digest> {
        let sector = at.bytes(self.layout.envelope_offset(slot), 4096);
        let len = u32::from_le_bytes(*sector.first_chunk()?) as usize;
        let bytes = sector.get(4..4 + len).filter(|_| len <= MAX_ENVELOPE)?;
        let parsed = Envelope::parse(bytes).ok()?;
        let known = self.world.goals.iter().map(|g| &g.release);
        if known.into_iter().any(|r| r.envelope()[..] == *bytes) {
            return Some(parsed.id());
        }
        let mut scratch = vec![0; envelope::SCRATCH];
        let verified = parsed.verify(&self.keys, &mut scratch);
        verified.ok().map(|verified| verified.id())
    }

    fn selects_target(&self, entry: &Entry) -> bool {
        entry.slot(2) == self.target.ota()
    }

    /// An entry that selects the target stands only for a whole goal.
    fn check_entries(&self, entries: &[Entry; 2], in_target: Option<usize>) -> Checked {
        for entry in entries {
            // What selected the target before may go from *new* to *pending*.
            let was_there = |before: &Entry| {
                before.sequence == entry.sequence
                    && (before.state == entry.state || entry.state == ImageState::PendingVerify)
            };
            if !entry.is_selectable() || self.entries.iter().any(was_there) {
                continue;
            }
            if self.selects_target(entry) {
                let goal = in_target.ok_or("the target is selected, and it is not whole")?;
                ensure!(
                    self.world.goals[goal].works || entry.state != ImageState::Valid,
                    "an image that does not work is confirmed"
                );
            } else {
                ensure!(
                    entry.slot(2) == self.world.running.ota(),
                    "otadata selects a slot that neither ran nor was written"
                );
            }
        }
        Ok(())
    }

    /// How many goals are confirmed: exactly *valid*, and whole.
    fn confirmed(&self, entries: &[Entry; 2], in_target: Option<usize>) -> usize {
        let valid = otadata::active(entries).is_some_and(|n| {
            self.selects_target(&entries[n]) && entries[n].state == ImageState::Valid
        });
        in_target.filter(|_| valid).map_or(0, |goal| goal + 1)
    }

    /// The slot that the bootloader starts runs the old or the new release, all of it.
    fn check_boot(&self, at: &Snapshot, entries: &[Entry; 2], in_target: Option<usize>) -> Checked {
        let slot = self.boots(at, entries)?.ok_or("nothing boots")?;
        ensure!(
            slot == self.world.running || (slot == self.target && in_target.is_some()),
            "the bootloader starts {}, which is not whole",
            slot.name()
        );
        Ok(())
    }

    /// What ESP-IDF's bootloader does with these entries, without what it writes.
    fn boots(&self, at: &Snapshot, entries: &[Entry; 2]) -> Checked<Option<SlotId>> {
        let given_up = |entry: &Entry| match (self.world.bootloader, entry.state) {
            (Bootloader::Rollback, ImageState::PendingVerify) => Entry {
                state: ImageState::Aborted,
                ..*entry
            },
            _ => *entry,
        };
        let entries = [given_up(&entries[0]), given_up(&entries[1])];
        let active = otadata::active(&entries).and_then(|n| entries[n].slot(2));
        let order = match (active, self.layout.factory) {
            (Some(1), _) => [SlotId::Ota1, SlotId::Ota0, SlotId::Factory],
            (Some(_), _) | (None, None) => [SlotId::Ota0, SlotId::Factory, SlotId::Ota1],
            (None, Some(_)) => [SlotId::Factory, SlotId::Ota0, SlotId::Ota1],
        };
        for slot in order {
            let Some(partition) = self.layout.partition(slot) else {
                continue;
            };
            if self.is_bootable(at, partition) {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    fn is_bootable(&self, at: &Snapshot, partition: Partition) -> bool {
        let mut checker = image::Checker::new();
        let mut sector = [0; 4096];
        for offset in (partition.offset..partition.end()).step_by(4096) {
            at.read(offset, &mut sector);
            if checker.update(&sector).is_err() {
                return false;
            }
            if checker.is_done() {
                break;
            }
        }
        checker
            .finish()
            .is_ok_and(|image| image.header.chip_id == self.world.chip)
    }

    /// Sequence, keys and the end of the last update are never lost, lowered, or ahead of the truth.
    fn check_state(&self, at: &Snapshot, floor: Floor, confirmed: usize) -> Checked<State> {
        let state = read_state(at, &self.layout).ok_or("the state is lost")?;
        let goals = &self.world.goals;
        ensure!(
            state.product == self.state.product && state.name == self.state.name,
            "product or name have changed"
        );
        ensure!(
            state.sequence >= floor.sequence,
            "the sequence is {}, and {} was confirmed",
            state.sequence,
            floor.sequence
        );
        let epoch = state.trust.map_or(0, |t| t.epoch);
        ensure!(epoch >= floor.epoch, "the keys are of an older epoch");
        let reached = confirmed.max(floor.confirmed);
        let last = reached.checked_sub(1).map(|n| &goals[n].release);
        let sequence = last.map_or(self.state.sequence, |r| r.manifest().sequence);
        ensure!(
            state.sequence <= sequence,
            "the sequence is {} before that release is confirmed",
            state.sequence
        );
        let trusts = |set: Option<KeySet>| state.trust == set;
        let mut sets = goals[..reached].iter().map(|g| g.release.manifest().keys);
        ensure!(
            trusts(self.state.trust) || sets.any(|set| set.is_some() && trusts(set)),
            "keys are trusted that no confirmed release has brought"
        );
        let of_goal = goals
            .iter()
            .position(|g| g.release.id() == state.last.release);
        if let Some(goal) = of_goal {
            ensure!(
                state.last.end != End::Done || goal < reached,
                "the state says done of a release that is not confirmed"
            );
            ensure!(
                goals[goal].release.manifest().sequence == state.last.sequence,
                "the state has another sequence for the last update"
            );
        } else {
            ensure!(
                state.last == self.state.last,
                "the state tells of an update that never was"
            );
        }
        Ok(state)
    }

    /// Checks a device that has started, confirmed if it had to, and waits: what it says, against the
    /// cells. How many goals it has confirmed.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_settled(&self, at: &Snapshot, floor: Floor, info: &Value) -> Checked<Floor> {
        let reached = self.check(at, floor)?;
        let entries = read_otadata(at, &self.layout);
        let state = read_state(at, &self.layout).ok_or("the state is lost")?;
        let running = &info["running"];
        let id = running["release"].as_str().unwrap_or_default();
        let goals = &self.world.goals;
        let goal = goals.iter().position(|g| g.release.id().to_string() == id);
        // Without an entry of its own the old slot is not called valid: a tool had selected another, and
        // the bootloader fell back.
        let fell_back = goal.is_none()
            && otadata::active(&self.entries)
                .is_some_and(|n| self.entries[n].slot(2) != self.world.running.ota());
        ensure!(
            running["state"] == "valid" || (fell_back && running["state"] == "undefined"),
            "what runs is {}",
            running["state"]
        );
        let last = &goals
            .iter()
            .position(|g| g.release.id() == state.last.release);
        match goal {
            Some(goal) => {
                let whole = &goals[goal];
                ensure!(whole.works, "a release stays that does not work");
                ensure!(running["slot"] == self.target.name(), "the wrong slot runs");
                ensure!(
                    running["app_sha256"] == Digest::of(&whole.app).to_string(),
                    "what runs has another app"
                );
                ensure!(
                    self.confirmed(&entries, Some(goal)) == goal + 1,
                    "what runs is not confirmed: {entries:?}"
                );
                let manifest = whole.release.manifest();
                ensure!(
                    state.sequence == manifest.sequence
                        && state.confirmed == Some(whole.release.id()),
                    "it is confirmed, and its sequence is not recorded"
                );
                ensure!(
                    manifest.keys.is_none() || state.trust == manifest.keys,
                    "it is confirmed, and its keys are not trusted"
                );
                ensure!(
                    *last == Some(goal) && state.last.end == End::Done,
                    "it runs, and the state says {:?} of the last update",
                    state.last
                );
            }
            None => {
                ensure!(
                    running["slot"] == self.world.running.name(),
                    "the wrong slot runs"
                );
                ensure!(
                    floor.confirmed == 0,
                    "the new release was confirmed, and the old one runs"
                );
                if let Some(last) = *last {
                    let (end, cause) = (state.last.end, state.last.cause);
                    let may_be = match end {
                        End::RolledBack => {
                            floor.tried
                                && (cause == Cause::PowerOn || goals[last].causes.contains(&cause))
                        }
                        End::Failed => matches!(cause, Cause::None | Cause::Interrupted),
                        _ => false,
                    };
                    ensure!(
                        may_be,
                        "the old release runs, and the state says {end:?}, {cause:?}"
                    );
                }
            }
        }
        Ok(reached)
    }

    /// Checks a device that has arrived: the last goal runs, and nothing that it relies on is left to
    /// chance.
    ///
    /// # Errors
    /// What does not hold.
    pub fn check_arrived(&self, at: &Snapshot, floor: Floor, info: &Value) -> Checked<Floor> {
        let floor = self.check_settled(at, floor, info)?;
        ensure!(
            floor.confirmed == self.world.goals.len(),
            "the last release is not confirmed"
        );
        let whole = self.world.goals.last().ok_or("nothing to arrive at")?;
        let entries = read_otadata(at, &self.layout);
        let app = self.partition(self.target)?.offset;
        let envelope = self.layout.envelope_offset(self.target);
        let mut relied_on = vec![
            ("app", app, (whole.app.len() as u32).next_multiple_of(4)),
            (
                "envelope",
                envelope,
                4 + (whole.release.envelope().len() as u32).next_multiple_of(4),
            ),
        ];
        if let Some(n) = otadata::active(&entries) {
            let offset = self.layout.otadata_offset(n);
            relied_on.push(("otadata", offset, ENTRY_LEN as u32));
        }
        if let Some((n, _)) = newest(state_copies(at, &self.layout)) {
            let offset = self.layout.airlift.offset + n as u32 * 4096;
            relied_on.push(("state", offset, STATE_LEN as u32));
        }
        for (what, offset, len) in relied_on {
            ensure!(
                at.is_firm(offset, len),
                "the {what} relies on unstable bits"
            );
        }
        Ok(floor)
    }

    fn partition(&self, slot: SlotId) -> Checked<Partition> {
        let partition = self.layout.partition(slot);
        partition.ok_or_else(|| "a slot has no partition".to_owned())
    }
}

/// Both entries.
pub fn read_otadata(at: &Snapshot, layout: &Layout) -> [Entry; 2] {
    [0, 1].map(|n| {
        let mut bytes = [0; ENTRY_LEN];
        at.read(layout.otadata_offset(n), &mut bytes);
        Entry::decode(&bytes)
    })
}

fn state_copies(at: &Snapshot, layout: &Layout) -> [Option<State>; 2] {
    [0, 1].map(|n| {
        let mut bytes = [0; STATE_LEN];
        at.read(layout.airlift.offset + n * 4096, &mut bytes);
        State::decode(&bytes)
    })
}

fn read_state(at: &Snapshot, layout: &Layout) -> Option<State> {
    newest(state_copies(at, layout)).map(|(_, state)| state)
}

const _: () = assert!(FIRST_ENVELOPE_SECTOR == 2, "sectors 0 and 1 are the state");
