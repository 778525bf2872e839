"""How requests travel: over one HTTP library or another, behind one small interface.

Over aiohttp when it is installed (the extra ``fast``), because a chunk costs it a third of what
httpx asks; else over httpx, which comes with ``ollama``. Both are imported with the first request.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Literal, Protocol
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from timestep.ollama.endpoint import Endpoint

KEPT_CONNECTIONS = 100
"""How many idle connections wait for the next request."""

KEPT_SECONDS = 5.0
"""How long they wait: less than any server does, which might hang up on the next request."""


class TransportError(Exception):
    """A request did not get through; the library's own error is the cause.

    Attributes:
        phase: ``"connect"`` when connecting took too long, ``"reach"`` when nobody answered,
            ``"idle"`` when the answer fell silent, ``"exchange"`` for everything else.
    """

    def __init__(self, phase: Literal["connect", "reach", "idle", "exchange"], reason: str) -> None:
        super().__init__(reason)
        self.phase = phase


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body is still to come.

    Attributes:
        status: HTTP's number.
        headers: By name, which may have to be in lower case.
        body: The pieces, as they arrive; raises `TransportError`.
        aclose: Gives the connection back, or drops it when the body is not finished.
    """

    status: int
    headers: Mapping[str, str]
    body: AsyncIterator[bytes]
    aclose: Callable[[], Awaitable[None]]

    @property
    def is_success(self) -> bool:
        """True for 2xx."""
        return self.status // 100 == 2  # noqa: PLR2004 - HTTP's own number


Guard = Callable[[bool], None]
"""Called with True while a cancellation would lose a connection half made, then with False."""


class Connections(Protocol):
    """The connections of one event loop to one endpoint."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, guard: Guard
    ) -> Answer:
        """The response to one request, redirects included.

        Raises:
            TransportError: There is none.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened."""
        ...


def open_connections(endpoint: Endpoint, connect_timeout: float | None) -> Connections:
    """Connections to *endpoint* for the running event loop; nothing is opened yet.

    Args:
        endpoint: Its URL says whether TLS is needed.
        connect_timeout: Seconds until a connection stands; None waits for ever. Silence is
            watched by the caller.
    """
    secure = endpoint.base_url.startswith("https:")
    tls = _tls() if secure else None
    proxied = _is_proxied(endpoint)
    if not proxied and find_spec("aiohttp") is not None:
        from timestep.net.over_aiohttp import AiohttpSession  # noqa: PLC0415 - see above

        return AiohttpSession(tls, connect_timeout)
    if proxied or secure:
        from timestep.net.over_httpx import own_client  # noqa: PLC0415 - see above

        return own_client(tls, connect_timeout)
    from timestep.net.over_httpcore import HttpcoreConnections  # noqa: PLC0415 - see above

    return HttpcoreConnections(connect_timeout)


def _is_proxied(endpoint: Endpoint) -> bool:
    """True when this machine sends requests to *endpoint* through a proxy."""
    if endpoint.is_loopback:
        return False  # a proxy has no business between this machine and itself
    url = urlsplit(endpoint.base_url)
    proxies = getproxies()
    return bool(proxies.get(url.scheme) or proxies.get("all")) and not proxy_bypass(url.netloc)


@cache
def _tls() -> ssl.SSLContext:
    """The certificates to trust; loading them takes longer than a request."""
    import httpx  # noqa: PLC0415 - see above

    return httpx.create_ssl_context()
