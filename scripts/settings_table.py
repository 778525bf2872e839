"""The table of settings in README.md, written from the models. ``scripts/docs`` calls it."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from timestep.config.kinds import KINDS
from timestep.config.provenance import KeyPath, dotted
from timestep.config.settings import Settings
from timestep.config.shape import arms_at, is_model
from timestep.config.sources.variables import SHORT_NAMES, variable_name

_HEADER = """\
| environment | TOML | type | default | |
|---|---|---|---|---|"""
_TYPE_NAMES = {SecretStr: "secret", str: "text", bool: "true or false", int: "number", Path: "path"}


def settings_table() -> str:
    """Return every setting as a row of a markdown table, in the order of the models."""
    rows = [_row(path, field, field.description) for path, field in _sections()]
    rows += [_row(path, field, description) for path, field, description in _providers()]
    return "\n".join([_HEADER, *rows])


def _sections() -> Iterator[tuple[KeyPath, FieldInfo]]:
    for name, field in Settings.model_fields.items():
        sections = [arm for arm in arms_at(Settings, [name]) if is_model(arm)]
        for section in sections:
            yield from (((name, below), found) for below, found in section.model_fields.items())
        if name == "aliases":
            yield (name, "NAME"), field
        elif name != "providers" and not sections:
            yield (name,), field


def _providers() -> Iterator[tuple[KeyPath, FieldInfo, str]]:
    """Yield the keys of all kinds, each once, described for every kind that has it."""
    fields: dict[str, dict[str, FieldInfo]] = {}
    for kind, record in KINDS.items():
        for name, field in record.table.model_fields.items():
            fields.setdefault(name, {})[kind] = field
    for name in sorted(fields, key=lambda name: name != "kind"):
        kinds = fields[name]
        field = min(kinds.values(), key=FieldInfo.is_required)
        yield ("providers", "NAME", name), field, _description(kinds)


def _description(kinds: dict[str, FieldInfo]) -> str:
    """Return what a key is for, and which kinds have or need it when not all of them do."""
    by_text: dict[str, list[str]] = {}
    for kind, field in kinds.items():
        by_text.setdefault(field.description or "", []).append(kind)
    needing = [kind for kind, field in kinds.items() if field.is_required()]
    note = f" ({', '.join(needing)}: required)" if 0 < len(needing) < len(KINDS) else ""
    if len(by_text) > 1:
        return " ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items()) + note
    text = next(iter(by_text))
    return text + (note or ("" if len(kinds) == len(KINDS) else f" ({', '.join(kinds)})"))


def _row(path: KeyPath, field: FieldInfo, description: str | None) -> str:
    short = [name for name, target in SHORT_NAMES.items() if target == path]
    variables = ", ".join(f"`{name}`" for name in [*short, variable_name(path)])
    text = " ".join((description or "").split())
    return f"| {variables} | `{dotted(path)}` | {_type(path)} | {_default(field)} | {text} |"


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


def _default(field: FieldInfo) -> str:
    value: Any = field.get_default(call_default_factory=True, validated_data={})
    if value is PydanticUndefined:
        return "required"
    if value is None or value == {}:
        return ""
    shown = list(value) if isinstance(value, tuple) else value
    return f"`{str(shown).lower()}`"
