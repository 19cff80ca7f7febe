"""The HTTP client of the updater: HTTP/1.1 with keep-alive, no redirects, no chunked
encoding. A range is taken only as a 206 that says exactly what was asked for."""

import asyncio
from time import ticks_diff, ticks_ms

from micropython import const

from .failure import Failure

_HEAD = const(768)  # longest head of an answer
_SILENCE_MS = const(5000)
STALLED_MS = const(30000)  # no chunk for so long ends the update
_BACKOFF_MS = const(100)
_MAX_BACKOFF_MS = const(3200)


class FetchError(Exception):
    """Worth another try. `protocol`: the host answers, but with something else."""

    def __init__(self, protocol=False):
        super().__init__(protocol)
        self.protocol = protocol


def _number(text):
    if not text or not all(0x30 <= byte <= 0x39 for byte in text):
        raise FetchError(True)
    return int(text)


def parse_head(head):
    """Status, content length, range (first, last) or None, and whether the connection
    ends after it."""
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    if len(words) < 2 or words[0] not in (b"HTTP/1.1", b"HTTP/1.0") or len(words[1]) != 3:
        raise FetchError(True)
    status = _number(words[1])
    length = span = None
    closes = words[0] == b"HTTP/1.0"
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        name, value = name.lower(), value.strip()
        if not colon or not name or name != name.strip():
            raise FetchError(True)
        if name == b"content-length":
            if length is not None:
                raise FetchError(True)
            length = _number(value)
        elif name == b"content-range":
            if span is not None or not value.startswith(b"bytes "):
                raise FetchError(True)
            first, _, last = value[6:].partition(b"/")[0].partition(b"-")
            span = (_number(first), _number(last)) if first != b"*" else ()
        elif name == b"transfer-encoding":
            raise FetchError(True)
        elif name == b"connection":
            closes = closes or value.lower() == b"close"
    if length is None:
        raise FetchError(True)
    return status, length, span, closes


class Host:
    def __init__(self, address, port):
        self._address = address
        self._port = port
        self._stream = None
        self._buffer = bytearray(_HEAD)
        self._taken = self._filled = 0
        self._left = 0
        self._closes = False
        self.waits()

    def waits(self):
        """Starts the time anew in which a chunk must arrive."""
        self._since = ticks_ms()
        self._backoff = _BACKOFF_MS

    async def back_off(self, error):
        """Closes the connection and waits, longer each time."""
        self.close()
        left = STALLED_MS - ticks_diff(ticks_ms(), self._since)
        if left <= self._backoff:
            if error.protocol:
                message = "the host kept answering with something else than was asked for"
                raise Failure("bad_request", message)
            raise Failure("stalled", "no chunk arrived for 30 seconds")
        await asyncio.sleep_ms(self._backoff)
        self._backoff = min(self._backoff * 2, _MAX_BACKOFF_MS)

    def close(self):
        if self._stream:
            try:
                self._stream.s.close()
            except OSError:
                pass
        self._stream = None
        self._left = self._taken = self._filled = 0

    async def get(self, path, first=None, last=None):
        """Asks for a resource, or for its bytes first..=last. Returns the length."""
        if self._left:
            self.close()
        try:
            return await asyncio.wait_for_ms(self._get(path, first, last), _SILENCE_MS)
        except (OSError, asyncio.TimeoutError):
            self.close()
            raise FetchError()
        except FetchError:
            self.close()
            raise

    async def _get(self, path, first, last):
        if not self._stream:
            opened = await asyncio.open_connection(self._address, self._port)
            self._stream = opened[0]
        request = "GET {} HTTP/1.1\r\nHost: {}:{}\r\n".format(path, self._address, self._port)
        if first is not None:
            request += "Range: bytes={}-{}\r\n".format(first, last)
        self._stream.write((request + "\r\n").encode())
        await self._stream.drain()
        view = memoryview(self._buffer)
        filled = 0
        end = -1
        while end < 0:
            if filled == _HEAD:
                raise FetchError(True)
            n = await self._stream.readinto(view[filled:])
            if not n:
                raise FetchError()
            filled += n
            end = bytes(view[:filled]).find(b"\r\n\r\n")
        status, length, span, self._closes = parse_head(bytes(view[:end]))
        if first is None:
            right = status == 200
        else:
            right = status == 206 and span == (first, last) and length == last - first + 1
        self._taken, self._filled = end + 4, filled
        if not right or filled - self._taken > length:
            raise FetchError(True)
        self._left = length
        return length

    async def read(self, view):
        """Fills `view` with the next bytes of the answer."""
        if len(view) > self._left:
            raise FetchError(True)
        try:
            await asyncio.wait_for_ms(self._read(view), _SILENCE_MS)
        except (OSError, asyncio.TimeoutError):
            self.close()
            raise FetchError()
        self._left -= len(view)
        if not self._left and self._closes:
            self.close()

    async def _read(self, view):
        at = 0
        while at < len(view):
            if self._taken < self._filled:
                n = min(len(view) - at, self._filled - self._taken)
                view[at : at + n] = memoryview(self._buffer)[self._taken : self._taken + n]
                self._taken += n
            else:
                n = await self._stream.readinto(view[at:])
                if not n:
                    raise OSError(0)
            at += n
