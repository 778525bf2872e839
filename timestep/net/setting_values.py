"""Rules for the switches, numbers, lists, durations and patterns of settings. Pure.

Each returns its value, or raises a `ValueError` that says what to write instead and holds no value.
"""

import re
import sys
from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

Overflow: TypeAlias = Literal["error", "truncate"]
"""What happens to a prompt that does not fit the context window."""
REPAIRS, MOST_REPAIRS = 1, 10
RETRIES, MOST_RETRIES = 2, 100
"""How many times a model is asked again, and a request is sent again, if nothing else is set."""

_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_PART = re.compile(r"(\d+\.?\d*|\.\d+)([a-zµμ]+)", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_LONGEST = (2**63 - 1) / 1e9
"""Seconds: Go counts a duration in nanoseconds, as an ``int64``."""


def check_overflow(value: object) -> Overflow:
    """Return *value*, if it says what happens to a prompt that does not fit."""
    if not isinstance(value, str) or value not in get_args(Overflow):
        raise ValueError("write 'error' or 'truncate'")
    return cast("Overflow", value)


def check_flag(value: object) -> bool:
    """Return *value*, if it is True or False."""
    if not isinstance(value, bool):
        raise ValueError(f"it is {type(value).__name__}; write True or False")
    return value


def check_for_models(value: object) -> bool | list[str]:
    """Return *value*, if it says for which models a switch is on: all, none, or a list of names."""
    if isinstance(value, bool):
        return value
    names = cast("Sequence[object]", value)
    if not isinstance(value, list | tuple) or not all(
        isinstance(name, str) and name.strip() for name in names
    ):
        raise ValueError(
            f"it is {type(names).__name__}; write True or False or a list of model names"
        )
    return [str(name).strip() for name in names]


def check_repairs(value: object) -> int:
    """Return *value*, if it is how many times a model may be asked again for one answer."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_REPAIRS:
        raise ValueError(f"write a whole number from 0 to {MOST_REPAIRS}")
    return value


def check_retries(value: object) -> int:
    """Return *value*, if it is how many times a request may be sent again."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_RETRIES:
        raise ValueError(f"write a whole number from 0 to {MOST_RETRIES}")
    return value


def check_concurrency(value: object) -> int | None:
    """Return *value*, if it is how many requests a server may get at once; None is any number."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("write a whole number of at least 1")


def check_keep_alive(value: object) -> float | str:
    """Return *value* as a server takes it: a number of seconds, or text with units.

    Text that is only a number becomes one, because a server refuses ``"300"``.

    Source: Go's ``time.ParseDuration``; ollama ``api/types.go`` (``Duration``), v0.33.0.
    """
    if isinstance(value, str):
        text = value.strip()
        if _DURATION.fullmatch(text):
            parts = _PART.findall(text)
            if sum(float(number) * _UNITS[unit] for number, unit in parts) < _LONGEST:
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


def check_pattern(pattern: str) -> str:
    """Return *pattern*, if it is a regular expression that does not match everywhere."""
    try:
        is_useless = re.compile(pattern).search("") is not None
    except re.error as exc:
        reason = re.sub(r"'.*'|\".*\"", "…", str(exc))  # repeats names of the pattern
        raise ValueError(f"this is not a regular expression: {reason}") from None
    except (RecursionError, OverflowError):
        raise ValueError("this is not a regular expression: it is nested too deep") from None
    if is_useless:
        raise ValueError("this pattern matches the empty text, so it matches everywhere")
    return pattern


def split_commas(value: object) -> object:
    """Return the parts of text that has commas, without the empty ones; anything else as it is.

    A variable holds nothing but text, so commas are how it lists names and servers.
    """
    if not isinstance(value, str):
        return value
    begins = value.lstrip()[:1]
    if begins in {"[", "{"} and not re.match(r"\s*\[[0-9A-Fa-f:.]+\]", value):  # an IPv6 host
        kind = "list" if begins == "[" else "table"
        raise ValueError(f'this begins as a JSON {kind} and is not one; write ["a", "b"], or a, b')
    if "," not in value:
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
