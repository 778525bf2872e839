"""The connections to one server, usable from any event loop and after a fork."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from timestep.net.connection import Connections, Request
from timestep.net.exchange import Exchange, Faults
from timestep.net.forks import forget_in_children, keep_for_parent
from timestep.net.key_command import KeyCommand
from timestep.net.per_loop import PerLoop
from timestep.net.places import Places
from timestep.net.timeouts import Timeouts
from timestep.net.tls import USUAL, Reach

Opener = Callable[[str, float | None], Connections]
"""Makes connections of the running loop from a base URL and the limit for connecting."""


def over_aiohttp(
    base_url: str, connect_timeout: float | None, *, reach: Reach = USUAL
) -> Connections:
    """Return connections of our own; nothing is opened yet."""
    from timestep.net.http import Session  # noqa: PLC0415 - the first request imports aiohttp

    return Session(base_url, connect_timeout, reach)


class Client:
    """Makes exchanges with one server. Connections end with their event loop, or with `aclose`."""

    def __init__(
        self,
        base_url: str,  # of the server
        timeouts: Timeouts | None,  # of every request; None for those of a client that was given
        opener: Opener = over_aiohttp,  # makes the connections of an event loop
        *,
        # Run the exchanges in an empty context. A connection is kept for other requests, and with
        # it the context it was opened in, which would keep the first agent alive.
        own_context: bool = True,
        # How many limited exchanges are under way at once; None for any number.
        max_concurrency: int | None = None,
        # Prints the key of every request that has none; see `Exchange`.
        key_command: KeyCommand | None = None,
    ) -> None:
        self.base_url = base_url
        self.timeouts = timeouts
        self._opener = opener
        self._own_context = own_context
        self._places = Places(max_concurrency)
        self._key_command = key_command
        self._any_number = Places(None)
        self._start_over()
        forget_in_children(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own."""
        made = (self.base_url, self.timeouts, self._opener)
        kept = ("_own_context", "_places", "_key_command")
        return Client, made, {name: getattr(self, name) for name in kept}

    def forget_connections(self) -> None:
        """Start over in a forked process: two processes on one connection mix up their answers."""
        keep_for_parent(self._per_loop, self.exchanges)
        self._start_over()

    def _start_over(self) -> None:
        self._per_loop = PerLoop(_closing(weakref.ref(self)))
        self.exchanges: set[Exchange] = set()
        """The exchanges that are under way, in any loop."""

    def exchange(self, request: Request, faults: Faults, *, limited: bool = False) -> Exchange:
        """Return a new exchange; nothing is sent before it is iterated.

        A *limited* one waits for one of the ``max_concurrency`` places.
        """
        places = self._places if limited else self._any_number
        return Exchange(
            request, faults, self.timeouts, self.connections, self._begin, places, self._key_command
        )

    def connections(self) -> Connections:
        """Return the connections of the running loop, opened on first use."""
        return self._per_loop.get(self._open)

    async def aclose(self) -> None:
        """Hang up and close in the running loop; connections of others close with their loops."""
        await self.hang_up()
        await self._per_loop.aclose()

    async def hang_up(self) -> None:
        """Break off what is under way in the running loop."""
        loop = asyncio.get_running_loop()
        exchanges = [each for each in list(self.exchanges) if each.loop is loop]
        await asyncio.gather(*(each.aclose() for each in exchanges))

    def _begin(self, exchange: Exchange) -> "asyncio.Task[None]":
        """Start the task that owns *exchange*; it is kept until it has given its connection back."""
        context = Context() if self._own_context else None
        task = asyncio.get_running_loop().create_task(exchange.own(), context=context)
        self.exchanges.add(exchange)
        task.add_done_callback(lambda _: self.exchanges.discard(exchange))
        return task

    def _open(self) -> Connections:
        timeouts = self.timeouts or Timeouts()
        return self._opener(self.base_url, timeouts.connect)


def _closing(client: "weakref.ref[Client]") -> Callable[[Connections], Awaitable[None]]:
    async def close(connections: Connections) -> None:
        # Runner.run_sync() closes the generators of a loop whose tasks it does not cancel.
        if (alive := client()) is not None:
            await alive.hang_up()
        await connections.aclose()

    return close
