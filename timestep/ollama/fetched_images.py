"""Remote images, fetched only where a configuration allows it, and only from public addresses.

Beside the wire, only this module of the adapter opens connections. The hosts are those that somebody's
input names, so it has rules of its own. A name is resolved once, and the very address that was
checked is connected to, so that a second answer of the name server leads nowhere. No key, cookie
or proxy is used, and no redirect followed.
"""

import asyncio
import socket
from collections.abc import Callable, Sequence
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import httpx

from timestep.errors import UnsupportedInputError
from timestep.net.failure_words import httpx_error, why_failed
from timestep.net.urls import without_secrets

Address = IPv4Address | IPv6Address

MAX_BYTES = 20_000_000
"""How large one image may be."""

MAX_SECONDS = 30.0
"""How long one image may take, from its name to its last byte."""

_SILENCE_SECONDS = 10.0
_AT_ONCE = 4
_TYPES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp")
_HEADERS = {"accept": ", ".join(_TYPES), "accept-encoding": "identity", "user-agent": "timestep"}
_UNICAST = IPv6Network("2000::/3")


def is_public(address: Address) -> bool:
    """Return True for an address of the public internet, of no private network and not this machine's."""
    if isinstance(address, IPv6Address):
        # Everything else is local, or stands for an IPv4 address that may be.
        return address in _UNICAST and address.is_global and address.sixtofour is None
    return address.is_global and not address.is_multicast


async def fetch_images(
    urls: Sequence[str], *, allow: Callable[[Address], bool] = is_public
) -> dict[str, bytes]:
    """Return the bytes behind *urls*, by URL.

    Raises:
        UnsupportedInputError: One cannot be fetched: its address is not allowed, or it redirects, is
            not an image, is too large or too slow. The message names it without query and credentials.
    """
    if not urls:
        return {}
    slots = asyncio.Semaphore(_AT_ONCE)
    async with httpx.AsyncClient(
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        headers=_HEADERS,
        # Another host at the same address must not get a connection made for this one.
        limits=httpx.Limits(max_keepalive_connections=0),
        timeout=_SILENCE_SECONDS,
        trust_env=False,
    ) as client:
        try:
            async with asyncio.TaskGroup() as group:
                fetching = {
                    url: group.create_task(_fetch(client, slots, url, allow)) for url in urls
                }
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise first from first.__cause__
    return {url: task.result() for url, task in fetching.items()}


async def _fetch(
    client: httpx.AsyncClient,
    slots: asyncio.Semaphore,
    url: str,
    allow: Callable[[Address], bool],
) -> bytes:
    try:
        async with slots, asyncio.timeout(MAX_SECONDS):
            target = _checked(url)
            addresses = await _resolve(target, allow)
            for address in addresses[:-1]:
                try:
                    return await _download(client, target, address)
                except (httpx.ConnectError, httpx.ConnectTimeout):
                    continue  # this machine may have no way to one of them
            return await _download(client, target, addresses[-1])
    except TimeoutError as exc:
        raise _refusal(url, f"it takes longer than {MAX_SECONDS:.0f} seconds") from exc
    except ValueError as exc:
        raise _refusal(url, str(exc)) from exc
    except httpx.InvalidURL as exc:
        raise _refusal(url, "it is not a valid URL") from exc
    except (httpx.HTTPError, OSError) as exc:
        is_http = isinstance(exc, httpx.HTTPError)
        reason = str(httpx_error(exc, httpx)) if is_http else why_failed(exc)
        raise _refusal(url, reason) from exc


def _checked(url: str) -> httpx.URL:
    target = httpx.URL(url)
    if target.scheme not in {"http", "https"} or not target.host:
        raise ValueError("it is not an http or https URL")
    if target.port is not None and not 0 < target.port < 65536:  # noqa: PLR2004 - what TCP has
        raise ValueError("it has a port that does not exist")
    if target.userinfo:
        raise ValueError("it holds a user name or password")
    return target


async def _resolve(target: httpx.URL, allow: Callable[[Address], bool]) -> list[str]:
    """Return the addresses of *target*'s host that may be connected to."""
    port = target.port or {"http": 80, "https": 443}[target.scheme]
    found = await asyncio.get_running_loop().getaddrinfo(
        target.raw_host.decode("ascii"), port, type=socket.SOCK_STREAM
    )
    addresses = dict.fromkeys(str(address[0]) for *_, address in found)
    allowed = [address for address in addresses if allow(ip_address(address))]
    if not allowed:
        raise ValueError("its host has no public address")
    return allowed


async def _download(client: httpx.AsyncClient, target: httpx.URL, address: str) -> bytes:
    async with client.stream(
        "GET",
        target.copy_with(host=address),
        headers={"host": target.netloc.decode("ascii")},
        extensions={"sni_hostname": target.raw_host.decode("ascii")},
    ) as response:
        if response.has_redirect_location:
            raise ValueError("it redirects, which is not followed; use the address it leads to")
        if not response.is_success:
            raise ValueError(f"its server answers {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES:
            raise ValueError(f"it is {kind or 'of no type'!r}, not one of {', '.join(_TYPES)}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ValueError("it is compressed, although the request refused compression")
        image = bytearray()
        async for piece in response.aiter_raw():
            image += piece
            if len(image) > MAX_BYTES:
                raise ValueError(f"it is larger than {MAX_BYTES // 1_000_000} MB")
    if not image:
        raise ValueError("it is empty")
    return bytes(image)


def _refusal(url: str, reason: str) -> UnsupportedInputError:
    return UnsupportedInputError(
        f"The remote image {without_secrets(url)!r} cannot be used: {reason}. Send its bytes as a data URL "
        "(data:image/png;base64,…) instead."
    )
