"""Releases made by hand, so that they can be wrong, and a chunk server that can lie."""

import hashlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cbor2
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

CHUNK = 4096


def sha256(data):
    return hashlib.sha256(data).digest()


def index_of(data):
    return b"".join(sha256(data[n : n + CHUNK]) for n in range(0, len(data), CHUNK))


def part_of(data, blocks=None):
    index = index_of(data)
    pages = [sha256(index[n : n + CHUNK]) for n in range(0, len(index), CHUNK)]
    part = {0: len(data), 1: sha256(data), 2: pages}
    return part if blocks is None else part | {3: blocks}


def load_key(path):
    return load_pem_private_key(path.read_bytes(), None)


def raw_public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def manifest_of(product, sequence, app=None, files=None, chip=5, version="made", **more):
    manifest = {0: 1, 1: product, 2: chip, 3: version, 4: sequence, 5: 1700000000}
    manifest[6] = part_of(app) if isinstance(app, bytes) else app and app[0]
    manifest[7] = part_of(files) if isinstance(files, bytes) else files and files[0]
    manifest.update(more.get("also", {}))
    return cbor2.dumps(manifest, canonical=True)


def envelope_of(payload, key, aad=b"airlift-release-v1", kid=None):
    protected = cbor2.dumps({1: -8, 4: kid or sha256(raw_public(key))[:8]}, canonical=True)
    signed = cbor2.dumps(["Signature1", protected, aad, payload])
    signature = key.sign(signed)
    return cbor2.dumps(cbor2.CBORTag(18, [protected, {}, payload, signature]))


class _Http(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """Boards break connections; that is their right."""


class Server:
    """Serves blobs and their indexes. `change(path, body)` may alter an answer; `delay` is
    waited before each."""

    def __init__(self, parts, envelopes, change=None, delay=0):
        self.blobs = {}
        for data in parts:
            name = sha256(data).hex()
            self.blobs["/v1/blobs/" + name] = data
            self.blobs["/v1/indexes/" + name] = index_of(data)
        for envelope in envelopes:
            self.blobs["/v1/releases/" + sha256(envelope).hex()] = envelope
        self.requests = 0
        served = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                served.requests += 1
                time.sleep(delay)
                body = served.blobs.get(self.path)
                if body is None:
                    self.send_error(404)
                    return
                span = self.headers.get("Range")
                total = len(body)
                if span:
                    first, last = map(int, span.removeprefix("bytes=").split("-"))
                    body = body[first : last + 1]
                if change:
                    body = change(self.path, first if span else 0, body)
                self.send_response(206 if span else 200)
                if span:
                    self.send_header("Content-Range", "bytes %d-%d/%d" % (first, last, total))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.http = _Http(("127.0.0.1", 0), Handler)
        self.port = self.http.server_port
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()
