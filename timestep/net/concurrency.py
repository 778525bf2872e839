"""How many requests a server gets at once; the others wait their turn.

A caller waits in its own event loop. The first to come is the first to get a place, across all loops
and threads. A caller that is cancelled while it waits gives up its turn.
"""

import asyncio
from collections import deque
from threading import Lock
from typing import Any

from timestep.net.forks import forget_in_children


class Places:
    """A semaphore of *count* places, unlimited for None, shared by all event loops and threads."""

    def __init__(self, count: int | None) -> None:
        self.count = count
        self._start_over()
        forget_in_children(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy starts empty."""
        return Places, (self.count,)

    def forget_connections(self) -> None:
        """Start over in a forked process: the places are the parent's."""
        self._start_over()

    def _start_over(self) -> None:
        self._lock = Lock()
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __aenter__(self) -> None:
        if (turn := self._take()) is None:
            return
        try:
            await turn
        except asyncio.CancelledError:
            self._give_up(turn)
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _take(self) -> asyncio.Future[None] | None:
        """Take a place, or return the future that is done once one is ours."""
        if self.count is None:
            return None
        with self._lock:
            if self._taken < self.count:
                self._taken += 1
                return None
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            return turn

    def _leave(self) -> None:
        """Hand the place on to the one who waits longest."""
        if self.count is None:
            return
        with self._lock:
            while self._waiting:
                turn = self._waiting.popleft()
                try:
                    turn.get_loop().call_soon_threadsafe(_grant, turn)
                except RuntimeError:  # its event loop was closed while it waited
                    continue
                return
            self._taken -= 1

    def _give_up(self, turn: asyncio.Future[None]) -> None:
        with self._lock:
            is_waiting = turn in self._waiting
            if is_waiting:
                self._waiting.remove(turn)
        if not is_waiting:  # the place was handed over while the caller was cancelled
            self._leave()


def _grant(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
