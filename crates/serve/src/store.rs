//! Where the bytes come from.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use airlift_wire::{
    Digest,
    limits::{CHUNK_SIZE, MAX_ENVELOPE, MAX_PART_SIZE},
};
use bytes::Bytes;

use crate::Error;

/// What [`MemoryStore::default`] holds at most: a few dozen real releases, or eight of the largest.
pub const DEFAULT_STORE_LIMIT: usize = 256 * 1024 * 1024;

/// Content by digest. Nothing in a URL but a digest ever reaches it, so no URL becomes a path.
///
/// Calls are made on the connection's task and must not block.
pub trait Store: Send + Sync + 'static {
    /// The envelope of the release `id`, which is the envelope's own SHA-256.
    fn envelope(&self, id: &Digest) -> Option<Bytes>;
    /// The part with this SHA-256.
    fn blob(&self, sha256: &Digest) -> Option<Bytes>;
    /// The index pages, concatenated, of the part with this SHA-256.
    fn index(&self, sha256: &Digest) -> Option<Bytes>;
}

/// A [`Store`] that holds each part once, however many releases and connections share it.
///
/// Ids, digests and indexes are computed from the bytes on [`insert`](Self::insert), so an entity
/// tag cannot lie about its content. A connection that is being sent a part keeps its bytes alive
/// after [`remove`](Self::remove); new requests no longer find it.
pub struct MemoryStore {
    limit: usize,
    shelves: RwLock<Shelves>,
}

#[derive(Default)]
struct Shelves {
    releases: HashMap<Digest, Held>,
    parts: HashMap<Digest, Part>,
    bytes: usize,
}

struct Held {
    envelope: Bytes,
    parts: Vec<Digest>,
}

struct Part {
    blob: Bytes,
    index: Bytes,
    /// How many releases carry it: the last one to go takes the part along.
    releases: usize,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_limit(DEFAULT_STORE_LIMIT)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shelves = self.read();
        f.debug_struct("MemoryStore")
            .field("releases", &shelves.releases.len())
            .field("parts", &shelves.parts.len())
            .field("bytes", &shelves.bytes)
            .field("limit", &self.limit)
            .finish()
    }
}

impl MemoryStore {
    /// A store that holds at most `limit` bytes of parts and indexes.
    pub fn with_limit(limit: usize) -> Self {
        Self {
            limit,
            shelves: RwLock::default(),
        }
    }

    /// Offers a release and returns its id. Offering one that is there already changes nothing.
    ///
    /// # Errors
    ///
    /// [`Error::EnvelopeTooLong`], [`Error::PartTooLarge`] and [`Error::StoreFull`]; the store is as
    /// it was then.
    pub fn insert(
        &self,
        envelope: Bytes,
        parts: impl IntoIterator<Item = Bytes>,
    ) -> Result<Digest, Error> {
        if envelope.len() > MAX_ENVELOPE {
            return Err(Error::EnvelopeTooLong {
                len: envelope.len(),
                limit: MAX_ENVELOPE,
            });
        }
        let id = Digest::of(&envelope);
        if self.read().releases.contains_key(&id) {
            return Ok(id);
        }
        // Hashing megabytes happens before the lock is taken: requests are answered meanwhile.
        let mut hashed = HashMap::new();
        for blob in parts {
            if blob.len() > MAX_PART_SIZE as usize {
                return Err(Error::PartTooLarge {
                    len: blob.len(),
                    limit: MAX_PART_SIZE as usize,
                });
            }
            let index = chunk_hashes(&blob);
            hashed.insert(
                Digest::of(&blob),
                Part {
                    blob,
                    index,
                    releases: 0,
                },
            );
        }
        self.write().insert(id, envelope, hashed, self.limit)?;
        Ok(id)
    }

    /// Takes a release back. False when it was not there.
    pub fn remove(&self, id: &Digest) -> bool {
        self.write().remove(id)
    }

    /// How many bytes of parts and indexes are held.
    pub fn bytes_held(&self) -> usize {
        self.read().bytes
    }

    // No operation panics between two steps, so shelves behind a poisoned lock are consistent.
    fn read(&self) -> RwLockReadGuard<'_, Shelves> {
        self.shelves.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Shelves> {
        self.shelves.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn envelope(&self, id: &Digest) -> Option<Bytes> {
        self.read()
            .releases
            .get(id)
            .map(|held| held.envelope.clone())
    }

    fn blob(&self, sha256: &Digest) -> Option<Bytes> {
        self.read().parts.get(sha256).map(|part| part.blob.clone())
    }

    fn index(&self, sha256: &Digest) -> Option<Bytes> {
        self.read().parts.get(sha256).map(|part| part.index.clone())
    }
}

impl Shelves {
    fn insert(
        &mut self,
        id: Digest,
        envelope: Bytes,
        parts: HashMap<Digest, Part>,
        limit: usize,
    ) -> Result<(), Error> {
        let Entry::Vacant(release) = self.releases.entry(id) else {
            return Ok(());
        };
        let needed = parts
            .iter()
            .filter(|(sha256, _)| !self.parts.contains_key(*sha256))
            .map(|(_, part)| part.len())
            .sum();
        if needed > limit.saturating_sub(self.bytes) {
            return Err(Error::StoreFull {
                needed,
                held: self.bytes,
                limit,
            });
        }
        self.bytes += needed;
        release.insert(Held {
            envelope,
            parts: parts.keys().copied().collect(),
        });
        for (sha256, part) in parts {
            self.parts.entry(sha256).or_insert(part).releases += 1;
        }
        Ok(())
    }

    fn remove(&mut self, id: &Digest) -> bool {
        let Some(release) = self.releases.remove(id) else {
            return false;
        };
        for sha256 in release.parts {
            let Entry::Occupied(mut part) = self.parts.entry(sha256) else {
                continue;
            };
            part.get_mut().releases -= 1;
            if part.get().releases == 0 {
                self.bytes -= part.remove().len();
            }
        }
        true
    }
}

impl Part {
    fn len(&self) -> usize {
        self.blob.len() + self.index.len()
    }
}

/// The hash of every chunk, concatenated: what the pages of a part are, one after the other.
fn chunk_hashes(part: &[u8]) -> Bytes {
    part.chunks(CHUNK_SIZE)
        .flat_map(|chunk| Digest::of(chunk).0)
        .collect()
}

#[cfg(test)]
mod tests {
    use airlift_wire::ErrorCode;

    use super::*;

    fn part(seed: u8, len: usize) -> Bytes {
        (0..len)
            .map(|i| (i as u8).wrapping_mul(31) ^ seed)
            .collect()
    }

    #[test]
    fn what_was_inserted_is_found_by_its_digest() {
        let store = MemoryStore::default();
        let app = part(1, 10_000);
        let id = store
            .insert(Bytes::from_static(b"envelope"), [app.clone()])
            .unwrap();
        assert_eq!(id.0, Digest::of(b"envelope").0);
        assert_eq!(store.envelope(&id).unwrap(), &b"envelope"[..]);
        let sha256 = Digest::of(&app);
        assert_eq!(store.blob(&sha256).unwrap(), app);
        let index = store.index(&sha256).unwrap();
        assert_eq!(index.len(), 3 * 32);
        assert_eq!(index[64..], Digest::of(&app[8192..]).0);
        assert_eq!(store.blob(&id), None, "an envelope is not a blob");
    }

    #[test]
    fn a_shared_part_is_held_once_and_goes_with_the_last_release() {
        let store = MemoryStore::default();
        let (shared, own) = (part(1, 5000), part(2, 100));
        let sha256 = Digest::of(&shared);
        let first = store
            .insert(Bytes::from_static(b"1"), [shared.clone()])
            .unwrap();
        let alone = store.bytes_held();
        let second = store
            .insert(Bytes::from_static(b"2"), [shared.clone(), own])
            .unwrap();
        assert_eq!(store.bytes_held(), alone + 100 + 32);
        assert!(store.remove(&first));
        assert!(!store.remove(&first), "it is gone");
        assert_eq!(store.blob(&sha256).unwrap(), shared);
        assert!(store.remove(&second));
        assert_eq!(store.blob(&sha256), None);
        assert_eq!(store.bytes_held(), 0);
    }

    #[test]
    fn a_release_offered_twice_is_taken_back_once() {
        let store = MemoryStore::default();
        let app = part(3, 4096);
        let id = store
            .insert(Bytes::from_static(b"1"), [app.clone(), app.clone()])
            .unwrap();
        assert_eq!(store.insert(Bytes::from_static(b"1"), [app]).unwrap(), id);
        assert!(store.remove(&id));
        assert_eq!(store.bytes_held(), 0);
    }

    #[test]
    fn a_full_store_refuses_and_changes_nothing() {
        let store = MemoryStore::with_limit(5000);
        let id = store
            .insert(Bytes::from_static(b"1"), [part(1, 4000)])
            .unwrap();
        let error = store
            .insert(Bytes::from_static(b"2"), [part(2, 1000)])
            .unwrap_err();
        assert_eq!(error.code(), ErrorCode::Busy);
        assert_eq!(store.bytes_held(), 4032);
        assert!(store.envelope(&Digest::of(b"2")).is_none());
        assert!(store.remove(&id));
        store
            .insert(Bytes::from_static(b"2"), [part(2, 1000)])
            .unwrap();
    }

    #[test]
    fn what_no_release_can_carry_is_refused() {
        let store = MemoryStore::default();
        let envelope = Bytes::from(vec![0; MAX_ENVELOPE + 1]);
        assert_eq!(
            store.insert(envelope, []).unwrap_err().code(),
            ErrorCode::BadEnvelope
        );
        let large = Bytes::from(vec![0; MAX_PART_SIZE as usize + 1]);
        let error = store.insert(Bytes::from_static(b"1"), [large]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::TooBig);
        assert_eq!(
            error.to_string(),
            "a part of 16777217 bytes is larger than 16777216"
        );
    }
}
