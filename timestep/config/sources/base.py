"""The base of our sources, and what records foreign sources."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsError

from timestep.config.provenance import Entry, KeyPath, Origin, flatten, to_tree

CONFIG_VARIABLE = "TIMESTEP_CONFIG"
SECRETS_VARIABLE = "TIMESTEP_SECRETS_DIR"


class Source(PydanticBaseSettingsSource):
    """A source that knows where each of its values was written."""

    entries: Sequence[Entry] = ()  # strongest first; those of decoded text are set by the call
    tables: Mapping[KeyPath, Origin] = MappingProxyType({})  # where a file has its tables
    paths: "Mapping[str, NamedPath]" = MappingProxyType({})  # by the variable that stands for it

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the value of one field. The library asks for the whole tree instead."""
        return self().get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        """Return the tree of settings."""
        return to_tree(self.entries)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"  # values may be secret


def ours(sources: Iterable[object]) -> list[Source]:
    """Return those of *sources* that are not foreign."""
    return [source for source in sources if isinstance(source, Source)]


class NamedPath(NamedTuple):
    """A path, and what names it, as a message says it."""

    path: Path
    setting: str


def named_path(variable: str, sources: Iterable[object]) -> NamedPath | None:
    """Return the path that *variable* stands for in the first of *sources* that has it, or None."""
    return next((each.paths[variable] for each in ours(sources) if variable in each.paths), None)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return *path* with the home directory in the place of ``~``."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # no such user: the error about the missing file is clearer
        return Path(path)


def unset_reference(name: str, form: str, step: str) -> str:
    """Return the message for a value that refers to an unset variable, as *form* shows."""
    if not re.fullmatch("[A-Z][A-Z0-9_]*", name):  # this may be a key: do not repeat it
        shown = form.format("…")
        return f"the variable that {shown} points at is not set; write the name of one that is"
    return f"the variable {name}, which {form.format(name)} points at, is not set; {step}"


def is_set(path: KeyPath, tree: object) -> bool:
    """Return True when *tree* has a value at *path*, or a plain value above it."""
    for key in path:
        if not isinstance(tree, Mapping):
            return True
        table = cast("Mapping[str, object]", tree)
        if key not in table:
            return False
        tree = table[key]
    return True


def read_text(path: Path, setting: str) -> str:
    """Return the UTF-8 text of the file at *path*. *setting* says what named the file."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        reason = f"{path} does not exist; correct {setting}, or leave it out"
    except UnicodeDecodeError:
        reason = f"{path} is not UTF-8 text; save it with that encoding"
    except (OSError, ValueError) as exc:  # ValueError: a path with a null byte
        reason = f"{path} cannot be read ({getattr(exc, 'strerror', exc)}); correct {setting}"
    raise SettingsError(reason)  # not from the error, which may hold the bytes of the file


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
