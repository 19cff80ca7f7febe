//! What parts mean for the partitions that a board has.

use super::Part;
use super::raw::printable;
use crate::Error;
use airlift_release::FileKind;
use airlift_wire::partition::{Partition, TYPE_APP, Table};

fn apps(table: &Table<'_>) -> impl Iterator<Item = Partition> {
    table.iter().filter(|partition| partition.kind == TYPE_APP)
}

fn is_app(part: &Part) -> bool {
    matches!(
        FileKind::of(&part.bytes),
        FileKind::AppImage | FileKind::SignedImage
    )
}

/// That an app ends where its partition does, or before the next one when it is in none.
pub(super) fn check_room(part: &Part, table: &Table<'_>) -> Result<(), Error> {
    if !is_app(part) {
        return Ok(());
    }
    let holder = table
        .iter()
        .find(|p| (p.offset..p.end()).contains(&part.offset));
    let next = || {
        table
            .iter()
            .map(|p| p.offset)
            .filter(|at| *at > part.offset)
    };
    let limit = match holder {
        Some(holder) => Some(holder.end()),
        None => next().min(),
    };
    match limit {
        Some(limit) if part.end() > u64::from(limit) => Err(Error::TooBig {
            what: printable(&part.name),
            size: part.bytes.len() as u64,
            limit: u64::from(limit - part.offset),
        }),
        _ => Ok(()),
    }
}

/// Apps that stand where the board starts none, one sentence each.
pub(super) fn misplaced(parts: &[Part], table: &Table<'_>) -> Vec<String> {
    let starts = |offset: u32| apps(table).any(|app| app.offset == offset);
    let misplaced = parts
        .iter()
        .filter(|part| is_app(part) && !starts(part.offset));
    let sentence = |part: &Part| {
        let name = printable(&part.name);
        let at = part.offset;
        format!("{name} will not start: no app partition of the board begins at {at:#x}.")
    };
    misplaced.map(sentence).collect()
}

/// What a new partition table takes from the apps of a board.
pub(super) struct Moved {
    /// One sentence each.
    pub losses: Vec<String>,
    /// Whether no app partition has an app afterwards.
    pub starts_nothing: bool,
}

impl Moved {
    /// `brought` tells whether an app is written to an offset.
    pub fn of(present: &Table<'_>, new: &Table<'_>, brought: impl Fn(u32) -> bool) -> Self {
        let stays =
            |old: &Partition| apps(new).any(|app| app.offset == old.offset && app.size >= old.size);
        let gone: Vec<_> = apps(present)
            .filter(|old| !brought(old.offset) && !stays(old))
            .map(|old| printable(old.label()))
            .collect();
        let has_app = |app: Partition| {
            brought(app.offset) || apps(present).any(|old| old.offset == app.offset)
        };
        let starts_nothing = !apps(new).any(has_app);
        let mut losses = Vec::new();
        if !gone.is_empty() {
            losses.push(format!(
                "What is in {} cannot start any more: the new partition table has no app partition \
                 as large in its place.",
                gone.join(", "),
            ));
        }
        if starts_nothing {
            let nothing = "No app partition of the new table has an app: the board starts nothing \
                           until one is written there.";
            losses.push(nothing.to_owned());
        }
        Self {
            losses,
            starts_nothing,
        }
    }
}
