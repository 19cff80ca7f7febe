//! A board in its loader, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::board::Board;
use crate::cancel::Cancel;
use crate::connect;
use crate::error::Error;
use crate::line::{Pulse, SerialLine, is_there};
use crate::link::{After, Link};
use crate::loader::Loader;
pub use crate::loader::Patience;
use crate::ports::{self, PortInfo};

/// How often an idle port is looked at.
const IDLE: Duration = Duration::from_millis(400);
/// How often a port that is gone is looked for.
const LOOK: Duration = Duration::from_millis(200);

/// How a board comes into its loader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// By the lines DTR and RTS, or as USB-Serial-JTAG imitates them.
    Automatic,
    /// By hand, or it is there already: the lines are left alone.
    None,
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// Name of the port.
    pub path: String,
    /// USB vendor and product id, if it has any: they tell how to reset.
    pub usb: Option<(u16, u16)>,
    /// How the board comes into its loader.
    pub reset: Reset,
    /// Rate for data; a lower one is taken when the board does not answer at this. At most 115200
    /// leaves it there.
    pub baud: u32,
    /// How long to wait for somebody to hold BOOT and press RESET; without, until it is cancelled.
    pub wait_for_boot: Option<Duration>,
    /// How long a port that was just plugged in may refuse to be opened: until udev has set its
    /// group.
    pub settle: Duration,
    /// Gives up connecting.
    pub cancel: Cancel,
    /// How long the board may take.
    pub patience: Patience,
    /// How long the thread of the port may show no sign of life before it is abandoned, as when
    /// the system does not return from a call. What [`Session::run`] computes takes as long as it
    /// takes.
    pub stall: Duration,
}

impl ConnectOptions {
    /// A port with a name and nothing else known: it is not reset.
    pub fn new(path: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            usb: None,
            reset: Reset::None,
            baud: 921_600,
            wait_for_boot: None,
            settle: Duration::from_secs(1),
            cancel: Cancel::new(),
            patience: Patience::default(),
            stall: Duration::from_secs(30),
        }
    }

    /// As the port wants it: one with USB ids is reset.
    pub fn for_port(port: &PortInfo) -> Self {
        let usb = port.vendor_id.zip(port.product_id);
        Self {
            usb,
            reset: match usb {
                Some(_) => Reset::Automatic,
                None => Reset::None,
            },
            ..Self::new(&port.path)
        }
    }
}

/// Where a session stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The board is being reset into its loader.
    Connecting,
    /// It does not answer: somebody has to hold BOOT and press RESET. It is asked all the time.
    WaitingForBoot,
    /// Its loader answers.
    Connected,
    /// It is over, by itself: unplugged, or the loader answers no more.
    Lost(Error),
}

type OnState = Box<dyn Fn(State) + Send>;
type Work = Box<dyn FnOnce(&mut Loader<SerialLine>) + Send>;

enum Order {
    Work(Work),
    /// Ends the session and hands over the line, and what has arrived on it.
    End(After, oneshot::Sender<Result<(SerialLine, Vec<u8>), Error>>),
}

/// A board whose loader answers. Dropping it leaves the board in its loader; see [`Session::close`].
#[derive(Debug)]
pub struct Session {
    path: String,
    board: Board,
    orders: Sender<Order>,
    pulse: Pulse,
    stall: Duration,
    over: Arc<Mutex<Option<Error>>>,
}

impl Session {
    /// Brings a board into its loader, uploads espflash's stub, and asks what the board is.
    ///
    /// `on_state` is called from the port's thread, also later when the board is lost.
    ///
    /// # Errors
    /// [`Error::NoSuchPort`], [`Error::PortBusy`], [`Error::PortDenied`], [`Error::NoAnswer`] when
    /// the wait is over, [`Error::Cancelled`], [`Error::LinkLost`] and others.
    pub async fn connect(
        options: ConnectOptions,
        on_state: impl Fn(State) + Send + 'static,
    ) -> Result<Self, Error> {
        let pulse = Pulse::default();
        let over = Arc::default();
        let (orders, inbox) = channel();
        let (reply, answer) = oneshot::channel();
        let path = options.path.clone();
        let stall = options.stall;
        // Whoever waits may stop waiting, and then nobody does.
        let given_up = Cancel::new();
        let _dropped = OnDrop(given_up.clone());
        let thread = Thread {
            given_up,
            options,
            pulse: pulse.clone(),
            over: Arc::clone(&over),
            on_state: Box::new(on_state),
        };
        std::thread::Builder::new()
            .name("usb-port".into())
            .spawn(move || thread.run(reply, &inbox))
            .map_err(|error| Error::io(&path, &error))?;
        let board = watched(answer, &pulse, stall).await??;
        Ok(Self {
            path,
            board,
            orders,
            pulse,
            stall,
            over,
        })
    }

    /// Connects to a board again that went away: waits until its port is back, by its name or, on
    /// USB, by the serial number of its adapter, under whatever name.
    ///
    /// # Errors
    /// [`Error::WrongBoard`] when another board is there; those of [`Session::connect`].
    pub async fn reconnect(
        options: ConnectOptions,
        board: &Board,
        serial_number: Option<&str>,
        on_state: impl Fn(State) + Send + 'static,
    ) -> Result<Self, Error> {
        let mut options = options;
        loop {
            options.cancel.check()?;
            if let Some(path) = find_port(&options.path, serial_number) {
                options.path = path;
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        let session = Self::connect(options, on_state).await?;
        session.board.require(&board.chip, board.mac.as_deref())?;
        Ok(session)
    }

    /// What the board is.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// Name of the port.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Why nothing more can be asked, if so.
    pub fn lost(&self) -> Option<Error> {
        lock(&self.over).clone()
    }

    /// Runs `work` on the port's thread. What is asked meanwhile waits.
    ///
    /// # Errors
    /// Those of `work`; [`Error::Unplugged`] or [`Error::LinkLost`] when the session is over;
    /// [`Error::LinkLost`] when the system does not return from the port;
    /// [`Error::Internal`] when `work` panics.
    pub async fn run<T, E>(
        &self,
        work: impl FnOnce(&mut dyn Link) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let order = Order::Work(Box::new(move |loader| {
            let result = catch_unwind(AssertUnwindSafe(|| work(loader)));
            let result = result.unwrap_or_else(|panic| Err(panicked(&*panic).into()));
            // Whoever asked may be gone.
            let _unheard = reply.send(result);
        }));
        self.order(order)?;
        match watched(answer, &self.pulse, self.stall).await {
            Ok(result) => result,
            Err(error) => Err(self.give_up(error).into()),
        }
    }

    /// Ends the session.
    ///
    /// # Errors
    /// [`Error::NoReset`] when the board cannot be started from here, and others; the port is
    /// closed in any case.
    pub async fn close(self, after: After) -> Result<(), Error> {
        self.into_parts(after).await.map(drop)
    }

    /// Ends the session and keeps the port open, so that nothing of what the board says is lost.
    pub(crate) async fn into_parts(self, after: After) -> Result<(SerialLine, Vec<u8>), Error> {
        let (reply, answer) = oneshot::channel();
        self.order(Order::End(after, reply))?;
        match watched(answer, &self.pulse, self.stall).await {
            Ok(line) => line,
            Err(error) => Err(self.give_up(error)),
        }
    }

    fn order(&self, order: Order) -> Result<(), Error> {
        if let Some(error) = self.lost() {
            return Err(error);
        }
        self.orders.send(order).map_err(|_| self.ended())
    }

    /// Why the thread is no more.
    fn ended(&self) -> Error {
        self.lost()
            .unwrap_or_else(|| Error::lost("the session is over"))
    }

    /// The thread does not answer: nothing is asked of it any more, and it ends when it can.
    fn give_up(&self, error: Error) -> Error {
        let mut over = lock(&self.over);
        over.get_or_insert(error).clone()
    }
}

/// Where a port is now, if it is there.
fn find_port(path: &str, serial_number: Option<&str>) -> Option<String> {
    if let Some(number) = serial_number {
        let ports = ports::ports().unwrap_or_default();
        let same = |port: &PortInfo| port.serial_number.as_deref() == Some(number);
        return ports.into_iter().find(same).map(|port| port.path);
    }
    is_there(path).then(|| path.to_string())
}

struct OnDrop(Cancel);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Error::Internal {
        what: text.unwrap_or_else(|| "panic".into()),
    }
}

/// Waits for an answer of a thread as long as that lives.
async fn watched<T>(
    mut answer: oneshot::Receiver<T>,
    pulse: &Pulse,
    stall: Duration,
) -> Result<T, Error> {
    let mut seen = pulse.count();
    loop {
        match tokio::time::timeout(stall, &mut answer).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(_)) => return Err(Error::lost("the port's thread has ended")),
            Err(_) if pulse.count() == seen && !pulse.computes() => {
                return Err(Error::lost("the system does not return from the port"));
            }
            Err(_) => seen = pulse.count(),
        }
    }
}

/// The thread of a port.
struct Thread {
    /// Nobody waits for the connection, or it is there.
    given_up: Cancel,
    options: ConnectOptions,
    pulse: Pulse,
    over: Arc<Mutex<Option<Error>>>,
    on_state: OnState,
}

impl Thread {
    fn run(self, reply: oneshot::Sender<Result<Board, Error>>, inbox: &Receiver<Order>) {
        (self.on_state)(State::Connecting);
        let connected =
            connect::connect(&self.options, &self.given_up, &self.pulse, &*self.on_state);
        let mut loader = match connected {
            Ok(loader) => loader,
            Err(error) => {
                let _unheard = reply.send(Err(error));
                return;
            }
        };
        (self.on_state)(State::Connected);
        if reply.send(Ok(loader.board().clone())).is_err() {
            // Nobody waits for it any more.
            loader.lower_baud();
            return;
        }
        self.serve(loader, inbox);
    }

    fn serve(&self, mut loader: Loader<SerialLine>, inbox: &Receiver<Order>) {
        // An error that is there already is that this thread was given up.
        while lock(&self.over).is_none() {
            match inbox.recv_timeout(IDLE) {
                Ok(Order::Work(work)) => {
                    let _computing = self.pulse.computing();
                    work(&mut loader);
                }
                Ok(Order::End(after, reply)) => {
                    let ended = loader.reset(after);
                    if after == After::Stay {
                        loader.lower_baud();
                    }
                    let _unheard = reply.send(ended.map(|()| loader.into_parts()));
                    return;
                }
                Err(RecvTimeoutError::Timeout) => {
                    let probed = loader.probe();
                    tracing::trace!(?probed, "idle");
                }
                Err(RecvTimeoutError::Disconnected) => {
                    loader.lower_baud();
                    return;
                }
            }
            if let Some(error) = loader.over() {
                lock(&self.over).get_or_insert_with(|| error.clone());
                (self.on_state)(State::Lost(error.clone()));
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::tests::board;

    const STALL: Duration = Duration::from_millis(10);

    /// A session, and what its thread would hear and do.
    fn session() -> (Session, Receiver<Order>, Pulse) {
        let (orders, inbox) = channel();
        let pulse = Pulse::default();
        let session = Session {
            path: "a port".into(),
            board: board(1 << 20),
            orders,
            pulse: pulse.clone(),
            stall: STALL,
            over: Arc::default(),
        };
        (session, inbox, pulse)
    }

    #[tokio::test]
    async fn a_thread_that_the_system_does_not_let_go_is_given_up() {
        let (session, _inbox, pulse) = session();
        let _computing = pulse.computing();
        let _inside = pulse.inside();
        let error = session.run(|_| Ok::<(), Error>(())).await.unwrap_err();
        assert!(matches!(error, Error::LinkLost { .. }), "{error}");
        assert_eq!(session.lost(), Some(error.clone()));
        assert_eq!(session.run(|_| Ok(())).await, Err(error));
    }

    #[tokio::test]
    async fn a_thread_that_computes_is_waited_for() {
        let (_session, _inbox, pulse) = session();
        let (reply, answer) = oneshot::channel();
        let computing = pulse.computing();
        drop(pulse.inside());
        let waiting = watched(answer, &pulse, STALL);
        tokio::pin!(waiting);
        let long = tokio::time::timeout(20 * STALL, &mut waiting);
        assert!(long.await.is_err(), "it is not given up");
        reply.send(7).unwrap();
        assert_eq!(waiting.await, Ok(7));
        drop(computing);
        let (_reply, answer) = oneshot::channel::<()>();
        assert!(watched(answer, &pulse, STALL).await.is_err());
    }
}
