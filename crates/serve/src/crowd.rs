//! Who is connected, and who goes when there is no room.
//!
//! A connection is worth as much as it was last used for: an answer, or a piece of one, that its peer
//! took. Whoever opens a connection and sends half a request, reads nothing, or lies idle, makes room
//! for those who do something; and whoever has many makes room for those who have few.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Among peers with equally many connections, one that did something within this stays.
const FRESH: Duration = Duration::from_secs(2);

/// The connections of a server.
pub(crate) struct Crowd {
    start: Instant,
    most: usize,
    most_of_one: usize,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    next: u64,
    taken: HashMap<u64, Seat>,
    of_peer: HashMap<IpAddr, usize>,
}

struct Seat {
    peer: IpAddr,
    used: Used,
    leave: CancellationToken,
}

/// When a connection was last of use, in milliseconds since the crowd was made.
#[derive(Clone, Default)]
pub(crate) struct Used(Arc<AtomicU64>);

impl Used {
    pub(crate) fn at(&self, crowd_start: Instant, now: Instant) {
        let passed = now.saturating_duration_since(crowd_start).as_millis();
        self.0
            .store(u64::try_from(passed).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A place in the crowd; dropping it gives it back.
pub(crate) struct Place {
    crowd: Arc<Crowd>,
    number: u64,
    /// How many there were before it.
    pub(crate) before: usize,
    pub(crate) used: Used,
    /// Cancelled when it has to make room.
    pub(crate) leave: CancellationToken,
}

impl Crowd {
    /// Room for `most` connections, and for `most_of_one` from one address.
    pub(crate) fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            most,
            most_of_one,
            seats: Mutex::default(),
        })
    }

    /// A place for a new connection from `peer`; none when all others have a better claim.
    pub(crate) fn enter(self: &Arc<Self>, peer: IpAddr) -> Option<Place> {
        let now = Instant::now();
        let mut seats = self.seats();
        let own = seats.of_peer.get(&peer).copied().unwrap_or(0);
        if own >= self.most_of_one {
            seats.dismiss(Some(peer));
        } else if seats.taken.len() >= self.most && !self.make_room(&mut seats, own, now) {
            return None;
        }
        let number = seats.next;
        seats.next += 1;
        let (used, leave) = (Used::default(), CancellationToken::new());
        used.at(self.start, now);
        let before = seats.taken.len();
        *seats.of_peer.entry(peer).or_default() += 1;
        let seat = Seat {
            peer,
            used: used.clone(),
            leave: leave.clone(),
        };
        seats.taken.insert(number, seat);
        Some(Place {
            crowd: self.clone(),
            number,
            before,
            used,
            leave,
        })
    }

    /// Takes a place for one more of a peer that has `own`.
    fn make_room(&self, seats: &mut Seats, own: usize, now: Instant) -> bool {
        let Some((&largest, &count)) = seats.of_peer.iter().max_by_key(|(_, count)| **count) else {
            return false;
        };
        if count > own + 1 {
            return seats.dismiss(Some(largest));
        }
        let oldest = seats
            .taken
            .values()
            .map(|seat| seat.used.0.load(Ordering::Relaxed))
            .min();
        let idle = now.saturating_duration_since(self.start).as_millis() as u64;
        let fresh = FRESH.as_millis() as u64;
        oldest.is_some_and(|oldest| idle.saturating_sub(oldest) >= fresh) && seats.dismiss(None)
    }

    /// Ends one connection, for the system has no room for another. False when there is none.
    pub(crate) fn shed(&self) -> bool {
        let mut seats = self.seats();
        let largest = seats.of_peer.iter().max_by_key(|(_, count)| **count);
        let largest = largest.map(|(peer, _)| *peer);
        largest.is_some() && seats.dismiss(largest)
    }

    /// The origin of [`Used`].
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    fn seats(&self) -> MutexGuard<'_, Seats> {
        // Nothing in there panics between two steps.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    /// Ends the connection that was of no use for longest, of one peer or of all.
    fn dismiss(&mut self, of: Option<IpAddr>) -> bool {
        let candidates = self
            .taken
            .iter()
            .filter(|(_, seat)| of.is_none_or(|of| of == seat.peer));
        let oldest =
            candidates.min_by_key(|(number, seat)| (seat.used.0.load(Ordering::Relaxed), **number));
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        if let Some(seat) = self.remove(number) {
            seat.leave.cancel();
        }
        true
    }

    fn remove(&mut self, number: u64) -> Option<Seat> {
        let seat = self.taken.remove(&number)?;
        if let Some(count) = self.of_peer.get_mut(&seat.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peer.remove(&seat.peer);
            }
        }
        Some(seat)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.seats().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::time::advance;

    use super::*;

    fn peer(n: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, n).into()
    }

    const STEP: Duration = Duration::from_millis(10);

    #[tokio::test(start_paused = true)]
    async fn one_address_makes_room_for_itself_and_what_was_used_last_stays() {
        let crowd = Crowd::new(100, 3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.extend(crowd.enter(peer(1)));
            advance(STEP).await;
        }
        places[0].used.at(crowd.start(), Instant::now());
        let other = crowd.enter(peer(2)).unwrap();
        places.extend(crowd.enter(peer(1)));
        let gone: Vec<_> = places
            .iter()
            .map(|place| place.leave.is_cancelled())
            .collect();
        assert_eq!(gone, [false, true, false, false]);
        assert!(!other.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn when_all_is_full_the_address_with_most_makes_room_at_once() {
        let crowd = Crowd::new(5, 4);
        let _few = crowd.enter(peer(2)).unwrap();
        let mut many = Vec::new();
        for _ in 0..4 {
            advance(STEP).await;
            many.extend(crowd.enter(peer(1)));
        }
        let newcomer = crowd.enter(peer(3)).unwrap();
        assert!(many[0].leave.is_cancelled());
        assert!(!newcomer.leave.is_cancelled());
        assert_eq!(newcomer.before, 4);
    }

    #[tokio::test(start_paused = true)]
    async fn among_equals_only_the_idle_make_room() {
        let crowd = Crowd::new(2, 2);
        let first = crowd.enter(peer(1)).unwrap();
        let second = crowd.enter(peer(2)).unwrap();
        assert!(crowd.enter(peer(3)).is_none(), "both have just come");
        advance(FRESH).await;
        second.used.at(crowd.start(), Instant::now());
        let third = crowd.enter(peer(3)).unwrap();
        assert!(first.leave.is_cancelled() && !second.leave.is_cancelled());
        assert!(
            crowd.enter(peer(4)).is_none(),
            "both did something just now"
        );
        drop(third);
        assert!(crowd.enter(peer(4)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_given_back_or_taken_away_counts_once() {
        let crowd = Crowd::new(10, 2);
        let first = crowd.enter(peer(1)).unwrap();
        let second = crowd.enter(peer(1)).unwrap();
        let third = crowd.enter(peer(1)).unwrap();
        drop((first, second, third));
        assert!(crowd.seats().taken.is_empty() && crowd.seats().of_peer.is_empty());
        assert!(!crowd.shed(), "there is nobody left");
        let last = crowd.enter(peer(1)).unwrap();
        assert!(crowd.shed() && last.leave.is_cancelled());
    }
}
