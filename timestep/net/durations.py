"""How long a model stays loaded: seconds, or a duration as Go writes it. Pure."""

import re
import sys

_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]+)", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_LONGEST = (2**63 - 1) / 1e9
"""Seconds: Go counts a duration in nanoseconds, as an ``int64``."""


def check_keep_alive(value: object) -> float | str:
    """Return *value* as a server takes it: a number of seconds, or text with units.

    Text that is only a number becomes one, because a server refuses ``"300"``.

    Source: Go's ``time.ParseDuration``; ollama ``api/types.go`` (``Duration``), v0.33.0.

    Raises:
        ValueError: It is not a finite number and not a duration. The message holds no value.
    """
    if isinstance(value, str):
        text = value.strip()
        if _DURATION.fullmatch(text) and _length(text) < _LONGEST:
            return text
        if _SECONDS.fullmatch(text):
            return float(text) if "." in text else int(text)
    elif (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
    ):
        return value
    raise ValueError(
        'write a duration such as "10m" or "1h30m", seconds as a number such as 300, -1 to keep '
        "the model loaded, or 0 to unload it"
    )


def _length(text: str) -> float:
    """The seconds that the duration *text* lasts, without its sign."""
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
