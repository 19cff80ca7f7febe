//! Who is connected, and who goes when there is no room.
//!
//! A connection is worth as much as it was last used for: an answer, or a piece of one, that its peer
//! took. Whoever opens a connection and sends half a request, reads nothing, or lies idle, makes room
//! for those who do something; and whoever has many makes room for those who have few.
//!
//! Behind one address may be one client or, with a proxy or a router in front of them, hundreds. So
//! an address may have any number of connections that were just sent something, and its share of
//! others.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A connection that was sent something within this is in use. Among peers with equally many, one
/// that came within it stays too.
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
    /// When it connected, in milliseconds since the crowd was made.
    came: u64,
    used: Used,
    leave: CancellationToken,
}

impl Seat {
    /// When it was last of use, if only by coming.
    fn last(&self) -> u64 {
        self.used
            .get()
            .map_or(self.came, |used| used.max(self.came))
    }

    /// Whether its peer took something just now.
    fn is_in_use(&self, now: u64) -> bool {
        self.used.get().is_some_and(|used| is_fresh(used, now))
    }
}

/// When the peer of a connection last took something: one more than the milliseconds since the crowd
/// was made, and 0 as long as it has taken nothing.
#[derive(Clone, Default)]
pub(crate) struct Used(Arc<AtomicU64>);

impl Used {
    pub(crate) fn at(&self, crowd_start: Instant, now: Instant) {
        let used = millis(crowd_start, now).saturating_add(1);
        self.0.store(used, Ordering::Relaxed);
    }

    fn get(&self) -> Option<u64> {
        self.0.load(Ordering::Relaxed).checked_sub(1)
    }
}

fn millis(from: Instant, to: Instant) -> u64 {
    let passed = to.saturating_duration_since(from).as_millis();
    u64::try_from(passed).unwrap_or(u64::MAX)
}

fn is_fresh(then: u64, now: u64) -> bool {
    u128::from(now.saturating_sub(then)) < FRESH.as_millis()
}

/// Whom an address is counted as: who has one of IPv6 has its whole /64 (RFC 4291, section 2.5.4).
fn counted_as(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
        v4 => v4,
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
    /// Room for `most` connections, and for `most_of_one` from one address that are not in use.
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
        let peer = counted_as(peer);
        let now = millis(self.start, Instant::now());
        let mut seats = self.seats();
        if seats.count_of(peer) >= self.most_of_one {
            seats.hold_to_share(peer, self.most_of_one, now);
        }
        let own = seats.count_of(peer);
        if seats.taken.len() >= self.most && !make_room(&mut seats, own, now) {
            return None;
        }
        let number = seats.next;
        seats.next += 1;
        let (used, leave) = (Used::default(), CancellationToken::new());
        let before = seats.taken.len();
        *seats.of_peer.entry(peer).or_default() += 1;
        let seat = Seat {
            peer,
            came: now,
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

/// Takes a place for one more of a peer that has `own`.
fn make_room(seats: &mut Seats, own: usize, now: u64) -> bool {
    let Some((&largest, &count)) = seats.of_peer.iter().max_by_key(|(_, count)| **count) else {
        return false;
    };
    if count > own + 1 {
        return seats.dismiss(Some(largest));
    }
    let oldest = seats.taken.values().map(Seat::last).min();
    oldest.is_some_and(|oldest| !is_fresh(oldest, now)) && seats.dismiss(None)
}

impl Seats {
    fn count_of(&self, peer: IpAddr) -> usize {
        self.of_peer.get(&peer).copied().unwrap_or(0)
    }

    /// Makes room for one more among the `most` of a peer that are not in use: ends those of them
    /// that were of no use for longest.
    fn hold_to_share(&mut self, peer: IpAddr, most: usize, now: u64) {
        let of_peer = self.taken.iter().filter(|(_, seat)| seat.peer == peer);
        let others = of_peer.filter(|(_, seat)| !seat.is_in_use(now));
        let mut others: Vec<_> = others.map(|(n, seat)| (seat.last(), *n)).collect();
        others.sort_unstable();
        let excess = (others.len() + 1).saturating_sub(most);
        for (_, number) in others.into_iter().take(excess) {
            self.end(number);
        }
    }

    /// Ends the connection that was of no use for longest, of one peer or of all.
    fn dismiss(&mut self, of: Option<IpAddr>) -> bool {
        let candidates = self
            .taken
            .iter()
            .filter(|(_, seat)| of.is_none_or(|of| of == seat.peer));
        let oldest = candidates.min_by_key(|(number, seat)| (seat.last(), **number));
        let Some(number) = oldest.map(|(number, _)| *number) else {
            return false;
        };
        self.end(number);
        true
    }

    fn end(&mut self, number: u64) {
        if let Some(seat) = self.remove(number) {
            seat.leave.cancel();
        }
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
        advance(FRESH).await;
        let other = crowd.enter(peer(2)).unwrap();
        places.extend(crowd.enter(peer(1)));
        let gone: Vec<_> = places
            .iter()
            .map(|place| place.leave.is_cancelled())
            .collect();
        assert_eq!(gone, [false, true, false, false]);
        assert!(!other.leave.is_cancelled());
    }

    fn gone(places: &[Place]) -> usize {
        let gone = places.iter().filter(|place| place.leave.is_cancelled());
        gone.count()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_has_any_number_in_use_and_its_share_of_others() {
        let crowd = Crowd::new(100, 3);
        let mut active = Vec::new();
        for _ in 0..20 {
            let place = crowd.enter(peer(1)).unwrap();
            advance(STEP).await;
            place.used.at(crowd.start(), Instant::now());
            active.push(place);
        }
        // Those that come at once keep none of the others out, and not each other either.
        let mut silent: Vec<_> = (0..3).flat_map(|_| crowd.enter(peer(1))).collect();
        assert_eq!((gone(&active), gone(&silent)), (0, 0));
        silent.extend(crowd.enter(peer(1)));
        assert_eq!((gone(&active), gone(&silent)), (0, 1));
        // No longer in use, they are among the others, and the oldest go.
        advance(FRESH).await;
        active[0].used.at(crowd.start(), Instant::now());
        let last = crowd.enter(peer(1)).unwrap();
        assert_eq!((gone(&active), gone(&silent)), (19, 2));
        assert!(!active[0].leave.is_cancelled() && !last.leave.is_cancelled());
    }

    #[tokio::test(start_paused = true)]
    async fn those_in_use_of_one_address_still_make_room_for_another_address() {
        let crowd = Crowd::new(10, 3);
        let mut active = Vec::new();
        for _ in 0..10 {
            let place = crowd.enter(peer(1)).unwrap();
            place.used.at(crowd.start(), Instant::now());
            active.push(place);
        }
        assert!(crowd.enter(peer(1)).is_none(), "all is full and in use");
        assert!(crowd.enter(peer(2)).is_some());
        assert_eq!(gone(&active), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_ipv6_network_are_counted_as_one() {
        let crowd = Crowd::new(100, 2);
        let of = |text: &str| -> IpAddr { text.parse().unwrap() };
        let mut places = Vec::new();
        for address in ["2001:db8::1", "2001:db8::2:0:0:1", "2001:db8::3"] {
            places.extend(crowd.enter(of(address)));
        }
        assert_eq!(gone(&places), 1);
        // Another network, and IPv4 as a socket for both gives it.
        for address in ["2001:db8:0:1::1", "::ffff:10.0.0.1", "::ffff:10.0.0.2"] {
            places.extend(crowd.enter(of(address)));
        }
        assert_eq!(gone(&places), 1);
        places.extend((0..2).flat_map(|_| crowd.enter(peer(1))));
        assert_eq!(gone(&places), 2, "it is the same address");
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
