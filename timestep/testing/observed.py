"""Records what a test server saw, for tests to read and wait for. Any thread may use it."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from timestep.testing.connection import Connection
from timestep.testing.faults import PATIENCE
from timestep.testing.http import Request

_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Disconnect:
    """A client that hung up before its answer was complete."""

    request: Request  #: what it had asked for
    chunks_sent: int  #: the chunks the server had written by then


class Observed:
    """The requests, connections and disconnects of a server."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._disconnects: list[Disconnect] = []
        self._connections: set[Connection] = set()

    @property
    def requests(self) -> list[Request]:
        """All requests, oldest first."""
        with self._changed:
            return list(self._requests)

    @property
    def disconnects(self) -> list[Disconnect]:
        """The clients that hung up before their answer was complete, oldest first."""
        with self._changed:
            return list(self._disconnects)

    @property
    def open_connections(self) -> int:
        """How many connections are open, idle ones too."""
        with self._changed:
            return len(self._connections)

    def wait_until(self, condition: Callable[[], bool], timeout: float = PATIENCE) -> None:
        """Block until *condition* holds; it is asked again whenever the server has news.

        Raises:
            TimeoutError: It did not hold within *timeout* seconds.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout):
                raise TimeoutError(f"the condition did not hold within {timeout:g} s")

    def wait_for_disconnect(self, timeout: float = PATIENCE) -> Disconnect:
        """Block until a client has hung up; return the first that did.

        Raises:
            TimeoutError: None did within *timeout* seconds.
        """
        self.wait_until(lambda: bool(self._disconnects), timeout)
        return self._disconnects[0]

    async def disconnected(self, timeout: float = PATIENCE) -> Disconnect:  # noqa: ASYNC109 - twin of the blocking one
        """Like :meth:`wait_for_disconnect`, for tests that run in an event loop."""
        return await asyncio.to_thread(self.wait_for_disconnect, timeout)

    def _tell(self, note: Callable[[_Seen], None], seen: _Seen) -> None:
        """Take *note* of what was *seen*, and wake those who wait for it."""
        with self._changed:
            note(seen)
            self._changed.notify_all()
