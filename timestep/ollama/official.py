"""`ollama.AsyncClient`, which pulls models; see `timestep.ollama.foreign_errors` for what it raises."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import cast

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.net.limits import LONGEST
from timestep.net.proxies import explained
from timestep.ollama.endpoint import Endpoint

with explained("ollama"):  # it builds a client when it is imported
    import ollama

_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_client(endpoint: Endpoint, *, silence: float) -> AsyncGenerator[ollama.AsyncClient]:
    """Open the official client of *endpoint*, with its headers and its key; it is closed at the end.

    Args:
        endpoint: The server. The client's own habit of sending ``OLLAMA_API_KEY`` to any host is off.
        silence: Seconds of silence before giving up.

    Raises:
        ConfigurationError: A command prints the key, and fails.
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    headers = dict(endpoint.headers)
    if endpoint.key_command is not None:
        headers.setdefault("authorization", f"Bearer {await endpoint.key_command.key()}")
    client = ollama.AsyncClient(
        endpoint.base_url,
        headers=headers,
        auth=_only_key(headers.get("authorization")),
        timeout=httpx.Timeout(silence, connect=_CONNECT_SECONDS),
        **httpx_options(endpoint.base_url, endpoint.reach, most=LONGEST),
    )
    try:
        yield client
    finally:
        await cast("Awaitable[None]", client.close())  # type: ignore[no-untyped-call] # it has no types


def _only_key(authorization: str | None) -> Callable[[httpx.Request], httpx.Request]:
    """Make every request carry *authorization* and no other key."""

    def authorize(request: httpx.Request) -> httpx.Request:
        if authorization is None:
            request.headers.pop("authorization", None)
        return request

    return authorize
