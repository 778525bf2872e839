"""A port on loopback, its connections, the thread in which it is served, and what was seen there."""

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, cast

from timestep.testing.faults import PATIENCE, Cut, Stall
from timestep.testing.http import BadRequestError, Request, Response, chunk, read_request

_BACKLOG = 1024
_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n400 Bad Request"
)
_LINGER_ZERO = struct.pack("ii", 1, 0)
_Seen = TypeVar("_Seen")


class Connection(asyncio.Protocol):
    """A keep-alive HTTP/1.1 connection."""

    def __init__(
        self,
        serve: Callable[["Connection", Request], Awaitable[None]],
        lost: Callable[["Connection"], None],
    ) -> None:
        self._serve = serve  # cancelled when the client hangs up, as net/http does
        self._lost = lost  # called when nothing is served any more
        self._reader = asyncio.StreamReader()
        self._writable = asyncio.Event()
        self._writable.set()
        self.is_gone = False
        self.chunks_sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to answer; small writes go out at once."""
        self._transport = cast("asyncio.Transport", transport)
        self._socket: socket.socket = transport.get_extra_info("socket")
        # asyncio sets it only on sockets that were made with the protocol's number.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._task = asyncio.get_running_loop().create_task(self._answer())

    def data_received(self, data: bytes) -> None:
        """Collect *data* until it is a request."""
        self._reader.feed_data(data)

    def eof_received(self) -> None:
        """Take a half-closed connection for a closed one."""
        self._hang_up()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the answer that is being written; then the connection is gone."""
        self._hang_up()
        self._writable.set()
        # Not now: asyncio closes the socket right after this call.
        self._task.add_done_callback(lambda _: self._lost(self))

    def pause_writing(self) -> None:
        """Wait: the client reads more slowly than the answer comes."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Go on: the client has caught up."""
        self._writable.set()

    def abort(self) -> None:
        """Drop the connection at once, and the answer that is being written."""
        self._task.cancel()
        self._transport.abort()

    async def send(self, response: Response) -> None:
        """Write *response*; its head goes out with the first piece of the body."""
        self.chunks_sent = 0
        if response.delay:
            await asyncio.sleep(response.delay)
        head = response.head()
        for piece in response.pieces:
            if isinstance(piece, Stall):
                await piece.pass_through()
            elif isinstance(piece, Cut):
                self._cut(piece)
                return
            elif not piece:
                await asyncio.sleep(0)
            else:
                if self.chunks_sent:
                    await asyncio.sleep(response.interval)
                await self._writable.wait()
                self._write(head + (chunk(piece) if response.length is None else piece))
                head = b""
                self.chunks_sent += 1
        # Nothing is awaited after the last piece: a client that leaves on reading it has all.
        self._write(head + (b"0\r\n\r\n" if response.length is None else b""))

    def _write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def _cut(self, cut: Cut) -> None:
        if cut is Cut.RESET:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
            self._transport.abort()
        else:
            self._transport.close()

    def _hang_up(self) -> None:
        self.is_gone = True
        self._task.cancel()

    async def _answer(self) -> None:
        """Answer one request after the other, until the connection is gone."""
        is_last = False
        try:
            while not is_last:
                request = await read_request(self._reader)
                await self._serve(self, request)
                is_last = request.headers.get("connection", "").lower() == "close"
        except BadRequestError:
            self._transport.write(_BAD_REQUEST)
        self._transport.close()


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
        """Like `wait_for_disconnect`, for tests that run in an event loop."""
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
        """Listen on the same port again, after `refuse`."""
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
