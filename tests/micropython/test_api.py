"""The device's HTTP API: the same answers as those of any other device."""

import json
import socket
import threading

from board import app_image
from lab import PRODUCT, Lab
from made import Server, envelope_of, manifest_of

APP_2 = app_image(120_000, 2)
COSE = {"Content-Type": "application/cose"}


class Api(Lab):
    def setUp(self):
        super().setUp()
        self.board.start().settled()

    def status(self, method, path, body=None, headers=None):
        answer = self.board.request(method, path, body, headers)
        text = answer.read()
        return answer.status, json.loads(text) if text.startswith(b"{") else text

    def slow_update(self, delay=0.3):
        """An update that takes its time: a server, an envelope, the open answer, its token."""
        envelope = envelope_of(manifest_of(PRODUCT, 2, APP_2), self.key)
        server = Server([APP_2], [envelope], delay=delay)
        self.addCleanup(server.close)
        answer = self.watch(server, envelope)
        started = json.loads(answer.readline())
        self.assertEqual(started["event"], "started")
        return server, envelope, answer, started["token"]

    def watch(self, server, envelope):
        path = "/v1/update?from=http%%3A%%2F%%2F127.0.0.1%%3A%d" % server.port
        return self.board.request("POST", path, envelope, COSE)

    def test_requests_that_are_refused(self):
        for status, request in [
            (403, ("GET", "/v1/device", None, {"Origin": "http://evil.example"})),
            (404, ("GET", "/")),
            (404, ("PUT", "/v1/update")),
            (413, ("POST", "/v1/update", b"", COSE)),
            (413, ("POST", "/v1/update", bytes(4081), COSE)),
            (415, ("POST", "/v1/update", b"x", {"Content-Type": "text/plain"})),
            (400, ("POST", "/v1/update?from=http%3A%2F%2F10.0.0.1%3A80", b"x", COSE)),
            (400, ("POST", "/v1/update?from=ftp%3A%2F%2F127.0.0.1", b"x", COSE)),
            (404, ("POST", "/v1/update/cancel?token=0")),
            (400, ("GET", "/v1/log?from=-1")),
            (400, ("GET", "/" + "a" * 2000)),
        ]:
            with self.subTest(request=request[:2]):
                found, body = self.status(*request)
                self.assertEqual(found, status, body)
                self.assertIn("code", body)

    def test_ten_signatures_a_minute(self):
        forged = bytearray(envelope_of(manifest_of(PRODUCT, 2, APP_2), self.key))
        forged[-1] ^= 1
        codes = [self.board.post(bytes(forged), 1)[-1]["code"] for _ in range(11)]
        self.assertEqual(codes, ["bad_signature"] * 10 + ["rate_limited"])

    def test_cancelling_needs_the_token_and_what_is_there_is_kept(self):
        server, envelope, answer, token = self.slow_update()
        wrong, _ = self.status("POST", "/v1/update/cancel?token=" + "0" * 16)
        right, _ = self.status("POST", "/v1/update/cancel?token=" + token)
        self.assertEqual((wrong, right), (403, 200))
        last = [json.loads(line) for line in answer][-1]
        self.assertEqual(last["code"], "cancelled")
        info = self.board.settled()
        self.assertEqual(info["last_update"]["end"], "cancelled")
        self.assertEqual(self.offer(server, envelope)["event"], "rebooting")

    def test_one_update_at_a_time_and_two_may_watch(self):
        server, envelope, answer, _ = self.slow_update()
        info = self.board.device()
        self.assertEqual(info["updater"]["state"], "updating")
        other = envelope_of(manifest_of(PRODUCT, 3, APP_2), self.key)
        busy, body = self.status("POST", "/v1/update", other, COSE)
        self.assertEqual((busy, body["code"], body["by"]), (409, "busy", "127.0.0.1"))
        second = self.watch(server, envelope)
        self.assertEqual(json.loads(second.readline())["event"], "started")
        third = self.watch(server, envelope)
        self.assertEqual(third.status, 503)
        third.read()
        ends = [json.loads(list(each)[-1])["event"] for each in (answer, second)]
        self.assertEqual(ends, ["rebooting", "rebooting"])

    def test_an_update_goes_on_when_nobody_watches(self):
        _, _, answer, _ = self.slow_update(0.05)
        answer.close()
        info = self.board.settled(until=lambda i: i["running"]["slot"] == "ota_1")
        self.assertEqual(info["running"]["version"], "made")

    def test_clients_that_say_nothing_do_not_keep_others_out(self):
        silent = [socket.create_connection(("127.0.0.1", self.board.port)) for _ in range(3)]
        self.assertIsNotNone(self.board.device())
        slow = silent[0]
        slow.sendall(b"GET /v1/device HTTP/1.1\r\n")
        stop = threading.Event()

        def drip():
            try:
                while not stop.wait(0.5):
                    slow.sendall(b"A")
            except OSError:
                pass

        thread = threading.Thread(target=drip)
        thread.start()
        # After five seconds it is given up, however slowly it goes on.
        slow.settimeout(15)
        try:
            self.assertEqual(slow.recv(1), b"")
        except ConnectionResetError:
            pass
        finally:
            stop.set()
            thread.join()
            for each in silent:
                each.close()

    def test_the_log_is_read_from_any_byte(self):
        answer = self.board.request("GET", "/v1/log")
        text = answer.read().decode()
        self.assertIn("airlift: esp32c3-7cdfa1000001 on port", text)
        answer = self.board.request("GET", "/v1/log?from=9")
        self.assertEqual(answer.getheader("Airlift-Log-Start"), "9")
        self.assertEqual(answer.read().decode(), text[9:])

    def test_half_a_request_and_garbage_leave_it_running(self):
        for text in (b"GET", b"\x00\xff\r\n\r\n", b"GET  HTTP/1.1\r\n\r\n", b"\r\n\r\n" * 50):
            with socket.create_connection(("127.0.0.1", self.board.port)) as s:
                s.sendall(text)
        # Four at a time are heard; the fifth may have to come again.
        self.assertEqual(self.board.settled()["updater"], {"state": "idle"})
        self.assertEqual(self.board.starts, 1)
