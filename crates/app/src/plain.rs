//! Boards of the plain protocol: what is known of each, from what it asks for.
//!
//! Such a board says nothing of itself. It is known by its address, and what it has is what it was
//! sent. Whether it then runs that, it does not say: its end is *unknown*, unless something else
//! proves it. Asking again proves nothing, for a board that fell back asks, too. What does: a device
//! that answers at the same address, started after everything was fetched, and runs exactly this
//! release (one that brought the board the signed client).
//!
//! A state machine without I/O and clock; times are seconds on any one clock.

use std::collections::BTreeMap;
use std::net::IpAddr;

use airlift_serve::{PlainAsked, PlainPart, PlainRelease, PlainRequest};
use airlift_wire::Digest;

use crate::dto::{self, PlainProgress, PlainState};

/// How many boards are kept.
pub const MOST_BOARDS: usize = 64;
/// A board that asks for nothing for so long has stopped. One that erases and writes flash between
/// two chunks takes a few seconds.
pub const QUIET_AFTER: f64 = 60.0;
/// A board that asked for nothing for so long is forgotten.
pub const FORGET_AFTER: f64 = 3600.0;

/// What is served, and who has asked.
#[derive(Debug, Default)]
pub struct PlainBoards {
    served: Option<Served>,
    boards: BTreeMap<IpAddr, Board>,
}

/// The release that is served.
#[derive(Clone, Debug)]
struct Served {
    id: Digest,
    product: String,
    version: String,
    app: Option<usize>,
    files: Option<usize>,
}

#[derive(Debug)]
struct Board {
    /// What it was told of last; none when it was told that there is nothing.
    release: Option<Served>,
    app: Chunks,
    files: Chunks,
    /// When it asked for anything last.
    heard: f64,
    /// When it had fetched everything.
    whole: Option<f64>,
    /// It has asked whether there is an update: the next chunk begins a new attempt.
    asked: bool,
    proved: bool,
    /// What [`PlainBoards::news`] told last.
    told: Option<Milestone>,
}

type Milestone = (PlainState, bool, bool);

/// Which chunks of a part a board was sent.
#[derive(Debug, Default)]
struct Chunks {
    sent: Vec<bool>,
    count: usize,
}

impl PlainBoards {
    /// Serves this release from now on, or nothing.
    pub fn serve(&mut self, release: Option<(&PlainRelease, &str, &str)>) {
        self.served = release.map(|(release, product, version)| Served {
            id: release.id(),
            product: product.to_owned(),
            version: version.to_owned(),
            app: release.chunks(PlainPart::App),
            files: release.chunks(PlainPart::Files),
        });
    }

    /// The release that is served.
    pub fn served(&self) -> Option<Digest> {
        self.served.as_ref().map(|served| served.id)
    }

    /// A board asked for something.
    pub fn heard(&mut self, request: &PlainRequest, now: f64) {
        // Reports of what was served a moment ago, before the switch was turned.
        if request.release.is_some() && request.release != self.served() {
            return;
        }
        let ip = request.peer.ip().to_canonical();
        self.forget(now);
        if !self.boards.contains_key(&ip) && !self.make_room(now) {
            return;
        }
        let served = self.served.as_ref().filter(|_| request.release.is_some());
        let board = self.boards.entry(ip).or_insert_with(|| Board::new(now));
        board.heard = now;
        match request.asked {
            PlainAsked::Update => board.asks(served),
            PlainAsked::Chunk { part, n, .. } => {
                if let Some(served) = served {
                    board.was_sent(served, part, n, now);
                }
            }
        }
    }

    /// A device answers at `ip`, has run for `uptime` seconds, and runs the releases of which
    /// `runs` is true.
    pub fn answers(&mut self, ip: IpAddr, uptime: f64, runs: impl Fn(&Digest) -> bool, now: f64) {
        // Behind the address of this computer itself are any number of devices.
        if ip.is_loopback() {
            return;
        }
        let Some(board) = self.boards.get_mut(&ip.to_canonical()) else {
            return;
        };
        let Some((whole, release)) = board.whole.zip(board.release.as_ref()) else {
            return;
        };
        board.proved |= now - uptime > whole && runs(&release.id);
    }

    /// All of it, as it is at `now`; boards by address.
    pub fn view(&mut self, now: f64) -> dto::Plain {
        self.forget(now);
        let served = self.served();
        let boards = self.boards.iter();
        dto::Plain {
            release: served.map(|id| id.to_string()),
            boards: boards
                .map(|(ip, board)| board.view(*ip, served, now))
                .collect(),
        }
    }

    /// The boards of which something worth a line has changed since the last call.
    pub fn news(&mut self, now: f64) -> Vec<dto::PlainBoard> {
        let served = self.served();
        let changed = self.boards.iter_mut().filter_map(|(ip, board)| {
            let milestone = board.milestone(served, now);
            let news = board.told.replace(milestone) != Some(milestone);
            news.then(|| board.view(*ip, served, now))
        });
        let changed = changed.collect();
        self.forget(now);
        changed
    }

    fn forget(&mut self, now: f64) {
        self.boards
            .retain(|_, board| now - board.heard < FORGET_AFTER);
    }

    /// Makes room for one more: those that fetched nothing go first, then those silent for longest.
    /// One that is fetching stays, whoever else asks.
    fn make_room(&mut self, now: f64) -> bool {
        if self.boards.len() < MOST_BOARDS {
            return true;
        }
        let served = self.served();
        let others = self
            .boards
            .iter()
            .filter(|(_, board)| board.state(served, now) != PlainState::Fetching);
        let least = others.min_by(|(_, a), (_, b)| {
            let fetched = |board: &Board| board.app.count + board.files.count > 0;
            (fetched(a).cmp(&fetched(b))).then(a.heard.total_cmp(&b.heard))
        });
        let least = least.map(|(ip, _)| *ip);
        least.is_some_and(|ip| self.boards.remove(&ip).is_some())
    }
}

impl Board {
    fn new(now: f64) -> Self {
        Self {
            release: None,
            app: Chunks::default(),
            files: Chunks::default(),
            heard: now,
            whole: None,
            asked: false,
            proved: false,
            told: None,
        }
    }

    fn asks(&mut self, served: Option<&Served>) {
        self.asked = true;
        let same = self.release.as_ref().map(|r| r.id) == served.map(|s| s.id);
        // What it has of another release stays shown until it fetches or is told of this one.
        if !same && (served.is_some() || self.app.count + self.files.count == 0) {
            self.begin(served);
        }
    }

    fn begin(&mut self, served: Option<&Served>) {
        self.release = served.cloned();
        self.app = Chunks::of(served.and_then(|s| s.app));
        self.files = Chunks::of(served.and_then(|s| s.files));
        self.whole = None;
        self.proved = false;
    }

    fn was_sent(&mut self, served: &Served, part: PlainPart, n: usize, now: f64) {
        let another = self.release.as_ref().map(|r| r.id) != Some(served.id);
        if another || self.asked {
            self.begin(Some(served));
        }
        self.asked = false;
        match part {
            PlainPart::App => self.app.was_sent(n),
            PlainPart::Files => self.files.was_sent(n),
        }
        if self.whole.is_none() && self.app.is_whole() && self.files.is_whole() {
            self.whole = Some(now);
        }
    }

    fn state(&self, served: Option<Digest>, now: f64) -> PlainState {
        let Some(release) = &self.release else {
            return PlainState::Refused;
        };
        if self.proved {
            PlainState::Updated
        } else if self.whole.is_some() {
            PlainState::Unknown
        } else if self.app.count + self.files.count == 0 {
            PlainState::Asked
        } else if Some(release.id) != served || now - self.heard >= QUIET_AFTER {
            PlainState::Stopped
        } else {
            PlainState::Fetching
        }
    }

    fn milestone(&self, served: Option<Digest>, now: f64) -> Milestone {
        let done = |chunks: &Chunks| chunks.count > 0 && chunks.is_whole();
        (self.state(served, now), done(&self.app), done(&self.files))
    }

    fn view(&self, ip: IpAddr, served: Option<Digest>, now: f64) -> dto::PlainBoard {
        let state = self.state(served, now);
        let release = self.release.as_ref();
        let carried = |name: &str, chunks: &Chunks| {
            (!chunks.sent.is_empty()).then(|| PlainProgress {
                part: name.to_owned(),
                fetched: chunks.count as u32,
                chunks: chunks.sent.len() as u32,
            })
        };
        let parts = [carried("app", &self.app), carried("files", &self.files)];
        let parts: Vec<_> = parts.into_iter().flatten().collect();
        dto::PlainBoard {
            address: ip.to_string(),
            release: release.map(|r| r.id.to_string()),
            state,
            summary: self.summary(state, &parts),
            parts,
            last_seen: self.heard,
        }
    }

    fn summary(&self, state: PlainState, parts: &[PlainProgress]) -> String {
        let Some(release) = &self.release else {
            return "Asked for an update, and none is served without a signature.".into();
        };
        let name = format!("{} {}", release.product, release.version);
        let sent = |p: &PlainProgress| format!("{} {} of {} chunks", p.part, p.fetched, p.chunks);
        let sent = parts.iter().map(sent).collect::<Vec<_>>().join(", ");
        match state {
            PlainState::Refused | PlainState::Asked => {
                format!("Was told of {name} and has fetched nothing of it.")
            }
            PlainState::Fetching => format!("Fetches {name}: {sent}."),
            PlainState::Stopped => format!("Stopped before it had all of {name}: {sent}."),
            PlainState::Unknown if self.asked => format!(
                "Fetched all of {name} and has asked again since; which version it runs, it does not say."
            ),
            PlainState::Unknown => {
                format!("Fetched all of {name}; whether it runs it, it does not say.")
            }
            PlainState::Updated => {
                format!("Runs {name}: it answers as a device that started after the update.")
            }
        }
    }
}

impl Chunks {
    fn of(count: Option<usize>) -> Self {
        Self {
            sent: vec![false; count.unwrap_or(0)],
            count: 0,
        }
    }

    fn was_sent(&mut self, n: usize) {
        if let Some(sent @ false) = self.sent.get_mut(n) {
            *sent = true;
            self.count += 1;
        }
    }

    fn is_whole(&self) -> bool {
        self.count == self.sent.len()
    }
}

#[cfg(test)]
mod tests;
