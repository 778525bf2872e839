"""The options that Ollama knows, and their types. Pure.

Source: ollama ``api/types.go`` (``Options``, ``Runner``), v0.33.0.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, cast

from timestep.net.nearest import nearest

INTEGERS = frozenset(
    {
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    }
)
FLOATS = frozenset(
    {
        "top_p",
        "min_p",
        "typical_p",
        "temperature",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
)
BOOLEANS = frozenset({"use_mmap"})
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_FLOAT = 3.4028234e38
"""Of Go's ``int`` and ``float32``."""
OPTION_NAMES = INTEGERS | FLOATS | BOOLEANS | {"stop"}
"""Every option that Ollama knows."""


class WrongEntryError(ValueError):
    """One entry of a table cannot be used."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name  # the name of the entry


def check_options(options: object) -> dict[str, Any]:
    """Return a copy of *options* without the unset ones, and with ``stop`` as a list.

    A name that Ollama does not know is kept, for newer servers; see `unknown_options`.
    """
    return {
        name: _checked(name, value)
        for name, value in named_options(options).items()
        if value is not None
    }


def named_options(options: object) -> Mapping[str, Any]:
    """Return *options*, if they are options by name."""
    named = cast("Mapping[Any, Any]", options)
    if isinstance(options, Mapping) and all(isinstance(name, str) for name in named):
        return named
    raise ValueError(
        f"options are of type {type(named).__name__}; write a table of Ollama options by name"
    )


def unknown_options(names: Iterable[str]) -> list[str]:
    """Return a phrase for each of *names* that Ollama does not know."""
    return [f"options.{name} ({reason})" for name in names if (reason := unknown_option(name))]


def unknown_option(name: str) -> str:
    """Return why the option *name* has no effect; empty if Ollama knows it."""
    if name in OPTION_NAMES:
        return ""
    near = nearest(name, OPTION_NAMES)
    return f"no option of Ollama; did you mean {near!r}?" if near else "no option of Ollama"


def _checked(name: str, value: Any) -> Any:
    if name == "stop" and isinstance(value, str):
        return [value]
    wanted = _wanted(name, value) if name in OPTION_NAMES else None
    if wanted is not None:
        raise WrongEntryError(
            name, f"the Ollama option {name!r} must be {wanted}, and is {_shown(value)}"
        )
    return value


def _shown(value: Any) -> str:
    """Return what is wrong with *value* in words; never the value itself."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "infinite"
    return f"of type {type(value).__name__}"


def _wanted(name: str, value: Any) -> str | None:
    """Return what *value* should have been; None if it is right."""
    if name in INTEGERS:
        is_whole = _is_number(value, _LARGEST_INTEGER) and float(value).is_integer()
        return None if is_whole else "a whole number of at most 64 bits"
    if name in FLOATS:
        return None if _is_number(value, _LARGEST_FLOAT) else "a number of at most 32 bits"
    if name in BOOLEANS:
        return None if isinstance(value, bool) else "true or false"
    is_texts = isinstance(value, list | tuple) and all(
        isinstance(text, str) for text in cast("list[Any]", value)
    )
    return None if is_texts else "a string or a list of strings"


def _is_number(value: Any, largest: float) -> bool:
    """Return True for a finite number that the server's type can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= largest
