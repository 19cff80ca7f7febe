"""Whether a new version is fit to stay."""

from asyncio import sleep_ms

from micropython import const

from . import guard
from .clock import uptime_ms
from .log import log
from .state import HEALTH_CHECK, NOT_CONFIRMED

_CONFIRM_MS = const(115000)  # a little before the guard's timer


async def confirm(check, min_uptime_ms):
    """Confirms the trial when the application's own check says so and the device was up
    for long enough. Otherwise goes back, which restarts the device."""
    why = ""
    while uptime_ms() < _CONFIRM_MS:
        try:
            verdict = check() if check else True
            if hasattr(verdict, "send"):
                verdict = await verdict
        except Exception as error:
            guard.abort(HEALTH_CHECK, _printable(str(error) or repr(error)))
        if verdict is True and uptime_ms() >= min_uptime_ms:
            guard.confirm()
            log("airlift: confirmed")
            return
        if verdict is True:
            why = "it was not up for long enough"
        else:
            why = verdict or "its own check says not yet"
        await sleep_ms(100)
    guard.abort(NOT_CONFIRMED, _printable(why))


def _printable(text):
    return "".join(c if " " <= c <= "~" else "?" for c in text[:48])
