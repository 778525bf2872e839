"""Sources that are not ours: those of pydantic-settings, and those that an application writes."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource

from timestep.config.provenance import Entry, KeyPath, Origin, flatten
from timestep.config.sources.base import Source
from timestep.config.sources.variables import VariablesSource


class SeenValues(Source):
    """Records what the foreign source before it returned. It sets nothing itself.

    Args:
        settings_cls: The settings class.
        foreign: The source that is called just before this one.
    """

    def __init__(self, settings_cls: type[BaseSettings], foreign: object) -> None:
        super().__init__(settings_cls)
        self._class_name = type(foreign).__name__
        # The name under which the library keeps what a source returned.
        self._name = str(getattr(foreign, "__name__", self._class_name))

    def __call__(self) -> dict[str, Any]:
        """Record the values, and return an empty tree."""
        tree = self.settings_sources_data[self._name]
        origin = Origin("foreign", self._class_name)
        self.entries = [Entry(path, value, origin) for path, value in flatten(tree) if path]
        return {}


def observed(
    settings_cls: type[BaseSettings], sources: Iterable[PydanticBaseSettingsSource]
) -> Iterator[PydanticBaseSettingsSource]:
    """Yield *sources*, and after each foreign one a `SeenValues` of it."""
    for source in sources:
        yield source
        if not isinstance(source, Source):
            yield SeenValues(settings_cls, source)


def entries_of(sources: Iterable[object]) -> list[Entry]:
    """Return the entries of all *sources*, in their order, after they were called."""
    return [entry for source in sources if isinstance(source, Source) for entry in source.entries]


def spell_alike(sources: Iterable[object]) -> None:
    """Let variables spell providers and aliases as the other sources do.

    A source that reads nothing before it is called comes too late for this.
    """
    written = {path[:2] for source in sources for path in _written_paths(source)}
    for source in sources:
        if isinstance(source, VariablesSource):
            source.written = written


def _written_paths(source: object) -> list[KeyPath]:
    if isinstance(source, InitSettingsSource):  # JSON, TOML and YAML of the library: read already
        return [path for path, _ in flatten(source())]
    return [entry.path for entry in source.entries] if isinstance(source, Source) else []
