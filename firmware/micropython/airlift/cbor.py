"""Deterministic CBOR (RFC 8949 section 4.2): what envelope and manifest need.

Anything else is refused with ValueError: longer forms than needed, indefinite
lengths, unsorted or repeated keys, trailing bytes.
"""

from micropython import const

from .text import is_utf8

UINT = const(0)
NEGATIVE = const(1)
BYTES = const(2)
TEXT = const(3)
ARRAY = const(4)
MAP = const(5)
TAG = const(6)
SIMPLE = const(7)
NULL = const(0xF6)

_MAX_DEPTH = const(4)


class Reader:
    """Reads items from data[at:end]."""

    def __init__(self, data, at, end):
        self.data = data
        self.at = at
        self.stop = end

    def _take(self, n):
        start = self.at
        if n > self.stop - start:
            raise ValueError("it ends inside an item")
        self.at = start + n
        return start

    def peek(self):
        return self.data[self.at] if self.at < self.stop else -1

    def head(self):
        """Major type and argument."""
        first = self.data[self.at] if self.at < self.stop else 0
        self._take(1)
        major = first >> 5
        info = first & 31
        if info < 24:
            return major, info
        if info > 27:
            raise ValueError("an item is of indefinite length")
        extra = 1 << (info - 24)
        value = 0
        start = self._take(extra)
        for n in range(start, start + extra):
            value = value << 8 | self.data[n]
        least = 24 if extra == 1 else 1 << (4 * extra)
        if major != SIMPLE and value < least:
            raise ValueError("an item is not in its shortest form")
        return major, value

    def expect(self, major):
        found, value = self.head()
        if found != major:
            raise ValueError("an item has another type than its field")
        return value

    def span(self, major):
        """Start and end of a byte or text string."""
        start = self._take(self.expect(major))
        if major == TEXT and not is_utf8(self.data, start, self.at):
            raise ValueError("text is not UTF-8")
        return start, self.at

    def bytes(self):
        start, end = self.span(BYTES)
        return bytes(self.data[start:end])

    def text(self):
        start, end = self.span(TEXT)
        return str(self.data[start:end], "utf-8")

    def end(self):
        if self.at != self.stop:
            raise ValueError("bytes follow it")

    def skip(self, depth=0):
        """Skips one well-formed item."""
        if depth > _MAX_DEPTH:
            raise ValueError("items nest too deeply")
        major, value = self.head()
        if major == BYTES or major == TEXT:
            start = self._take(value)
            if major == TEXT and not is_utf8(self.data, start, self.at):
                raise ValueError("text is not UTF-8")
        elif major == ARRAY:
            # Each item takes a byte at least, so a lying count ends soon.
            while value:
                self.skip(depth + 1)
                value -= 1
        elif major == MAP:
            previous = None
            while value:
                start = self.at
                self.skip(depth + 1)
                key = bytes(self.data[start : self.at])
                if previous is not None and previous >= key:
                    raise ValueError("map keys are unsorted or repeat")
                previous = key
                self.skip(depth + 1)
                value -= 1
        elif major == TAG:
            self.skip(depth + 1)

    def keys(self, known):
        """Yields the unsigned keys of a map; the caller reads each value. Unknown
        ones below 16 are refused, others skipped."""
        count = self.expect(MAP)
        previous = -1
        while count:
            count -= 1
            key = self.expect(UINT)
            if key <= previous:
                raise ValueError("map keys are unsorted or repeat")
            previous = key
            if key >= 16:
                self.skip()
            elif key < known:
                yield key
            else:
                raise ValueError("an unknown key")
