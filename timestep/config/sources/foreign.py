"""Sources that are not ours: those of pydantic-settings, and those that an application writes."""

from collections.abc import Iterable, Iterator
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from timestep.config.provenance import Entry, Origin, flatten
from timestep.config.sources.base import Source


class SeenValues(Source):
    """Records what the foreign source before it returned. It sets nothing itself."""

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
