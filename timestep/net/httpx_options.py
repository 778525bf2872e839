"""The options of an httpx client for one server; none from the environment."""

from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TypedDict

import httpx

from timestep.net.connection import TransportError
from timestep.net.proxies import Proxy, proxy_for_httpx
from timestep.net.reach import Reach
from timestep.net.reasons import WANTS_PASSWORD, proxy_refusal, reason_of
from timestep.net.tls import certificates


class HttpxOptions(TypedDict):
    """Keyword arguments of `httpx.AsyncClient`."""

    transport: httpx.AsyncBaseTransport
    follow_redirects: bool
    trust_env: bool


def httpx_options(base_url: str, reach: Reach) -> HttpxOptions:
    """Return the options of a client for the server at *base_url*. A redirect is not followed.

    Raises:
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    is_secure = base_url.startswith("https:")
    # Without TLS nothing has to be trusted, and loading the certificates takes time.
    verify = certificates(reach) if is_secure else SSLContext(PROTOCOL_TLS_CLIENT)
    proxy = proxy_for_httpx(base_url, reach.proxy)
    transport = (
        httpx.AsyncHTTPTransport(verify=verify, trust_env=False)
        if proxy is None
        else _Proxied(proxy, verify)
    )
    return HttpxOptions(transport=transport, follow_redirects=False, trust_env=False)


class _Proxied(httpx.AsyncHTTPTransport):
    """Sends requests through *proxy*, which errors name."""

    def __init__(self, proxy: Proxy, verify: SSLContext) -> None:
        auth = (proxy.user, proxy.password) if proxy.user else None
        super().__init__(verify=verify, trust_env=False, proxy=httpx.Proxy(proxy.url, auth=auth))
        self._through = proxy.through

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to *request*.

        Raises:
            httpx.ProxyError: There is no connection; the cause is a `TransportError`.
        """
        try:
            response = await super().handle_async_request(request)
        except httpx.ProxyError as exc:  # its words begin with the status
            status = str(exc)[:3]
            reason = proxy_refusal(status) if status.isdecimal() else reason_of(exc)
        except (httpx.ConnectError, httpx.ConnectTimeout) as exc:
            is_late = isinstance(exc, httpx.ConnectTimeout)
            reason = "connecting took too long" if is_late else reason_of(exc)
        else:
            if response.status_code != WANTS_PASSWORD:
                return response
            await response.aclose()
            reason = proxy_refusal(WANTS_PASSWORD)
        found = TransportError("reach", reason, through=self._through)
        raise httpx.ProxyError(str(found), request=request) from found
