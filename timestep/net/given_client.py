"""Requests over an httpx client that somebody gave us, with its headers, proxies and hooks.

It belongs to the event loop that uses it first. If it has only a base URL and headers, another loop
gets a new client with the same ones. Otherwise the other loop uses the given client too, and the
error of that client says why it fails.
"""

import asyncio
import ssl
import threading
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Generator
from contextlib import contextmanager
from typing import Any, cast

import httpx

from timestep.net.connection import Answer, Connections, Guard, Request, TransportError
from timestep.net.failure_words import OTHER_LOOP, httpx_error
from timestep.net.logs import mask_logs
from timestep.net.secrets import masker, secrets_in, secrets_in_url
from timestep.net.unpacking import unpacked

# Steps of a request in the words of httpcore; one on a kept connection skips the first.
_CONNECTING = frozenset({"connect_tcp.started", "connect_unix_socket.started", "start_tls.started"})
_CONNECTED = "send_request_headers.started"
_LOCK = threading.Lock()  # held while a given client finds its event loop


class Given:
    """Opens connections over a given client; see `timestep.net.client.Opener`."""

    def __init__(
        self,
        client: httpx.AsyncClient,  # used as it is configured, and never closed here
        timeout: httpx.Timeout | None = None,  # replaces the client's own
        withheld: Collection[str] = (),  # names of headers of the client that are not sent
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._withheld = withheld
        self._home: weakref.ref[asyncio.AbstractEventLoop] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy has no event loop yet."""
        return Given, (self._client, self._timeout, self._withheld)

    def __call__(self, base_url: str, connect_timeout: float | None) -> Connections:
        """Return connections of the running loop."""
        if not self._is_home():
            if (alike := _built_alike(self._client)) is not None:
                return HttpxClient(alike, self._timeout, self._withheld, is_own=True)
            if not self._is_home(takes_over=True):  # its pool would make both loops wait
                raise TransportError("closed", OTHER_LOOP)
        return HttpxClient(self._client, self._timeout, self._withheld)

    def _is_home(self, *, takes_over: bool = False) -> bool:
        """Return True in the loop that the client belongs to, or *takes_over* from one that ended."""
        loop = asyncio.get_running_loop()
        with _LOCK:
            home = None if self._home is None else self._home()
            has_ended = home is None or not home.is_running()
            if self._home is None or (takes_over and has_ended):
                self._home = weakref.ref(loop)
                return True
        return home is loop


class HttpxClient:
    """Requests through a whole httpx client; see `Given`. If it *is_own*, it is closed with them."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        timeout: httpx.Timeout | None = None,
        withheld: Collection[str] = (),
        *,
        is_own: bool = False,
    ) -> None:
        self._client = client
        self._timeout = timeout or httpx.USE_CLIENT_DEFAULT
        self._withheld = withheld
        self._is_own = is_own

    async def send(self, request: Request, guard: Guard) -> Answer:
        """Send *request* and return its answer."""
        headers = secrets_in({**self._client.headers, **request.headers})
        mask_logs(masker((*headers, *secrets_in_url(request.url))))
        with _translated():
            built = self._client.build_request(
                request.method,
                request.url,
                content=request.body,
                headers=request.headers,
                timeout=self._timeout,
                extensions={"trace": trace(guard)},
            )
            for name in self._withheld:
                built.headers.pop(name, None)
            response = await self._client.send(built, stream=True, follow_redirects=False)
        body = unpacked(_body(response), response.headers.get("content-encoding"))
        return Answer(response.status_code, response.headers, body, response.aclose)

    async def aclose(self) -> None:
        """Close the client, unless it is somebody else's."""
        if self._is_own:
            await self._client.aclose()


def trace(guard: Guard) -> Callable[[str, object], Awaitable[None]]:
    """Return the ``trace`` extension that tells *guard* when a request connects.

    httpcore's pool forgets a connection whose request is cancelled just before it begins. And while
    anyio connects, it cancels the task for its own purposes and may swallow another's cancellation.
    """

    async def follow(event: str, _: object) -> None:
        step = event.partition(".")[2]
        if step in _CONNECTING:
            guard("fragile")
        elif step == _CONNECTED:
            guard("waiting")

    return follow


def _built_alike(client: httpx.AsyncClient) -> httpx.AsyncClient | None:
    """Return a new client like *client*; None when *client* may hold more than URL and headers."""
    if client.is_closed:
        return None
    # As ollama.AsyncClient builds its own.
    alike = httpx.AsyncClient(
        base_url=client.base_url,
        headers=client.headers,
        timeout=None,  # noqa: S113 - it is theirs
        follow_redirects=True,
    )
    return alike if _facts(alike) == _facts(client) else None


def _facts(client: httpx.AsyncClient) -> dict[str, object]:
    """What a client was made with, as far as it can be told."""
    mounts: dict[Any, object] = getattr(client, "_mounts", {})
    return {
        "timeout": client.timeout,
        "auth": client.auth,
        "hooks": client.event_hooks,
        "params": str(client.params),
        "cookies": len(client.cookies.jar),
        "redirects": (client.follow_redirects, client.max_redirects),
        "environment": client.trust_env,
        "transport": _transport_facts(getattr(client, "_transport", None)),
        "mounts": {each.pattern: _transport_facts(mounts[each]) for each in mounts},
    }


def _transport_facts(transport: object) -> tuple[object, ...]:
    pool = getattr(transport, "_pool", None)
    facts = cast("dict[str, object]", getattr(pool, "__dict__", {}))
    plain: dict[str, object] = {
        key: facts[key] for key in facts if isinstance(facts[key], int | float | str)
    }
    tls = facts.get("_ssl_context")
    if isinstance(tls, ssl.SSLContext):
        plain["tls"] = (tls.verify_mode, tls.check_hostname, tls.cert_store_stats())
    kind = cast("type[object]", type(pool))
    return type(transport), kind, plain


async def _body(response: httpx.Response) -> AsyncGenerator[bytes]:
    stream = response.stream
    assert not isinstance(stream, httpx.SyncByteStream)  # noqa: S101 - it came from a client of asyncio
    with _translated():
        async for piece in stream:
            yield piece


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except Exception as exc:
        raise httpx_error(exc, httpx) from exc
