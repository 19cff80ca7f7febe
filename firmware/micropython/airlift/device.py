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

from . import guard, http, image, walk
from . import state as s
from .clock import uptime_ms
from .failure import Failure
from .job import Job
from .limits import CHUNK, MAX_ENVELOPE
from .log import log
from .slots import NAMES, Slots

PORT = const(80)
_HOST_PORT = const(7410)
_CONFIRM_MS = const(115000)  # before the guard's timer
_REACH_MS = const(5000)
_LAST_LINE_MS = const(250)
_CHECKS_A_MINUTE = const(10)
_CONNECTIONS = const(4)


class Running:
    """What runs."""

    chip = None
    release = None
    version = None  # of a folder that no release was written to
    app = None  # digest and size
    files = None


def device_id(chip):
    """The same for life, unique on the network."""
    return "{}-{}".format(chip, hexlify(machine.unique_id()).decode())


def flash_size(slots):
    try:
        import esp

        return esp.flash_size()
    except (ImportError, AttributeError):
        return max(part.info()[2] + part.info()[3] for part in slots.parts if part)


class Device:
    """`check` is the application's own word on a trial: it returns True when all is
    well, False or the reason as text when it does not know yet, and raises when the new
    version does not work. It may be a coroutine function."""

    def __init__(self, port=PORT, check=None, address="0.0.0.0", min_uptime_ms=5000):
        self.port = port
        self._address = address
        self._check = check
        self._min_uptime_ms = min_uptime_ms
        self.slots = Slots()
        self.store = s.Store()
        self.running = Running()
        self.job = None
        self._pending = None
        self._submitted = asyncio.Event()
        self._checks = []
        self._connections = 0
        self.restarting = False
        state = self.store.state
        self.running.release = self.store.release(self.slots.running)
        self.trial = state.end == s.TRIAL and self.running.release == state.last_release
        self.flash_size = flash_size(self.slots)
        self.reset_reason = s.CAUSES[guard.reset_cause()]
        self.id = None

    async def run(self):
        """Serves, confirms a trial, and does one update after the other, for ever."""
        await self._look()
        server = await asyncio.start_server(self._serve, self._address, self.port)
        log("airlift: {} on port {}", self.id, self.port)
        try:
            if self.trial:
                await self._confirm()
            while True:
                await self._submitted.wait()
                self._submitted.clear()
                await self._do(*self._pending)
        finally:
            server.close()

    async def _look(self):
        """Finds out what runs, from flash."""
        part = self.slots.parts[self.slots.running]
        buffer = memoryview(bytearray(CHUNK))
        part.readblocks(0, buffer[:24], 0)
        self.running.chip = image.chip_of(buffer[:24])
        self.id = device_id(image.CHIPS.get(self.running.chip, "unknown"))
        size = image.length(part, part.info()[3])
        if size:
            self.running.app = (await image.digest(part, size, buffer, _turn), size)
        folder = "/" + NAMES[self.slots.running]
        try:
            self.running.files = await walk.digest(folder, buffer, _turn)
            with open(folder + "/VERSION") as file:
                self.running.version = file.read(64).strip()
        except (Failure, OSError):
            pass  # a folder that no release can have; updates that carry files still work

    async def _confirm(self):
        """Confirms the trial, or goes back."""
        why = ""
        while uptime_ms() < _CONFIRM_MS:
            try:
                verdict = self._check() if self._check else True
                if hasattr(verdict, "send"):
                    verdict = await verdict
            except Exception as error:
                guard.abort(s.HEALTH_CHECK, _printable(str(error) or repr(error)))
            if verdict is True:
                if uptime_ms() >= self._min_uptime_ms:
                    guard.confirm()
                    self.store = s.Store()
                    self.trial = False
                    log("airlift: confirmed")
                    return
                why = "it was not up for long enough"
            else:
                why = verdict or "its own check says not yet"
            await asyncio.sleep_ms(100)
        guard.abort(s.NOT_CONFIRMED, _printable(why))

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
        walk.reading.close()
        gc.collect()

    def _failed(self, failure):
        log("airlift: {} ({})", failure.message, failure.code)
        return '{{"event":"failed","code":"{}","message":"{}"}}\n'.format(
            failure.code, failure.message
        )

    async def _update(self, job, data, host, retry):
        from .accept import accept
        from .fetch import Host
        from .manifest import Part
        from .update import Update

        gc.collect()
        accepted = await accept(data, retry, self.running, self.slots, self.store)
        manifest = accepted.manifest
        counts = [p.chunks if isinstance(p, Part) else 0 for p in (manifest.app, manifest.files)]
        await job.started(hexlify(os.urandom(8)).decode(), *counts)
        await job.phase("preflight")
        host = Host(*host)
        await self._reach(job, host, accepted)
        await job.phase("signature")
        try:
            await Update(accepted, self.running, self.store, job).run(host)
        except Exception as error:
            cancelled = isinstance(error, Failure) and error.code == "cancelled"
            end = s.CANCELLED if cancelled else s.FAILED
            self.store.state.last(accepted.release, manifest.sequence, end)
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
                if await host.get(path) == size and size <= CHUNK:
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
            request, early = await http.read_request(reader)
            if request.has_origin:
                message = "requests from web pages are refused"
                raise http.Refusal(403, "bad_request", message)
            await self._route(request, early, reader, writer)
        except http.Refusal as refusal:
            await http.send(writer, refusal.status, refusal.body())

    async def _route(self, request, early, reader, writer):
        where = request.method, request.path
        if where == ("GET", "/v1/device"):
            from .info import describe

            gc.collect()
            await http.send(writer, 200, describe(self))
        elif where == ("GET", "/v1/log"):
            await self._log(request, writer)
        elif where == ("POST", "/v1/update"):
            await self._post(request, early, reader, writer)
        elif where == ("POST", "/v1/update/cancel"):
            await self._cancel(request, writer)
        else:
            raise http.Refusal(404, "bad_request", "there is nothing at this address")

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
        if request.length is None or not 1 <= request.length <= MAX_ENVELOPE:
            message = "an envelope has 1 to 4080 bytes and a Content-Length"
            raise http.Refusal(413, "bad_request", message)
        if not request.is_cose:
            message = "an update is sent as application/cose"
            raise http.Refusal(415, "bad_request", message)
        peer = _peer(writer)
        host = _host(request.parameter("from"), peer)
        data = await http.read_content(reader, early, request.length)
        release = sha256(data).digest()
        job = self.job
        if job is None:
            self._rate()
            job = self.job = Job(release, peer)
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
            await job.watch(writer)
        finally:
            # A client that is gone by now has started it all the same.
            if started:
                self._submitted.set()
        await job.ended.wait()

    def _rate(self):
        now = ticks_ms()
        self._checks = [at for at in self._checks if ticks_diff(now, at) < 60000]
        if len(self._checks) >= _CHECKS_A_MINUTE:
            message = "ten signatures were checked in the last minute"
            raise http.Refusal(429, "rate_limited", message)
        self._checks.append(now)


async def _turn():
    await asyncio.sleep_ms(0)


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


def _printable(text):
    return "".join(c if " " <= c <= "~" else "?" for c in text[:48])
