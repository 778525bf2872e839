"""One connection of the test server: bytes in, requests out, answers in pieces."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from timestep.testing.faults import Cut, Stall
from timestep.testing.http import BadRequestError, Request, Response, chunk, read_request

_BAD_REQUEST = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Connection: close\r\n\r\n400 Bad Request"
)
_LINGER_ZERO = struct.pack("ii", 1, 0)


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
