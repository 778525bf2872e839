"""`ollama.AsyncClient`, which pulls models, and lists them for shell completion.

It imports neither the SDK nor our errors, so that shell completion stays quick. See
`timestep.ollama.foreign_errors` for what the client raises.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.net.limits import LONGEST
from timestep.net.proxies import explained
from timestep.net.reach import USUAL, Reach

with explained("ollama"):  # it builds a client when it is imported
    import ollama

if TYPE_CHECKING:
    from timestep.net.key_command import KeyCommand

_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def open_client(
    base_url: str,
    headers: Mapping[str, str],
    *,
    silence: float | None = None,
    reach: Reach = USUAL,
    key_command: "KeyCommand | None" = None,
) -> AsyncGenerator[ollama.AsyncClient]:
    """Open the official client of one server; it is closed at the end.

    Args:
        base_url: Of the server.
        headers: The ones of its endpoint, in lower case. The client's own habit of sending
            ``OLLAMA_API_KEY`` to any host is off.
        silence: Seconds of silence before giving up; None waits for ever.
        reach: Its proxy and certificates.
        key_command: Prints its key, when *headers* have none.

    Raises:
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    if key_command is not None:
        headers = {"authorization": f"Bearer {await key_command.key()}", **headers}
    client = ollama.AsyncClient(
        base_url,
        headers=dict(headers),
        auth=_only_key(headers.get("authorization")),
        timeout=httpx.Timeout(silence, connect=_CONNECT_SECONDS),
        **httpx_options(base_url, reach, most=LONGEST),
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
