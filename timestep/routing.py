"""From a requested model name to the names that providers are asked for. Pure.

The rules for aliases, their targets and prefixes are here too. The settings and the constructors
call them; a `ValueError` says what to write instead.
"""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NotRequired, TypedDict, cast

from timestep.net.setting_values import split_commas
from timestep.net.unresolved import check_read


class AliasTable(TypedDict):
    """An alias with settings.

    Attributes:
        model: A model's name, or a list of names.
        settings: An `agents.ModelSettings`, or a dict of its fields. Those of a call win.
    """

    model: str | Sequence[str]
    settings: NotRequired[object]


Aliases = Mapping[str, str | Sequence[str] | AliasTable]
Targets = Mapping[str, str | Sequence[str]]


def split_prefix(name: str) -> tuple[str | None, str]:
    """Return the prefix of *name* and the rest, split at the first slash; None without a slash.

    Everything after the first slash belongs to the rest, verbatim:
    ``"ollama/hf.co/user/repo:Q4_K_M"`` is ``("ollama", "hf.co/user/repo:Q4_K_M")``.
    """
    prefix, slash, rest = name.partition("/")
    return (prefix, rest) if slash else (None, name)


def chain(
    name: str | None, aliases: Targets, default: str | Sequence[str] | None = None
) -> list[str]:
    """Return the model names that *name* stands for, first choice first, each once.

    None stands for *default*. An alias is compared with the whole name, case and all, and so wins
    over a prefix; one that lists several names stands for all of them. The aliases form no ring;
    see `find_ring`.
    """
    return list(routes(name, aliases, default))


def routes(
    name: str | None, aliases: Targets, default: str | Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Return the aliases on the way to each model of `chain`, by model; the outermost comes first."""
    start = default if name is None else name
    waiting: list[tuple[str, list[str]]] = []
    if start is not None:
        waiting = [(model, []) for model in targets(start)[::-1]]
    seen: set[str] = set()
    found: dict[str, list[str]] = {}
    while waiting:
        current, way = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current in aliases:
            waiting += [(model, [*way, current]) for model in targets(aliases[current])[::-1]]
        else:
            found[current] = way
    return found


def find_ring(aliases: Targets) -> list[str]:
    """Return aliases that lead back to themselves, as in ``[a, b, a]``; empty without a ring."""
    try:
        TopologicalSorter({alias: targets(names) for alias, names in aliases.items()}).prepare()
    except CycleError as exc:
        return list(reversed(exc.args[1]))
    return []


def describe_ring(ring: Sequence[str]) -> str:
    """Return what is wrong with *ring*, and the way out."""
    return (
        f"the aliases form a ring: {' -> '.join(ring)}; let one of them name a model, as in "
        '"ollama/qwen3:4b"'
    )


def targets(target: str | Sequence[str]) -> list[str]:
    """Return the names that *target* lists, first choice first."""
    return [target] if isinstance(target, str) else list(target)


def check_target(given: object) -> str | list[str]:
    """Return *given* without spaces around it, if it names a model or lists several."""
    target = split_commas(given)
    if isinstance(target, str):
        return _check_name(target)
    if not isinstance(target, list | tuple):
        raise ValueError(f"it is {type(target).__name__}; write a model's name, or a list of names")
    if not target:
        raise ValueError("the list is empty; name at least 1 model")
    names = enumerate(cast("Sequence[object]", target), start=1)
    return [_check_name(name, f"number {number} of the list") for number, name in names]


def check_alias_target(given: object) -> str | list[str]:
    """Return the names that an alias stands for, where *given* may be a table with ``model``."""
    if not isinstance(given, Mapping):
        return check_target(given)
    table = cast("Mapping[object, object]", given)
    if "model" not in table or table.keys() - {"model", "settings"}:
        raise ValueError("the table of an alias has the key model and, if needed, settings")
    return check_target(table["model"])


def check_alias(name: object) -> str:
    """Return *name*, if it can be an alias."""
    if not isinstance(name, str) or not name or name != name.strip():
        raise ValueError(
            'the name of an alias must not begin or end with a space, as in fast = "ollama/qwen3:4b"'
        )
    return name


def check_prefix(prefix: object) -> str:
    """Return *prefix*, if it can be the part of a model name before the first slash."""
    if (
        not isinstance(prefix, str)
        or not prefix
        or not prefix.isprintable()
        or {" ", "/"} & set(prefix)
    ):
        raise ValueError(
            f"{prefix!r} cannot be a prefix: it is the part of a model name before the first slash, "
            "without a space, such as 'groq'"
        )
    return prefix


def _check_name(name: object, what: str = "it") -> str:
    if not isinstance(name, str):
        raise ValueError(f"{what} is {type(name).__name__}; write a model's name")
    if not name.strip():
        raise ValueError(f'{what} is empty; name a model such as "ollama/llama3.2"')
    check_read(name.strip(), what, but={"url"})
    return name.strip()
