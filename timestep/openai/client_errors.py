"""What openai's client raises, as errors that are of timestep's tree too. Pure."""

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from timestep.errors import TimestepError
from timestep.net.causes import as_cause
from timestep.net.connection import TransportError
from timestep.net.exchange import failure
from timestep.net.httpx_errors import httpx_error
from timestep.net.origin import Origin
from timestep.net.secrets import secrets_in, secrets_in_url
from timestep.net.urls import authority
from timestep.openai.failures import Failures
from timestep.openai.refusals import status_error

HAS_COMMAND = "timestep.has_command"
"""The extension of a response whose key a command printed."""


def of_both_trees(exc: APIError) -> Exception:
    """Return the error of both trees for *exc*, which openai's client raised.

    It is *exc* itself if it is one already, if a gateway raised it, or if the tree has no such error.
    """
    if isinstance(exc, TimestepError) or type(exc).__module__ != "openai":
        return exc
    match exc:
        case APIStatusError():
            error = _refusal(exc)
        case APIConnectionError():
            error = _failure(exc)
        case _:
            return exc
    return error if isinstance(error, APIError) else exc  # as who asks catches openai's


def _failure(exc: APIConnectionError) -> TimestepError:
    raised = exc.__cause__ or exc
    if isinstance(exc, APITimeoutError) and not isinstance(raised, httpx2.HTTPError):
        found = TransportError("first_byte", "the server stayed silent")
    else:
        found = httpx_error(raised, httpx2, silent="first_byte")
    return failure(Failures(*where(exc.request)), found)


def _refusal(exc: APIStatusError) -> TimestepError:
    answer = exc.response
    error = status_error(
        answer.status_code,
        answer.headers,
        answer.content,
        *where(exc.request),
        has_command=HAS_COMMAND in answer.extensions,
    )
    error.__cause__ = as_cause(exc)
    return error


def where(request: httpx2.Request) -> tuple[Origin, str]:
    """Return the host that errors for *request* name, and its URL."""
    url = str(request.url)
    secrets = (*secrets_in(request.headers), *secrets_in_url(url))
    return Origin(None, authority(url), secrets), url
