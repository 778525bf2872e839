"""Requests over httpcore, the HTTP of httpx, on plain asyncio streams. For http:// only.

httpx itself asks for a third more CPU per request: its client looks for cookies, authentication and
redirects, which a model call has not, and its streams pass the event loop once for every write.
"""

import asyncio
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

import httpcore

from timestep.ollama.connection import KEPT_CONNECTIONS, KEPT_SECONDS, Answer, Guard, TransportError

# Steps of a request in the words of httpcore; one on a kept connection skips the first.
_CONNECTING = frozenset({"connect_tcp.started", "connect_unix_socket.started", "start_tls.started"})
_CONNECTED = "send_request_headers.started"


class HttpcorePool:
    """Requests through a pool of plain connections."""

    def __init__(self, connect_timeout: float | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            # A pool that makes requests queue would look like a server that is silent.
            max_connections=None,
            max_keepalive_connections=KEPT_CONNECTIONS,
            keepalive_expiry=KEPT_SECONDS,
            network_backend=_Asyncio(),
        )
        self._timeout = {"connect": connect_timeout}

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
            extensions={"timeout": self._timeout, "trace": trace(guard)},
        )
        with _translated():
            response = await self._pool.handle_async_request(request)
        headers = {
            name.decode().lower(): value.decode("latin-1") for name, value in response.headers
        }
        return Answer(response.status, headers, _body(response, headers), response.aclose)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._pool.aclose()


@lru_cache(maxsize=64)
def parse(url: str) -> tuple[httpcore.URL, str]:
    """*url* in ASCII, and its host and port as the request names them."""
    parts = urlsplit(url)
    host = parts.netloc.encode("idna").decode()
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~")
    return httpcore.URL(f"{parts.scheme}://{host}{path}"), host


def trace(guard: Guard) -> Callable[[str, object], Awaitable[None]]:
    """The ``trace`` extension that tells *guard* when a request connects.

    httpcore forgets a connection whose request is cancelled just before it begins. And while anyio
    connects for httpx, it cancels the task for its own purposes and may swallow another's.
    """

    async def follow(event: str, _: object) -> None:
        step = event.partition(".")[2]
        if step in _CONNECTING:
            guard(True)
        elif step == _CONNECTED:
            guard(False)

    return follow


async def _body(response: httpcore.Response, headers: Mapping[str, str]) -> AsyncGenerator[bytes]:
    stream: Any = response.stream
    if "content-encoding" in headers:
        import httpx  # noqa: PLC0415 - to undo a compression that nobody asked for

        stream = httpx.Response(200, headers=headers, content=stream).aiter_bytes()
    with _translated():
        async for piece in stream:
            yield piece


class _Asyncio(httpcore.AsyncNetworkBackend):
    """Opens connections with `asyncio.open_connection`."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's interface
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                return _Stream(*await asyncio.open_connection(host, port))
        except TimeoutError as exc:
            raise httpcore.ConnectTimeout from exc
        except OSError as exc:
            raise httpcore.ConnectError(str(exc)) from exc


class _Stream(httpcore.AsyncNetworkStream):
    """One connection; the caller watches for silence."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._unsent: list[bytes] = []

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._unsent.append(buffer)  # a request's head and body leave together, at the next read

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
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
