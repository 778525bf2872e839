"""Where each setting came from. Pure: nothing here reads a file or the environment.

A source records an `Entry` for each of its values: a path, a value and an `Origin`. The library
merges the trees of the sources; `trace_origins` says, by the same rule, which entry won each key.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, cast

from pydantic import BaseModel
from pydantic_settings import SettingsError

KeyPath: TypeAlias = tuple[str, ...]
_DEEPEST = 50
"""No setting is nested this deep. Deeper tables would overflow the stack."""

SourceKind = Literal["argument", "environment", "dotenv", "secrets", "toml", "foreign", "default"]


@dataclass(frozen=True, slots=True)
class Origin:
    """One place that gives a value.

    Attributes:
        kind: The kind of source; ``"foreign"`` for a source that an application added.
        location: Where a reader finds it: ``"argument"``, ``"environment variable NAME"``,
            ``".env:3"``, ``"secrets file /run/secrets/NAME"``, ``"timestep.toml:12"``, the class of
            a foreign source, or ``"default"``.
        variable: The name of the variable or of the secrets file in upper case, or None.
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
        winner: The place that sets the value.
        losers: The places whose values were overridden, strongest first.
    """

    key: str
    winner: Origin
    losers: tuple[Origin, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """One value from one source. An empty table is an entry too, so that it is not lost."""

    path: KeyPath
    value: Any = field(repr=False)
    origin: Origin

    @property
    def is_empty_table(self) -> bool:
        """True for an empty table, which gives way to any value below it."""
        return bool(self.value == {})


def flatten(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the leaves of *value* with their paths. Tables and sections are opened, lists are not."""
    if len(path) > _DEEPEST or (not isinstance(value, Mapping) and _is_deep(value)):
        raise SettingsError(
            f"{dotted(path[:4])}…: tables and lists are nested more than {_DEEPEST} deep; "
            "remove that key"
        )
    if isinstance(value, BaseModel):
        value = {name: getattr(value, name) for name in value.model_fields_set}
    if isinstance(value, Mapping) and value:
        for key, below in cast("Mapping[object, object]", value).items():
            yield from flatten(below, (*path, str(key)))
    else:
        yield path, value


def _is_deep(value: object, levels: int = _DEEPEST) -> bool:
    """Return True when lists and tables in *value* are nested more than *levels* deep."""
    if isinstance(value, Mapping):
        value = list(cast("Mapping[object, object]", value).values())
    if not isinstance(value, list | tuple):
        return False
    below = cast("Iterable[object]", value)
    return levels == 0 or any(_is_deep(item, levels - 1) for item in below)


def to_tree(entries: Iterable[Entry]) -> dict[str, Any]:
    """Return the nested tables that *entries* describe; of two entries for a path the last wins."""
    root: dict[str, Any] = {}
    for entry in entries:
        node = root
        for key in entry.path[:-1]:
            node = node.setdefault(key, {})
        if entry.is_empty_table:
            node.setdefault(entry.path[-1], {})
        else:
            node[entry.path[-1]] = entry.value
    return root


def trace_origins(entries: Iterable[Entry]) -> dict[str, KeyOrigin]:
    """Return the origin of every key by its dotted name. *entries* come strongest first.

    Tables merge key by key. A plain value hides what weaker sources have at or below its path.
    """
    winners: dict[KeyPath, Entry] = {}
    losers: dict[KeyPath, list[Origin]] = {}
    tables: set[KeyPath] = set()
    for entry in entries:
        above = [entry.path[:length] for length in range(len(entry.path) + 1)]
        rival = next(
            (path for path in above if path in winners and not winners[path].is_empty_table), None
        )
        if rival is not None:
            losers.setdefault(rival, []).append(entry.origin)
        elif entry.path not in winners and entry.path not in tables:
            winners[entry.path] = entry
            tables.update(above[:-1])
    return {
        dotted(path): KeyOrigin(dotted(path), entry.origin, tuple(losers.get(path, ())))
        for path, entry in winners.items()
        if not (entry.is_empty_table and path in tables)  # a weaker source fills it
    }


def dotted(path: Iterable[object]) -> str:
    """Return *path* as a TOML key: parts have quotes where TOML needs them."""
    return ".".join(
        key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else quoted(key) for key in map(str, path)
    )


def quoted(text: str) -> str:
    """Return *text* as a string of TOML."""
    # JSON escapes all that TOML does, except this character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_value(value: Any) -> str:
    """Return *value* on one line of TOML; None, which TOML does not have, becomes an empty text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, Mapping):
        table = cast("Mapping[object, Any]", value)
        pairs = ", ".join(f"{dotted([key])} = {toml_value(below)}" for key, below in table.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, cast('list[Any]', value)))}]"
    return quoted("" if value is None else str(value))
