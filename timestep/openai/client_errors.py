"""What openai's client raises, as errors that are of timestep's tree too. Pure."""

from typing import Literal

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from timestep.errors import OllamaError, TimestepError
from timestep.net.causes import as_cause
from timestep.net.connection import TransportError
from timestep.net.origin import Origin
from timestep.net.reasons import HUNG_UP, NO_HTTP, proxy_refusal, reason_of, unforeseen
from timestep.net.secrets import secrets_in, secrets_in_url
from timestep.net.urls import authority
from timestep.openai.failures import Failures
from timestep.openai.refusals import status_error


def of_both_trees(exc: APIError, *, has_command: bool = False) -> Exception:
    """Return the error of both trees for *exc*, which openai's client raised.

    It is *exc* itself if it is one already, if a gateway raised it, or if the tree has no such error.

    Args:
        exc: The client's error.
        has_command: True when a command printed the key.
    """
    if isinstance(exc, TimestepError) or type(exc).__module__ != "openai":
        return exc
    match exc:
        case APIStatusError():
            error = _refusal(exc, has_command=has_command)
        case APIConnectionError():
            error = connection_error(_transport_error(exc), *where(exc.request))
        case _:
            return exc
    return error if isinstance(error, APIError) else exc  # as who asks catches openai's


def connection_error(found: TransportError, origin: Origin, url: str) -> OllamaError:
    """Return the error of both trees for *found*, which a request to *url* ended in."""
    failures = Failures(origin, url)
    is_silence = found.phase in {"connect", "first_byte", "idle"}
    error = (
        failures.silent(found.phase, None, through=found.through)
        if is_silence
        else failures.failed(found)
    )
    error.__cause__ = as_cause(found)
    return error


def transport_error(
    exc: BaseException, through: str = "", *, silent: Literal["first_byte", "idle"] = "idle"
) -> TransportError:
    """Return what *exc*, which httpx2 raised, says: in words of our own, with nothing behind it."""
    match exc:
        case httpx2.ConnectTimeout():
            return TransportError("connect", "connecting took too long", through=through)
        case httpx2.TimeoutException():
            return TransportError(silent, "the server stayed silent")
        case httpx2.ProxyError():
            status = str(exc)[:3]
            reason = proxy_refusal(status) if status.isdecimal() else reason_of(exc)
            return TransportError("reach", reason, through=through)
        case httpx2.ConnectError():
            return TransportError("reach", reason_of(exc), through=through)
        case httpx2.RemoteProtocolError():
            is_early = "incomplete" in str(exc) or "without" in str(exc)
            return TransportError("exchange", HUNG_UP if is_early else NO_HTTP)
        case httpx2.HTTPError():
            return TransportError("exchange", reason_of(exc))
        case _:
            return TransportError("exchange", unforeseen(exc))


def _transport_error(exc: APIConnectionError) -> TransportError:
    raised = exc.__cause__ or exc
    if isinstance(found := raised.__cause__, TransportError):
        return found
    if isinstance(exc, APITimeoutError) and not isinstance(raised, httpx2.HTTPError):
        return TransportError("first_byte", "the server stayed silent")
    return transport_error(raised, silent="first_byte")


def _refusal(exc: APIStatusError, *, has_command: bool) -> TimestepError:
    response = exc.response
    error = status_error(
        response.status_code,
        response.headers,
        response.content,
        *where(exc.request),
        has_command=has_command,
    )
    error.__cause__ = as_cause(exc)
    return error


def where(request: httpx2.Request) -> tuple[Origin, str]:
    """Return the host that errors for *request* name, and its URL."""
    url = str(request.url)
    secrets = (*secrets_in(request.headers), *secrets_in_url(url))
    return Origin(None, authority(url), secrets), url
