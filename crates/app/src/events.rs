//! What the app tells whoever listens.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

use crate::dto::{Event, Numbered};

/// How many events a slow listener may be behind before it loses the oldest. It notices by a gap
/// in the numbers and asks for a new snapshot.
const CAPACITY: usize = 1024;

/// The sending end: numbers events and never waits for a listener.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Numbered>,
    seq: Arc<Mutex<u32>>,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            sender: broadcast::Sender::new(CAPACITY),
            seq: Arc::default(),
        }
    }
}

impl Events {
    /// Sends an event to everybody who listens now.
    pub fn send(&self, event: Event) {
        // Number and sending under one lock: listeners see rising numbers.
        let mut seq = self.seq.lock().unwrap_or_else(PoisonError::into_inner);
        *seq = seq.wrapping_add(1);
        // No listener is no error.
        let _ = self.sender.send(Numbered { seq: *seq, event });
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Numbered> {
        self.sender.subscribe()
    }

    /// The number of the last event.
    pub fn seq(&self) -> u32 {
        *self.seq.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_numbered_in_the_order_they_arrive() {
        let events = Events::default();
        let mut listener = events.subscribe();
        events.send(Event::VirtualDevices(true));
        events.send(Event::VirtualDevices(false));
        let seqs = [(); 2].map(|()| listener.try_recv().unwrap().seq);
        assert_eq!((seqs, events.seq()), ([1, 2], 2));
    }

    #[test]
    fn a_listener_that_falls_behind_sees_a_gap() {
        let events = Events::default();
        let mut listener = events.subscribe();
        for _ in 0..=CAPACITY {
            events.send(Event::VirtualDevices(true));
        }
        assert!(listener.try_recv().is_err(), "told that it lagged");
        assert_eq!(listener.try_recv().unwrap().seq, 2);
    }
}
