"""Says why a connection failed, in our words and not an HTTP library's. Pure."""

import os
import socket
import ssl
from typing import Any, cast

from timestep.net.connection import Silence, TransportError
from timestep.net.limits import LONGEST

HUNG_UP = "the server hung up before its answer was complete"
NO_HTTP = "the answer is not HTTP"
PACKED = "the answer is compressed in a way that cannot be unpacked"
OTHER_LOOP = "it belongs to another event loop"
UNSENDABLE = "the request holds something that HTTP cannot carry"

WANTS_PASSWORD = 407
"""HTTP's number for a proxy that asks for a user name and a password. No server answers it."""


def too_long(most: int = LONGEST) -> str:
    """Say that an answer has more than *most* bytes."""
    return f"sent more than {most:,} bytes for one answer"


def why_failed(error: BaseException) -> str:
    """Say why a connection failed with *error*; the first of its causes that tells is used."""
    return _told(error) or "the connection could not be made"


def _told(error: BaseException) -> str | None:
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        inner = _inner(each)
        if inner is None and (reason := _reason(each)) is not None:
            return reason
        each = inner or each.__cause__ or each.__context__
    return None


def proxy_refusal(status: int | str) -> str:
    """Say that a proxy answered *status*."""
    why = (
        ", because it wants a user name and a password that it knows"
        if int(status) == WANTS_PASSWORD
        else ""
    )
    return f"the proxy answered {status}{why}"


def unforeseen(error: BaseException) -> str:
    """Say why *error* was raised. An error that is not about the connection is named by its class."""
    told = _told(error) if isinstance(error, OSError | ImportError) else None
    return told or f"{type(error).__qualname__} was raised, which timestep did not expect"


def _inner(error: BaseException) -> BaseException | None:
    """The error that *error* wraps: aiohttp and groups of errors keep it beside the causes."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    return getattr(error, "certificate_error", None) or getattr(error, "os_error", None)


def _reason(error: BaseException) -> str | None:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message.rstrip('.')})"
        case ssl.SSLError():
            return f"it does not speak TLS as expected ({_words(error)})"
        case socket.gaierror():
            return "its host name has no address"
        case ImportError():
            return f"the package {error.name} cannot be imported"
        case OSError(errno=int(number)) if number > 0:
            return os.strerror(number).lower()
        case _:
            return None


def _words(error: ssl.SSLError) -> str:
    return str(getattr(error, "reason", None) or "no reason given").replace("_", " ").lower()


def httpx_error(
    exc: BaseException, httpx: Any, *, through: str = "", silent: Silence = "idle"
) -> TransportError:
    """Return the error for *exc*, which *httpx* raised; the module may be httpx2.

    *through* names the proxy, and *silent* is the phase of silence.
    """
    if isinstance(exc, httpx.TransportError) and isinstance(exc.__cause__, TransportError):
        return exc.__cause__  # of a client of ours
    if isinstance(exc, httpx.ConnectTimeout):
        return TransportError("connect", "connecting took too long", through=through)
    if isinstance(exc, httpx.TimeoutException):
        return TransportError(silent, "the answer fell silent")
    if isinstance(exc, httpx.ConnectError | httpx.ProxyError):
        status = str(exc)[:3] if isinstance(exc, httpx.ProxyError) else ""
        reason = proxy_refusal(status) if status.isdecimal() else why_failed(exc)
        return TransportError("reach", reason, through=through)
    if isinstance(exc, RuntimeError) and not isinstance(exc, httpx.StreamError):
        if "loop" in str(exc):
            return TransportError("closed", OTHER_LOOP)
        if "closed" in str(exc):
            return TransportError("closed", "it is closed")
    return TransportError("exchange", _what_broke(exc, httpx))


def _what_broke(exc: BaseException, httpx: Any) -> str:
    if isinstance(exc, httpx.RemoteProtocolError):  # one class for both
        is_early = "incomplete" in str(exc) or "without" in str(exc)
        return HUNG_UP if is_early else NO_HTTP
    if isinstance(exc, httpx.InvalidURL | TypeError | ValueError):
        return UNSENDABLE
    return why_failed(exc) if isinstance(exc, httpx.HTTPError) else unforeseen(exc)
