"""From a requested model name to the name a provider is asked for. Pure."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

Aliases = Mapping[str, str | Sequence[str]]


def split_prefix(name: str) -> tuple[str | None, str]:
    """The prefix of *name* and the rest, split at the first slash; None without a slash.

    Everything after the first slash belongs to the rest, verbatim:
    ``"ollama/hf.co/user/repo:Q4_K_M"`` is ``("ollama", "hf.co/user/repo:Q4_K_M")``.
    """
    prefix, slash, rest = name.partition("/")
    return (prefix, rest) if slash else (None, name)


def resolve(name: str | None, aliases: Aliases, default: str | None = None) -> str | None:
    """The name that *name* stands for: *default* for None, then alias after alias.

    An alias is compared with the whole name, case and all, and so wins over a prefix. Of an alias
    that lists several names the first is taken. None when neither a name nor a default is given.

    Raises:
        ValueError: The aliases form a ring.
    """
    current = default if name is None else name
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
