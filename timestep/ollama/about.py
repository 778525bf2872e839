"""What an Ollama server says about itself, asked without importing the SDK."""

import asyncio
from typing import Any, Literal, NamedTuple

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.ollama.endpoint import Endpoint


class Said(NamedTuple):
    """An answer of a server.

    Attributes:
        status: HTTP's number; None without an answer.
        document: The JSON of the answer; None if it has none.
    """

    status: int | None = None
    document: Any = None


async def ask(
    endpoint: Endpoint, method: Literal["GET", "POST"], path: str, patience: float
) -> Said:
    """Return what *endpoint* answers within *patience* seconds."""
    headers = dict(endpoint.headers)
    try:
        if endpoint.key_command is not None:
            headers.setdefault("authorization", f"Bearer {await endpoint.key_command.key()}")
        options = httpx_options(endpoint.base_url, endpoint.reach)
        async with (
            asyncio.timeout(patience),
            httpx.AsyncClient(headers=headers, timeout=patience, **options) as client,
        ):
            body = b"{}" if method == "POST" else None
            answer = await client.request(method, endpoint.base_url + path, content=body)
    except Exception:  # noqa: BLE001 - naming the error of a command imports the SDK
        return Said()
    try:
        return Said(answer.status_code, answer.json())
    except ValueError:
        return Said(answer.status_code)
