"""SHA-512 (FIPS 180-4): the ESP32 port's hashlib has no sha512."""

from struct import pack_into, unpack_from

try:
    from hashlib import sha512 as native
except ImportError:
    native = None

_MASK = 0xFFFFFFFFFFFFFFFF
# The first 80 primes; the constants are what is behind the point of their cube roots.
_PRIMES = (
    b"\x02\x03\x05\x07\x0b\x0d\x11\x13\x17\x1d\x1f\x25\x29\x2b\x2f\x35\x3b\x3d\x43\x47"
    b"\x49\x4f\x53\x59\x61\x65\x67\x6b\x6d\x71\x7f\x83\x89\x8b\x95\x97\x9d\xa3\xa7\xad"
    b"\xb3\xb5\xbf\xc1\xc5\xc7\xd3\xdf\xe3\xe5\xe9\xef\xf1\xfb"
)
_MORE_PRIMES = (257, 263, 269, 271, 277, 281, 283, 293, 307, 311, 313, 317, 331)
_LAST_PRIMES = (337, 347, 349, 353, 359, 367, 373, 379, 383, 389, 397, 401, 409)


def _root(value, power):
    """The whole part of the root, by Newton's method."""
    x = 1 << 70
    while True:
        y = ((power - 1) * x + value // x ** (power - 1)) // power
        if y >= x:
            return x
        x = y


def _constants():
    table = bytearray(80 * 8)
    at = 0
    for primes in (_PRIMES, _MORE_PRIMES, _LAST_PRIMES):
        for prime in primes:
            pack_into(">Q", table, at, _root(prime << 192, 3) & _MASK)
            at += 8
    return table


class Sha512:
    """SHA-512 in the interpreter. The table of constants goes with the object."""

    def __init__(self):
        self._k = _constants()
        self._h = [_root(prime << 128, 2) & _MASK for prime in _PRIMES[:8]]
        self._block = bytearray(128)
        self._w = [0] * 16
        self._length = 0

    def update(self, data):
        filled = self._length % 128
        self._length += len(data)
        at = 0
        while at < len(data):
            n = min(128 - filled, len(data) - at)
            self._block[filled : filled + n] = data[at : at + n]
            at += n
            filled += n
            if filled == 128:
                self._compress()
                filled = 0

    def _compress(self):
        m = _MASK
        w = self._w
        k = self._k
        for n in range(16):
            w[n] = unpack_from(">Q", self._block, n * 8)[0]
        a, b, c, d, e, f, g, h = self._h
        for n in range(80):
            i = n & 15
            x = w[i]
            if n >= 16:
                y = w[(n + 1) & 15]
                z = w[(n + 14) & 15]
                # Doubled, so that a rotation is one shift.
                p = y << 64 | y
                q = z << 64 | z
                x += (p >> 1 ^ p >> 8 ^ y >> 7) & m
                x += (q >> 19 ^ q >> 61 ^ z >> 6) & m
                x = (x + w[(n + 9) & 15]) & m
                w[i] = x
            p = e << 64 | e
            h += ((p >> 14 ^ p >> 18 ^ p >> 41) & m) + (g ^ e & (f ^ g))
            h += unpack_from(">Q", k, n * 8)[0] + x
            p = a << 64 | a
            t = ((p >> 28 ^ p >> 34 ^ p >> 39) & m) + (a & b | c & (a | b))
            a, b, c, d, e, f, g, h = (h + t) & m, a, b, c, (d + h) & m, e, f, g
        mixed = (a, b, c, d, e, f, g, h)
        for n in range(8):
            self._h[n] = (self._h[n] + mixed[n]) & m

    def digest(self):
        bits = self._length * 8
        self.update(b"\x80")
        self.update(bytes((112 - self._length) % 128))
        tail = bytearray(16)
        pack_into(">Q", tail, 8, bits)
        self.update(tail)
        out = bytearray(64)
        for n in range(8):
            pack_into(">Q", out, n * 8, self._h[n])
        return bytes(out)


def sha512():
    return native() if native else Sha512()
