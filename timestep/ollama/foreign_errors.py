"""Turns what `ollama.AsyncClient` raises into timestep's errors.

Source: ollama-python ``ollama/_client.py`` and ``_types.py`` (``ResponseError``), 0.6.3.
"""

import json
from typing import TypeVar

import httpx

from timestep.errors import ConfigurationError, OllamaStreamError, TimestepError
from timestep.net.connection import TransportError, as_cause
from timestep.net.exchange import failure
from timestep.net.httpx_errors import httpx_error
from timestep.net.origin import Origin
from timestep.net.proxies import ProxyError, explained
from timestep.net.reasons import reason_of
from timestep.net.tls import CertificateError
from timestep.ollama.errors import Failures, line_error, status_error

try:
    with explained("ollama"):  # it builds a client when it is imported
        import ollama
except ProxyError as exc:
    raise ConfigurationError(str(exc)) from exc

E = TypeVar("E", bound=Exception)


class Translated:
    """Turns what the client raises in a ``with`` block into an error of the tree.

    It raises `OllamaError` when the server cannot be reached, refuses or answers something else,
    and `ConfigurationError` when the proxy for it cannot be used.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin

    def __enter__(self) -> None:
        """Begin to watch."""

    def __exit__(self, kind: object, exc: BaseException | None, frames: object) -> None:
        """Raise the error for *exc*; no frame keeps what the server said, which may be a secret."""
        if not isinstance(exc, Exception) or isinstance(exc, TimestepError):
            return
        if isinstance(exc, ProxyError | CertificateError):
            raise ConfigurationError(str(exc)) from exc
        error = error_of(exc, self._origin)
        cause = as_cause(exc)
        del exc, frames
        try:
            raise error from cause
        finally:
            error.__context__ = None  # Python puts *exc* there


def error_of(exc: Exception, origin: Origin) -> TimestepError:
    """Return the error of the tree for *exc*, which the client raised."""
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
        return failure(Failures(origin), httpx_error(broken, httpx))
    if isinstance(exc, ConnectionError):
        return failure(Failures(origin), TransportError("reach", reason_of(exc)))
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
