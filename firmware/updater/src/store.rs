//! The state and the envelopes in partition `airlift`.

use crate::Failure;
use crate::layout::{FLASH, Layout, SlotId};
use crate::platform::Flash;
use airlift_wire::limits::{MAX_ENVELOPE, MAX_RELEASE_KEYS, SECTOR_SIZE};
use airlift_wire::state::{self, Detail, NOTE_LEN, STATE_LEN, State};
use airlift_wire::{Digest, Envelope, Manifest, PublicKey, Verified};

/// The state, and which of its two sectors holds it.
#[derive(Clone, Copy, Debug)]
pub struct Store {
    /// As it stands in flash.
    pub state: State,
    /// What the application said about the end of the last update; mostly nothing.
    pub detail: Detail,
    sector: usize,
    base: u32,
}

impl Store {
    /// Reads both copies; the valid one with the higher counter counts. Without one, the device
    /// knows neither product nor keys and accepts no release.
    pub async fn load(flash: &mut impl Flash, layout: &Layout) -> Result<Self, Failure> {
        let base = layout.airlift.offset;
        let mut bytes = [0; STATE_LEN];
        flash.read(base, &mut bytes).await.map_err(|_| FLASH)?;
        let first = State::decode(&bytes);
        flash
            .read(base + SECTOR_SIZE as u32, &mut bytes)
            .await
            .map_err(|_| FLASH)?;
        let (sector, state) = state::newest([first, State::decode(&bytes)])
            .unwrap_or_else(|| (1, State::new("unknown", "", None)));
        let mut note = [0; NOTE_LEN];
        let offset = base + (sector * SECTOR_SIZE + STATE_LEN) as u32;
        flash.read(offset, &mut note).await.map_err(|_| FLASH)?;
        Ok(Self {
            detail: Detail::decode_note(&note, state.counter),
            state,
            sector,
            base,
        })
    }

    /// Writes a changed state to the other sector and reads it back; the old copy stays until
    /// then, so a cut leaves one of the two. What was said about the last update stays with it.
    pub async fn save(&mut self, flash: &mut impl Flash, state: &State) -> Result<(), Failure> {
        let same = state.last == self.state.last;
        let detail = if same { self.detail } else { Detail::empty() };
        self.save_with(flash, state, &detail).await
    }

    /// As [`Store::save`], with what the application says about the end of the last update.
    pub async fn save_with(
        &mut self,
        flash: &mut impl Flash,
        state: &State,
        detail: &Detail,
    ) -> Result<(), Failure> {
        let counter = self.state.counter.checked_add(1).ok_or(FLASH)?;
        let sector = 1 - self.sector;
        let offset = self.base + (sector * SECTOR_SIZE) as u32;
        flash.erase(offset).await.map_err(|_| FLASH)?;
        if !detail.as_str().is_empty() {
            // Before the state: once that is there, so is what belongs to it. A note that cannot be
            // written is no reason to lose the state.
            let note = detail.encode_note(counter);
            let _ = flash.write(offset + STATE_LEN as u32, &note).await;
        }
        let bytes = State { counter, ..*state }.encode();
        flash.write(offset, &bytes).await.map_err(|_| FLASH)?;
        if !reads_back(flash, offset, &bytes).await? {
            return Err(FLASH);
        }
        self.state = State { counter, ..*state };
        self.detail = *detail;
        self.sector = sector;
        Ok(())
    }

    /// Every key that may sign something: the release keys, then the root.
    pub fn keys(&self) -> ([PublicKey; MAX_RELEASE_KEYS + 1], usize) {
        let mut keys = [PublicKey([0; 32]); MAX_RELEASE_KEYS + 1];
        let Some(trust) = &self.state.trust else {
            return (keys, 0);
        };
        let n = trust.release_keys().len();
        keys[..n].copy_from_slice(trust.release_keys());
        keys[n] = trust.root;
        (keys, n + 1)
    }
}

/// Whether flash holds `data` at `offset`.
pub(crate) async fn reads_back(
    flash: &mut impl Flash,
    offset: u32,
    data: &[u8],
) -> Result<bool, Failure> {
    /// Bytes that are read at a time.
    const STEP: usize = 128;
    let mut at = offset;
    for piece in data.chunks(STEP) {
        let mut back = [0; STEP];
        let back = &mut back[..piece.len()];
        flash.read(at, back).await.map_err(|_| FLASH)?;
        if back != piece {
            return Ok(false);
        }
        at += piece.len() as u32;
    }
    Ok(true)
}

/// Reads a slot's envelope into `out`; `None` when the sector holds none.
pub async fn read_envelope<'b>(
    flash: &mut impl Flash,
    layout: &Layout,
    slot: SlotId,
    out: &'b mut [u8],
) -> Result<Option<&'b [u8]>, Failure> {
    let offset = layout.envelope_offset(slot);
    let mut word = [0; 4];
    flash.read(offset, &mut word).await.map_err(|_| FLASH)?;
    let len = u32::from_le_bytes(word) as usize;
    if len == 0 || len > MAX_ENVELOPE {
        return Ok(None);
    }
    let bytes = out.get_mut(..len).ok_or(FLASH)?;
    flash.read(offset + 4, bytes).await.map_err(|_| FLASH)?;
    Ok(Some(bytes))
}

/// Reads a slot's envelope and checks its signature against `keys`.
pub async fn read_verified<'b>(
    flash: &mut impl Flash,
    layout: &Layout,
    slot: SlotId,
    keys: &[PublicKey],
    out: &'b mut [u8],
    scratch: &mut [u8],
) -> Result<Option<Verified<'b>>, Failure> {
    let bytes = read_envelope(flash, layout, slot, out).await?;
    Ok(bytes.and_then(|bytes| Envelope::parse(bytes).ok()?.verify(keys, scratch).ok()))
}

/// Erases a slot's envelope: from now on the slot is not whole.
pub(crate) async fn erase_envelope(
    flash: &mut impl Flash,
    layout: &Layout,
    slot: SlotId,
) -> Result<(), Failure> {
    let offset = layout.envelope_offset(slot);
    flash.erase(offset).await.map_err(|_| FLASH)?;
    let mut word = [0; 4];
    flash.read(offset, &mut word).await.map_err(|_| FLASH)?;
    if word == [0xFF; 4] {
        Ok(())
    } else {
        Err(FLASH)
    }
}

/// Writes a slot's envelope, its length last, and reads it back.
pub(crate) async fn write_envelope(
    flash: &mut impl Flash,
    layout: &Layout,
    slot: SlotId,
    envelope: &[u8],
) -> Result<(), Failure> {
    const STEP: usize = 256;
    let offset = layout.envelope_offset(slot);
    let len = u32::try_from(envelope.len()).map_err(|_| FLASH)?;
    flash.erase(offset).await.map_err(|_| FLASH)?;
    let mut at = offset + 4;
    for piece in envelope.chunks(STEP) {
        let mut padded = [0xFF; STEP];
        padded[..piece.len()].copy_from_slice(piece);
        let data = &padded[..piece.len().next_multiple_of(4)];
        flash.write(at, data).await.map_err(|_| FLASH)?;
        let mut back = [0; STEP];
        let back = &mut back[..data.len()];
        flash.read(at, back).await.map_err(|_| FLASH)?;
        if back != data {
            return Err(FLASH);
        }
        at += data.len() as u32;
    }
    flash
        .write(offset, &len.to_le_bytes())
        .await
        .map_err(|_| FLASH)?;
    let mut word = [0; 4];
    flash.read(offset, &mut word).await.map_err(|_| FLASH)?;
    if u32::from_le_bytes(word) == len {
        Ok(())
    } else {
        Err(FLASH)
    }
}

/// What a slot holds, as far as a verified envelope says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRelease {
    /// Release id.
    pub id: Digest,
    /// Version text.
    pub version: state::Text<64>,
    /// Sequence.
    pub sequence: u32,
    /// Digest that the envelope names for the app.
    pub app: Option<Digest>,
    /// Digest that the envelope names for the files.
    pub files: Option<Digest>,
}

impl SlotRelease {
    /// What a verified envelope says; `None` when its manifest does not decode.
    pub fn of(verified: &Verified<'_>) -> Option<Self> {
        let manifest = verified.manifest().ok()?;
        Some(Self::from_manifest(verified.id(), &manifest))
    }

    /// What a stored envelope says: one that `keys` verify, or the one that has confirmed. A change of
    /// the root ends the trust in the key that signed it, not the trust in what was signed.
    pub fn of_stored(
        envelope: &[u8],
        keys: &[PublicKey],
        confirmed: Option<Digest>,
        scratch: &mut [u8],
    ) -> Option<Self> {
        let envelope = Envelope::parse(envelope).ok()?;
        if let Ok(verified) = envelope.verify(keys, scratch) {
            return Self::of(&verified);
        }
        let id = confirmed?;
        let manifest = envelope.known_manifest(id)?.ok()?;
        Some(Self::from_manifest(id, &manifest))
    }

    fn from_manifest(id: Digest, manifest: &Manifest<'_>) -> Self {
        Self {
            id,
            version: state::Text::new(manifest.version),
            sequence: manifest.sequence,
            app: manifest.app.digest(),
            files: manifest.files.digest(),
        }
    }
}
