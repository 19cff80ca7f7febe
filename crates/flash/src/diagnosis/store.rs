//! Partition `airlift`: the state, and an envelope for each slot.

use super::Known;
use super::reader::Reader;
use crate::read::ReadError;
use airlift_updater::store::SlotRelease;
use airlift_updater::{Layout, SlotId};
use airlift_wire::envelope::SCRATCH;
use airlift_wire::limits::{MAX_ENVELOPE, SECTOR_SIZE};
use airlift_wire::state::{self, STATE_LEN, State};
use airlift_wire::{Digest, Envelope, KeyId, KeySet, PublicKey};

/// One of the two copies of the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// Never written, or erased.
    Erased,
    /// Not a state; a power cut while it was written leaves this.
    Damaged,
    /// A state with this counter.
    Right(u32),
}

/// What is stored of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// Nothing: an update has begun and not ended, or none was ever made.
    Erased,
    /// Bytes that are no envelope.
    Damaged,
    /// An envelope that neither the board's keys nor a known release vouch for.
    Untrusted(Digest),
    /// A release.
    Release(SlotRelease),
}

impl Stored {
    /// The release.
    pub fn release(&self) -> Option<&SlotRelease> {
        match self {
            Self::Release(release) => Some(release),
            _ => None,
        }
    }
}

/// What the partition holds.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub copies: [Copy; 2],
    /// The copy that counts.
    pub current: Option<usize>,
    pub state: Option<State>,
    /// In the order of [`SlotId::ALL`].
    pub stored: [Stored; 3],
    /// What the envelopes say, whoever vouches for them.
    pub origins: Vec<Origin>,
}

/// What an envelope says of itself; nothing of it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub product: String,
    pub signer: KeyId,
}

impl Store {
    /// What is stored of a slot.
    pub fn of(&self, slot: SlotId) -> &Stored {
        &self.stored[slot.index()]
    }

    /// Every key that may sign for the board, or would if it were given what is known.
    pub fn keys(&self, known: &Known<'_>) -> Vec<PublicKey> {
        match self.state {
            Some(State {
                trust: Some(trust), ..
            }) => keys_of(&trust),
            _ => known
                .identity
                .map_or_else(Vec::new, |identity| keys_of(&identity.trust)),
        }
    }
}

/// The release keys, then the root.
pub(crate) fn keys_of(trust: &KeySet) -> Vec<PublicKey> {
    let mut keys = trust.release_keys().to_vec();
    keys.push(trust.root);
    keys
}

pub(crate) fn look(
    reader: &mut Reader<'_>,
    layout: &Layout,
    known: &Known<'_>,
) -> Result<Store, ReadError> {
    let mut copies = [Copy::Erased; 2];
    let mut decoded = [None; 2];
    for n in 0..2 {
        let offset = layout.airlift.offset + (n * SECTOR_SIZE) as u32;
        let bytes: [u8; STATE_LEN] = reader.array(offset)?;
        decoded[n] = State::decode(&bytes);
        copies[n] = match &decoded[n] {
            Some(state) => Copy::Right(state.counter),
            None if bytes.iter().all(|byte| *byte == 0xFF) => Copy::Erased,
            None => Copy::Damaged,
        };
    }
    let newest = state::newest(decoded);
    let mut store = Store {
        copies,
        current: newest.map(|(n, _)| n),
        state: newest.map(|(_, state)| state),
        stored: [Stored::Erased; 3],
        origins: Vec::new(),
    };
    let keys = store.keys(known);
    let confirmed = store.state.and_then(|state| state.confirmed);
    for slot in SlotId::ALL {
        if layout.partition(slot).is_some() {
            let offset = layout.envelope_offset(slot);
            let (stored, origin) = envelope(reader, offset, &keys, confirmed, known)?;
            store.stored[slot.index()] = stored;
            store.origins.extend(origin);
        }
    }
    Ok(store)
}

fn envelope(
    reader: &mut Reader<'_>,
    offset: u32,
    keys: &[PublicKey],
    confirmed: Option<Digest>,
    known: &Known<'_>,
) -> Result<(Stored, Option<Origin>), ReadError> {
    let len = match u32::from_le_bytes(reader.array(offset)?) {
        u32::MAX => return Ok((Stored::Erased, None)),
        len => len as usize,
    };
    if len == 0 || len > MAX_ENVELOPE {
        return Ok((Stored::Damaged, None));
    }
    let mut bytes = vec![0; len];
    reader.read(offset + 4, &mut bytes)?;
    let Ok(parsed) = Envelope::parse(&bytes) else {
        return Ok((Stored::Damaged, None));
    };
    let id = parsed.id();
    let origin = parsed.known_manifest(id).and_then(Result::ok);
    let origin = origin.map(|manifest| Origin {
        product: manifest.product.to_owned(),
        signer: parsed.kid(),
    });
    // Whoever opened a known release has verified it.
    let vouched = known.releases.iter().any(|release| release.id() == id);
    let confirmed = if vouched { Some(id) } else { confirmed };
    let mut scratch = vec![0; SCRATCH];
    let release = SlotRelease::of_stored(&bytes, keys, confirmed, &mut scratch);
    let stored = release.map_or(Stored::Untrusted(id), Stored::Release);
    Ok((stored, origin))
}
