"""The tables of docs/settings.md, written from the models. ``scripts/docs`` calls it."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from timestep.config.kinds import KINDS
from timestep.config.provenance import KeyPath, dotted
from timestep.config.settings import Settings
from timestep.config.shape import arms_at, is_model
from timestep.config.sources.variables import SHORT_NAMES

_HEADER = """\
| key | type | default | |
|---|---|---|---|"""
_TYPE_NAMES = {SecretStr: "secret", str: "text", bool: "true or false", int: "number", Path: "path"}


class _Use(NamedTuple):
    """A key in one place: a kind of provider, or a table such as ``[openai]``."""

    place: str
    path: KeyPath
    field: FieldInfo


def settings_table() -> str:
    """Return the settings outside the servers' tables as a Markdown table."""
    rows: list[str] = []
    for name, field in Settings.model_fields.items():
        if name in {"openai", "ollama", "providers"}:
            continue
        uses = list(_uses_of_table(name)) or [_Use(name, _path_of(name), field)]
        rows += [_row(dotted(use.path), [use]) for use in uses]
    return "\n".join([_HEADER, *rows])


def server_tables() -> str:
    """Return the settings of servers, each once: a markdown table for the kinds that share it."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name, uses in _uses_of_servers().items():
        kinds = tuple(kind for kind in KINDS if any(use.place == kind for use in uses))
        groups.setdefault(kinds, []).append(_row(name, uses))
    ordered = sorted(groups, key=lambda kinds: -len(kinds))
    return "\n\n".join("\n".join([_title(kinds), _HEADER, *groups[kinds]]) for kinds in ordered)


def _path_of(name: str) -> KeyPath:
    return (name, "NAME") if name == "aliases" else (name,)


def _uses_of_table(name: str) -> Iterator[_Use]:
    for table in arms_at(Settings, [name]):
        if is_model(table):
            for key, field in table.model_fields.items():
                yield _Use(f"`[{name}]`", (name, key), field)


def _uses_of_servers() -> dict[str, list[_Use]]:
    """Return where each key of a server is used: in which kinds, and where else it differs."""
    found: dict[str, list[_Use]] = {}
    for kind, record in KINDS.items():
        for name, field in record.table.model_fields.items():
            found.setdefault(name, []).append(_Use(kind, ("providers", "NAME", name), field))
    for table in ("openai", "ollama"):
        for use in _uses_of_table(table):
            uses = found.setdefault(use.path[-1], [])
            shown = [(_default(same), _text(same)) for same in uses if same.place == table]
            if (_default(use), _text(use)) not in shown:
                uses.insert(0, use)
    return found


def _title(kinds: Sequence[str]) -> str:
    if len(kinds) == len(KINDS):
        return "### Every server\n"
    if not kinds:
        return "### The table `[openai]` alone\n"
    return f"### {' and '.join([', '.join(kinds[:-1]), kinds[-1]] if kinds[1:] else kinds)}\n"


def _row(name: str, uses: Sequence[_Use]) -> str:
    short = [short for short, (_, *key) in SHORT_NAMES.items() if key == [name]]
    names = "<br>".join(f"`{each}`" for each in [name, *short])
    types = _type(uses[-1].path)
    return f"| {names} | {types} | {_merged(uses, _default)} | {_merged(uses, _text)} |"


def _merged(uses: Iterable[_Use], read: Any) -> str:
    """Return what *read* makes of the uses: once where it is the same, else with the places."""
    places: dict[str, list[str]] = {}
    for use in uses:
        places.setdefault(read(use), []).append(use.place)
    if len(places) == 1:
        return next(iter(places))
    return "<br>".join(f"{', '.join(names)}: {text}" for text, names in places.items() if text)


def _text(use: _Use) -> str:
    return " ".join((use.field.description or "").split())


def _default(use: _Use) -> str:
    value: Any = use.field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value in ({}, (), []):
        return ""
    shown = ", ".join(value) if isinstance(value, tuple) else str(value).lower()
    return f"`{shown}`"


def _type(path: KeyPath) -> str:
    if path[-1] == "kind":
        return " or ".join([*(f"`{kind}`" for kind in KINDS), "a plug-in's"])
    names = [_type_name(arm) for arm in arms_at(Settings, path) if arm not in {type(None), Any}]
    return " or ".join(dict.fromkeys(names))


def _type_name(arm: Any) -> str:
    if get_origin(arm) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(arm))
    if get_origin(arm) is dict or is_model(arm):
        return "table"
    return "list" if get_origin(arm) in {list, Sequence} else _TYPE_NAMES.get(arm, "number")
