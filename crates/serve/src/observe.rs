//! Watching what is served, from the side.

use std::{
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use airlift_wire::Digest;
use tokio::sync::mpsc;

use crate::Kind;

/// One answer with content, reported when it begins: 200 or 206 to a GET.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// Who asked.
    pub peer: SocketAddr,
    /// What kind of content it is.
    pub kind: Kind,
    /// The digest in the URL.
    pub digest: Digest,
    /// The bytes of the content that it has.
    pub range: Range<usize>,
    /// Length of the whole content in bytes.
    pub len: usize,
}

/// The server's end: reports what was served, and never waits for whoever listens.
///
/// The channel has a fixed capacity. When the other end falls behind, reports are dropped and
/// counted, so that an observer cannot slow a transfer or fill the memory.
#[derive(Debug)]
pub struct Observer<T = Served> {
    sender: mpsc::Sender<T>,
    missed: Arc<AtomicU64>,
}

/// The listening end of an [`Observer`].
#[derive(Debug)]
pub struct Observations<T = Served> {
    receiver: mpsc::Receiver<T>,
    missed: Arc<AtomicU64>,
}

impl<T> Clone for Observer<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            missed: self.missed.clone(),
        }
    }
}

/// An observer and the end that listens to it, with room for `capacity` reports (at least one).
pub fn observer<T>(capacity: usize) -> (Observer<T>, Observations<T>) {
    let (sender, receiver) = mpsc::channel(capacity.max(1));
    let missed = Arc::new(AtomicU64::new(0));
    (
        Observer {
            sender,
            missed: missed.clone(),
        },
        Observations { receiver, missed },
    )
}

impl<T> Observer<T> {
    pub(crate) fn report(&self, served: T) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.sender.try_send(served) {
            self.missed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl<T> Observations<T> {
    /// The next report; `None` when every server with the observer has ended.
    pub async fn next(&mut self) -> Option<T> {
        self.receiver.recv().await
    }

    /// How many reports were dropped because this end was slow.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}
