"""Rules for the URLs a configuration may name.

Text in, text out; a `ValueError` says what to write instead. Messages never repeat the
URL, which may be a key in the wrong place; of a valid one they may name the server.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import cast
from urllib.parse import SplitResult, urlsplit

from timestep.net.headers import has_authorization
from timestep.net.setting_values import split_commas
from timestep.net.unresolved import check_read

logger = logging.getLogger("timestep")

OLLAMA_PORT = 11434
LOCAL_OLLAMA = f"http://localhost:{OLLAMA_PORT}"
OLLAMA_CLOUD = "https://ollama.com"
OPENAI_URL = "https://api.openai.com/v1"


def check_base_url(url: object, *, ollama: bool = False) -> str:
    """Return *url* without a trailing slash, if it can be the base URL of an API.

    For an Ollama server ``/v1`` or ``/api`` at the end is cut off with a warning, because the native
    API lives at the root.
    """
    if not isinstance(url, str):
        raise ValueError(f"a base URL is {type(url).__name__}, not text")
    text = url.strip()
    check_read(text, "the base URL", but={"url"})
    if "://" not in text:
        raise ValueError(
            f"a base URL starts with http:// or https://; write {_scheme_for(text)}:// before it"
        )
    if re.search(r"\s", text):
        raise ValueError("a base URL cannot contain a space, as in 'http://localhost:11434'")
    parts = _split(text)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("the scheme is not supported; use http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a base URL must not contain a user name or password; set api_key instead")
    if not parts.hostname:
        raise ValueError("the base URL has no host, as in 'http://localhost:11434'")
    if "," in parts.netloc:
        raise ValueError("a base URL names one server; write several as a list")
    if parts.query or parts.fragment:
        raise ValueError(
            "a base URL cannot have a query or a fragment; remove everything from ? or # on"
        )
    base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return _root(base) if ollama else base


def check_websocket_url(url: object) -> str:
    """Return *url* without a trailing slash, if it can be the base URL of a websocket."""
    text = url.strip() if isinstance(url, str) else ""
    if not text.startswith(("ws://", "wss://")):
        raise ValueError("the base URL of a websocket starts with wss:// or ws://")
    checked = check_base_url(f"http{text.removeprefix('ws')}")
    return f"ws{checked.removeprefix('http')}"


def check_ollama_urls(urls: object) -> list[str]:
    """Return the servers that *urls* names, one or several that share the requests, each once."""
    given = split_commas(urls)
    several = cast("Sequence[str]", given) if isinstance(given, list | tuple) else [given]
    if not several:
        raise ValueError("the list is empty; name a server, as in 'http://localhost:11434'")
    known = list(dict.fromkeys(check_base_url(url, ollama=True) for url in several))
    if len(known) > 1 and any(map(is_ollama_cloud, known)):
        raise ValueError(
            "ollama.com cannot share requests with other servers, because its models have other names; "
            "leave it out, and name its model in an alias that lists several models"
        )
    return known


def _root(base: str) -> str:
    """Return *base* without the path of an API at its end."""
    for suffix in ("/v1/chat/completions", "/api/chat", "/v1", "/api"):
        if base.endswith(suffix):
            logger.warning(
                "The base URL of the Ollama server %s ends in %r, which is cut off: the native API "
                "lives at the root. Write the URL without it.",
                authority(base),
                suffix,
            )
            return base.removesuffix(suffix).rstrip("/")
    return base


def parse_ollama_host(text: object) -> str:
    """Return the base URL of the local daemon that an ``OLLAMA_HOST`` value names.

    Takes ``host``, ``host:port``, ``:port`` and URLs; ``0.0.0.0`` and ``[::]`` mean loopback.

    Source: ollama ``envconfig/config.go`` (``Host``, ``ConnectableHost``), v0.33.0.
    """
    if not isinstance(text, str):
        raise ValueError(f"the host is {type(text).__name__}, not text")
    value = text.strip().strip("\"'").strip()
    if not value:
        return LOCAL_OLLAMA
    if value.rstrip("/").rstrip(".").lower() == "ollama.com":
        return OLLAMA_CLOUD
    scheme, separator, rest = value.partition("://")
    if not separator:
        scheme, rest = "http", value
    authority, slash, path = rest.partition("/")
    if isinstance(_address(authority), IPv6Address):
        authority = f"[{authority}]"
    if authority.startswith(":"):
        authority = f"localhost{authority}"
    parts = _split(f"{scheme}://{authority}")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "OLLAMA_HOST must not contain a user name or password; set OLLAMA_API_KEY instead"
        )
    host = parts.hostname or "localhost"
    address = _address(host.rstrip("."))
    if address is not None and address.is_unspecified:
        host = "127.0.0.1" if "." in host else "[::1]"
    elif ":" in host:
        host = f"[{host}]"
    # A URL without a port means its scheme's, a name without one means Ollama's.
    port = parts.port or (None if separator else OLLAMA_PORT)
    netloc = f"{host}:{port}" if port else host
    return check_base_url(f"{scheme}://{netloc}{slash}{path}", ollama=True)


@lru_cache(maxsize=256)
def authority(url: str) -> str:
    """Return the scheme, host and port of *url*, which an error may show."""
    parts = _split(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}"


def without_secrets(url: str) -> str:
    """Return *url*, which may be any text, without its query, fragment and credentials."""
    return re.sub(r"^((?:[^/]*//)?)[^/]*@", r"\1", re.split(r"[?#]", url, maxsplit=1)[0])


@lru_cache(maxsize=256)
def is_loopback(url: str) -> bool:
    """Return True if *url* names this machine."""
    host = _host(_split(url))
    address = _address(host)
    is_named = host == "localhost" or host.endswith(".localhost")
    return is_named or (address is not None and address.is_loopback)


@lru_cache(maxsize=256)
def is_ollama_cloud(url: str) -> bool:
    """Return True if *url* names ollama.com itself, over https."""
    parts = _split(url)
    return (
        parts.scheme == "https"
        and _host(parts) in {"ollama.com", "www.ollama.com"}
        and parts.port in {None, 443}
    )


def why_withheld(*urls: str) -> str:
    """Return why the ``OLLAMA_API_KEY`` of the environment is not sent to *urls*; empty if it is."""
    if all(map(is_ollama_cloud, urls)):
        return ""
    return f"OLLAMA_API_KEY is for ollama.com and is not sent to {', '.join(map(authority, urls))}"


def check_secrets_transport(url: str, *, has_key: bool, headers: Mapping[str, str]) -> None:
    """Refuse a key, or an ``Authorization`` header, that would travel in the clear."""
    has_secret = has_key or has_authorization(headers)
    if has_secret and urlsplit(url).scheme != "https" and not is_loopback(url):
        raise ValueError(
            f"an API key would go to {authority(url)} unencrypted; use https://, or set "
            "allow_insecure = true for a network you trust"
        )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        if parts.port != 0:
            return parts
    except ValueError:
        pass  # its message may repeat the URL
    raise ValueError("the URL has no valid host and port (1 to 65535)")


def _host(parts: SplitResult) -> str:
    """Return the host without the dot that may end a full name."""
    return (parts.hostname or "").rstrip(".")


def _scheme_for(text: str) -> str:
    """Return the scheme that *text*, a URL without one, probably needs."""
    address = re.split(r"[?#\s]", text, maxsplit=1)[0].rpartition("@")[2]
    # Servers of one's own are named by number or with a port, and rarely have a certificate.
    own = re.match(r"localhost|[\d.]+(:|/|$)|\[|[^/]+:\d", address)
    return "http" if own else "https"


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """Return *host* if it is an address and not a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None
