"""Where each setting came from, and how the sources become one tree.

Every source is a list of `Entry`: a path, a value and an `Origin`. `merge` takes the entries of
all sources, strongest first, and keeps the first value of every path; so tables merge deeply and
an override touches only the key it names. Pure: nothing here reads a file or the environment.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel
from pydantic_settings import SettingsError

KeyPath: TypeAlias = tuple[str, ...]
_DEEPEST = 50
"""No setting is nested so deep, and what is deeper would overflow the stack."""

SourceKind = Literal["argument", "environment", "dotenv", "secrets", "toml", "default"]


@dataclass(frozen=True, slots=True)
class Origin:
    """One place that gives a value.

    Attributes:
        kind: The kind of source.
        location: Where a reader finds it: ``"argument"``, ``"environment variable NAME"``,
            ``".env:3"``, ``"secrets file /run/secrets/NAME"``, ``"timestep.toml:12"``,
            ``"default"``.
        variable: The name of the variable or secrets file, in upper case, where there is one.
    """

    kind: SourceKind
    location: str
    variable: str | None = None

    def __str__(self) -> str:
        return self.location


DEFAULT = Origin("default", "default")


@dataclass(frozen=True, slots=True)
class KeyOrigin:
    """Where the value of one key came from.

    Attributes:
        key: The dotted key, quoted as in TOML: ``ollama.models."llama3.2".num_ctx``.
        winner: The place whose value holds.
        losers: The places whose values were overridden, strongest first.
    """

    key: str
    winner: Origin
    losers: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One value from one source; an empty table is an entry too, so that it is not lost."""

    path: KeyPath
    value: Any = field(repr=False)
    origin: Origin

    @property
    def is_table(self) -> bool:
        """True for an empty table, which gives way to any value below it."""
        return isinstance(self.value, Mapping)


def flatten(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """The leaves of *value* with their paths: tables and sections are opened, lists are not.

    Raises:
        SettingsError: Tables are nested too deep.
    """
    if len(path) > _DEEPEST:
        raise SettingsError(
            f"{dotted(path[:4])}…: tables are nested more than {_DEEPEST} deep, which no setting "
            "is; take that key out"
        )
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in value.model_fields_set}
    if isinstance(value, Mapping) and value:
        for key, below in cast("Mapping[object, object]", value).items():
            yield from flatten(below, (*path, str(key)))
    else:
        yield path, value


def merge(entries: Iterable[Entry]) -> tuple[list[Entry], dict[str, KeyOrigin]]:
    """The entries that win, and the origin of every key; *entries* come strongest first."""
    winners: dict[KeyPath, Entry] = {}
    losers: dict[KeyPath, list[Origin]] = {}
    tables: set[KeyPath] = set()
    for entry in entries:
        above = [entry.path[:length] for length in range(len(entry.path) + 1)]
        rival = next(
            (path for path in above if path in winners and not winners[path].is_table), None
        )
        if rival is not None:
            losers.setdefault(rival, []).append(entry.origin)
        elif entry.path in winners or entry.path in tables:
            continue  # an empty table, or a value where stronger sources hold a table
        else:
            winners[entry.path] = entry
            tables.update(above[:-1])
    origins = {
        dotted(path): KeyOrigin(dotted(path), entry.origin, tuple(losers.get(path, ())))
        for path, entry in winners.items()
    }
    return list(winners.values()), origins


def to_tree(entries: Iterable[Entry]) -> dict[str, Any]:
    """The nested tables that winning *entries* describe."""
    root: dict[str, Any] = {}
    for entry in entries:
        node = root
        for key in entry.path[:-1]:
            node = node.setdefault(key, {})
        if entry.is_table:
            node.setdefault(entry.path[-1], {})
        else:
            node[entry.path[-1]] = entry.value
    return root


def dotted(path: Iterable[object]) -> str:
    """*path* as a TOML key: bare where TOML allows it, else quoted."""
    return ".".join(
        str(key) if re.fullmatch(r"[A-Za-z0-9_-]+", str(key)) else f'"{key}"' for key in path
    )
