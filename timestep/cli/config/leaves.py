"""The settings as a flat list of keys."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from timestep.config.provenance import KeyOrigin, KeyPath, dotted, flatten
from timestep.config.settings import Settings
from timestep.config.toml_text import toml_value


@dataclass(frozen=True, slots=True)
class Leaf:
    """One key that is no table.

    Attributes:
        path: Its parts.
        value: As JSON has it, with secrets masked.
        origin: Where it came from.
    """

    path: KeyPath
    value: Any
    origin: KeyOrigin

    @property
    def key(self) -> str:
        """The dotted key."""
        return dotted(self.path)

    @property
    def is_set(self) -> bool:
        """True when any source gives it."""
        return self.origin.winner.kind != "default"

    @property
    def line(self) -> str:
        """The key and its value as TOML has them; a comment where there is no value."""
        if self.value is None:
            return f"# {self.key} is unset"
        return f"{self.key} = {toml_value(self.value)}"


def read_leaves(settings: Settings) -> Iterator[Leaf]:
    """Every key of *settings*, in the order of the models."""
    for path, value in flatten(settings.model_dump(mode="json")):
        yield Leaf(path, value, settings.origin_of(dotted(path)))
