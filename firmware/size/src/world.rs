//! What is around the updater: flash, a host with releases, clients, and time.
//!
//! No function here is inlined into its callers, and each answers with a [`Poll`]: to the compiler
//! they are drivers of which it knows nothing, as on a board.

use airlift_updater::platform::{FlashError, NetError};
use core::cell::UnsafeCell;
use core::task::Poll;

/// The generated fixtures.
#[allow(missing_docs, dead_code)]
pub mod fixture {
    include!(concat!(env!("OUT_DIR"), "/fixture.rs"));
}
use fixture::*;

/// Connections at once.
pub const CONNECTIONS: usize = 6;

/// The other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Far {
    /// Nobody.
    Free,
    /// The release host, which answers requests for ranges.
    Host,
    /// A client of the device's API.
    Client,
}

/// A connection, as its far end has it.
pub struct Link {
    /// Who is there.
    pub far: Far,
    /// What is sent to the device: by a client all of it, by the host the head.
    pub outgoing: [u8; 6000],
    /// Bytes of it, and how many of them were read.
    pub filled: usize,
    /// Read so far.
    pub taken: usize,
    /// What follows from the host.
    content: &'static [u8],
    /// What the device sent.
    pub incoming: [u8; 60_000],
    /// Bytes of it.
    pub received: usize,
    waited: bool,
}

/// All of it.
pub struct World {
    /// The flash.
    pub flash: [u8; FLASH_SIZE as usize],
    /// Milliseconds.
    pub now: u64,
    /// Connections.
    pub links: [Link; CONNECTIONS],
    /// Whether the host is there.
    pub reachable: bool,
    /// Content bytes after which the host changes one; `usize::MAX` for never.
    pub lie_after: usize,
    /// Content bytes after which the host closes; `usize::MAX` for never.
    pub close_after: usize,
    /// How often the watchdog was fed.
    pub fed: u32,
    /// An erase goes on.
    busy: bool,
}

struct Static<T>(UnsafeCell<T>);

// SAFETY: there is one thread.
unsafe impl<T> Sync for Static<T> {}

const LINK: Link = Link {
    far: Far::Free,
    outgoing: [0; 6000],
    filled: 0,
    taken: 0,
    content: &[],
    incoming: [0; 60_000],
    received: 0,
    waited: false,
};

static WORLD: Static<World> = Static(UnsafeCell::new(World {
    flash: [0; FLASH_SIZE as usize],
    now: 0,
    links: [LINK; CONNECTIONS],
    reachable: false,
    lie_after: 0,
    close_after: 0,
    fed: 0,
    busy: false,
}));

/// The world.
#[inline(always)]
#[allow(clippy::mut_from_ref)]
pub fn world() -> &'static mut World {
    // SAFETY: one thread, and nobody keeps the reference over a call into this module.
    unsafe { &mut *WORLD.0.get() }
}

/// A blank flash with a table, an app and a state.
#[inline(never)]
pub fn set_up() {
    let world = world();
    world.flash.fill(0xFF);
    world.reachable = true;
    world.lie_after = usize::MAX;
    world.close_after = usize::MAX;
    put(0x8000, &TABLE);
    put(FACTORY_OFFSET, &OLD_APP);
    put(STATE_OFFSET, &STATE);
}

fn put(offset: u32, bytes: &[u8]) {
    let start = offset as usize;
    world().flash[start..start + bytes.len()].copy_from_slice(bytes);
}

/// Reads.
#[inline(never)]
pub fn flash_read(offset: u32, buf: &mut [u8]) -> Poll<Result<(), FlashError>> {
    let start = offset as usize;
    let Some(from) = world().flash.get(start..start + buf.len()) else {
        return Poll::Ready(Err(FlashError { offset }));
    };
    buf.copy_from_slice(from);
    Poll::Ready(Ok(()))
}

/// Erases; ready the second time it is asked.
#[inline(never)]
pub fn flash_erase(offset: u32) -> Poll<Result<(), FlashError>> {
    let world = world();
    world.busy = !world.busy;
    if world.busy {
        return Poll::Pending;
    }
    let start = offset as usize;
    match world.flash.get_mut(start..start + 4096) {
        Some(sector) if offset.is_multiple_of(4096) => sector.fill(0xFF),
        _ => return Poll::Ready(Err(FlashError { offset })),
    }
    Poll::Ready(Ok(()))
}

/// Writes, as NOR flash does.
#[inline(never)]
pub fn flash_write(offset: u32, data: &[u8]) -> Poll<Result<(), FlashError>> {
    let start = offset as usize;
    let Some(to) = world().flash.get_mut(start..start + data.len()) else {
        return Poll::Ready(Err(FlashError { offset }));
    };
    for (to, from) in to.iter_mut().zip(data) {
        *to &= from;
    }
    Poll::Ready(Ok(()))
}

/// Whether it is `at` or later.
#[inline(never)]
pub fn is_past(at: u64) -> Poll<()> {
    if world().now >= at {
        Poll::Ready(())
    } else {
        Poll::Pending
    }
}

/// Milliseconds.
#[inline(never)]
pub fn now() -> u64 {
    world().now
}

/// The watchdog is fed.
#[inline(never)]
pub fn fed() {
    world().fed += 1;
}

/// Not random at all.
#[inline(never)]
pub fn random(buf: &mut [u8]) {
    buf.fill(0x5A);
}

/// A connection to the host.
#[inline(never)]
pub fn connect() -> Poll<Result<u8, NetError>> {
    if !world().reachable {
        return Poll::Ready(Err(NetError));
    }
    let id = open(Far::Host);
    Poll::Ready(id.ok_or(NetError))
}

/// A connection with `far` at its other end.
#[inline(never)]
pub fn open(far: Far) -> Option<u8> {
    let links = &mut world().links;
    let id = links.iter().position(|link| link.far == Far::Free)?;
    let link = &mut links[id];
    link.far = far;
    (link.filled, link.taken, link.received) = (0, 0, 0);
    link.content = &[];
    Some(id as u8)
}

/// Ends a connection.
#[inline(never)]
pub fn close(id: u8) {
    world().links[usize::from(id)].far = Far::Free;
}

/// What the far end sends.
#[inline(never)]
pub fn receive(id: u8, buf: &mut [u8]) -> Poll<Result<usize, NetError>> {
    let world = world();
    let link = &mut world.links[usize::from(id)];
    // Every other time there is nothing yet.
    link.waited = !link.waited;
    if link.waited {
        return Poll::Pending;
    }
    if link.taken < link.filled {
        let n = buf.len().min(link.filled - link.taken);
        buf[..n].copy_from_slice(&link.outgoing[link.taken..link.taken + n]);
        link.taken += n;
        return Poll::Ready(Ok(n));
    }
    if link.content.is_empty() {
        return Poll::Pending;
    }
    let n = buf.len().min(link.content.len()).min(1460);
    let (now, later) = link.content.split_at(n);
    buf[..n].copy_from_slice(now);
    link.content = later;
    if world.lie_after <= n {
        buf[0] ^= 1;
        world.lie_after = usize::MAX;
    } else if world.lie_after != usize::MAX {
        world.lie_after -= n;
    }
    if world.close_after <= n {
        world.close_after = usize::MAX;
        return Poll::Ready(Err(NetError));
    } else if world.close_after != usize::MAX {
        world.close_after -= n;
    }
    Poll::Ready(Ok(n))
}

/// Takes what the device sends; the host answers at once.
#[inline(never)]
pub fn send(id: u8, data: &[u8]) -> Poll<Result<(), NetError>> {
    let link = &mut world().links[usize::from(id)];
    let room = &mut link.incoming[link.received..];
    let n = data.len().min(room.len());
    room[..n].copy_from_slice(&data[..n]);
    link.received += n;
    if link.far == Far::Host && link.incoming[..link.received].ends_with(b"\r\n\r\n") {
        answer(link);
        link.received = 0;
    }
    Poll::Ready(Ok(()))
}

fn answer(link: &mut Link) {
    let request = core::str::from_utf8(&link.incoming[..link.received]).unwrap_or("");
    let path = request.split(' ').nth(1).unwrap_or("");
    let found = RESOURCES.iter().find(|(name, _)| *name == path);
    (link.filled, link.taken) = (0, 0);
    let Some((_, bytes)) = found else {
        append(link, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        return;
    };
    let range = request.split_once("Range: bytes=").and_then(|(_, rest)| {
        let (first, rest) = rest.split_once('-')?;
        let (last, _) = rest.split_once('\r')?;
        Some((number(first), number(last) + 1))
    });
    let (start, end) = range.unwrap_or((0, bytes.len()));
    let content = bytes.get(start..end).unwrap_or_default();
    if range.is_some() {
        append(
            link,
            b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes ",
        );
        decimal(link, start);
        append(link, b"-");
        decimal(link, end - 1);
        append(link, b"/");
        decimal(link, bytes.len());
    } else {
        append(link, b"HTTP/1.1 200 OK");
    }
    append(link, b"\r\nContent-Length: ");
    decimal(link, content.len());
    append(link, b"\r\n\r\n");
    link.content = content;
}

fn append(link: &mut Link, bytes: &[u8]) {
    link.outgoing[link.filled..link.filled + bytes.len()].copy_from_slice(bytes);
    link.filled += bytes.len();
}

fn number(text: &str) -> usize {
    text.bytes().fold(0, |n, b| n * 10 + usize::from(b - b'0'))
}

/// Appends a decimal number to what a link sends.
#[inline(never)]
pub fn decimal(link: &mut Link, number: usize) {
    if number >= 10 {
        decimal(link, number / 10);
    }
    append(link, &[b'0' + (number % 10) as u8]);
}

/// Appends bytes to what a client sends.
#[inline(never)]
pub fn write_request(id: u8, bytes: &[u8]) {
    append(&mut world().links[usize::from(id)], bytes);
}
