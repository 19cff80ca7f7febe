"""Checks Ed25519 signatures (RFC 8032) strictly, in the interpreter's big numbers.

As the other devices do: S below the group's order, no key and no R of small
order, every point in its one encoding, and the equation without the cofactor.
Only public values are handled, so nothing here needs constant time.
"""

from asyncio import sleep_ms

from .sha512 import sha512

_P = (1 << 255) - 19
_MASK = (1 << 255) - 1
_L = (1 << 252) + 27742317777372353535851937790883648493
_D = 0x52036CEE2B6FFE738CC740797779E89800700A4D4141D8AB75EB4DCA135978A3
_2D = 0x2406D9DC56DFFCE7198E80F2EEF3D13000E0149A8283B156EBD69B9426B2F159
_SQRT_M1 = 0x2B8324804FC1DF0B2B4D00993DFBD7A72F431806AD2FE478C4EE1B274A0EA0B0
_BASE = (
    0x216936D3CD6E53FEC0A4E231FDD6DC5C692CC7609525A7B2C9562D608F25D51A,
    0x6666666666666666666666666666666666666666666666666666666666666658,
)
_WIDTH = 5  # of the windows; a table holds 2 ** (_WIDTH - 2) multiples


def _mul(a, b):
    x = a * b
    x = (x & _MASK) + 19 * (x >> 255)
    # Twice: the factors may be a little above the prime, and must stay there.
    return (x & _MASK) + 19 * (x >> 255)


def _squarings(x, n):
    for _ in range(n):
        x = _mul(x, x)
    return x


def _power_p58(x):
    """x ** ((p - 5) / 8)"""
    x2 = _mul(_squarings(x, 1), x)
    x4 = _mul(_squarings(x2, 2), x2)
    x5 = _mul(_squarings(x4, 1), x)
    x10 = _mul(_squarings(x5, 5), x5)
    x20 = _mul(_squarings(x10, 10), x10)
    x40 = _mul(_squarings(x20, 20), x20)
    x50 = _mul(_squarings(x40, 10), x10)
    x100 = _mul(_squarings(x50, 50), x50)
    x200 = _mul(_squarings(x100, 100), x100)
    x250 = _mul(_squarings(x200, 50), x50)
    return _mul(_squarings(x250, 2), x)


def _point(data):
    """The affine point that 32 bytes encode; None if they encode none, or in a
    second way."""
    y = int.from_bytes(data, "little")
    sign = y >> 255
    y &= _MASK
    if y >= _P:
        return None
    yy = _mul(y, y)
    u = (yy - 1) % _P
    v = (_mul(_D, yy) + 1) % _P
    v3 = _mul(_mul(v, v), v)
    x = _mul(_mul(u, v3), _power_p58(_mul(u, _mul(_mul(v3, v3), v))))
    check = _mul(v, _mul(x, x)) % _P
    if check != u:
        if check != (_P - u) % _P:
            return None
        x = _mul(x, _SQRT_M1)
    x %= _P
    if not x and sign:
        return None
    return (_P - x if x & 1 != sign else x), y


def _double(point):
    x, y, z, _ = point
    a = _mul(x, x)
    b = _mul(y, y)
    c = _mul(z, z)
    h = a + b
    e = h - _mul(x + y, x + y)
    g = a - b
    f = 2 * c + g
    # Negative numbers would need more care in _mul than this.
    e += 4 * _P
    g += 2 * _P
    f += 2 * _P
    return _mul(e, f), _mul(g, h), _mul(f, g), _mul(e, h)


def _cached(point):
    x, y, z, t = point
    return y - x + 2 * _P, y + x, 2 * z, _mul(t, _2D)


def _add(point, cached):
    x, y, z, t = point
    minus, plus, z2, t2d = cached
    a = _mul(y - x + 2 * _P, minus)
    b = _mul(y + x, plus)
    c = _mul(t, t2d)
    d = _mul(z, z2)
    e = b - a + 2 * _P
    f = d - c + 2 * _P
    g = d + c
    h = b + a
    return _mul(e, f), _mul(g, h), _mul(f, g), _mul(e, h)


def _table(x, y):
    """Odd multiples of an affine point."""
    point = (x, y, 1, _mul(x, y))
    twice = _cached(_double(point))
    table = [_cached(point)]
    while len(table) < 1 << (_WIDTH - 2):
        point = _add(point, twice)
        table.append(_cached(point))
    return table


def _windows(scalar):
    """Digits of a number, lowest first: 0, or odd with 0 after it; each one byte,
    128 stands for 0."""
    digits = bytearray(257)
    for n in range(257):
        digit = 0
        if scalar & 1:
            digit = scalar & ((1 << _WIDTH) - 1)
            if digit >> (_WIDTH - 1):
                digit -= 1 << _WIDTH
            scalar -= digit
        digits[n] = digit + 128
        scalar >>= 1
    return digits


def _pick(table, digit):
    minus, plus, z2, t2d = table[abs(digit) >> 1]
    if digit < 0:
        return plus, minus, z2, 4 * _P - t2d
    return minus, plus, z2, t2d


def _is_small(x, y):
    """Whether eight times the point is the neutral one."""
    point = (x, y, 1, _mul(x, y))
    for _ in range(3):
        point = _double(point)
    return point[0] % _P == 0


def is_usable(key):
    """Whether a signature of this key can prove anything."""
    point = _point(key)
    return point is not None and not _is_small(*point)


async def verify(key, signature, message):
    """Whether `signature` is the key's over the pieces of `message`."""
    s = int.from_bytes(signature[32:], "little")
    a = _point(key)
    r = _point(signature[:32])
    if s >= _L or a is None or r is None or _is_small(*a) or _is_small(*r):
        return False
    await sleep_ms(0)
    digest = sha512()
    digest.update(signature[:32])
    digest.update(key)
    for piece in message:
        digest.update(piece)
        await sleep_ms(0)
    k = int.from_bytes(digest.digest(), "little") % _L
    # s * B - k * A must be R.
    minus_a = _table(_P - a[0], a[1])
    base = _table(*_BASE)
    k = _windows(k)
    s = _windows(s)
    point = (0, 1, 1, 0)
    for n in range(256, -1, -1):
        point = _double(point)
        if k[n] != 128:
            point = _add(point, _pick(minus_a, k[n] - 128))
        if s[n] != 128:
            point = _add(point, _pick(base, s[n] - 128))
        if not n & 15:
            await sleep_ms(0)
    x, y, z, _ = point
    return (_mul(r[0], z) - x) % _P == 0 and (_mul(r[1], z) - y) % _P == 0
