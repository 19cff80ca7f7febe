"""The envelope: COSE_Sign1 (RFC 9052) around a manifest, in one form only."""

from hashlib import sha256

from micropython import const

from .cbor import ARRAY, BYTES, MAP, NEGATIVE, TAG, UINT, Reader
from .failure import Failure

_MAX_ENVELOPE = const(4080)

RELEASE = b"airlift-release-v1"


def key_id(key):
    """Short name of a public key."""
    return sha256(key).digest()[:8]


class Envelope:
    """An envelope whose signature nobody has checked yet."""

    def __init__(self, data, limit=_MAX_ENVELOPE):
        self.data = data
        try:
            if len(data) > limit:
                raise ValueError("it is too long")
            self._parse(Reader(data, 0, len(data)))
        except ValueError:
            message = "the envelope of the release is malformed"
            raise Failure("bad_envelope", message)

    def _parse(self, r):
        if r.expect(TAG) != 18 or r.expect(ARRAY) != 4:
            raise ValueError("not a COSE_Sign1")
        self.protected = r.span(BYTES)
        p = Reader(self.data, self.protected[0], self.protected[1])
        head = (p.expect(MAP), p.expect(UINT), p.expect(NEGATIVE), p.expect(UINT))
        if head != (2, 1, 7, 4):
            raise ValueError("the protected header is not {1: -8, 4: kid}")
        self.kid = p.bytes()
        p.end()
        if len(self.kid) != 8 or r.expect(MAP):
            raise ValueError("kid or unprotected header")
        self.payload = r.span(BYTES)
        self.signature = r.bytes()
        r.end()
        if len(self.signature) != 64:
            raise ValueError("the signature is not 64 bytes")

    def _message(self, aad):
        """The Sig_structure, in pieces."""
        view = memoryview(self.data)
        protected = view[self.protected[0] : self.protected[1]]
        payload = view[self.payload[0] : self.payload[1]]
        yield b"\x84\x6aSignature1"
        for piece in (protected, aad, payload):
            size = len(piece)
            if size < 24:
                yield bytes((0x40 | size,))
            elif size < 256:
                yield bytes((0x58, size))
            else:
                yield bytes((0x59, size >> 8, size & 255))
            yield piece

    async def verify(self, keys, aad=RELEASE):
        """Returns the one of `keys` that signed."""
        from .ed25519 import verify

        code, message = "unknown_key", "the release is signed by a key that is not trusted"
        for key in keys:
            if key_id(key) != self.kid:
                continue
            if await verify(key, self.signature, self._message(aad)):
                return key
            code, message = "bad_signature", "the signature of the release does not match"
        raise Failure(code, message)
