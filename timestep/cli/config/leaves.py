"""The settings as a flat list of keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from timestep.config.checks import hidden_hosts
from timestep.config.provenance import DEFAULT, KeyOrigin, KeyPath, dotted, flatten
from timestep.config.settings import Settings
from timestep.config.shape import field_at
from timestep.config.sources.variables import names_of
from timestep.config.toml_text import toml_value


@dataclass(frozen=True, slots=True)
class Leaf:
    """One key whose value is not a table."""

    path: KeyPath
    value: Any  # the value as JSON has it, with secrets masked
    origin: KeyOrigin
    description: str  # what the key is for; empty for a key with a free name
    unused: str = ""  # why the value has no effect; empty if it has one

    @classmethod
    def unset(cls, path: KeyPath, settings_class: type[Settings]) -> Self:
        """Return the leaf of a key that nothing sets and that has no default."""
        origin = KeyOrigin(dotted(path), DEFAULT)
        return cls(path, None, origin, _description(settings_class, path))

    @property
    def key(self) -> str:
        """The dotted key."""
        return dotted(self.path)

    @property
    def variables(self) -> list[str]:
        """The variables that set it, strongest first."""
        return names_of(self.path)

    @property
    def is_set(self) -> bool:
        """True when a source sets it."""
        return self.origin.winner.kind != "default"

    @property
    def line(self) -> str:
        """The key and its value as TOML has them; a comment when there is no value."""
        if self.value is None:
            return f"# {self.key} is unset"
        return f"{self.key} = {toml_value(self.value)}"


def read_leaves(settings: Settings) -> Iterator[Leaf]:
    """Yield every key of *settings*, in the order of the models."""
    unused: dict[KeyPath, str] = {(*path, "host"): why for path, why in hidden_hosts(settings)}
    for path, value in flatten(settings.model_dump(mode="json")):
        description = _description(type(settings), path)
        origin = settings.origin_of(dotted(path))
        yield Leaf(path, value, origin, description, unused.get(path, ""))


def _description(settings_class: type[Settings], path: KeyPath) -> str:
    field = field_at(settings_class, path)
    return (field.description or "") if field else ""
