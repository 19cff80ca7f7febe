//! Which slots can be made to start, and from what.

use crate::diagnosis::Known;
use crate::diagnosis::facts::Facts;
use crate::diagnosis::findings::is_unfinished;
use crate::diagnosis::slot::{Image, Slot};
use crate::diagnosis::store::{Stored, keys_of};
use crate::diagnosis::words;
use airlift_release::{PartKind, PartState, Release};
use airlift_updater::SlotId;
use airlift_updater::store::SlotRelease;
use airlift_wire::{Digest, PublicKey};
use bytes::Bytes;

/// What is done with the folder of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Folder {
    /// It stays.
    Keep,
    /// It gets these files and this version; without a tar only the version.
    Write { tar: Option<Bytes>, version: String },
}

/// A slot that can be made to start.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub id: SlotId,
    /// What will be in it.
    pub title: String,
    /// The release that will be in it.
    pub release: Option<(Digest, u32)>,
    /// The image that is to be written.
    pub app: Option<Bytes>,
    pub folder: Folder,
    /// The envelope that is to be written.
    pub envelope: Option<Bytes>,
    /// Whether it would be whole: a release that the board can vouch for.
    pub is_whole: bool,
    /// Whether it is on trial and stays so.
    pub keeps_trial: bool,
}

impl Target {
    pub fn sequence(&self) -> Option<u32> {
        self.release.map(|(_, sequence)| sequence)
    }
}

/// What the board takes.
pub(super) struct Rules<'a> {
    known: &'a Known<'a>,
    product: Option<String>,
    keys: Vec<PublicKey>,
    /// Highest sequence that was confirmed, and the release that had it.
    floor: u32,
    confirmed: Option<Digest>,
    /// Releases that were tried and did not do, or have not done yet.
    doubtful: Vec<Digest>,
    has_files: bool,
}

impl<'a> Rules<'a> {
    pub fn new(facts: &Facts, known: &'a Known<'a>) -> Self {
        let state = facts.state();
        let identity = known.identity;
        let trust = state.and_then(|state| state.trust);
        let trust = trust.or(identity.map(|identity| identity.trust));
        let tried = facts.slots.iter().filter(|slot| facts.is_doubtful(slot));
        let tried = tried.filter_map(|slot| Some(slot.release()?.id));
        let doubtful = tried.chain(state.and_then(|state| state.rolled_back));
        let said = state.map(|state| state.product.as_str().to_owned());
        Self {
            known,
            product: said.or(identity.map(|identity| identity.product.clone())),
            keys: trust.as_ref().map_or_else(Vec::new, keys_of),
            floor: state.map_or(0, |state| state.sequence),
            confirmed: state.and_then(|state| state.confirmed),
            doubtful: doubtful.collect(),
            // A board that gets the default partitions gets a file system.
            has_files: facts.files.partition.is_some() || facts.partitions.layout.is_none(),
        }
    }

    /// The product that the board is, or will be.
    pub fn product(&self) -> Option<&str> {
        self.product.as_deref()
    }

    /// Whether nobody says whom the board trusts.
    pub fn knows_no_keys(&self) -> bool {
        self.keys.is_empty()
    }

    /// The lowest sequence that the board takes.
    pub fn floor(&self) -> u32 {
        self.floor
    }

    /// Whether the board takes a release of this sequence.
    fn is_new_enough(&self, id: Digest, sequence: u32) -> bool {
        let again = self.confirmed.is_none_or(|confirmed| confirmed == id);
        !self.doubtful.contains(&id) && (sequence > self.floor || (sequence == self.floor && again))
    }

    /// Whether the board would take a release, and all of it is here.
    fn takes(&self, release: &Release) -> bool {
        let manifest = release.manifest();
        self.product() == Some(&manifest.product)
            && manifest.fits_chip(self.known.chip)
            && self.keys.contains(&release.signer())
            && self.is_new_enough(release.id(), manifest.sequence)
            && self.part(&manifest.app, PartKind::App).is_some()
            && (!self.has_files
                || manifest.files == PartState::Any
                || self.part(&manifest.files, PartKind::Files).is_some())
    }

    /// The bytes of a part, from whichever release carries it.
    fn part(&self, state: &PartState, kind: PartKind) -> Option<Bytes> {
        self.by_digest(state.digest()?, kind)
    }

    fn by_digest(&self, digest: Digest, kind: PartKind) -> Option<Bytes> {
        let parts = self.known.releases.iter().filter_map(|r| r.part(kind));
        let mut found = parts.filter(|part| part.digest() == digest);
        found.next().map(|part| part.bytes().clone())
    }

    /// The tar of a release that a slot should hold: `None` when no release here has it, `Some(None)`
    /// when the release says nothing of files.
    pub fn files_of(&self, release: &SlotRelease) -> Option<Option<Bytes>> {
        match release.files {
            Some(digest) => self.by_digest(digest, PartKind::Files).map(Some),
            None => Some(None),
        }
    }

    /// What the board takes, the newest first.
    pub fn releases(&self) -> Vec<&'a Release> {
        let mut all: Vec<_> = self.known.releases.iter().collect();
        all.retain(|release| self.takes(release));
        all.sort_by_key(|release| std::cmp::Reverse(release.manifest().sequence));
        all
    }

    /// A release, written into a slot as a whole.
    pub fn install(&self, facts: &Facts, id: SlotId, release: &Release) -> Option<Target> {
        let manifest = release.manifest();
        let tar = self.part(&manifest.files, PartKind::Files);
        let there = facts.files.folder(id);
        let is_right = facts.files.mounts()
            && there.digest.is_some()
            && there.digest == manifest.files.digest()
            && there.version.as_ref() == Some(&manifest.version);
        let version = manifest.version.clone();
        Some(Target {
            id,
            title: format!("{} {}", manifest.product, manifest.version),
            release: Some((release.id(), manifest.sequence)),
            app: Some(self.part(&manifest.app, PartKind::App)?),
            folder: match is_right {
                true => Folder::Keep,
                false => Folder::Write { tar, version },
            },
            envelope: Some(release.envelope().clone()),
            is_whole: true,
            keeps_trial: false,
        })
    }

    /// A slot as it is, or with what is wrong in it put right from its own release.
    fn mend(&self, facts: &Facts, slot: &Slot) -> Option<Target> {
        let id = slot.id?;
        let n = facts
            .slots
            .iter()
            .position(|s| s.partition == slot.partition)?;
        let trial = facts.trial().map(|trial| trial.partition);
        let keeps_trial = trial == Some(slot.partition);
        if (facts.is_doubtful(slot) && !keeps_trial) || is_unfinished(facts, n) {
            return None;
        }
        let mut target = Target {
            id,
            title: words::title(facts, slot),
            release: None,
            app: None,
            folder: Folder::Keep,
            envelope: None,
            is_whole: false,
            keeps_trial,
        };
        let Stored::Release(release) = slot.stored else {
            return slot.image.may_start().then_some(target);
        };
        target.is_whole = true;
        target.release = Some((release.id, release.sequence));
        target.title = words::release_title(facts, slot)?;
        if !slot.image.may_start() || slot.app_matches() == Some(false) {
            if !self.is_new_enough(release.id, release.sequence) {
                return None;
            }
            target.app = Some(self.by_digest(release.app?, PartKind::App)?);
        }
        let needs_files = facts.files_match(slot) == Some(false);
        let is_broken = !facts.files.mounts() && !facts.files.is_foreign();
        if needs_files || (self.has_files && is_broken) {
            let tar = self.files_of(&release)?;
            let version = release.version.as_str().to_owned();
            target.folder = Folder::Write { tar, version };
        }
        Some(target)
    }

    /// Everything that can be made to start: for each slot what it should hold, and the newest release
    /// that the board takes.
    pub fn targets(&self, facts: &Facts) -> Vec<Target> {
        let newest = self.releases().into_iter().next();
        let mut all = Vec::new();
        for slot in &facts.slots {
            let Some(id) = slot.id else { continue };
            all.extend(self.mend(facts, slot));
            // Never written but by a programmer; it is the last resort.
            let fits = |app: &Bytes| app.len() <= slot.partition.size as usize;
            let target = newest.and_then(|release| self.install(facts, id, release));
            if id != SlotId::Factory {
                all.extend(target.filter(|t| t.app.as_ref().is_some_and(fits)));
            }
        }
        all
    }
}

/// The slot into which a release is best written: where it is already, where an update was cut short,
/// where something is damaged, where the board starts from anyway.
pub(super) fn place(facts: &Facts, release: &Release) -> Option<SlotId> {
    let app = release.app()?.size();
    let fits = |slot: &&Slot| slot.partition.size >= app && slot.ota.is_some();
    let slots: Vec<_> = facts.slots.iter().filter(fits).collect();
    let holds = |slot: &&&Slot| slot.release().is_some_and(|r| r.id == release.id());
    let unfinished = |slot: &&&Slot| {
        let n = facts
            .slots
            .iter()
            .position(|s| s.partition == slot.partition);
        n.is_some_and(|n| is_unfinished(facts, n))
    };
    let damaged = |slot: &&&Slot| !slot.image.may_start() && slot.image != Image::Empty;
    let selected = facts.boot.selected.map(|n| facts.slots[n].partition);
    let is_selected = |slot: &&&Slot| Some(slot.partition) == selected;
    let found = slots
        .iter()
        .find(holds)
        .or_else(|| slots.iter().find(unfinished));
    let found = found.or_else(|| slots.iter().find(damaged));
    let found = found.or_else(|| slots.iter().find(is_selected));
    found.or(slots.first())?.id
}
