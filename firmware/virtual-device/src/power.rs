//! Whether a device has power.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Power that goes once. Clones are the same power.
///
/// What finds that the flash has no power any more says so here and then waits for ever: a program
/// without power does not learn that it failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Power(Rc<State>);

#[derive(Debug, Default)]
struct State {
    lost: Cell<bool>,
    waiting: RefCell<Option<Waker>>,
}

impl Power {
    /// It goes; never returns.
    pub async fn cut<T>(&self) -> T {
        self.0.lost.set(true);
        if let Some(waker) = self.0.waiting.take() {
            waker.wake();
        }
        pending().await
    }

    /// Resolves when it is gone.
    pub fn lost(&self) -> impl Future<Output = ()> {
        poll_fn(|context| {
            if self.0.lost.get() {
                return Poll::Ready(());
            }
            *self.0.waiting.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
    }
}
