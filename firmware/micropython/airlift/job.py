"""One update's progress: its buffers, its watchers, whether it was cancelled."""

import asyncio
from binascii import hexlify
from time import ticks_diff, ticks_ms

from micropython import const

from .failure import Failure

MAX_WATCHERS = const(2)
_SLOW_MS = const(2000)  # a watcher that reads slower is given up,
_PATIENCE_MS = const(10000)  # and all of them when they have cost so much
_BREATH_MS = const(20)  # how long the updater computes before others get a turn


class Job:
    def __init__(self, release, by, buffers):
        self.release = release
        self.by = by
        self.token = None
        self.cancelled = False
        self._waited = 0
        self.page, self.chunk = buffers
        self.view = memoryview(self.chunk)
        self._watchers = []
        self._started = self._phase = None
        self._done = {}
        self._breath = ticks_ms()

    async def watch(self, writer):
        """Brings a new watcher up to date. Gives the event that sets when it is over."""
        lines = [line for line in (self._started, self._phase) if line]
        for part, (count, state) in self._done.items():
            lines.append(_chunk(part, 0, count, state))
        for line in lines:
            writer.write(line)
        await asyncio.wait_for_ms(writer.drain(), _SLOW_MS)
        over = asyncio.Event()
        self._watchers.append((writer, over))
        return over

    def is_watched_out(self):
        return len(self._watchers) >= MAX_WATCHERS

    async def emit(self, line):
        for watcher in list(self._watchers):
            writer, over = watcher
            start = ticks_ms()
            try:
                writer.write(line)
                await asyncio.wait_for_ms(writer.drain(), _SLOW_MS)
                self._waited += ticks_diff(ticks_ms(), start)
                is_slow = self._waited > _PATIENCE_MS
            except (OSError, asyncio.TimeoutError):
                is_slow = True
            if is_slow:
                # The update does not depend on who looks.
                self._watchers.remove(watcher)
                over.set()

    async def pause(self):
        """Lets others run, now and then."""
        if ticks_diff(ticks_ms(), self._breath) >= _BREATH_MS:
            await asyncio.sleep_ms(0)
            self._breath = ticks_ms()

    def go_on(self):
        if self.cancelled:
            raise Failure("cancelled", "the update was cancelled")

    async def started(self, token, app, files):
        self.token = token
        parts = ['"{}":{}'.format(name, n) for name, n in (("app", app), ("files", files)) if n]
        self._started = '{{"event":"started","token":"{}","release":"{}","parts":{{{}}}}}\n'.format(
            token, _hex(self.release), ",".join(parts)
        ).encode()
        await self.emit(self._started)

    async def phase(self, name):
        self._phase = b'{"event":"phase","phase":"%s"}\n' % name.encode()
        await self.emit(self._phase)

    async def chunk_event(self, part, n, count, state):
        if state == "kept":
            self._done[part] = (n + count, state)
        await self.emit(_chunk(part, n, count, state))

    async def stored(self, part, n, state):
        """Chunk `n` was checked and is now `state`: both lines at once."""
        line = _chunk(part, n, 1, "checked")
        if state != "checked":
            self._done[part] = (n + 1, state)
            line += _chunk(part, n, 1, state)
        await self.emit(line)

    async def refused(self, part, n, tries, expected, computed):
        line = (
            '{{"event":"chunk","part":"{}","n":{},"state":"refused","try":{},'
            '"expected":"{}","computed":"{}"}}\n'
        )
        await self.emit(line.format(part, n, tries, _hex(expected), _hex(computed)).encode())

    async def part(self, part, expected, computed):
        line = '{{"event":"part","part":"{}","expected":"{}","computed":"{}"}}\n'
        await self.emit(line.format(part, _hex(expected), _hex(computed)).encode())

    async def end(self, line):
        await self.emit(line.encode())
        for _, over in self._watchers:
            over.set()


def _hex(digest):
    return hexlify(digest).decode()


def _chunk(part, n, count, state):
    line = '{{"event":"chunk","part":"{}","n":{},"count":{},"state":"{}"}}\n'
    return line.format(part, n, count, state).encode()
