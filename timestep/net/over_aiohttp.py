"""Requests over aiohttp; imported only where it is installed."""

import ssl
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import contextmanager
from io import BytesIO

import aiohttp
from yarl import URL

from timestep.net.connection import KEPT_SECONDS, Answer, Guard, TransportError

_IN_ONE_WRITE = 1 << 20
"""Bytes that aiohttp writes at once without a warning."""


class AiohttpSession:
    """Requests through a session of the running event loop."""

    def __init__(self, tls: ssl.SSLContext | None, connect_timeout: float | None) -> None:
        connector = aiohttp.TCPConnector(
            # A pool that makes requests queue would look like a server that is silent.
            limit=0,
            keepalive_timeout=KEPT_SECONDS,
            ssl=tls or True,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(sock_connect=connect_timeout),
        )

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, guard: Guard
    ) -> Answer:
        """The response to one request."""
        data = BytesIO(body) if len(body) > _IN_ONE_WRITE else body
        with _translated():
            response = await self._session.request(
                method, URL(url), headers=headers, data=data, allow_redirects=False
            )

        async def aclose() -> None:
            response.close()

        return Answer(response.status, response.headers, _body(response), aclose)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


async def _body(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes]:
    with _translated():
        async for piece in response.content.iter_any():
            yield piece


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as exc:
        raise TransportError("connect", str(exc)) from exc
    except (aiohttp.ClientConnectorError, aiohttp.ClientProxyConnectionError) as exc:
        raise TransportError("reach", str(exc)) from exc
    except aiohttp.ClientError as exc:
        raise TransportError("exchange", str(exc) or type(exc).__name__) from exc
