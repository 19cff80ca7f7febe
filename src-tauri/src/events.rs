//! The app's events, passed on to the page.

use airlift_app::dto::Numbered;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::sync::watch;

/// The page in the window. It comes and goes (a reload) while the app stays.
#[derive(Debug, Default)]
pub(crate) struct Page(watch::Sender<()>);

impl Page {
    /// Another page is being loaded: whoever forwards to the one before stops.
    pub(crate) fn replaced(&self) {
        self.0.send_replace(());
    }

    /// Changes once the page that is there now has gone.
    pub(crate) fn gone(&self) -> watch::Receiver<()> {
        self.0.subscribe()
    }
}

/// Passes events on until the page has gone, the window has closed or the app has ended.
///
/// Never keeps the app waiting: a page that is too slow loses the oldest events, sees the gap in
/// their numbers and asks for a new snapshot.
pub(crate) async fn forward<E>(
    mut events: Receiver<Numbered>,
    mut gone: watch::Receiver<()>,
    send: impl Fn(Numbered) -> Result<(), E>,
) {
    loop {
        let event = tokio::select! {
            biased;
            _ = gone.changed() => return,
            event = events.recv() => event,
        };
        match event {
            Ok(event) => {
                if send(event).is_err() {
                    return;
                }
            }
            Err(RecvError::Lagged(lost)) => tracing::warn!(lost, "the page is too slow"),
            Err(RecvError::Closed) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use airlift_app::dto::Event;
    use tokio::sync::broadcast;

    use super::*;

    fn event(seq: u32) -> Numbered {
        let event = Event::VirtualDevices(true);
        Numbered { seq, event }
    }

    #[tokio::test]
    async fn two_listeners_both_hear_everything_in_order() {
        let (app, page) = (broadcast::Sender::new(8), Page::default());
        let heard = [Mutex::new(vec![]), Mutex::new(vec![])];
        let [first, second] = heard.each_ref().map(|heard| {
            forward(app.subscribe(), page.gone(), |event| {
                heard.lock().unwrap().push(event.seq);
                Ok::<_, ()>(())
            })
        });
        for seq in 1..=3 {
            app.send(event(seq)).unwrap();
        }
        drop(app);
        tokio::join!(first, second);
        assert_eq!(
            heard.map(|heard| heard.into_inner().unwrap()),
            [[1, 2, 3]; 2]
        );
    }

    #[tokio::test]
    async fn a_reload_ends_the_listeners_of_the_old_page_only() {
        let (app, page) = (broadcast::Sender::new(8), Page::default());
        let old = forward(app.subscribe(), page.gone(), |_| {
            Err("the old page heard it")
        });
        page.replaced();
        let heard = Mutex::new(vec![]);
        let new = forward(app.subscribe(), page.gone(), |event| {
            heard.lock().unwrap().push(event.seq);
            Ok::<_, ()>(())
        });
        // The old one ends although the app goes on.
        old.await;
        app.send(event(7)).unwrap();
        drop(app);
        new.await;
        assert_eq!(heard.into_inner().unwrap(), [7]);
    }

    #[tokio::test]
    async fn a_slow_page_loses_the_oldest_and_hears_the_rest() {
        let (app, page) = (broadcast::Sender::new(2), Page::default());
        let heard = Mutex::new(vec![]);
        let slow = forward(app.subscribe(), page.gone(), |event| {
            heard.lock().unwrap().push(event.seq);
            Ok::<_, ()>(())
        });
        for seq in 1..=5 {
            app.send(event(seq)).unwrap();
        }
        drop(app);
        slow.await;
        assert_eq!(heard.into_inner().unwrap(), [4, 5]);
    }

    #[tokio::test]
    async fn a_closed_window_ends_the_forwarding() {
        let (app, page) = (broadcast::Sender::new(2), Page::default());
        let closed = forward(app.subscribe(), page.gone(), |_| Err("closed"));
        app.send(event(1)).unwrap();
        closed.await;
        assert_eq!(app.receiver_count(), 0);
    }
}
