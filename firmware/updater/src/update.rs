//! One update, its order carried by types.
//!
//! ```text
//! envelope ─accept→ Accepted ─open→ Opened ─fill→ Written ─check→ Checked ─commit→ Committed ─switch→ Switched
//! ```
//!
//! | Step | What it does to flash | What a power cut leaves |
//! | --- | --- | --- |
//! | [`accept`] | nothing | the running slot |
//! | [`Accepted::open`] | pins otadata to the running slot, erases the target's envelope | the running slot; the target is not whole |
//! | [`Opened::fill`] | writes the target's partition and folder | the same; what is written is found again by its hashes |
//! | [`Written::check`] | nothing: reads all of it again | the same |
//! | [`Checked::commit`] | writes the target's envelope | the running slot, and a whole target |
//! | [`Committed::switch`] | records the trial, writes otadata | the running slot, or the target on its first trial |

mod app;
mod copy;
mod files;
mod transfer;

use crate::emit::Cursor;
use crate::event::{Event, Observer, PartName, Phase};
use crate::fetch::Fetcher;
use crate::guard;
use crate::layout::{FLASH, Layout, SlotId, write_entry};
use crate::path::Path;
use crate::platform::{Clock, Files, FilesError, Flash, Net};
use crate::store::{self, SlotRelease, Store};
use crate::{Buffers, Failure};
use airlift_wire::digest::Hasher;
use airlift_wire::image;
use airlift_wire::limits::{CHUNK_SIZE, MAX_ENVELOPE, SPARE_BLOCKS};
use airlift_wire::manifest::{ANY_CHIP, Manifest, PartRef};
use airlift_wire::otadata::{self, Entry, ImageState};
use airlift_wire::state::{Cause, End, LastUpdate};
use airlift_wire::{Digest, Envelope, ErrorCode, Verified, tar};

/// What the device is and runs, for the checks before anything is erased.
#[derive(Clone, Copy, Debug)]
pub struct Running {
    /// `chip_id` of the chip.
    pub chip: u16,
    /// The release that runs, if its envelope verifies.
    pub release: Option<SlotRelease>,
    /// Digest and size of the app in flash, as computed from flash.
    pub app: Option<(Digest, u32)>,
    /// Digest of the canonical tar of the running folder, as computed from it.
    pub files: Option<Digest>,
}

/// What the caller wants besides the release.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    /// Take a release that was rolled back before.
    pub retry: bool,
}

/// A verified release that fits this device. Only [`accept`] makes one.
pub struct Accepted<'e> {
    verified: Verified<'e>,
    manifest: Manifest<'e>,
    target: SlotId,
    running: &'e Running,
}

/// The target slot is not whole any more and may be written.
///
/// From here on each step borrows what was accepted: a copy in each would be a copy in the memory of
/// the task.
pub struct Opened<'a, 'e> {
    accepted: &'a Accepted<'e>,
    /// Whether the target was not whole before: what is in it may be an interrupted update's.
    resumed: bool,
}

/// App and files are written.
pub struct Written<'a, 'e> {
    accepted: &'a Accepted<'e>,
    app_size: u32,
    app: Digest,
    files: Option<Digest>,
}

/// App and files were read back from flash and have the right digests.
pub struct Checked<'a, 'e>(&'a Accepted<'e>);

/// The envelope is stored: the target slot is whole.
pub struct Committed<'a, 'e>(&'a Accepted<'e>);

/// The target slot is selected; all that is left is to restart.
pub struct Switched {
    /// The slot that boots next.
    pub slot: SlotId,
}

/// Checks an envelope and everything that can be known before the first byte is fetched.
///
/// Steps 1 and 2 of the design. `scratch` holds [`airlift_wire::envelope::SCRATCH`] bytes. Nothing
/// is written.
#[allow(clippy::too_many_arguments)] // the whole situation, gathered once
pub async fn accept<'e, F: Flash, S: Files>(
    envelope: &'e [u8],
    wishes: Wishes,
    running: &'e Running,
    layout: &Layout,
    store: &Store,
    flash: &mut F,
    files: &mut S,
    scratch: &mut [u8],
) -> Result<Accepted<'e>, Failure> {
    let fail = |code, message| Err(Failure::new(code, message));
    let state = &store.state;
    let Some(trust) = state.trust else {
        return fail(ErrorCode::NoTrust, "the device was given no keys");
    };
    // Known already, even if the key that signed it has been replaced since.
    if running
        .release
        .is_some_and(|r| r.id == Digest::of(envelope))
    {
        return fail(
            ErrorCode::AlreadyCurrent,
            "the device already runs this release",
        );
    }
    let (keys, n) = store.keys();
    let verified = Envelope::parse(envelope)?.verify(&keys[..n], scratch)?;
    let manifest = verified.manifest()?;
    let unchanged = manifest.keys.is_none_or(|keys| keys == trust);
    if unchanged && !trust.release_keys().contains(verified.key()) {
        return fail(
            ErrorCode::UnknownKey,
            "the root key signs changes of keys only",
        );
    }
    if let Some(keys) = manifest.keys
        && !unchanged
        && !guard::changes_keys(Some(&trust), &keys, &verified)
    {
        return fail(
            ErrorCode::BadKeySet,
            "the new keys are not signed by the root, or not newer",
        );
    }
    if manifest.sequence >= trust.first_root_sequence() && *verified.key() != trust.root {
        return fail(
            ErrorCode::SequenceTooHigh,
            "only the root key gives a sequence that high",
        );
    }
    let entries = layout.read_otadata(flash).await?;
    // An entry that was never given a state, as `otatool` writes it, is no trial: `open` replaces it.
    if matches!(
        layout.running_state(&entries),
        ImageState::New | ImageState::PendingVerify
    ) {
        return fail(
            ErrorCode::TrialRunning,
            "the running version has not confirmed yet",
        );
    }
    if manifest.product != state.product.as_str() {
        return fail(
            ErrorCode::WrongProduct,
            "the release is for another product",
        );
    }
    if manifest.chip != ANY_CHIP && manifest.chip != running.chip {
        return fail(ErrorCode::WrongChip, "the release is for another chip");
    }
    // The state is behind what runs when it could not be written after the confirmation.
    let (sequence, confirmed) = match running.release {
        Some(release) if release.sequence > state.sequence => (release.sequence, Some(release.id)),
        _ => (state.sequence, state.confirmed),
    };
    if manifest.sequence < sequence {
        return fail(
            ErrorCode::LowerSequence,
            "the device has confirmed a newer release",
        );
    }
    let other = confirmed.is_some_and(|id| id != verified.id());
    if manifest.sequence == sequence && other {
        return fail(
            ErrorCode::SequenceConflict,
            "another release has the same sequence",
        );
    }
    if state.rolled_back == Some(verified.id()) && !wishes.retry {
        return fail(
            ErrorCode::RolledBackBefore,
            "this release was tried and rolled back before",
        );
    }
    let target = layout.running.next();
    let slot = layout.partition(target).ok_or(Failure::LAYOUT)?;
    let app_size = match &manifest.app {
        PartRef::Carried(part) => part.size,
        PartRef::Running(digest) => match running.app {
            Some((app, size)) if app == *digest => size,
            _ => {
                return fail(
                    ErrorCode::WrongBase,
                    "the release needs an app that does not run",
                );
            }
        },
        PartRef::Any => running.app.map(|(_, size)| size).ok_or(Failure::new(
            ErrorCode::WrongBase,
            "the running app cannot be copied: it is no whole image",
        ))?,
    };
    if app_size > slot.size {
        return fail(ErrorCode::TooBig, "the app does not fit its partition");
    }
    let in_files = match &manifest.files {
        PartRef::Carried(_) => true,
        PartRef::Running(digest) => running.files == Some(*digest),
        PartRef::Any => layout.vfs.is_none() || running.files.is_some(),
    };
    if !in_files {
        return fail(
            ErrorCode::WrongBase,
            "the release needs files that the device does not have or cannot copy",
        );
    }
    let needs_files = !matches!(manifest.files, PartRef::Any) || layout.vfs.is_some();
    if needs_files {
        if layout.vfs.is_none() {
            return fail(
                ErrorCode::BadLayout,
                "the device has no file system for the files",
            );
        }
        let needed = match manifest.files.carried() {
            Some(part) => part.blocks.unwrap_or(part.size.div_ceil(CHUNK_SIZE as u32)),
            None => copy::blocks_of(files, Path::slot(layout.running), tar::blocks_for).await?,
        };
        let mut reclaimed = 0;
        match copy::count_blocks(
            files,
            Path::slot(target),
            copy::blocks_freed,
            &mut reclaimed,
        )
        .await
        {
            // Names that no release can have are removed with the rest. What they free, and what comes
            // behind them, is not known; what comes before them is free all the same.
            Ok(()) | Err(FilesError::BadName) => {}
            Err(e) => return Err(e.into()),
        }
        let free = files.free_blocks().await?;
        if needed.saturating_add(SPARE_BLOCKS) > free.saturating_add(reclaimed) {
            return fail(
                ErrorCode::TooBig,
                "the file system has no room for the files",
            );
        }
    }
    Ok(Accepted {
        verified,
        manifest,
        target,
        running,
    })
}

impl<'e> Accepted<'e> {
    /// The release id.
    pub fn id(&self) -> Digest {
        self.verified.id()
    }

    /// What the release says.
    pub fn manifest(&self) -> &Manifest<'e> {
        &self.manifest
    }

    /// The slot that will be written.
    pub fn target(&self) -> SlotId {
        self.target
    }

    /// Makes otadata select the running slot with a *valid* entry, then erases the target's
    /// envelope. Steps 3 and 4.
    pub async fn open<F: Flash>(
        &mut self,
        layout: &Layout,
        flash: &mut F,
    ) -> Result<Opened<'_, 'e>, Failure> {
        pin(layout, flash).await?;
        let mut word = [0; 4];
        let offset = layout.envelope_offset(self.target);
        flash.read(offset, &mut word).await.map_err(|_| FLASH)?;
        // Anything but the length of an envelope: an erase may have been cut short as well.
        let len = u32::from_le_bytes(word) as usize;
        let resumed = len == 0 || len > MAX_ENVELOPE;
        store::erase_envelope(flash, layout, self.target).await?;
        Ok(Opened {
            accepted: self,
            resumed,
        })
    }
}

/// Makes otadata select the running slot for certain.
async fn pin<F: Flash>(layout: &Layout, flash: &mut F) -> Result<(), Failure> {
    let entries = layout.read_otadata(flash).await?;
    let active = otadata::active(&entries);
    // Each switch counts up; shortly before the end, the count starts anew.
    let last = u32::MAX - 8;
    let is_full = entries
        .iter()
        .any(|e| e.has_right_crc() && e.sequence > last);
    let Some(slot) = layout.running.ota() else {
        if is_full {
            for n in 0..2 {
                let erased = flash.erase(layout.otadata_offset(n)).await;
                erased.map_err(|_| FLASH)?;
            }
            return Ok(());
        }
        // Without a selectable entry the bootloader starts the factory app.
        for (n, entry) in entries.iter().enumerate() {
            if entry.is_selectable() {
                let aborted = Entry {
                    state: ImageState::Aborted,
                    ..*entry
                };
                write_entry(flash, layout.otadata_offset(n), &aborted).await?;
            }
        }
        return Ok(());
    };
    if is_full {
        // The entry that counts goes last: until then it does, and then the new one.
        let n = active.unwrap_or(1);
        for (n, state) in [(1 - n, ImageState::Valid), (n, ImageState::Aborted)] {
            let entry = Entry::new(slot + 1, state);
            write_entry(flash, layout.otadata_offset(n), &entry).await?;
        }
        return Ok(());
    }
    if let Some(n) = layout.running_entry(&entries)
        && entries[n].state == ImageState::Valid
    {
        return Ok(());
    }
    if let Some(n) = active {
        let own = entries[1 - n];
        if own.is_selectable() && own.slot(2) == Some(slot) && own.state == ImageState::Valid {
            // The own entry counts as soon as the other one goes. Not the other way round: a bootloader
            // with rollback gives a *pending* entry up, and would find none.
            let aborted = Entry::new(entries[n].sequence, ImageState::Aborted);
            return write_entry(flash, layout.otadata_offset(n), &aborted).await;
        }
    }
    let sequence = otadata::next_sequence(&entries, slot, 2).ok_or(FLASH)?;
    // Never over the active entry: until the new one is whole, the old one counts.
    let n = active.map_or(0, |n| 1 - n);
    let entry = Entry::new(sequence, ImageState::Valid);
    write_entry(flash, layout.otadata_offset(n), &entry).await
}

impl<'a, 'e> Opened<'a, 'e> {
    /// Fills app and files: what is there and right is kept, the rest is fetched, what the
    /// release does not carry is copied. Steps 5 and 6.
    #[allow(clippy::too_many_arguments)]
    pub async fn fill<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
        self,
        layout: &Layout,
        flash: &mut F,
        files: &mut S,
        fetcher: &mut Fetcher<'_, N, C>,
        buffers: &mut Buffers,
        observer: &mut O,
    ) -> Result<Written<'a, 'e>, Failure> {
        let filled = self
            .write(layout, flash, files, fetcher, buffers, observer)
            .await;
        if filled.is_err() {
            // A file may still be open for writing; the next update needs the only writer.
            let _ = files.close().await;
        }
        let (app, app_size, files) = filled?;
        Ok(Written {
            accepted: self.accepted,
            app_size,
            app,
            files,
        })
    }

    /// Writes both parts; digest and size of the app, digest of the files.
    #[allow(clippy::too_many_arguments)]
    async fn write<F: Flash, S: Files, N: Net, C: Clock, O: Observer>(
        &self,
        layout: &Layout,
        flash: &mut F,
        files: &mut S,
        fetcher: &mut Fetcher<'_, N, C>,
        buffers: &mut Buffers,
        observer: &mut O,
    ) -> Result<(Digest, u32, Option<Digest>), Failure> {
        let Accepted {
            manifest,
            target,
            running,
            ..
        } = self.accepted;
        let to = layout.partition(*target).ok_or(Failure::LAYOUT)?;
        observer.event(Event::Phase(Phase::App)).await;
        let (app, app_size) = match &manifest.app {
            PartRef::Carried(part) => {
                app::fetch::<F, S, N, C, O>(
                    part,
                    manifest.chip,
                    to.offset,
                    self.resumed,
                    flash,
                    fetcher,
                    buffers,
                    observer,
                )
                .await?;
                (part.digest, part.size)
            }
            _ => {
                let (digest, size) = running.app.ok_or(Failure::LAYOUT)?;
                let from = layout.partition(layout.running).ok_or(Failure::LAYOUT)?;
                let (from, to, resumed) = (from.offset, to.offset, self.resumed);
                copy::app(flash, from, to, size, resumed, buffers, observer).await?;
                (digest, size)
            }
        };
        let digest = if layout.vfs.is_some() {
            observer.event(Event::Phase(Phase::Files)).await;
            let root = Path::slot(*target);
            let digest = match &manifest.files {
                PartRef::Carried(part) => {
                    let resumed = self.resumed;
                    files::fetch::<F, S, N, C, O>(
                        part, &root, resumed, files, fetcher, buffers, observer,
                    )
                    .await?;
                    part.digest
                }
                other => {
                    let from = Path::slot(layout.running);
                    copy::files(files, &from, &root, other.digest(), buffers, observer).await?
                }
            };
            crate::unpack::write_version(files, root, manifest.version).await?;
            Some(digest)
        } else {
            None
        };
        Ok((app, app_size, digest))
    }
}

impl<'a, 'e> Written<'a, 'e> {
    /// Reads everything again from flash and from the folder. Both digests must match, with one
    /// retry, and the app must be an image for this chip. Step 7.
    pub async fn check<F: Flash, S: Files, O: Observer>(
        self,
        layout: &Layout,
        flash: &mut F,
        files: &mut S,
        buffers: &mut Buffers,
        observer: &mut O,
    ) -> Result<Checked<'a, 'e>, Failure> {
        observer.event(Event::Phase(Phase::Check)).await;
        let target = self.accepted.target;
        let to = layout.partition(target).ok_or(Failure::LAYOUT)?;
        let part = PartName::App;
        let mut computed = read_app(flash, to.offset, self.app_size, buffers).await?;
        if computed.0 != self.app {
            computed = read_app(flash, to.offset, self.app_size, buffers).await?;
        }
        let (digest, image) = computed;
        observer
            .event(Event::Part {
                part,
                expected: self.app,
                computed: digest,
            })
            .await;
        if digest != self.app {
            return Err(Failure::new(
                ErrorCode::FlashFault,
                "the app reads back with another hash",
            ));
        }
        let fits = image.is_ok_and(|image| {
            image.header.chip_id == self.accepted.running.chip && image.len == self.app_size
        });
        if !fits {
            return Err(Failure::new(
                ErrorCode::BadImage,
                "the app is no whole image for this chip",
            ));
        }
        if let Some(expected) = self.files {
            let part = PartName::Files;
            let root = Path::slot(target);
            let mut computed = read_files(files, root, buffers).await?;
            if computed != expected {
                computed = read_files(files, root, buffers).await?;
            }
            observer
                .event(Event::Part {
                    part,
                    expected,
                    computed,
                })
                .await;
            if computed != expected {
                let message = "the files read back with another hash";
                return Err(Failure::new(ErrorCode::FlashFault, message));
            }
        }
        Ok(Checked(self.accepted))
    }
}

impl<'a, 'e> Checked<'a, 'e> {
    /// Stores the envelope: the target slot is whole. Step 8.
    pub async fn commit<F: Flash>(
        self,
        layout: &Layout,
        flash: &mut F,
    ) -> Result<Committed<'a, 'e>, Failure> {
        let Accepted {
            verified, target, ..
        } = self.0;
        store::write_envelope(flash, layout, *target, verified.envelope()).await?;
        Ok(Committed(self.0))
    }
}

impl Committed<'_, '_> {
    /// Records the trial, then selects the target slot with a *new* entry. Step 9.
    pub async fn switch<F: Flash>(
        self,
        layout: &Layout,
        flash: &mut F,
        store: &mut Store,
    ) -> Result<Switched, Failure> {
        let Accepted {
            verified,
            manifest,
            target,
            ..
        } = self.0;
        let mut state = store.state;
        state.last = LastUpdate {
            release: verified.id(),
            sequence: manifest.sequence,
            end: End::Trial,
            cause: Cause::None,
            boots: 0,
        };
        if state.rolled_back == Some(verified.id()) {
            state.rolled_back = None;
        }
        store.save(flash, &state).await?;
        let entries = layout.read_otadata(flash).await?;
        let slot = target.ota().ok_or(Failure::LAYOUT)?;
        let sequence = otadata::next_sequence(&entries, slot, 2).ok_or(FLASH)?;
        let n = otadata::active(&entries).map_or(0, |n| 1 - n);
        let entry = Entry::new(sequence, ImageState::New);
        write_entry(flash, layout.otadata_offset(n), &entry).await?;
        Ok(Switched { slot: *target })
    }
}

/// Hashes `size` bytes of an app partition and checks that they are an image.
async fn read_app<F: Flash>(
    flash: &mut F,
    offset: u32,
    size: u32,
    buffers: &mut Buffers,
) -> Result<(Digest, Result<image::Checked, image::ImageError>), Failure> {
    let mut hasher = Hasher::new();
    let mut checker = image::Checker::new();
    let mut verdict = Ok(0);
    let mut at = 0;
    while at < size {
        let n = (size - at).min(CHUNK_SIZE as u32) as usize;
        let buf = &mut buffers.chunks[0][..n];
        flash.read(offset + at, buf).await.map_err(|_| FLASH)?;
        hasher.update(buf);
        verdict = verdict.and_then(|_| checker.update(buf));
        at += n as u32;
    }
    Ok((hasher.finish(), verdict.and_then(|_| checker.finish())))
}

/// Digest and size of the image that starts at `offset`, at most `limit` bytes; `None` when there
/// is no whole image.
pub async fn app_digest<F: Flash>(
    flash: &mut F,
    offset: u32,
    limit: u32,
    buffers: &mut Buffers,
) -> Result<Option<(Digest, u32)>, Failure> {
    let mut hasher = Hasher::new();
    let mut checker = image::Checker::new();
    let mut at = 0;
    while at < limit && !checker.is_done() {
        let n = (limit - at).min(CHUNK_SIZE as u32) as usize;
        let buf = &mut buffers.chunks[0][..n];
        flash.read(offset + at, buf).await.map_err(|_| FLASH)?;
        let Ok(used) = checker.update(buf) else {
            return Ok(None);
        };
        hasher.update(&buf[..used]);
        at += used as u32;
    }
    let digest = hasher.finish();
    Ok(checker.finish().ok().map(|image| (digest, image.len)))
}

/// Digest of the canonical tar of a folder.
pub async fn read_files<S: Files>(
    files: &mut S,
    root: Path,
    buffers: &mut Buffers,
) -> Result<Digest, Failure> {
    let mut cursor = Cursor::new(root);
    let mut hasher = Hasher::new();
    while !cursor.is_done() {
        let n = cursor.fill(files, &mut buffers.chunks[0]).await?;
        hasher.update(&buffers.chunks[0][..n]);
    }
    Ok(hasher.finish())
}
