"""Times, counts, sizes and costs in words."""

import time
from collections.abc import Callable
from typing import Any

DAY = 86_400.0
_MINUTE = 60
_HOUR = 60 * _MINUTE
_THOUSAND = 1000
_MILLION = 1_000_000
_CENT = 0.01
_AGES = ((365 * DAY, "y"), (7 * DAY, "w"), (DAY, "d"), (_HOUR, "h"), (_MINUTE, "m"))


def clock(at: float) -> str:
    """Return the Unix time *at* as local date and time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def ago(at: float) -> str:
    """Return how long ago the Unix time *at* is, in the largest unit: ``3m``, ``2h``, ``5d``."""
    return _in_largest_unit(max(0.0, time.time() - at))


def brief_duration(seconds: float | None) -> str:
    """Return *seconds* in few letters: ``0.9s``, ``12s``, ``3m``, ``2h``."""
    if seconds is None:
        return "…"
    return f"{seconds:.1f}s" if seconds < 10 else _in_largest_unit(seconds)  # noqa: PLR2004 - one digit


def _in_largest_unit(seconds: float) -> str:
    found = (f"{seconds // unit:.0f}{sign}" for unit, sign in _AGES if seconds >= unit)
    return next(found, f"{seconds:.0f}s")


def brief_count(count: int) -> str:
    """Return *count* in few letters: ``999``, ``1.2k``, ``12k``, ``3.4M``."""
    if count < _THOUSAND:
        return str(count)
    if count < _MILLION:
        thousands = count / _THOUSAND
        return f"{thousands:.1f}k" if thousands < 10 else f"{thousands:.0f}k"  # noqa: PLR2004 - as above
    return f"{count / _MILLION:.1f}M"


def brief_cost(cost: float | None) -> str:
    """Return *cost* in US dollars in few letters: ``<1¢``, ``$0.12``; empty when it is not known."""
    if cost is None:
        return ""
    return "<1¢" if 0 < cost < _CENT else f"${cost:,.2f}"


def duration(seconds: float | None) -> str:
    """Return *seconds* for people."""
    if seconds is None:
        return "…"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    return f"{int(seconds // _MINUTE)} min {seconds % _MINUTE:.0f} s"


def known(show: Callable[[Any], str], value: float | None, otherwise: str = "") -> str:
    """Return *value* as *show* puts it, or *otherwise* if it is None."""
    return otherwise if value is None else show(value)


def tokens(given: int | None, made: int | None) -> str:
    """Return the input and output tokens for people."""
    return "" if given is None and made is None else f"{given or 0:,} → {made or 0:,} tokens"


def file_size(count: int) -> str:
    """Return *count* bytes for people, in decimal units as Ollama shows them."""
    amount = float(count)
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if amount < _THOUSAND - 0.5:  # more would be rounded to a thousand
            return f"{amount:.3g} {unit}"
        amount /= _THOUSAND
    return f"{amount:.3g} EB"


def window_size(tokens: int) -> str:
    """Return *tokens* as models are advertised: 131,072 as 128k, 200,000 as 200k."""
    for unit in (1024, 1000):
        if tokens >= unit and tokens % unit == 0:
            return f"{tokens // unit}k"
    return f"{tokens:,}"
