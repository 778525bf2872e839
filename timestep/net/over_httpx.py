"""Requests over a whole httpx client: one that was given, or for TLS and proxies."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator, Mapping
from contextlib import contextmanager

import httpx

from timestep.net.connection import (
    KEPT_CONNECTIONS,
    KEPT_SECONDS,
    Answer,
    Connections,
    Guard,
    TransportError,
)

# Steps of a request in the words of httpcore; one on a kept connection skips the first.
_CONNECTING = frozenset({"connect_tcp.started", "connect_unix_socket.started", "start_tls.started"})
_CONNECTED = "send_request_headers.started"


# A pool that makes requests queue would look like a server that is silent.
_LIMITS = httpx.Limits(
    max_connections=None,
    max_keepalive_connections=KEPT_CONNECTIONS,
    keepalive_expiry=KEPT_SECONDS,
)


class HttpxClient:
    """Requests through a whole httpx client, with its headers, proxies and hooks.

    Args:
        client: Is used as it is configured.
        timeout: Instead of the client's own, when it is given.
        withheld: Headers of the client that are not sent.
        owned: Close it with the connections.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        timeout: httpx.Timeout | None = None,
        *,
        withheld: Collection[str] = (),
        owned: bool = False,
    ) -> None:
        self._client = client
        self._timeout = timeout or httpx.USE_CLIENT_DEFAULT
        self._withheld = withheld
        self._owned = owned

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, guard: Guard
    ) -> Answer:
        """The response to one request."""
        with _translated():
            request = self._client.build_request(
                method,
                url,
                content=body,
                headers=headers,
                timeout=self._timeout,
                extensions={"trace": trace(guard)},
            )
            for name in self._withheld:
                request.headers.pop(name, None)
            return _answer(await self._client.send(request, stream=True, follow_redirects=False))

    async def aclose(self) -> None:
        """Close the client, unless it is somebody else's."""
        if self._owned:
            await self._client.aclose()


def own_client(tls: ssl.SSLContext | None, connect_timeout: float | None) -> Connections:
    """Connections with TLS, or through the proxies that the environment names."""
    timeout = httpx.Timeout(None, connect=connect_timeout)
    client = httpx.AsyncClient(verify=tls or False, timeout=timeout, limits=_LIMITS)
    return HttpxClient(client, owned=True)


def trace(guard: Guard) -> Callable[[str, object], Awaitable[None]]:
    """The ``trace`` extension that tells *guard* when a request connects.

    httpcore's pool forgets a connection whose request is cancelled just before it begins. And while
    anyio connects, it cancels the task for its own purposes and may swallow another's.
    """

    async def follow(event: str, _: object) -> None:
        step = event.partition(".")[2]
        if step in _CONNECTING:
            guard(True)
        elif step == _CONNECTED:
            guard(False)

    return follow


def _answer(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, _body(response), response.aclose)


async def _body(response: httpx.Response) -> AsyncGenerator[bytes]:
    # Servers need not mind that no compression was asked for; without one, its decoder is passed.
    plain = "content-encoding" not in response.headers
    stream = response.stream if plain else response.aiter_bytes()
    assert not isinstance(stream, httpx.SyncByteStream)  # noqa: S101 - it came from a client of asyncio
    with _translated():
        async for piece in stream:
            yield piece


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except httpx.ConnectTimeout as exc:
        raise TransportError("connect", str(exc)) from exc
    except httpx.TimeoutException as exc:
        raise TransportError("idle", str(exc)) from exc
    except (httpx.ConnectError, httpx.ProxyError) as exc:
        raise TransportError("reach", str(exc) or type(exc).__name__) from exc
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as exc:
        raise TransportError("exchange", str(exc) or type(exc).__name__) from exc
