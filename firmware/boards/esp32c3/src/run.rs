//! Everything after the guard: the updater, its API, the announcement.

use crate::clock::{BoardClock, BoardRandom};
use crate::files::BoardFiles;
use crate::flash::BoardFlash;
use crate::net::BoardNet;
use crate::server::{self, CONNECTIONS};
use crate::start::Airlift;
use crate::watchdog::Watchdog;
use crate::{files, mdns, memory, status};
use airlift_littlefs::Storage;
use airlift_updater::device::{Config, Device, Exit, Health, Parts, Reach, Runner, Verdict};
use airlift_updater::platform::Platform;
use airlift_updater::{Buffers, Failure};
use airlift_wire::ErrorCode;
use airlift_wire::state::Text;
use core::cell::{Cell, RefCell};
use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_time::{Duration, Timer};
use static_cell::{ConstStaticCell, StaticCell};

/// Sockets that Airlift uses: its connections, the way to the chunk server, the announcement. A
/// program that opens more adds its own, and one for DHCP, in
/// [`StackResources`](embassy_net::StackResources).
pub const SOCKETS: usize = CONNECTIONS + 2;

/// How often the watchdog is fed.
const FEED: Duration = Duration::from_millis(250);
/// How long a device that cannot go on waits before it tries from the start.
const FAULT_PAUSE: Duration = Duration::from_secs(2);
/// Receive buffer of the connection to the chunk server: what may be under way while a sector is
/// erased.
const FETCH_RX: usize = 8192;
const FETCH_TX: usize = 512;
const SERVE_RX: usize = 1024;
const SERVE_TX: usize = 2048;

struct Board;

impl Platform for Board {
    type Flash = BoardFlash;
    type Files = BoardFiles;
    type Net = BoardNet;
    type Clock = BoardClock;
    type Random = BoardRandom;
}

static WATCHDOG: StaticCell<RefCell<Watchdog>> = StaticCell::new();
static DEVICE: StaticCell<Device> = StaticCell::new();
static STORAGE: ConstStaticCell<Storage> = ConstStaticCell::new(Storage::new());
static FETCH: StaticCell<Cell<Option<TcpSocket<'static>>>> = StaticCell::new();
static FETCH_BUFFERS: ConstStaticCell<([u8; FETCH_RX], [u8; FETCH_TX])> =
    ConstStaticCell::new(([0; FETCH_RX], [0; FETCH_TX]));
static SERVE_BUFFERS: ConstStaticCell<[([u8; SERVE_RX], [u8; SERVE_TX]); CONNECTIONS]> =
    ConstStaticCell::new([([0; SERVE_RX], [0; SERVE_TX]); CONNECTIONS]);
static MDNS: ConstStaticCell<mdns::Buffers> = ConstStaticCell::new(mdns::Buffers::new());

/// What a program knows about its own fitness.
pub trait Application {
    /// Whether a new version of it is fit to stay: a sensor answers, a server is there. Asked while a
    /// release is on trial and the network is reached, again after [`Verdict::NotYet`], until the time
    /// of the trial is over.
    async fn check(&mut self) -> Verdict;
}

/// A program that works when it can be reached.
impl Application for () {
    async fn check(&mut self) -> Verdict {
        Verdict::Ready
    }
}

/// The application's check, and what every trial needs besides.
struct Fit<A> {
    stack: Stack<'static>,
    application: A,
}

impl<A: Application> Health for Fit<A> {
    fn network(&mut self) -> Reach {
        if !self.stack.is_link_up() {
            Reach::NoLink
        } else if !self.stack.is_config_up() {
            Reach::NoAddress
        } else {
            // The sockets of the API listen from the moment that a trial is judged.
            Reach::Listening
        }
    }

    async fn check(&mut self) -> Verdict {
        self.application.check().await
    }
}

impl Airlift {
    /// Confirms a trial when `application` says so, then takes updates. Restarts the chip after one; never
    /// returns.
    ///
    /// Needs [`SOCKETS`] free sockets of `stack`, and a task that runs the network. Tasks of its own
    /// are spawned with `spawner`. With esp-rtos, the thread that calls this gets priority 1: the file
    /// system has a thread of priority 0.
    pub async fn run(
        self,
        spawner: Spawner,
        stack: Stack<'static>,
        application: impl Application,
    ) -> ! {
        match self.work(spawner, stack, application).await {
            Ok(exit) => log::info!("restarting: {exit:?}"),
            Err(failure) => {
                log::error!("{failure}");
                Timer::after(FAULT_PAUSE).await;
            }
        }
        esp_hal::system::software_reset()
    }

    async fn work(
        self,
        spawner: Spawner,
        stack: Stack<'static>,
        application: impl Application,
    ) -> Result<Exit, Failure> {
        let Self {
            flash,
            layout,
            identity,
            boot,
            cause,
            watchdog,
            buffers,
        } = self;
        #[cfg(feature = "rtos")]
        crate::thread::start();
        let board = server::Board { reset: cause };
        let watchdog = &*WATCHDOG.init(RefCell::new(watchdog));
        let device: &'static Device = DEVICE.init_with(Device::new);
        let (rx, tx) = FETCH_BUFFERS.take();
        let fetch = FETCH.init(Cell::new(Some(TcpSocket::new(stack, rx, tx))));
        let parts: Parts<Board> = Parts {
            flash,
            files: files::mount(STORAGE.take(), flash, layout.vfs),
            net: BoardNet::new(fetch),
            clock: BoardClock,
            random: BoardRandom::new(),
        };
        let buffers: &'static mut Buffers = buffers;
        let started = Runner::start(
            device,
            identity,
            Config::default(),
            parts,
            layout,
            boot,
            buffers,
        );
        // Reading both slots takes seconds; every chunk of it gives way.
        let mut runner = match select(started, keep_fed(watchdog)).await {
            Either::First(runner) => runner?,
            Either::Second(never) => never,
        };
        log::info!("{} is ready", identity.id.as_str());
        let mut health = Fit { stack, application };
        // Tasks, not branches of this one: a future is on the stack while it is put together.
        for (rx, tx) in SERVE_BUFFERS.take() {
            let socket = TcpSocket::new(stack, rx, tx);
            spawner.spawn(answer(socket, device, board).map_err(|_| NO_TASK)?);
        }
        spawner.spawn(announce(stack, device, identity.id, MDNS.take()).map_err(|_| NO_TASK)?);
        spawner.spawn(feed(watchdog, device).map_err(|_| NO_TASK)?);
        runner.run(&mut health, &mut Trial(watchdog)).await
    }
}

const NO_TASK: Failure = Failure::new(ErrorCode::Internal, "a task runs twice");

#[embassy_executor::task(pool_size = CONNECTIONS)]
async fn answer(
    mut socket: TcpSocket<'static>,
    device: &'static Device,
    board: server::Board,
) -> ! {
    server::serve(&mut socket, device, board).await
}

#[embassy_executor::task]
async fn announce(
    stack: Stack<'static>,
    device: &'static Device,
    id: Text<32>,
    buffers: &'static mut mdns::Buffers,
) -> ! {
    mdns::respond(stack, device, id.as_str(), buffers).await
}

/// The watchdog as the updater sees it: during a trial it is fed by whoever judges that.
struct Trial<'w>(&'w RefCell<Watchdog>);

impl airlift_updater::device::Watchdog for Trial<'_> {
    fn feed(&mut self) {
        self.0.borrow_mut().feed();
    }

    fn release(&mut self) {
        self.0.borrow_mut().end_trial();
    }
}

/// Feeds the watchdog while the executor runs.
async fn keep_fed(watchdog: &RefCell<Watchdog>) -> ! {
    loop {
        watchdog.borrow_mut().feed();
        Timer::after(FEED).await;
    }
}

/// Feeds the watchdog while the executor runs, but for a trial, and notes how deep the stack went.
#[embassy_executor::task]
async fn feed(watchdog: &'static RefCell<Watchdog>, device: &'static Device) -> ! {
    let mut deepest = memory::StackUse::default();
    loop {
        if !watchdog.borrow().on_trial() {
            watchdog.borrow_mut().feed();
        }
        status::set_updating(device.is_updating());
        let used = memory::stack_use();
        if used != deepest {
            log::info!("stack: {used}");
            deepest = used;
        }
        Timer::after(FEED).await;
    }
}
