"""`ollama.AsyncClient`, which pulls models, and errors of timestep for what it raises.

Source: ollama-python ``ollama/_client.py`` and ``_types.py`` (``ResponseError``), 0.6.3.
"""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar, cast

import httpx

from timestep.errors import ConfigurationError, OllamaStreamError, TimestepError
from timestep.net.connection import Translated, TransportError
from timestep.net.failure_words import httpx_error, why_failed
from timestep.net.httpx_options import httpx_options
from timestep.net.limits import LONGEST
from timestep.net.origin import Origin
from timestep.net.proxies import ProxyError, explained
from timestep.net.reach import CertificateError
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.server_errors import line_error, status_error
from timestep.ollama.wire_errors import OllamaWireErrors

try:
    with explained("ollama"):  # it builds a client when it is imported
        import ollama
except ProxyError as exc:
    raise ConfigurationError(str(exc)) from exc

E = TypeVar("E", bound=Exception)

OF_A_SERVER = (ConnectionError, httpx.HTTPError, ollama.ResponseError, ValueError)
"""What the client raises when it is not its own fault."""


@asynccontextmanager
async def open_client(endpoint: Endpoint, *, silence: float) -> AsyncGenerator[ollama.AsyncClient]:
    """Open the official client of *endpoint*, with its headers and its key; it is closed at the end.

    Args:
        endpoint: The server. The client's own habit of sending ``OLLAMA_API_KEY`` to any host is off.
        silence: Seconds of silence before giving up.

    A request raises `ConfigurationError` if a command prints the key, and fails.

    Raises:
        ValueError: The proxy for it, or a file of certificates, cannot be used.
    """
    options = httpx_options(
        endpoint.base_url, endpoint.reach, key_command=endpoint.key_command, most=LONGEST
    )
    client = ollama.AsyncClient(
        endpoint.base_url,
        headers=dict(endpoint.headers),
        timeout=httpx.Timeout(silence, connect=endpoint.connect_seconds),
        **{**options, "auth": options["auth"] or _only_key(endpoint.headers.get("authorization"))},
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


def translated(origin: Origin) -> Translated:
    """Raise the errors of the tree for what the client raises in a ``with`` block.

    These are `OllamaError` when the server cannot be reached, refuses or answers something else,
    and `ConfigurationError` when the proxy for it cannot be used.
    """
    return Translated(partial(error_of, origin=origin))


def error_of(exc: Exception, origin: Origin) -> TimestepError:
    """Return the error of the tree for *exc*, which the client raised."""
    if isinstance(exc, TimestepError):
        return exc
    if isinstance(exc, ProxyError | CertificateError):
        return ConfigurationError(str(exc))
    refused = _cause(exc, httpx.HTTPStatusError)
    if refused is not None:
        answer = refused.response
        return status_error(answer.status_code, answer.headers, answer.content, origin)
    if isinstance(exc, ollama.ResponseError):
        said = {"error": exc.error}
        if exc.status_code < 0:  # an error in the middle of a stream
            return line_error(said, origin)
        return status_error(exc.status_code, {}, json.dumps(said).encode(), origin)
    broken = _cause(exc, httpx.TransportError)
    if broken is not None:
        return OllamaWireErrors(origin).of(httpx_error(broken, httpx))
    if isinstance(exc, ConnectionError):
        return OllamaWireErrors(origin).of(TransportError("reach", why_failed(exc)))
    # The client could not read the answer as JSON, or not as the answer it should be.
    return OllamaStreamError(
        f"{origin.host} sent an answer that cannot be read. Is it an Ollama server?",
        **origin.where(),
    )


def _cause(exc: Exception, kind: type[E]) -> E | None:
    """The first *kind* among *exc* and what it was raised for; the client hides causes."""
    each: BaseException | None = exc
    while each is not None:
        if isinstance(each, kind):
            return each
        each = each.__cause__ or each.__context__
    return None
