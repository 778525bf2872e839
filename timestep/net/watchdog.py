"""A watchdog that notices when a server is silent for too long."""

import asyncio
from collections.abc import Callable

from timestep.net.connection import Silence
from timestep.net.timeouts import Timeouts


class Watchdog:
    """Notices silence that lasts too long.

    A sign of life, or another phase, costs a clock read and not a new timer: the timer looks at the
    clock when it rings. It never waits longer than the limit between pieces, which is usually next.

    Args:
        timeouts: None waits for ever.
        expire: Called with the phase, once, from the event loop.
    """

    def __init__(self, timeouts: Timeouts | None, expire: Callable[[Silence], None]) -> None:
        self._timeouts = timeouts
        self._expire = expire
        self._loop: asyncio.AbstractEventLoop | None = None
        self._heard = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._phase: Silence = "first_byte"
        self._is_waiting = False
        self.limit: float | None = None

    def expect(self, phase: Silence, limit: float | None = None) -> None:
        """Start to wait in *phase*, by default for as long as the timeouts say."""
        if limit is None and (timeouts := self._timeouts) is not None:
            limit = timeouts.first_byte if phase == "first_byte" else timeouts.idle
        self._phase, self.limit = phase, limit
        self._is_waiting = limit is not None
        if limit is None:
            return
        loop = self._loop = self._loop or asyncio.get_running_loop()
        self._heard = loop.time()
        if self._timer is None or self._timer.when() > self._heard + limit:
            self._ring_by(self._heard + limit, loop)

    def touch(self) -> None:
        """Note a sign of life."""
        if self._phase == "first_byte" or not self._is_waiting or self._loop is None:
            self.expect("idle" if self._phase == "first_byte" else self._phase)
        else:
            self._heard = self._loop.time()

    def pause(self) -> None:
        """Stop waiting, until `touch` or `expect`."""
        self._is_waiting = False

    def stop(self) -> None:
        """Stop waiting for good."""
        self.pause()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring_by(self, due: float, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer to *due*, or to what is due after the next piece if that is sooner."""
        if self._timer is not None:
            self._timer.cancel()
        idle = None if self._timeouts is None else self._timeouts.idle
        soonest = due if idle is None else min(due, loop.time() + idle)
        self._timer = loop.call_at(soonest, self._check, loop)

    def _check(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if not self._is_waiting:
            return
        due = self._heard + (self.limit or 0.0)
        if loop.time() < due:
            self._ring_by(due, loop)
        else:
            self._expire(self._phase)
