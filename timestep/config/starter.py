"""The configuration file that ``timestep config init`` writes, made from the models. Pure."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from timestep.config.kinds import KINDS
from timestep.config.provenance import KeyPath, dotted, toml_value
from timestep.config.settings import Settings
from timestep.config.shape import arms, is_model, is_table
from timestep.config.sources.variables import names_of

SCHEMA_FILE = "timestep.schema.json"
_HEADER = f"""\
#:schema ./{SCHEMA_FILE}
# The settings of timestep. None has an effect yet: remove the # before a table and before the
# keys you want. A variable wins over this file; "timestep config explain KEY" shows which one did.
"""
_WIDTH = 98


def settings_template() -> str:
    """Return a TOML file with every setting, its description and an example, all commented out."""
    top_level = (
        _key((name,), field)
        for name, field in Settings.model_fields.items()
        if not any(map(is_table, arms(field.annotation)))
    )
    return "\n".join([_HEADER, *top_level, *_sections(), *_providers()])


def _sections() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        [arm, *_] = arms(field.annotation)
        if is_model(arm):
            yield from _section((name,), field.description, arm)
        elif is_table(arm) and field.examples:
            yield from _tables((name,), field)


def _providers() -> Iterator[str]:
    """Yield one provider of each kind, with its most important keys."""
    yield _words(
        f"{Settings.model_fields['providers'].description} Kinds: {', '.join(KINDS)}; the first two "
        "take the other keys of their sections above too."
    )
    for kind in KINDS.values():
        path = ("providers", kind.example)
        yield f"{_words(kind.table.__doc__ or '')}#[{dotted(path)}]\n#kind = {toml_value(kind.name)}"
        for name in ("base_url", "api_key"):
            yield _key((*path, name), kind.table.model_fields[name], with_variables=False).rstrip()
        yield ""


def _section(path: KeyPath, description: str | None, model: type[BaseModel]) -> Iterator[str]:
    yield f"{_words(description or '')}#[{dotted(path)}]\n"
    below = {
        name: field
        for name, field in model.model_fields.items()
        if all(is_table(arm) and not is_model(arm) for arm in arms(field.annotation))
    }
    for name, field in model.model_fields.items():
        if name not in below:
            yield _key((*path, name), field)
    for name, field in below.items():
        yield from _tables((*path, name), field)


def _tables(path: KeyPath, field: FieldInfo) -> Iterator[str]:
    """Yield the table at *path*, and the tables in its example."""
    yield _words(_described(path, field, suffix="__NAME")) + _table(path, _example(path, field))


def _table(path: KeyPath, example: Mapping[str, Any]) -> str:
    below = {k: cast("Mapping[str, Any]", v) for k, v in example.items() if isinstance(v, Mapping)}
    lines = [
        f"#{dotted([key])} = {toml_value(v)}" for key, v in example.items() if key not in below
    ]
    tables = [_table((*path, key), value) for key, value in below.items()]
    return "\n".join([*([f"#[{dotted(path)}]", *lines, ""] if lines else []), *tables])


def _key(path: KeyPath, field: FieldInfo, *, with_variables: bool = True) -> str:
    words = _described(path, field) if with_variables else field.description or ""
    return f"{_words(words)}#{path[-1]} = {toml_value(_example(path, field))}\n"


def _described(path: KeyPath, field: FieldInfo, suffix: str = "") -> str:
    return f"{field.description} ({', '.join(names_of(path))}{suffix})"


def _example(path: KeyPath, field: FieldInfo) -> Any:
    if field.examples:
        return field.examples[0]
    if SecretStr in arms(field.annotation):
        return f"env:{path[-2].upper().replace('-', '_')}_API_KEY"
    return field.get_default(call_default_factory=True, validated_data={})


def _words(text: str) -> str:
    lines: Iterable[str] = textwrap.wrap(" ".join(text.replace("``", '"').split()), _WIDTH)
    return "".join(f"# {line}\n" for line in lines)
