//! Whether a release fits this device, before anything is erased.

use super::{Accepted, Running, Wishes, copy};
use crate::layout::Layout;
use crate::path::Path;
use crate::platform::{Files, FilesError, Flash};
use crate::store::Store;
use crate::{Failure, guard};
use airlift_wire::limits::{CHUNK_SIZE, SPARE_BLOCKS};
use airlift_wire::manifest::{ANY_CHIP, PartRef};
use airlift_wire::otadata::ImageState;
use airlift_wire::{Digest, Envelope, ErrorCode, tar};

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
