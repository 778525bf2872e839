"""What an Ollama server says about itself and its models, asked without importing the SDK.

It is asked over httpx and not with `ollama.AsyncClient`, whose types take long to import.
`timestep.ollama.official_client` makes errors of the tree of what this raises.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

import httpx

from timestep.net.httpx_options import httpx_options
from timestep.net.json_parts import mapping
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.shown import Listed, read_list, text


@asynccontextmanager
async def connect(endpoint: Endpoint) -> AsyncGenerator[httpx.AsyncClient]:
    """Open a client of *endpoint*, with its headers and its key; it is closed at the end.

    A request raises `ConfigurationError` if a command prints the key, and fails.

    Raises:
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    async with httpx.AsyncClient(
        base_url=endpoint.base_url,
        headers=endpoint.headers,
        timeout=httpx.Timeout(None, connect=endpoint.connect_seconds),
        **httpx_options(endpoint.base_url, endpoint.reach, key_command=endpoint.key_command),
    ) as client:
        yield client


async def list_entries(client: httpx.AsyncClient, path: str) -> list[Listed]:
    """Return the models that ``GET path`` lists."""
    document = await _read(await client.get(path))
    models: Any = document.get("models")
    if not isinstance(models, list) or not all(isinstance(each, dict) for each in models):  # pyright: ignore[reportUnknownVariableType] - what it checks
        raise ValueError("not a list of models")
    return read_list(document)


async def post(client: httpx.AsyncClient, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object that ``POST path`` answers to *body*."""
    return await _read(await client.post(path, json=body))


@dataclass(frozen=True, slots=True)
class Server:
    """What an Ollama server says about itself. None means that it does not say."""

    version: str | None = None
    account: str | None = None
    is_refused: bool = False  # whether it requires a key or a sign-in to name the account
    signin_url: str | None = None  # the page to sign in at


async def visit(endpoint: Endpoint, patience: float) -> Server:
    """Ask the server at *endpoint* about itself, at most *patience* seconds for each answer."""
    (_, about), (status, account) = await asyncio.gather(
        _ask(endpoint, "GET", "/api/version", patience), _ask(endpoint, "POST", "/api/me", patience)
    )
    page = text(account, "signin_url")
    return Server(
        text(about, "version"),
        text(account, "name", "email"),
        is_refused=status in {401, 403},
        signin_url=page and endpoint.origin(None).clean(page),
    )


async def _ask(
    endpoint: Endpoint, method: str, path: str, patience: float
) -> tuple[int, Mapping[str, Any]]:
    """Return the status and the JSON object that *endpoint* answers, if any."""
    status = 0
    with suppress(Exception):  # naming the error of a key's command imports the SDK
        async with asyncio.timeout(patience), connect(endpoint) as client:
            body = b"{}" if method == "POST" else None
            answer = await client.request(method, path, content=body)
            status = answer.status_code
            return status, mapping(answer.json())
    return status, {}


async def _read(answer: httpx.Response) -> Mapping[str, Any]:
    answer.raise_for_status()
    document: Any = answer.json()
    if not isinstance(document, dict):
        raise ValueError("not an object")
    return cast("Mapping[str, Any]", document)
