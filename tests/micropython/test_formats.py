"""Envelope, manifest, Ed25519 and SHA-512 in MicroPython, against libraries of others and the
refusals that the other devices make."""

import hashlib
import json
import random
import subprocess
import unittest

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from board import BIN, CLIENT, HERE
from made import envelope_of, manifest_of, raw_public
from test_refusals import LYING, entry

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19
SMALL_ORDER = [
    (1).to_bytes(32, "little"),
    (P - 1).to_bytes(32, "little"),
    bytes(32),
    bytes(31) + b"\x80",
    bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
]


def ask(questions):
    """The client's answers, from one run of MicroPython."""
    lines = "".join(
        json.dumps([what, *(each.hex() for each in data)]) + "\n" for what, *data in questions
    )
    done = subprocess.run(
        [BIN / "micropython", "-X", "heapsize=200k", HERE / "sim" / "formats.py", CLIENT],
        input=lines.encode(),
        capture_output=True,
        timeout=120,
        check=False,
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(questions):
        raise AssertionError(done.stdout.decode()[-500:] + done.stderr.decode())
    return answers


class Formats(unittest.TestCase):
    def test_sha512_of_every_length_around_a_block(self):
        data = random.Random(1).randbytes(4300)
        texts = [data[:n] for n in (0, 1, 111, 112, 113, 127, 128, 129, 239, 240, 4300)]
        expected = [hashlib.sha512(text).hexdigest() for text in texts]
        self.assertEqual(ask([("sha512", text) for text in texts]), expected)

    def test_signatures_of_another_library(self):
        rng = random.Random(2)
        questions, expected = [], []
        for n in range(20):
            key = Ed25519PrivateKey.from_private_bytes(rng.randbytes(32))
            message = rng.randbytes(n * 17)
            signature = bytearray(key.sign(message))
            if n % 2:
                signature[rng.randrange(64)] ^= 1 << rng.randrange(8)
            questions.append(("verify", raw_public(key), bytes(signature), message))
            expected.append(n % 2 == 0)
        self.assertEqual(ask(questions), expected)

    def test_signatures_that_are_only_nearly_right(self):
        key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        public, signature = raw_public(key), key.sign(b"x")
        s = int.from_bytes(signature[32:], "little")
        malleable = signature[:32] + (s + L).to_bytes(32, "little")
        questions = [("verify", public, malleable, b"x")]
        # Under a key of small order anybody can sign.
        for weak in SMALL_ORDER:
            questions.append(("verify", weak, SMALL_ORDER[0] + bytes(32), b"x"))
            questions.append(("usable", weak))
        # The same points in a second encoding, and what is no point.
        for bad in ((P + 1).to_bytes(32, "little"), b"\xff" * 32, (2).to_bytes(32, "little")):
            questions.append(("usable", bad))
            questions.append(("verify", bad, signature, b"x"))
        self.assertEqual(ask(questions), [False] * len(questions))
        right = [("usable", public), ("verify", public, signature, b"x")]
        self.assertEqual(ask(right), [True, True])

    def test_manifests_that_are_refused(self):
        def raw(**change):
            fields = cbor2.loads(manifest_of("p", 1, bytes(9000), bytes(1024)))
            fields.update({int(k[1:]): v for k, v in change.items()})
            return cbor2.dumps({k: v for k, v in fields.items() if v != "gone"}, canonical=True)

        good = raw()
        part = cbor2.loads(good)[6]
        keys = {0: 1, 1: bytes(32), 2: [bytes(32)]}
        fine = [good, raw(k16="later"), raw(k40=[{1: 2}])]
        fine += [raw(k6=None), raw(k7=bytes(32)), raw(k8=keys)]
        bad = {
            "another format": raw(k0=2),
            "no product": raw(k1="gone"),
            "a product in capitals": raw(k1="P"),
            "an empty product": raw(k1=""),
            "a long product": raw(k1="p" * 65),
            "a chip out of range": raw(k2=0x10000),
            "any chip, with an app": raw(k2=0xFFFF),
            "an empty version": raw(k3=""),
            "a version that turns the line": raw(k3="1\u202e2"),
            "a version with a line end": raw(k3="1\n"),
            "a long version": raw(k3="é" * 33),
            "a sequence out of range": raw(k4=1 << 32),
            "a sequence below zero": raw(k4=-1),
            "an unknown key": raw(k9=1),
            "a part without a size": raw(k6={1: part[1], 2: part[2]}),
            "a part of nothing": raw(k6=part | {0: 0}),
            "a part that is too large": raw(k6=part | {0: (1 << 24) + 1}),
            "a page too many": raw(k6=part | {2: part[2] * 2}),
            "no page": raw(k6=part | {2: []}),
            "a short hash": raw(k6=part | {2: [bytes(31)]}),
            "blocks of an app": raw(k6=part | {3: 1}),
            "a short digest": raw(k7=bytes(31)),
            "no keys": raw(k8=keys | {2: []}),
            "five keys": raw(k8=keys | {2: [bytes(32)] * 5}),
            "a short key": raw(k8=keys | {1: bytes(31)}),
            "an indefinite map": b"\xbf" + good[1:] + b"\xff",
            "a longer form": good.replace(b"\x00\x01", b"\x00\x18\x01", 1),
            "bytes behind it": good + b"\0",
            "an early end": good[:-1],
            "a repeated key": b"\xa9\x00\x01" + good[1:],
            "unsorted keys": bytes([good[0]]) + good[3:5] + good[1:3] + good[5:],
            "deep nesting": raw(k20=[[[[[[1]]]]]]),
            "overlong text": good.replace(b"\x64made", b"\x62\xc0\x80", 1),
            "half a surrogate": good.replace(b"\x64made", b"\x63\xed\xa0\x80", 1),
        }
        answers = ask([("manifest", each) for each in fine])
        self.assertEqual(answers, ["ok"] * len(fine))
        answers = ask([("manifest", each) for each in bad.values()])
        self.assertEqual(dict(zip(bad, answers)), dict.fromkeys(bad, "bad_manifest"))

    def test_envelopes_that_are_refused(self):
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        good = envelope_of(b"payload", key)
        signed = list(cbor2.loads(good).value)

        def again(n, value):
            return cbor2.dumps(cbor2.CBORTag(18, signed[:n] + [value] + signed[n + 1 :]))

        bad = [
            good[1:],
            good + b"\0",
            good[:-1],
            b"\xd1" + good[1:],
            again(0, cbor2.dumps({1: -8})),
            again(0, cbor2.dumps({1: -7, 4: bytes(8)})),
            again(0, cbor2.dumps({1: -8, 4: bytes(7)})),
            again(1, {1: 2}),
            again(3, bytes(63)),
            envelope_of(bytes(4080), key),
        ]
        answers = ask([("envelope", each) for each in [good, *bad]])
        self.assertEqual(answers, ["ok"] + ["bad_envelope"] * len(bad))

    def test_headers_of_a_tar(self):
        first = [tar[:512] for name, tar in LYING.items() if name in ("a link", "an absolute path")]
        answers = ask([("header", each) for each in [entry(b"a/b", b"x" * 9)[:512], *first]])
        self.assertEqual(answers, [["a/b", False, 9], "bad_tar", "bad_tar"])

    def test_how_long_a_signature_takes_here(self):
        key = Ed25519PrivateKey.from_private_bytes(bytes(32))
        message = bytes(400)
        questions = [("seconds", raw_public(key), key.sign(message), message)] * 5
        best = min(ask(questions))
        print("a signature over 400 bytes: %d ms in this interpreter" % best, flush=True)
        self.assertLess(best, 5000)
