"""The options of an httpx client for one server; none from the environment."""

from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import TypedDict

import httpx

from timestep.net.proxies import ProxyError, proxy_for
from timestep.net.reach import Reach
from timestep.net.tls import certificates


class HttpxOptions(TypedDict):
    """Keyword arguments of `httpx.AsyncClient`."""

    proxy: httpx.Proxy | None
    verify: SSLContext
    follow_redirects: bool
    trust_env: bool


def httpx_options(base_url: str, reach: Reach) -> HttpxOptions:
    """Return the options of a client for the server at *base_url*. A redirect is not followed.

    Raises:
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    is_secure = base_url.startswith("https:")
    return HttpxOptions(
        proxy=_proxy(base_url, reach),
        # Without TLS nothing has to be trusted, and loading the certificates takes time.
        verify=certificates(reach) if is_secure else SSLContext(PROTOCOL_TLS_CLIENT),
        follow_redirects=False,
        trust_env=False,
    )


def _proxy(base_url: str, reach: Reach) -> httpx.Proxy | None:
    proxy = proxy_for(base_url, socks_package="socksio", chosen=reach.proxy)
    if proxy is None:
        return None
    if proxy.scheme == "socks4":
        raise ProxyError(
            f"{proxy.name} names a SOCKS 4 proxy, which can carry requests to models but not this "
            "command. Write socks5:// if the proxy speaks it."
        )
    return httpx.Proxy(proxy.url, auth=(proxy.user, proxy.password) if proxy.user else None)
