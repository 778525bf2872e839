"""What httpx and httpx2 raise, in words of our own. Pure."""

from typing import Any

from timestep.net.connection import Phase, TransportError
from timestep.net.reasons import HUNG_UP, NO_HTTP, UNSENDABLE, proxy_refusal, reason_of, unforeseen


def httpx_error(
    exc: BaseException, httpx: Any, *, through: str = "", silent: Phase = "idle"
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
        reason = proxy_refusal(status) if status.isdecimal() else reason_of(exc)
        return TransportError("reach", reason, through=through)
    if isinstance(exc, RuntimeError) and not isinstance(exc, httpx.StreamError):
        if "loop" in str(exc):
            return TransportError("closed", "it belongs to another event loop")
        if "closed" in str(exc):
            return TransportError("closed", "it is closed")
    return TransportError("exchange", _what_broke(exc, httpx))


def _what_broke(exc: BaseException, httpx: Any) -> str:
    if isinstance(exc, httpx.RemoteProtocolError):  # one class for both
        is_early = "incomplete" in str(exc) or "without" in str(exc)
        return HUNG_UP if is_early else NO_HTTP
    if isinstance(exc, httpx.InvalidURL | TypeError | ValueError):
        return UNSENDABLE
    return reason_of(exc) if isinstance(exc, httpx.HTTPError) else unforeseen(exc)
