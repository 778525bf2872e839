"""Which proxy a request goes through, by the variables that curl and others read.

``HTTP_PROXY``, ``HTTPS_PROXY`` and ``ALL_PROXY`` name a proxy, in capitals or not. ``NO_PROXY``
lists the hosts that need none: names and their subdomains, addresses, networks, each with or
without a port, or ``*``. This machine never needs one. Where the variables are unset, the proxy
settings of macOS and Windows count. Nothing else is read: no ``~/.netrc``.

They are read here and not in `timestep.config`: a proxy belongs to the machine that a program runs
on, not to the program.
"""

import os
import re
from base64 import b64encode
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from ipaddress import ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from timestep.net.extras import install_hint
from timestep.net.urls import is_loopback

_PORTS = {"http": 80, "https": 443}
_SOCKS = {"socks4": False, "socks4a": True, "socks5": False, "socks5h": True}
"""Whether the proxy looks up host names, by scheme."""
_UNUSABLE = re.compile(r"[\s\x00-\x1f\x7f\ud800-\udfff]")
"""Half a surrogate pair is a byte that is not UTF-8."""
_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class ProxyError(ValueError):
    """A proxy cannot be used. The message names its variable, never its value."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy."""

    name: str  # the variable that names it, as the user wrote it
    scheme: str  # `http`, `https`, `socks4` or `socks5`
    host: str  # its host; an IPv6 address has no brackets
    port: int
    user: str = field(default="", repr=False)  # empty where it asks for none
    password: str = field(default="", repr=False)
    looks_up: bool = True  # True when a SOCKS proxy looks up host names itself

    @property
    def url(self) -> str:
        """The URL without user name and password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def through(self) -> str:
        """Says that a connection goes through it: names its variable, never its value."""
        return f"through the proxy that {self.name} names"

    @property
    def authorization(self) -> str | None:
        """The header ``Proxy-Authorization``, None when the proxy needs none."""
        if not self.user:
            return None
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"

    def as_httpx(self, httpx: Any) -> Any:
        """Return the same as a proxy of *httpx*, which may be httpx2."""
        return httpx.Proxy(self.url, auth=(self.user, self.password) if self.user else None)

    @property
    def is_socks(self) -> bool:
        """True for SOCKS, False for HTTP."""
        return self.scheme.startswith("socks")


@contextmanager
def explained(package: str) -> Generator[None]:
    """Name the variables when *package*, which reads them in the block, cannot use them."""
    try:
        yield
    except Exception as exc:
        names = [name for name in os.environ if name.lower() in _VARIABLES and os.environ[name]]
        if not names or isinstance(exc, ImportError):
            raise
        raise ProxyError(
            f"The package {package} cannot use the proxy in {' or '.join(names)}. Write a URL such "
            "as http://proxy.example:3128, or unset it."
        ) from None  # the error repeats the value


def proxy_for(url: str, *, socks_package: str, chosen: str | None = None) -> Proxy | None:
    """Return the proxy for requests to *url*, or None when they go there directly."""
    if is_loopback(url):
        return None
    proxy = _named(url) if chosen is None else parse_proxy("proxy", chosen)
    if proxy is not None and proxy.is_socks and find_spec(socks_package) is None:
        raise ProxyError(
            f"{proxy.name} names a SOCKS proxy, which needs the package {socks_package}. "
            f"{install_hint('socks')}"
        )
    return proxy


def _named(url: str) -> Proxy | None:
    """Return the proxy that variables, or the system, name for *url*."""
    target = urlsplit(url)
    variables = getproxies_environment()
    proxies = variables or getproxies()
    found = next((each for each in (target.scheme, "all") if proxies.get(each)), None)
    if found is None:
        return None
    if _is_exempt(target, proxies.get("no", "")) if variables else proxy_bypass(target.netloc):
        return None
    spellings = [name for name in os.environ if name.lower() == f"{found}_proxy"]
    # Of two spellings the one in small letters counts.
    return parse_proxy(max(spellings, default="the system's proxy settings"), proxies[found])


def _is_exempt(target: SplitResult, exceptions: str) -> bool:
    host = (target.hostname or "").rstrip(".")
    port = target.port or _PORTS[target.scheme]
    return any(_matches(host, port, each) for each in re.split(r"[,\s]+", exceptions.lower()))


def _matches(host: str, port: int, exception: str) -> bool:
    if exception == "*":
        return True
    try:
        return ip_address(host) in ip_network(exception.strip("[]"), strict=False)
    except ValueError:
        pass  # a name, or with a port
    name, colon, wanted = exception.rpartition(":")
    if colon and wanted.isdecimal():
        return int(wanted) == port and _matches(host, port, name)
    suffix = exception.removeprefix("*").strip(".")
    return bool(suffix) and (host == suffix or host.endswith(f".{suffix}"))


def parse_proxy(name: str, text: str) -> Proxy:
    """Return the proxy at the URL *text*, which *name* holds."""
    text = text.strip()
    parts, port = SplitResult("", "", "", "", ""), None
    with suppress(ValueError):  # its message may repeat the value
        split = urlsplit(text if "://" in text else f"http://{text}")
        parts, port = split, split.port
    if not (host := parts.hostname) or port == 0 or _UNUSABLE.search(text):
        raise ProxyError(
            f"{name} is not the address of a proxy. Write a URL such as http://proxy.example:3128, "
            "or unset it."
        )
    scheme = parts.scheme.lower()
    if scheme not in _PORTS and scheme not in _SOCKS:
        raise ProxyError(
            f"{name} names an unsupported kind of proxy. Write a URL that begins with http://, "
            "https://, socks5:// or socks5h://."
        )
    return Proxy(
        name,
        scheme[:6] if scheme in _SOCKS else scheme,
        host,
        port or _PORTS.get(scheme, 1080),
        unquote(parts.username or ""),
        unquote(parts.password or ""),
        looks_up=_SOCKS.get(scheme, True),
    )
