"""A device like any other: the API, the jobs, the confirmation of a trial."""

import asyncio
import gc
import os
import sys
from binascii import hexlify
from hashlib import sha256
from time import ticks_diff, ticks_ms

import machine
from micropython import const

from . import forget, http
from . import state as s
from .clock import uptime_ms
from .failure import Failure
from .job import Job
from .log import log
from .slots import NAMES, Slots

_CHUNK = const(4096)
_MAX_ENVELOPE = const(4080)

PORT = const(80)
_HOST_PORT = const(7410)
_REACH_MS = const(5000)
_LAST_LINE_MS = const(250)
_CHECKS_A_MINUTE = const(10)
_CONNECTIONS = const(4)


class Device:
    """`check` is the application's own word on a trial: it returns True when all is
    well, False or the reason as text when it does not know yet, and raises when the new
    version does not work. It may be a coroutine function."""

    def __init__(self, port=PORT, check=None, address="0.0.0.0", min_uptime_ms=5000):
        # Before anything else: later there may be no room in one piece.
        self.buffers = [bytearray(_CHUNK) for _ in range(2)]
        self.port = port
        self._address = address
        self._check = check
        self._min_uptime_ms = min_uptime_ms
        self.slots = Slots()
        self.store = s.Store()
        self.job = None
        self._pending = None
        self._submitted = asyncio.Event()
        self._checks = []
        self._connections = 0
        self.restarting = False
        self.id = self.flash_size = self.running = self.trial = self.info = None

    async def run(self):
        """Serves, confirms a trial, and does one update after the other, for ever."""
        await self._start()
        server = await asyncio.start_server(self._serve, self._address, self.port)
        log("airlift: {} on port {}", self.id, self.port)
        try:
            if self.trial:
                from .trial import confirm

                await confirm(self._check, self._min_uptime_ms)
                forget("trial", "guard")
                self.trial = False
                self.store = s.Store()
                self._describe()
            while True:
                await self._submitted.wait()
                self._submitted.clear()
                await self._do(*self._pending)
        finally:
            server.close()

    async def _start(self):
        from . import start

        self.id, self.flash_size, self.running, self.trial = await start.look(
            self.slots, self.store, self.buffers[0]
        )
        forget("start", "walk", "tar", "image", "text")
        self._describe()

    def _describe(self):
        from .info import describe

        self.info = describe(self)
        forget("info", "manifest", "envelope", "cbor", "release", "guard", "image", "text")

    async def _do(self, job, data, host, retry):
        """One update, from the envelope to the restart."""
        try:
            await self._update(job, data, host, retry)
            last = '{{"event":"rebooting","slot":"{}"}}\n'.format(NAMES[self.slots.target])
        except Failure as failure:
            last = self._failed(failure)
        except Exception as error:
            sys.print_exception(error)
            last = self._failed(Failure("internal", "the updater itself failed"))
        self.restarting = "rebooting" in last
        await job.end(last)
        if self.restarting:
            await asyncio.sleep_ms(_LAST_LINE_MS)
            machine.reset()
        self.job = self._pending = None
        forget("accept", "ed25519", "sha512", "fetch", "transfer", "update", "app", "files")
        forget("image", "unpack", "walk", "tar", "text")
        self._describe()

    def _failed(self, failure):
        log("airlift: {} ({})", failure.message, failure.code)
        return '{{"event":"failed","code":"{}","message":"{}"}}\n'.format(
            failure.code, failure.message
        )

    async def _update(self, job, data, host, retry):
        from .accept import accept

        gc.collect()
        accepted = await accept(data, retry, self.running, self.slots, self.store)
        del accept
        forget("accept", "manifest", "envelope", "cbor", "ed25519", "sha512", "walk", "tar", "text")
        from .fetch import Host
        from .release import Part
        from .update import update

        parts = (accepted.app, accepted.files)
        counts = [part.chunks if isinstance(part, Part) else 0 for part in parts]
        await job.started(hexlify(os.urandom(8)).decode(), *counts)
        await job.phase("preflight")
        host = Host(*host)
        await self._reach(job, host, accepted)
        await job.phase("signature")
        try:
            await update(accepted, self.running, self.store, job, host)
        except Exception as error:
            cancelled = isinstance(error, Failure) and error.code == "cancelled"
            end = s.CANCELLED if cancelled else s.FAILED
            self.store.state.last(accepted.release, accepted.sequence, end)
            try:
                self.store.save()
            except Failure:
                pass  # what failed first matters more
            raise
        finally:
            host.close()

    async def _reach(self, job, host, accepted):
        """Asks the host for the release before anything is erased: a firewall is found now."""
        from .fetch import FetchError

        path = "/v1/releases/" + hexlify(accepted.release).decode()
        size = len(accepted.data)
        since = ticks_ms()
        while ticks_diff(ticks_ms(), since) < _REACH_MS:
            job.go_on()
            try:
                if await host.get(path) == size and size <= _CHUNK:
                    await host.read(job.view[:size])
                    if job.view[:size] == accepted.data:
                        return
                host.close()
            except FetchError:
                pass
            await asyncio.sleep_ms(200)
        message = "the device cannot reach the chunk server of the host"
        raise Failure("host_unreachable", message)

    async def _serve(self, reader, writer):
        self._connections += 1
        try:
            if self._connections <= _CONNECTIONS:
                await self._answer(reader, writer)
        except (OSError, asyncio.TimeoutError):
            pass  # concerns only that client
        finally:
            self._connections -= 1
            writer.close()
            try:
                await writer.wait_closed()
            except OSError:
                pass

    async def _answer(self, reader, writer):
        try:
            reading = http.read_request(reader)
            request, early = await asyncio.wait_for_ms(reading, http.READ_MS)
            if request.has_origin:
                message = "requests from web pages are refused"
                raise http.Refusal(403, "bad_request", message)
            await self._route(request, early, reader, writer)
        except http.Refusal as refusal:
            await http.send(writer, refusal.status, refusal.body())

    async def _route(self, request, early, reader, writer):
        where = request.method, request.path
        if where == ("GET", "/v1/device"):
            await self._tell(writer)
        elif where == ("GET", "/v1/log"):
            await self._log(request, writer)
        elif where == ("POST", "/v1/update"):
            await self._post(request, early, reader, writer)
        elif where == ("POST", "/v1/update/cancel"):
            await self._cancel(request, writer)
        else:
            raise http.Refusal(404, "bad_request", "there is nothing at this address")

    async def _tell(self, writer):
        """What the device says of itself."""
        if self.info is None:
            raise http.Refusal(503, "busy", "the device is still starting")
        state = '"trial"' if self.trial else '"idle"'
        if self.job:
            state = '"updating","release":"{}","by":"{}"'.format(
                hexlify(self.job.release).decode(), self.job.by
            )
        more = ',"updater":{{"state":{}}},"uptime_ms":{},"free_memory":{}}}'.format(
            state, uptime_ms(), gc.mem_free()
        ).encode()
        writer.write(http.head(200, "application/json", len(self.info) + len(more)))
        writer.write(self.info)
        writer.write(more)
        await asyncio.wait_for_ms(writer.drain(), http.READ_MS)

    async def _log(self, request, writer):
        from .log import read

        start = request.parameter("from") or "0"
        if not start.isdigit():
            raise http.malformed()
        first, lines = read(int(start))
        more = "Airlift-Log-Start: {}\r\n".format(first)
        await http.send(writer, 200, lines, "text/plain; charset=utf-8", more)

    async def _cancel(self, request, writer):
        job = self.job
        if job is None or job.token is None:
            raise http.Refusal(404, "no_such_job", "no update is running")
        if request.parameter("token") != job.token:
            message = "the token is not the one of the running update"
            raise http.Refusal(403, "bad_request", message)
        job.cancelled = True
        await http.send(writer, 200, '{"cancelling":true}')

    async def _post(self, request, early, reader, writer):
        """Starts an update or joins it, and sends its lines until it ends."""
        if request.length is None or not 1 <= request.length <= _MAX_ENVELOPE:
            message = "an envelope has 1 to 4080 bytes and a Content-Length"
            raise http.Refusal(413, "bad_request", message)
        if not request.is_cose:
            message = "an update is sent as application/cose"
            raise http.Refusal(415, "bad_request", message)
        peer = _peer(writer)
        host = _host(request.parameter("from"), peer)
        reading = http.read_content(reader, early, request.length)
        data = await asyncio.wait_for_ms(reading, http.READ_MS)
        release = sha256(data).digest()
        job = self.job
        if job is None:
            self._rate()
            job = self.job = Job(release, peer, self.buffers)
            self._pending = (job, data, host, request.parameter("retry") == "1")
            started = True
        else:
            started = False
            if job.release != release or self.restarting:
                text = ',"release":"{}","by":"{}"'
                more = text.format(hexlify(job.release).decode(), job.by)
                message = "the device is being updated by " + job.by
                raise http.Refusal(409, "busy", message, more)
        if job.is_watched_out():
            message = "two connections watch this update already; ask for the state, or try again"
            raise http.Refusal(503, "busy", message)
        try:
            writer.write(http.head(200, "application/x-ndjson"))
            over = await job.watch(writer)
        finally:
            # A client that is gone by now has started it all the same.
            if started:
                self._submitted.set()
        await over.wait()

    def _rate(self):
        now = ticks_ms()
        self._checks = [at for at in self._checks if ticks_diff(now, at) < 60000]
        if len(self._checks) >= _CHECKS_A_MINUTE:
            message = "ten signatures were checked in the last minute"
            raise http.Refusal(429, "rate_limited", message)
        self._checks.append(now)


def _peer(writer):
    """The client's address, as text."""
    address = writer.get_extra_info("peername")
    if isinstance(address, tuple):
        return address[0]
    import socket

    # The Unix port gives the raw sockaddr.
    return socket.inet_ntop(socket.AF_INET, address[4:8])


def _host(source, peer):
    """Where the chunks come from: the peer itself, or a stranger could make the device
    call somebody else."""
    if source is None:
        return peer, _HOST_PORT
    url = http.unquote(source)
    address, _, port = url[7:].rstrip("/").partition(":")
    port = port or "80"
    if not url.startswith("http://") or address != peer or not port.isdigit():
        message = "from must be an http URL with the address that this request came from"
        raise http.malformed(message)
    return peer, int(port)
