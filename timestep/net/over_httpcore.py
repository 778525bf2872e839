"""Requests over httpcore, the HTTP of httpx, on plain asyncio streams. For http:// only.

httpx itself asks for a third more CPU per request: its client looks for cookies, authentication and
redirects, which a model call has not, and its streams pass the event loop once for every write.
"""

import asyncio
import select
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

import httpcore

from timestep.net.connection import KEPT_CONNECTIONS, KEPT_SECONDS, Answer, Guard, TransportError


class HttpcoreConnections:
    """Requests over plain connections, of which some are kept for the next.

    httpcore's own pool looks at all connections for each of them, for every request: with 256 at
    once that takes seconds.
    """

    def __init__(self, connect_timeout: float | None) -> None:
        self._timeout = connect_timeout
        self._idle: deque[httpcore.AsyncHTTP11Connection] = deque()
        self._is_closed = False

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, guard: Guard
    ) -> Answer:
        """The response to one request."""
        target, host = parse(url)
        sent = {"host": host, **headers, "content-length": str(len(body))}
        request = httpcore.Request(
            method,
            target,
            headers=[(name.encode("ascii"), value.encode()) for name, value in sent.items()],
            content=body,
        )
        with _translated():
            connection = await self._kept() or await self._connect(target.origin, guard)
            try:
                response = await connection.handle_async_request(request)
            except BaseException:  # cancelled, too: nobody else knows of it any more
                await connection.aclose()
                raise

        async def aclose() -> None:
            await response.aclose()
            await self._keep(connection)

        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in response.headers
        }
        return Answer(response.status, headers, _body(response, headers), aclose)

    async def aclose(self) -> None:
        """Close the connections."""
        self._is_closed = True
        while self._idle:
            await self._idle.pop().aclose()

    async def _kept(self) -> httpcore.AsyncHTTP11Connection | None:
        """The one that was used last; closes those that waited too long."""
        while self._idle and self._idle[0].has_expired():
            await self._idle.popleft().aclose()
        while self._idle:
            connection = self._idle.pop()
            if not connection.has_expired():
                return connection
            await connection.aclose()
        return None

    async def _connect(
        self, origin: httpcore.Origin, guard: Guard
    ) -> httpcore.AsyncHTTP11Connection:
        guard(True)
        try:
            async with asyncio.timeout(self._timeout):
                stream = _Stream(*await asyncio.open_connection(origin.host.decode(), origin.port))
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc
        guard(False)
        return httpcore.AsyncHTTP11Connection(origin, stream, keepalive_expiry=KEPT_SECONDS)

    async def _keep(self, connection: httpcore.AsyncHTTP11Connection) -> None:
        if not connection.is_idle():
            return  # it is closed: its answer was not finished
        if self._is_closed or len(self._idle) >= KEPT_CONNECTIONS:
            await connection.aclose()
        else:
            self._idle.append(connection)


@lru_cache(maxsize=64)
def parse(url: str) -> tuple[httpcore.URL, str]:
    """*url* in ASCII, and its host and port as the request names them."""
    parts = urlsplit(url)
    host = parts.netloc.encode("idna").decode()
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    return httpcore.URL(f"{parts.scheme}://{host}{path}"), host


async def _body(response: httpcore.Response, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
    stream: Any = response.stream
    if "content-encoding" in headers:
        import httpx  # noqa: PLC0415 - to undo a compression that nobody asked for

        stream = httpx.Response(200, headers=headers, content=stream).aiter_bytes()
    with _translated():
        async for piece in stream:
            yield piece


class _Stream(httpcore.AsyncNetworkStream):
    """One connection; the caller watches for silence."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unsent: list[bytes] = []

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's interface
        self._unsent.append(buffer)  # a request's head and body leave together, at the next read

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's interface
        try:
            if self._unsent:
                unsent, self._unsent = b"".join(self._unsent), []
                self._writer.write(unsent)
                await self._writer.drain()
            return await self._reader.read(max_bytes)
        except OSError as exc:
            raise httpcore.ReadError(str(exc) or type(exc).__name__) from exc

    async def aclose(self) -> None:
        self._writer.close()

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return self._writer.get_extra_info(info)
        # Asked of an idle connection, on which only the server's hanging up can be read.
        socket = self._writer.get_extra_info("socket")
        return self._reader.at_eof() or self._writer.is_closing() or _is_readable(socket)


def _is_readable(socket: Any) -> bool:
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([socket], [], [], 0)[0])
    poll = select.poll()
    poll.register(socket, select.POLLIN)
    return bool(poll.poll(0))


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except httpcore.ConnectTimeout as exc:
        raise TransportError("connect", str(exc)) from exc
    except httpcore.ConnectError as exc:
        raise TransportError("reach", str(exc) or type(exc).__name__) from exc
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError) as exc:
        raise TransportError("exchange", str(exc) or type(exc).__name__) from exc
