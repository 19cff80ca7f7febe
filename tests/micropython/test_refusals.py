"""What a device refuses, and that a refusal leaves what runs as it was."""

import cbor2

from board import app_image, canonical_tar, envelope_of as stored_envelope
from lab import APP_1, PRODUCT, Lab
from made import Server, envelope_of, manifest_of, sha256

APP_2 = app_image(560_000 // 4, 2)


class Refusals(Lab):
    def setUp(self):
        super().setUp()
        self.board.start()
        self.before = self.board.settled()

    def refused(self, code, envelope, parts=(), change=None, retry=False):
        server = Server(parts, [envelope], change)
        self.addCleanup(server.close)
        last = self.offer(server, envelope, retry)
        self.assertEqual(last.get("code"), code, last)
        after = self.board.settled()
        self.assertEqual(after["running"], self.before["running"])
        # What is refused must not survive a restart either.
        self.board.stop()
        self.board.start()
        self.assertEqual(self.board.settled()["running"], self.before["running"])
        return server

    def made(self, app=APP_2, files=None, key=None, product=PRODUCT, sequence=2, **more):
        return envelope_of(manifest_of(product, sequence, app, files, **more), key or self.key)

    def test_a_key_that_is_not_trusted(self):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        self.refused("unknown_key", self.made(key=Ed25519PrivateKey.generate()), [APP_2])

    def test_another_key_under_the_name_of_a_trusted_one(self):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from made import raw_public

        kid = sha256(raw_public(self.key))[:8]
        payload = manifest_of(PRODUCT, 2, APP_2)
        forged = envelope_of(payload, Ed25519PrivateKey.generate(), kid=kid)
        self.refused("bad_signature", forged, [APP_2])

    def test_a_signature_for_another_purpose(self):
        payload = manifest_of(PRODUCT, 2, APP_2)
        other = envelope_of(payload, self.key, aad=b"airlift-fresh-v1")
        self.refused("bad_signature", other, [APP_2])

    def test_every_flipped_bit_of_an_envelope(self):
        """A sample of the bits, each byte once; ten signatures a minute are checked."""
        envelope = self.made()
        codes = set()
        for n in range(0, len(envelope), max(1, len(envelope) // 8)):
            flipped = bytearray(envelope)
            flipped[n] ^= 1 << n % 8
            lines = self.board.post(bytes(flipped), 1)
            codes.add(lines[-1]["code"])
        allowed = {"bad_signature", "bad_envelope", "unknown_key", "bad_manifest"}
        self.assertLessEqual(codes, allowed)
        self.assertEqual(self.board.settled()["running"], self.before["running"])

    def test_another_product(self):
        self.refused("wrong_product", self.made(product="another"), [APP_2])

    def test_another_chip(self):
        self.refused("wrong_chip", self.made(chip=9), [APP_2])

    def test_an_app_for_another_chip_in_a_manifest_for_this_one(self):
        app = app_image(50_000, 3, chip=9)
        self.refused("bad_image", self.made(app), [app])

    def test_an_app_that_is_no_image(self):
        app = bytes(APP_2[:4096]) + bytes(5000)
        self.refused("bad_image", self.made(app), [app])

    def test_an_app_that_is_larger_than_its_partition(self):
        app = app_image(0x60000 + 4096, 4)
        self.refused("too_big", self.made(app), [app])

    def test_files_that_find_no_room(self):
        tar = canonical_tar(self.files_1)
        manifest = cbor2.loads(manifest_of(PRODUCT, 2, APP_2, tar))
        manifest[7][3] = 1000
        envelope = envelope_of(cbor2.dumps(manifest, canonical=True), self.key)
        self.refused("too_big", envelope, [APP_2, tar])

    def test_a_lower_sequence_and_the_same_one_for_another_release(self):
        release = self.host.pack("fifth", PRODUCT, 5, APP_2)
        self.update(release)
        self.before = self.board.settled()
        self.refused("lower_sequence", self.made(APP_1, sequence=4), [APP_1])
        self.refused("sequence_conflict", self.made(APP_1, sequence=5), [APP_1])
        self.refused("already_current", stored_envelope(release))

    def test_a_sequence_that_only_the_root_gives(self):
        # The only key of this board is its root as well, so it needs another one.
        new = self.host.public("release-only")
        more = ("--new-root", self.host.public(), "--new-release-key", new, "--epoch", "1")
        self.update(self.host.pack("split", PRODUCT, 2, APP_2, more=more))
        self.before = self.board.settled()
        from made import load_key

        key = load_key(self.host.key("release-only"))
        self.refused("sequence_too_high", self.made(APP_1, key=key, sequence=1 << 31 | 1 << 16))
        self.refused("unknown_key", self.made(APP_1, sequence=3))

    def test_a_base_that_does_not_run(self):
        self.refused("wrong_base", self.made((bytes(32),), canonical_tar(self.files_1)))
        self.refused("wrong_base", self.made(APP_2, (bytes(32),)), [APP_2])

    def test_a_flipped_bit_of_an_index_page(self):
        def change(path, first, body):
            if "/indexes/" in path:
                body = bytearray(body)
                body[7] ^= 4
            return bytes(body)

        self.refused("bad_chunk", self.made(), [APP_2], change)

    def test_another_app_with_an_index_of_its_own(self):
        """Each chunk fits its page, and the pages are not those that were signed."""
        other = app_image(len(APP_2) - 100, 9)[: len(APP_2)].ljust(len(APP_2), b"x")
        envelope = self.made()
        server = Server([APP_2, other], [envelope])
        self.addCleanup(server.close)
        for kind in ("indexes", "blobs"):
            name = "/v1/%s/" % kind
            server.blobs[name + sha256(APP_2).hex()] = server.blobs[name + sha256(other).hex()]
        flash = self.board.slot(1, 0x60000)
        self.assertEqual(self.offer(server, envelope).get("code"), "bad_chunk")
        self.assertEqual(self.board.slot(1, 0x60000), flash)

    def test_a_flipped_bit_of_a_chunk(self):
        place = 5 * 4096 + 100

        def change(path, first, body):
            if "/blobs/" in path and first <= place < first + len(body):
                body = bytearray(body)
                body[place - first] ^= 1
            return bytes(body)

        flash = self.board.slot(1, 0x60000)
        self.refused("bad_chunk", self.made(), [APP_2], change)
        self.board.stop()
        # The chunks before it are there, and the bad one never touched flash.
        after = self.board.slot(1, 0x60000)
        self.assertEqual(after[: 5 * 4096], APP_2[: 5 * 4096])
        self.assertEqual(after[5 * 4096 :], flash[5 * 4096 :])

    def test_a_bit_that_flips_now_and_then_only_costs_time(self):
        answers = []

        def change(path, first, body):
            answers.append(path)
            if len(answers) % 2 and "/releases/" not in path:
                body = bytearray(body)
                body[-1] ^= 128
            return bytes(body)

        envelope = self.made()
        server = Server([APP_2], [envelope], change)
        self.addCleanup(server.close)
        self.assertEqual(self.offer(server, envelope)["event"], "rebooting")
        self.board.settled()
        self.board.stop()
        self.assertEqual(self.board.slot(1, len(APP_2)), APP_2)

    def test_a_host_that_cannot_be_reached(self):
        envelope = self.made()
        last = self.board.post(envelope, 1)[-1]
        self.assertEqual(last["code"], "host_unreachable")
        self.assertIsNone(self.board.settled()["last_update"])

    def test_an_image_that_the_bootloader_refuses_is_not_selected(self):
        """The hashes are right, and the image is bad: its maker's own mistake."""
        app = bytearray(APP_2)
        app[-1] ^= 1
        app = bytes(app)
        self.refused("bad_image", self.made(app), [app])


def entry(path, data=b"", kind=b"0", size=None, mode=b"0000644\0", sum_=None):
    block = bytearray(512)
    block[: len(path)] = path
    block[100:108] = mode
    block[108:124] = b"0000000\0" * 2
    block[124:136] = b"%011o\0" % (len(data) if size is None else size)
    block[136:148] = b"%011o\0" % 0
    block[148:156] = b" " * 8
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % (sum(block) if sum_ is None else sum_)
    return bytes(block) + data + bytes(-len(data) % 512)


END = bytes(1024)
GOOD = entry(b"a.py", b"A = 1\n")
LYING = {
    "a path that climbs": entry(b"../boot.py", b"evil") + END,
    "a path that climbs inside": entry(b"a/../../boot.py", b"evil") + END,
    "an absolute path": entry(b"/boot.py", b"evil") + END,
    "a backslash": entry(b"a\\b", b"evil") + END,
    "a control character": entry(b"a\nb", b"evil") + END,
    "no UTF-8": entry(b"a\xff", b"evil") + END,
    "overlong UTF-8": entry(b"a\xc0\xafb", b"evil") + END,
    "the updater's own file": entry(b"VERSION", b"9") + END,
    "a link": entry(b"a", kind=b"2") + END,
    "a hard link": entry(b"a", kind=b"1") + END,
    "a pax header": entry(b"a", b"x", kind=b"x") + END,
    "a larger size than there is": entry(b"a", b"x", size=100000) + END,
    "a smaller size than there is": entry(b"a", bytes(600) + b"x", size=10) + END,
    "a size of another base": entry(b"a").replace(b"00000000000\0", b"0000000000A\0", 1) + END,
    "a wrong checksum": entry(b"a", b"x", sum_=1) + END,
    "another mode": entry(b"a", b"x", mode=b"0000755\0") + END,
    "a folder with a size": entry(b"a/", kind=b"5", size=5, mode=b"0000755\0") + END,
    "a file twice": GOOD + GOOD + END,
    "an order of its own": entry(b"b", b"1") + entry(b"a", b"2") + END,
    "a file without its folder": entry(b"lib/a.py", b"1") + END,
    "a folder with the name of a file": entry(b"a", b"1")
    + entry(b"a/", kind=b"5", mode=b"0000755\0")
    + END,
    "padding that is not zero": GOOD[:-1] + b"x" + END,
    "no end": GOOD,
    "half an end": GOOD + bytes(512),
    "an end that is not zero": GOOD + bytes(512) + b"x" * 512,
    "bytes after the end": GOOD + END + bytes(512),
    "a file after the end": GOOD + END + GOOD + END,
    "nothing but text": b"this is no tar\n" * 100,
}


class LyingTars(Lab):
    def test_lying_tars_are_refused_and_touch_nothing_but_the_target(self):
        self.board.start()
        before = self.board.settled()["running"]
        self.board.stop()
        files = {k: v for k, v in self.board.files().items() if not k.startswith("/.airlift")}
        self.board.start().settled()
        for n, (name, tar) in enumerate(LYING.items()):
            with self.subTest(name):
                if n % 9 == 8:  # ten signatures a minute
                    self.board.stop()
                    self.board.start().settled()
                envelope = envelope_of(manifest_of(PRODUCT, 2 + n, None, tar), self.key)
                server = Server([tar], [envelope])
                last = self.offer(server, envelope)
                server.close()
                self.assertEqual(last.get("code"), "bad_tar", last)
        self.board.stop()
        after = self.board.files()
        kept = {
            path: digest
            for path, digest in after.items()
            if not path.startswith(("/ota_1/", "/.airlift"))
        }
        self.assertEqual(kept, files)
        self.board.start()
        self.assertEqual(self.board.settled()["running"], before)
        print("%d lying tars refused" % len(LYING), flush=True)
