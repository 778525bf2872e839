"""The connections to one server, usable from any event loop and after a fork."""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

from timestep.net.concurrency import Places
from timestep.net.connection import Connections, Request
from timestep.net.exchange import Exchange
from timestep.net.forks import forget_in_children, keep_for_parent
from timestep.net.key_command import KeyCommand
from timestep.net.per_loop import PerLoop
from timestep.net.reach import USUAL, Reach
from timestep.net.timeouts import Timeouts
from timestep.net.wire_errors import WireErrors

Opener = Callable[[str, float | None], Connections]
"""Makes connections of the running loop from a base URL and the limit for connecting."""


class Client:
    """Makes exchanges with one server. Connections end with their event loop, or with `aclose`."""

    def __init__(
        self,
        base_url: str,  # of the server
        timeouts: Timeouts | None,  # of every request; None for those of a client that was given
        *,
        reach: Reach = USUAL,  # the proxy and the certificates
        opener: Opener | None = None,  # makes other connections than our own
        max_concurrency: int | None = None,  # limited exchanges at once; None for any number
        key_command: KeyCommand | None = None,  # prints the key of every request that has none
    ) -> None:
        self.base_url = base_url
        self.timeouts = timeouts
        self.key_command = key_command
        self._reach = reach
        self._opener = opener
        self._places = Places(max_concurrency)
        self._any_number = Places(None)
        self._start_over()
        forget_in_children(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy opens connections of its own."""
        kept = ("key_command", "_reach", "_opener", "_places")
        made = (self.base_url, self.timeouts)
        return Client, made, {name: getattr(self, name) for name in kept}

    def forget_connections(self) -> None:
        """Start over in a forked process: two processes on one connection mix up their answers."""
        keep_for_parent(self._per_loop, self.exchanges)
        self._start_over()

    def _start_over(self) -> None:
        self._per_loop = PerLoop(_closing(weakref.ref(self)))
        self.exchanges: set[Exchange] = set()
        """The exchanges that are under way, in any loop."""

    def exchange(self, request: Request, errors: WireErrors, *, limited: bool = False) -> Exchange:
        """Return a new exchange; nothing is sent before it is iterated.

        A *limited* one waits for one of the ``max_concurrency`` places.
        """
        places = self._places if limited else self._any_number
        return Exchange(self, request, errors, places)

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

    def begin(self, exchange: Exchange) -> "asyncio.Task[None]":
        """Start the task that owns *exchange*; it is kept until it has given its connection back."""
        # A connection is kept for other requests, and with it the context it was opened in. That of
        # a given client is the caller's, which its hooks may want to know. Ours is empty, because it
        # would keep the first agent alive.
        context = Context() if self._opener is None else None
        task = asyncio.get_running_loop().create_task(exchange.own(), context=context)
        self.exchanges.add(exchange)
        return task

    def end(self, exchange: Exchange) -> None:
        """Forget *exchange*, whose task has ended."""
        self.exchanges.discard(exchange)

    def _open(self) -> Connections:
        connect = (self.timeouts or Timeouts()).connect
        if self._opener is not None:
            return self._opener(self.base_url, connect)
        from timestep.net.http import Session  # noqa: PLC0415 - the first request imports aiohttp

        return Session(self.base_url, connect, self._reach)


def _closing(client: "weakref.ref[Client]") -> Callable[[Connections], Awaitable[None]]:
    async def close(connections: Connections) -> None:
        # Runner.run_sync() closes the generators of a loop whose tasks it does not cancel.
        if (alive := client()) is not None:
            await alive.hang_up()
        await connections.aclose()

    return close
