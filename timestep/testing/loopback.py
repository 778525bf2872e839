"""A port on loopback, the thread in which it is served, and what was seen there."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from timestep.testing.connection import Connection
from timestep.testing.faults import PATIENCE
from timestep.testing.http import Request

_BACKLOG = 1024
_Seen = TypeVar("_Seen")


@dataclass(frozen=True)
class Disconnect:
    """A client that hung up before its answer was complete."""

    request: Request  #: what it had asked for
    chunks_sent: int  #: the chunks the server had written by then


class Observed:
    """The requests, connections and disconnects of a server, for any thread to read and wait for."""

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


class LoopbackServer(Observed):
    """Listens on a port of its own, and serves it in a thread of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._connecting: set[asyncio.Task[Any]] = set()
        self._address: tuple[str, int] = ("127.0.0.1", 0)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen, and answer in a new thread."""
        listener = socket.create_server(self._address, backlog=_BACKLOG)
        self._address = listener.getsockname()[:2]
        is_ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run_loop, args=(listener, is_ready), name=type(self).__name__, daemon=True
        )
        self._thread.start()
        is_ready.wait()

    def close(self) -> None:
        """Stop listening, drop all connections and end the thread; stalled answers too."""
        if self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
            self._thread = None

    def refuse(self) -> None:
        """Close the port and all connections: clients get "connection refused"."""
        asyncio.run_coroutine_threadsafe(self._close_port(), self._loop).result(PATIENCE)

    def accept(self) -> None:
        """Listen on the same port again, after :meth:`refuse`."""
        listener = socket.create_server(self._address, backlog=_BACKLOG)
        asyncio.run_coroutine_threadsafe(self._open_port(listener), self._loop).result(PATIENCE)

    @property
    def url(self) -> str:
        """Where the server listens, without a slash at the end."""
        host, port = self._address
        if not port:
            raise RuntimeError(
                "the server has no port yet: use it as a context manager, or start()"
            )
        return f"http://{host}:{port}"

    async def _serve(self, connection: Connection, request: Request) -> None:
        raise NotImplementedError

    def _run_loop(self, listener: socket.socket, is_ready: threading.Event) -> None:
        # Its own kind of loop, whatever policy the tests have set.
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._run(listener, is_ready))

    async def _run(self, listener: socket.socket, is_ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await self._open_port(listener)
        is_ready.set()
        await self._stop.wait()
        await self._close_port()

    async def _open_port(self, listener: socket.socket) -> None:
        # asyncio's own Server loses connections that it accepts while it is being closed.
        self._listener = listener
        listener.setblocking(False)
        self._loop.add_reader(listener, self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
            while True:
                accepted, _ = self._listener.accept()
                connecting = self._loop.connect_accepted_socket(self._connect, accepted)
                task = self._loop.create_task(connecting)
                self._connecting.add(task)
                task.add_done_callback(self._connecting.discard)

    async def _close_port(self) -> None:
        if self._listener.fileno() >= 0:
            self._loop.remove_reader(self._listener)
            self._listener.close()
        await asyncio.gather(*self._connecting)
        for connection in list(self._connections):
            connection.abort()
        while self._connections:  # noqa: ASYNC110 - the loop's next turn closes them
            await asyncio.sleep(0)

    def _connect(self) -> Connection:
        connection = Connection(self._serve, partial(self._tell, self._connections.discard))
        self._tell(self._connections.add, connection)
        return connection
