"""Rules for the switches and small numbers in a model's settings. Pure.

Each returns its value, or raises a `ValueError` that says what to write instead.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, get_args

Overflow: TypeAlias = Literal["error", "truncate"]
"""What happens to a prompt that does not fit the context window."""
MOST_REPAIRS = 10


def check_overflow(value: object) -> Overflow:
    """Return *value*, if it says what happens to a prompt that does not fit."""
    if not isinstance(value, str) or value not in get_args(Overflow):
        raise ValueError("write 'error' or 'truncate'")
    return cast("Overflow", value)


def check_flag(value: object) -> bool:
    """Return *value*, if it is True or False.

    Raises:
        ValueError: It is something else. Text is refused, because "false" would count as true.
    """
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


def check_concurrency(value: object) -> int | None:
    """Return *value*, if it is how many requests a server may get at once; None is any number."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
        return value
    raise ValueError("write a whole number of at least 1")
