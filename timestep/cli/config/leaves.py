"""The settings as a flat list of keys, and what there is to say about each."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from timestep.cli.output import clean, did_you_mean
from timestep.cli.terminal import width
from timestep.config.checks import hidden_hosts
from timestep.config.provenance import (
    DEFAULT,
    KeyOrigin,
    KeyPath,
    Origin,
    dotted,
    flatten,
    toml_value,
)
from timestep.config.settings import Settings
from timestep.config.shape import arms_at, field_at
from timestep.config.sources.variables import names_of, respelled, spelling_of, variable_path


@dataclass(frozen=True, slots=True)
class Leaf:
    """One key whose value is not a table."""

    path: KeyPath
    value: Any  # the value as JSON has it, with secrets masked
    origin: KeyOrigin
    description: str  # what the key is for; empty for a key with a free name
    unused: str = ""  # why the value has no effect; empty if it has one

    @property
    def is_set(self) -> bool:
        """True when a source sets it."""
        return self.origin.winner.kind != "default"

    @property
    def line(self) -> str:
        """The key and its value as TOML has them; a comment when there is no value."""
        if self.value is None:
            return f"# {dotted(self.path)} is unset"
        return f"{dotted(self.path)} = {toml_value(self.value)}"

    def __str__(self) -> str:
        """Return all that is known about the key, for people."""
        rows = [("from", str(self.origin.winner))]
        losers = self.origin.losers
        rows += [("wins over" if not n else "", str(loser)) for n, loser in enumerate(losers)]
        rows += [("variable" if not n else "", name) for n, name in enumerate(names_of(self.path))]
        if self.unused:
            rows.append(("but", self.unused))
        lines = [click.style(clean(self.line), bold=True)]
        lines += [f"  {label:<11}{clean(text)}" for label, text in rows]
        if self.description:
            indent = "  "
            lines.append(click.wrap_text(self.description, width(), indent, indent))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "key": dotted(self.path),
            "value": self.value,
            "winner": _place(self.origin.winner),
            "losers": [_place(loser) for loser in self.origin.losers],
            "variables": names_of(self.path),
            "description": self.description,
            "unused": self.unused,
        }


def read_leaves(settings: Settings) -> Iterator[Leaf]:
    """Yield every key of *settings*, in the order of the models."""
    unused: dict[KeyPath, str] = {(*path, "host"): why for path, why in hidden_hosts(settings)}
    for path, value in flatten(settings.model_dump(mode="json")):
        description = _description(type(settings), path)
        origin = settings.origin_of(dotted(path))
        yield Leaf(path, value, origin, description, unused.get(path, ""))


def find_leaves(settings: Settings, key: str) -> list[Leaf]:
    """Return the leaf that *key* names, or those of the table that are set."""
    leaves = list(read_leaves(settings))
    path = settings.spelled(_parse(key, leaves))
    found = [leaf for leaf in leaves if leaf.path[: len(path)] == path]
    if found and found[0].path != path:
        return [leaf for leaf in found if leaf.is_set]
    if found:
        return found
    if not arms_at(type(settings), path):
        hint = did_you_mean(dotted(path), [dotted(leaf.path) for leaf in leaves])
        hint = hint or " 'timestep config show --all' lists them."
        raise click.UsageError(f"There is no setting {clean(dotted(path))!r}.{hint}")
    unset = KeyOrigin(dotted(path), DEFAULT)
    return [Leaf(path, None, unset, _description(type(settings), path))]


def _parse(key: str, leaves: list[Leaf]) -> KeyPath:
    """Return the path that *key* names, spelled as in *leaves*."""
    path = variable_path(key)
    if path is not None:
        return respelled(path, spelling_of(leaf.path for leaf in leaves))
    try:
        [(path, _)] = flatten(tomllib.loads(f"{key} = 0"))
    except ValueError as exc:
        raise click.UsageError(
            f"{clean(key)!r} is not a key; write one such as ollama.base_url, with quotes around "
            "parts that hold dots: 'ollama.models.\"llama3.2\".num_ctx'"
        ) from exc
    return path


def _description(settings_class: type[Settings], path: KeyPath) -> str:
    field = field_at(settings_class, path)
    return (field.description or "") if field else ""


def _place(origin: Origin) -> dict[str, Any]:
    return {"kind": origin.kind, "location": origin.location, "variable": origin.variable}
