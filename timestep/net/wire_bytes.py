"""The exact bytes of model calls, kept only while a recorder asks for them.

Adapters offer, recorders take: an adapter calls `begin` with the id of the span of a call and
gets None unless somebody said `keep`. A recorder calls `take` when that span ends.
"""

from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock

from timestep.net.forks import forget_in_children

_MOST_SPANS = 256
"""The number of calls kept at once. Beyond it, the oldest are dropped."""


@dataclass(slots=True)
class WireBytes:
    """One request and its answer so far."""

    url: str = ""  # where the request went, without credentials
    request: bytes = b""
    status: int | None = None  # the HTTP status; None before the answer begins
    response: list[bytes] = field(default_factory=list[bytes])  # of the body, as they came


_kept: OrderedDict[str, list[WireBytes]] = OrderedDict()
_lock = Lock()
_askers = 0


class _Fork:
    """Gives a forked process a new lock: its parent may have held the old one."""

    def forget_connections(self) -> None:
        global _lock  # noqa: PLW0603 - one lock for the process
        _lock = Lock()


_fork = _Fork()


def keep() -> None:
    """Ask adapters to keep the bytes of their calls, until `stop`."""
    global _askers  # noqa: PLW0603 - one switch for the process
    forget_in_children(_fork)
    with _lock:
        _askers += 1


def stop() -> None:
    """Undo one `keep`."""
    global _askers  # noqa: PLW0603 - one switch for the process
    with _lock:
        _askers -= 1
        if not _askers:
            _kept.clear()


def begin(span_id: str) -> WireBytes | None:
    """Return where to put the bytes of a call's next exchange, or None if no recorder asks."""
    if not _askers:
        return None
    exchange = WireBytes()
    with _lock:
        _kept.setdefault(span_id, []).append(exchange)
        while len(_kept) > _MOST_SPANS:
            _kept.popitem(last=False)
    return exchange


def take(span_id: str) -> list[WireBytes]:
    """Return and forget the exchanges of the span *span_id*, oldest first."""
    if span_id not in _kept:
        return []
    with _lock:
        return _kept.pop(span_id, [])
