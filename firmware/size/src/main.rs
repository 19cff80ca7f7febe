//! The updater as a bare RISC-V program, to weigh and to run.
//!
//! It plays a board: boot guard, updater, two connections for its API. [`world`] plays everything
//! around it. The program goes through the life of a device, checks what it sees, and prints the
//! deepest stack of each phase and the size of everything that a board keeps in memory. What it
//! weighs is the report's to say, which reads the very same ELF file.
#![no_std]
#![no_main]

#[cfg(feature = "littlefs")]
mod littlefs;
#[cfg(not(feature = "littlefs"))]
mod memory;
mod platform;
mod start;
mod world;

use airlift_updater::device::{
    Config, Exit, Health, Identity, Parts, Reach, Runner, Verdict, Watchdog,
};
use airlift_updater::guard::{self, Boot};
use airlift_updater::platform::Clock;
use airlift_updater::{Buffers, Failure, Layout, SlotId, device::Device};
use airlift_wire::state::{Cause, Text};
use airlift_wire::{Envelope, PublicKey, otadata};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
#[cfg(feature = "littlefs")]
use littlefs::{Files, mount};
#[cfg(not(feature = "littlefs"))]
use memory::{Files, mount};
use platform::{Board, Dice, Flash, Net, Tcp, Time};
use start::{deepest, exit, paint, print, report, stack_pointer};
use world::fixture::{CHIP, FIRST, FLASH_SIZE, NEXT, RELEASE_KEY, STATEMENT, STRANGER};
use world::{Far, world};

/// Connections that the board answers at once: one watches the update, one asks or cancels.
const SERVED: usize = 2;
/// Milliseconds after which a step that has not ended never will.
const PATIENCE: u64 = 200_000;

struct Static<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for Static<T> {}

static DEVICE: Static<Device> = Static(UnsafeCell::new(Device::new()));
static BUFFERS: Static<Buffers> = Static(UnsafeCell::new(Buffers::new()));

/// Where a task's future lives, as an executor for boards has it: a static, not the stack. Roomier
/// than it must be; what is reported is the size of the future.
#[repr(align(16))]
struct Arena<const N: usize>(UnsafeCell<MaybeUninit<[u8; N]>>);

// SAFETY: there is one thread.
unsafe impl<const N: usize> Sync for Arena<N> {}

static MAIN_ARENA: Arena<32_768> = Arena(UnsafeCell::new(MaybeUninit::uninit()));
static SERVE_ARENAS: [Arena<32_768>; SERVED] =
    [const { Arena(UnsafeCell::new(MaybeUninit::uninit())) }; SERVED];

type Task = Pin<&'static mut dyn Future<Output = ()>>;

impl<const N: usize> Arena<N> {
    #[inline(always)]
    fn place<F: Future<Output = ()> + 'static>(&'static self, future: impl FnOnce() -> F) -> Task {
        const { assert!(size_of::<F>() <= N && align_of::<F>() <= 16) };
        let at = self.0.get().cast::<F>();
        // SAFETY: big enough and aligned; the future that was here has ended and is not used again.
        unsafe {
            at.write(future());
            Pin::new_unchecked(&mut *at)
        }
    }
}

/// How the device's program ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Switched,
    WentBack,
    Failed,
}

/// Everything that runs, and the phase that the stack is measured for.
struct Bench {
    program: Option<Task>,
    connections: [Option<Task>; SERVED],
    ended: Option<End>,
    phase: &'static str,
    base: usize,
}

static BENCH: Static<Bench> = Static(UnsafeCell::new(Bench {
    program: None,
    connections: [const { None }; SERVED],
    ended: None,
    phase: "",
    base: 0,
}));

#[inline(always)]
#[allow(clippy::mut_from_ref)]
fn bench() -> &'static mut Bench {
    // SAFETY: one thread; nobody keeps the reference.
    unsafe { &mut *BENCH.0.get() }
}

/// Ends the phase that runs, and starts another.
#[inline(never)]
fn phase(name: &'static str) {
    let bench = bench();
    if !bench.phase.is_empty() {
        print("stack ");
        report(bench.phase, deepest(bench.base));
    }
    bench.phase = name;
    paint();
}

struct Check {
    healthy: bool,
}

impl Health for Check {
    fn network(&mut self) -> Reach {
        Reach::Listening
    }

    async fn check(&mut self) -> Verdict {
        Time.sleep_ms(10).await;
        if self.healthy {
            Verdict::Ready
        } else {
            Verdict::failed("no sensor")
        }
    }
}

/// Feeds nobody.
struct Dog;

impl Watchdog for Dog {
    fn feed(&mut self) {
        world::fed();
    }
}

/// The program of the board.
async fn program(running: SlotId, cause: Cause, healthy: bool) {
    let end = match life(running, cause, healthy).await {
        Ok(Exit::Switched(_)) => End::Switched,
        Ok(Exit::WentBack) => End::WentBack,
        Err(_) => End::Failed,
    };
    bench().ended = Some(end);
}

async fn life(running: SlotId, cause: Cause, healthy: bool) -> Result<Exit, Failure> {
    // SAFETY: the program runs once at a time.
    let (device, buffers) = unsafe { (&*DEVICE.0.get(), &mut *BUFFERS.0.get()) };
    let mut flash = Flash;
    let scratch = buffers.chunks.as_flattened_mut();
    let layout = Layout::load(&mut flash, FLASH_SIZE, running, scratch).await?;
    let boot = guard::run(&mut flash, &layout, cause, scratch).await?;
    if boot == Boot::GoBack {
        return Ok(Exit::WentBack);
    }
    phase("start");
    let identity = Identity {
        id: Text::new("c3-7cdfa1b2c3d4"),
        chip: CHIP,
        flash_size: FLASH_SIZE,
    };
    let parts: Parts<Board> = Parts {
        flash,
        files: mount(),
        net: Net,
        clock: Time,
        random: Dice,
    };
    let config = Config::default();
    let mut runner = Runner::start(device, identity, config, parts, layout, boot, buffers).await?;
    phase("serve");
    runner.run(&mut Check { healthy }, &mut Dog).await
}

/// Answers a connection.
async fn connection(id: u8) {
    // SAFETY: shared only.
    let device = unsafe { &*DEVICE.0.get() };
    let peer = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 5)), 50_000);
    device.serve(&mut Tcp(id), peer, &Time, 123_456).await;
}

/// One step of everything that runs.
#[inline(never)]
fn step() {
    let mut context = Context::from_waker(Waker::noop());
    let bench = bench();
    bench.base = stack_pointer();
    world().now += 1;
    if let Some(task) = &mut bench.program
        && task.as_mut().poll(&mut context) == Poll::Ready(())
    {
        bench.program = None;
    }
    for task in &mut bench.connections {
        if let Some(future) = task
            && future.as_mut().poll(&mut context) == Poll::Ready(())
        {
            *task = None;
        }
    }
}

/// Steps until `done`.
fn until(what: &str, done: impl Fn() -> bool) {
    let deadline = world().now + PATIENCE;
    while !done() {
        step();
        if world().now > deadline {
            fail(what);
        }
    }
}

fn fail(what: &str) -> ! {
    print("failed: ");
    print(what);
    print("\n");
    exit(1)
}

fn expect(what: &str, holds: bool) {
    if !holds {
        fail(what);
    }
}

/// A client's request; answers which of the served connections has it.
fn request(parts: &[&[u8]]) -> (usize, u8) {
    let Some(id) = world::open(Far::Client) else {
        fail("no free connection")
    };
    for part in parts {
        world::write_request(id, part);
    }
    let Some(slot) = bench().connections.iter().position(Option::is_none) else {
        fail("no free task")
    };
    bench().connections[slot] = Some(SERVE_ARENAS[slot].place(|| connection(id)));
    (slot, id)
}

/// What the device has sent to a client.
fn said(id: u8, what: &[u8]) -> bool {
    let link = &world().links[usize::from(id)];
    let sent = &link.incoming[..link.received];
    sent.windows(what.len()).any(|w| w == what)
}

/// Asks, waits for the answer, and looks for `expected` in it.
fn ask(expected: &str, parts: &[&[u8]]) {
    let (slot, id) = request(parts);
    until(expected, || bench().connections[slot].is_none());
    expect(expected, said(id, expected.as_bytes()));
}

const DEVICE_INFO: &[u8] = b"GET /v1/device HTTP/1.1\r\nHost: x\r\n\r\n";

/// Sends an envelope.
fn update(query: &str, envelope: &[u8]) -> (usize, u8) {
    post("/v1/update", query, envelope)
}

/// Sends a COSE message.
fn post(path: &str, query: &str, message: &[u8]) -> (usize, u8) {
    let head = b" HTTP/1.1\r\nContent-Type: application/cose\r\nContent-Length: ";
    let (slot, id) = request(&[b"POST ", path.as_bytes(), query.as_bytes(), head]);
    world::decimal(&mut world().links[usize::from(id)], message.len());
    world::write_request(id, b"\r\n\r\n");
    world::write_request(id, message);
    (slot, id)
}

/// Sends an envelope that is refused.
fn refused(code: &str, envelope: &[u8]) {
    let (slot, id) = update("", envelope);
    until(code, || bench().connections[slot].is_none());
    expect(code, said(id, code.as_bytes()));
    // Ten checks a minute.
    world().now += 10_000;
}

/// What a bootloader does: the slot that otadata selects.
#[inline(never)]
fn select() -> SlotId {
    let entry = |n: usize| {
        let at = 0xD000 + n * 4096;
        let mut bytes = [0; otadata::ENTRY_LEN];
        bytes.copy_from_slice(&world().flash[at..at + otadata::ENTRY_LEN]);
        otadata::Entry::decode(&bytes)
    };
    let entries = [entry(0), entry(1)];
    match otadata::active(&entries).and_then(|n| entries[n].slot(2)) {
        Some(0) => SlotId::Ota0,
        Some(_) => SlotId::Ota1,
        None => SlotId::Factory,
    }
}

/// Starts the board; the guard has looked when this returns.
fn boot(cause: Cause, healthy: bool) {
    let bench = bench();
    bench.ended = None;
    bench.connections = [const { None }; SERVED];
    for id in 0..world::CONNECTIONS {
        world::close(id as u8);
    }
    // SAFETY: nothing runs that uses it.
    unsafe { DEVICE.0.get().write(Device::new()) };
    let running = select();
    bench.program = Some(MAIN_ARENA.place(|| program(running, cause, healthy)));
    phase("guard");
    until("the device starts", || {
        bench.phase != "start" && bench.phase != "guard"
    });
}

/// Waits for the end of the board's program.
fn ends(expected: End) {
    until("the program ends", || bench().ended.is_some());
    expect(
        "the program ends as it should",
        bench().ended == Some(expected),
    );
}

/// A device's life: two updates with troubles, one that is refused by its own health check.
extern "C" fn main() -> ! {
    world::set_up();
    #[cfg(feature = "littlefs")]
    littlefs::format();
    sizes();

    phase("signature");
    bench().base = stack_pointer();
    signature();

    boot(Cause::PowerOn, true);
    ask(
        "\"running\":{\"slot\":\"factory\",\"state\":\"valid\"",
        &[DEVICE_INFO],
    );
    ask("not allowed", &[b"PUT /v1/device HTTP/1.1\r\n\r\n"]);
    ask("malformed", &[b"nonsense\r\n\r\n"]);
    ask("web pages", &[b"GET / HTTP/1.1\r\nOrigin: null\r\n\r\n"]);
    ask("nothing at", &[b"GET / HTTP/1.1\r\n\r\n"]);
    ask(
        "no_such_job",
        &[b"POST /v1/update/cancel?token=00 HTTP/1.1\r\n\r\n"],
    );
    phase("freshness");
    ask("\"nonce\":\"", &[b"GET /v1/nonce HTTP/1.1\r\n\r\n"]);
    let (slot, id) = post("/v1/freshness", "", &STATEMENT);
    until("a statement is answered", || {
        bench().connections[slot].is_none()
    });
    expect("bad_nonce", said(id, b"bad_nonce"));
    phase("refusals");
    let mut broken = FIRST;
    broken[100] ^= 1;
    refused("bad_signature", &broken);
    refused("bad_envelope", &broken[1..]);
    refused("wrong_product", &STRANGER);
    world().reachable = false;
    refused("host_unreachable", &FIRST);
    world().reachable = true;
    refused("wrong_base", &NEXT);

    phase("update");
    // Cancelled in the middle, while others ask; then a resume, a lie and a broken connection.
    let (slot, id) = update("?from=http%3A%2F%2F10.0.0.5%3A8000", &FIRST);
    until("some chunks are written", || {
        said(id, b"\"n\":20,\"count\":1,\"state\":\"read_back\"")
    });
    ask("\"updater\":{\"state\":\"updating\"", &[DEVICE_INFO]);
    let (other, busy) = update("", &NEXT);
    until("busy", || bench().connections[other].is_none());
    expect("busy", said(busy, b"409 Conflict"));
    let cancel = b"POST /v1/update/cancel?token=5a5a5a5a5a5a5a5a HTTP/1.1\r\n\r\n";
    ask("cancelling", &[cancel]);
    until("cancelled", || bench().connections[slot].is_none());
    expect("cancelled", said(id, b"\"code\":\"cancelled\""));
    world().now += 60_000;
    world().lie_after = 20_000;
    world().close_after = 50_000;
    let (_, id) = update("", &FIRST);
    until("a second watcher joins", || said(id, b"\"n\":40"));
    let (_, joined) = update("", &FIRST);
    ends(End::Switched);
    expect("kept", said(id, b"\"state\":\"kept\""));
    expect("refused", said(id, b"\"state\":\"refused\",\"try\":1"));
    expect(
        "rebooting",
        said(joined, b"\"event\":\"rebooting\",\"slot\":\"ota_0\""),
    );

    boot(Cause::Software, true);
    until("confirmed", || world().now.is_multiple_of(1000));
    ask("\"end\":\"done\"", &[DEVICE_INFO]);
    phase("copy");
    let (_, id) = update("", &NEXT);
    ends(End::Switched);
    expect("rebooting", said(id, b"\"slot\":\"ota_1\""));

    boot(Cause::Software, false);
    ends(End::WentBack);
    boot(Cause::Software, true);
    ask("\"cause\":\"health_check\"", &[DEVICE_INFO]);
    phase("again");
    refused("rolled_back_before", &NEXT);
    update("?retry=1", &NEXT);
    ends(End::Switched);
    // A trial that dies: the guard goes back.
    boot(Cause::Software, true);
    phase("");
    print("ok\n");
    exit(0)
}

/// The signature alone, on what every update starts with.
#[inline(never)]
fn signature() {
    let mut scratch = [0; airlift_wire::envelope::SCRATCH];
    let verified = Envelope::parse(&FIRST).and_then(|envelope| {
        envelope
            .verify(&[PublicKey(RELEASE_KEY)], &mut scratch)
            .map(|_| ())
    });
    expect("the release is signed", verified.is_ok());
}

/// Prints the size of everything that a board keeps in memory.
#[inline(never)]
fn sizes() {
    fn of<F: Future>(_: impl FnOnce(SlotId, Cause, bool) -> F) -> usize {
        size_of::<F>()
    }
    fn of_connection<F: Future>(_: impl FnOnce(u8) -> F) -> usize {
        size_of::<F>()
    }
    report("size Device", size_of::<Device>());
    report("size Buffers", size_of::<Buffers>());
    report("size Runner", size_of::<Runner<'static, Board>>());
    report("size program", of(program));
    report("size connection", of_connection(connection));
    report("size connections", SERVED);
    #[cfg(feature = "littlefs")]
    report("size Storage", size_of::<airlift_littlefs::Storage>());
}
