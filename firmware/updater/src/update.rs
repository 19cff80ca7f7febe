//! One update, its order carried by types.
//!
//! ```text
//! envelope ─accept→ Accepted ─open→ Opened ─fill→ Written ─check→ Checked ─commit→ Committed ─switch→ Switched
//! ```
//!
//! | Step | What it does to flash | What a power cut leaves |
//! | --- | --- | --- |
//! | [`accept()`] | nothing | the running slot |
//! | [`Accepted::open`] | pins otadata to the running slot, erases the target's envelope | the running slot; the target is not whole |
//! | [`Opened::fill`] | writes the target's partition and folder | the same; what is written is found again by its hashes |
//! | [`Written::check`] | nothing: reads all of it again | the same |
//! | [`Checked::commit`] | writes the target's envelope | the running slot, and a whole target |
//! | [`Committed::switch`] | records the trial, writes otadata | the running slot, or the target on its first trial |

mod accept;
mod app;
mod copy;
mod files;
mod pin;
mod read;
mod transfer;

pub use accept::accept;
pub use read::{app_digest, read_files};

use crate::event::{Event, Observer, PartName, Phase};
use crate::fetch::Fetcher;
use crate::layout::{FLASH, Layout, SlotId, write_entry};
use crate::path::Path;
use crate::platform::{Clock, Files, Flash, Net};
use crate::store::{self, SlotRelease, Store};
use crate::{Buffers, Failure};
use airlift_wire::limits::MAX_ENVELOPE;
use airlift_wire::manifest::{Manifest, PartRef};
use airlift_wire::otadata::{self, Entry, ImageState};
use airlift_wire::state::{Cause, End, LastUpdate};
use airlift_wire::{Digest, ErrorCode, Verified};
use pin::pin;
use read::read_app;

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

/// A verified release that fits this device. Only [`accept()`] makes one.
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
