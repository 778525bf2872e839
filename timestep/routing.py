"""From a requested model name to the names providers are asked for. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Literal, TypeAlias, cast, get_args

Aliases = Mapping[str, str | Sequence[str]]

FallbackReason: TypeAlias = Literal[
    "connection", "timeout", "not_found", "busy", "rate_limit", "broken", "authentication"
]
"""Why a chain of models may go on to its next one."""

_REASONS: tuple[FallbackReason, ...] = get_args(FallbackReason)
_LONGEST = 1e9
"""Seconds, some thirty years; any clock can add as much."""

USUAL_REASONS: tuple[FallbackReason, ...] = (
    "connection",
    "timeout",
    "not_found",
    "busy",
    "rate_limit",
)


@dataclass(frozen=True, slots=True)
class FallbackRules:
    """When a chain of models goes on to its next one.

    Attributes:
        on: The failures after which it does; kept as a tuple.
        attempts: How many models one call asks at most; None for all of them.
        cool_down: For how many seconds a model that failed is passed over; 0 for not at all.

    Raises:
        ValueError: One of them cannot be used.
    """

    on: Sequence[FallbackReason] = USUAL_REASONS
    attempts: int | None = None
    cool_down: float = 30.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "on", _reasons(self.on))
        attempts: object = self.attempts
        if attempts is not None and (type(attempts) is not int or attempts < 1):
            raise ValueError(f"attempts is {_shown(attempts)}; write 1 or more, or leave it out")
        seconds: object = self.cool_down
        if type(seconds) not in {int, float} or not 0 <= self.cool_down <= _LONGEST:
            raise ValueError(f"cool_down is {_shown(seconds)}; write 0 or more seconds, to 1e9")


def _reasons(given: object) -> tuple[FallbackReason, ...]:
    """The reasons that *given* lists, copied.

    Raises:
        ValueError: It is no list, or holds what is no reason.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        example = given if isinstance(given, str) and given in _REASONS else "busy"
        raise ValueError(f"on is {_shown(given)}; write a list, as in [{example!r}]")
    reasons = tuple(cast("Iterable[FallbackReason]", given))
    for reason in reasons:
        if reason not in _REASONS:
            known = ", ".join(_REASONS)
            raise ValueError(f"no chain goes on after {_shown(reason)}; known are {known}")
    return reasons


def _shown(value: object) -> str:
    """*value* for an error; an integer may be too long to be written down."""
    return "too large" if isinstance(value, int) and abs(value) > _LONGEST else repr(value)


def split_prefix(name: str) -> tuple[str | None, str]:
    """The prefix of *name* and the rest, split at the first slash; None without a slash.

    Everything after the first slash belongs to the rest, verbatim:
    ``"ollama/hf.co/user/repo:Q4_K_M"`` is ``("ollama", "hf.co/user/repo:Q4_K_M")``.
    """
    prefix, slash, rest = name.partition("/")
    return (prefix, rest) if slash else (None, name)


def chain(
    name: str | None, aliases: Aliases, default: str | Sequence[str] | None = None
) -> list[str]:
    """The names of models that *name* stands for, first choice first, each once.

    Like `resolve`, but an alias that lists several names stands for all of them. The aliases form
    no ring; see `find_ring`.
    """
    start = default if name is None else name
    waiting = [] if start is None else targets(start)[::-1]
    seen: set[str] = set()
    found: list[str] = []
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in aliases:
            waiting += targets(aliases[current])[::-1]
        else:
            found.append(current)
    return found


def resolve(
    name: str | None, aliases: Aliases, default: str | Sequence[str] | None = None
) -> str | None:
    """The name that *name* stands for: *default* for None, then alias after alias.

    An alias is compared with the whole name, case and all, and so wins over a prefix. Where
    several names are listed, the first is taken. None when neither a name nor a default is given.

    Raises:
        ValueError: The aliases form a ring.
    """
    start = default if name is None else name
    current = None if start is None else targets(start)[0]
    followed: list[str] = []
    while current is not None and current in aliases:
        followed.append(current)
        current = targets(aliases[current])[0]
        if current in followed:
            raise ValueError(describe_ring([*followed[followed.index(current) :], current]))
    return current


def find_ring(aliases: Aliases) -> list[str]:
    """Aliases that lead back to themselves, by any of the names they list: ``[a, b, a]``.

    Empty when every alias ends at a model.
    """
    try:
        TopologicalSorter({alias: targets(names) for alias, names in aliases.items()}).prepare()
    except CycleError as exc:
        return list(reversed(exc.args[1]))
    return []


def describe_ring(ring: Sequence[str]) -> str:
    """What is wrong with *ring*, and the way out."""
    return (
        f"the aliases form a ring: {' -> '.join(ring)}; let one of them name a model, as in "
        '"ollama/qwen3:4b"'
    )


def targets(target: str | Sequence[str]) -> list[str]:
    """The model names an alias lists, first choice first."""
    return [target] if isinstance(target, str) else list(target)
