"""Requests over aiohttp, for every wire of ours: TLS and proxies included.

aiohttp reads neither the environment nor ``~/.netrc`` here: `proxy_for` names the proxy.
"""

import asyncio
from collections.abc import Mapping
from contextvars import ContextVar
from io import BytesIO
from ssl import SSLContext
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from timestep.errors import ConfigurationError
from timestep.net.connection import Answer, Guard, Request, TransportError
from timestep.net.failure_words import (
    HUNG_UP,
    NO_HTTP,
    UNSENDABLE,
    WANTS_PASSWORD,
    proxy_refusal,
    unforeseen,
    why_failed,
)
from timestep.net.proxies import Proxy, ProxyError, proxy_for
from timestep.net.reach import USUAL, CertificateError, Reach, certificates
from timestep.net.unpacking import unpacked

KEPT_SECONDS = 5.0
"""How long an idle connection is kept: any server waits longer, so it does not hang up first."""

_IN_ONE_WRITE = 1 << 20
"""How many bytes aiohttp writes at once without a warning."""


_TOLD: ContextVar[list[Guard]] = ContextVar("told")
"""The guard of the request that connects. Afterwards the list is empty: a connection keeps its
context for as long as it lives, and must not keep the request alive."""


class _Connector(aiohttp.TCPConnector):
    """Tells the guard of a request when its connection stands: silence counts from then on."""

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 - of the method it extends
    ) -> Connection:
        """Return a connection, kept or new."""
        connection = await super().connect(req, traces, timeout)
        for guard in _TOLD.get():
            guard("waiting")
        return connection


class Session:
    """Connections of the running event loop to the server at a base URL.

    Args:
        base_url: Its scheme says whether TLS is needed, and its host whether a proxy is.
        connect_timeout: Seconds until a connection stands; None waits for ever. The caller
            watches for silence after that.
        reach: Its proxy and certificates.
    """

    def __init__(self, base_url: str, connect_timeout: float | None, reach: Reach = USUAL) -> None:
        is_secure = base_url.startswith("https:")
        try:
            proxy = proxy_for(base_url, socks_package="aiohttp_socks", chosen=reach.proxy)
            tls = certificates(reach) if is_secure else None
        except (ProxyError, CertificateError) as exc:
            raise ConfigurationError(str(exc)) from exc
        self._proxy = proxy
        self._extra, self._headers = _through_proxy(proxy, is_secure=is_secure)
        self._session = aiohttp.ClientSession(
            connector=_connector(proxy, tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(connect=connect_timeout),
        )

    async def send(self, request: Request, guard: Guard) -> Answer:
        """Send *request* and return its answer."""
        body = request.body
        headers = {**request.headers, **self._headers} if self._headers else request.headers
        guard("connecting")
        told = [guard]
        token = _TOLD.set(told)
        try:
            response = await self._session.request(
                request.method,
                request.url,
                headers=headers,
                data=BytesIO(body) if len(body) > _IN_ONE_WRITE else body,
                allow_redirects=False,
                **self._extra,
            )
        except Exception as exc:
            raise _error(exc, self._proxy) from exc
        finally:
            _TOLD.reset(token)
            told.clear()

        if response.status == WANTS_PASSWORD and self._proxy is not None:
            response.close()
            raise _refused(response.status, self._proxy)

        async def aclose() -> None:
            if not response.closed:  # at the end of its body it closes by itself
                response.close()

        packed = response.headers.get("content-encoding")
        body_of = unpacked(_Body(response.content), packed)
        return Answer(response.status, response.headers, body_of, aclose)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._session.close()


def _connector(proxy: Proxy | None, tls: SSLContext | None) -> aiohttp.BaseConnector:
    options: dict[str, Any] = {
        # A pool that makes requests queue would look like a silent server.
        "limit": 0,
        "keepalive_timeout": KEPT_SECONDS,
        "ssl": tls or True,
    }
    if proxy is None or not proxy.is_socks:
        return _Connector(**options)
    from aiohttp_socks import ProxyConnector, ProxyType  # noqa: PLC0415 - an optional package

    class SocksConnector(_Connector, ProxyConnector):
        pass

    return SocksConnector(
        proxy.host,
        proxy.port,
        ProxyType[proxy.scheme.upper()],
        proxy.user or None,
        proxy.password or None,
        rdns=proxy.looks_up,
        **options,
    )


def _through_proxy(
    proxy: Proxy | None, *, is_secure: bool
) -> tuple[dict[str, Any], Mapping[str, str]]:
    """Return the arguments and the headers of a request that send it through *proxy*."""
    if proxy is None or proxy.is_socks:
        return {}, {}
    own = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
    if not is_secure:  # without a tunnel it reads the headers of the request itself
        return {"proxy": proxy.url}, own
    return {"proxy": proxy.url, "proxy_headers": own or None}, {}


class _Body:
    """The pieces of a body as they arrive."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    def __aiter__(self) -> "_Body":
        return self

    async def __anext__(self) -> bytes:
        try:
            piece = await self._content.readany()
        except TimeoutError as exc:
            raise TransportError("idle", "the answer fell silent") from exc
        except Exception as exc:
            raise _error(exc, None) from exc
        if not piece:
            raise StopAsyncIteration
        return piece


def _error(exc: Exception, proxy: Proxy | None) -> TransportError:
    match exc:
        case aiohttp.ClientHttpProxyError():
            return _refused(exc.status, proxy)
        case asyncio.TimeoutError():
            return TransportError("connect", "connecting took too long", through=_through(proxy))
        case aiohttp.ClientConnectorError() | aiohttp.ClientConnectorCertificateError():
            return TransportError("reach", why_failed(exc), through=_through(proxy))
        case aiohttp.ClientResponseError():
            return TransportError("exchange", NO_HTTP)
        case aiohttp.ClientOSError() if exc.errno:
            return TransportError("exchange", why_failed(exc))
        case aiohttp.ClientError():
            return TransportError("exchange", HUNG_UP)
        case TypeError() | ValueError():
            return TransportError("exchange", UNSENDABLE)
        case RuntimeError() if "is closed" in str(exc):  # the session, or its event loop
            return TransportError("closed", "it is closed")
        case _ if proxy is not None and proxy.is_socks:
            return TransportError("reach", why_failed(exc), through=proxy.through)
        case _:
            return TransportError("exchange", unforeseen(exc))


def _refused(status: int, proxy: Proxy | None) -> TransportError:
    return TransportError("reach", proxy_refusal(status), through=_through(proxy))


def _through(proxy: Proxy | None) -> str:
    return "" if proxy is None else proxy.through
