"""What an Ollama server says about itself and its models, asked without importing the SDK.

It is asked over httpx and not with `ollama.AsyncClient`, whose types take long to import.
`timestep.ollama.official_client` makes errors of the tree of what this raises.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.ollama.endpoint import Endpoint

_CONNECT_SECONDS = 5.0


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncGenerator[httpx.AsyncClient]:
    """Open a client of *endpoint*, with its headers and its key; it is closed at the end.

    Raises:
        ConfigurationError: A command prints the key, and fails.
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    async with httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers=await endpoint.sent_headers(),
        timeout=httpx.Timeout(None, connect=_CONNECT_SECONDS),
        **httpx_options(endpoint.base_url, endpoint.reach),
    ) as client:
        yield client


async def list_entries(client: httpx.AsyncClient, path: str) -> list[Mapping[str, Any]]:
    """Return the models that ``GET path`` lists."""
    document = await _read(await client.get(path))
    entries: Any = document.get("models")
    if not isinstance(entries, list) or not all(isinstance(each, dict) for each in entries):  # pyright: ignore[reportUnknownVariableType] - what it checks
        raise ValueError("not a list of models")
    return cast("list[Mapping[str, Any]]", entries)


async def post(client: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that ``POST path`` answers to *body*."""
    return await _read(await client.post(path, json=body))


async def _read(answer: httpx.Response) -> Mapping[str, Any]:
    answer.raise_for_status()
    document: Any = answer.json()
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return cast("Mapping[str, Any]", document)
