"""The keyword arguments of ``Settings(...)`` and of `load_settings`."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings

from timestep.config.provenance import Entry, Origin, flatten
from timestep.config.sources.base import CONFIG_VARIABLE, SECRETS_VARIABLE, Source


class ArgumentsSource(Source):
    """The keyword arguments of a call. Sections may be tables or models."""

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        values: Mapping[str, Any],
        *,
        config_file: str | os.PathLike[str] | None = None,
        secrets_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        origin = Origin("argument", "argument")
        paths = {CONFIG_VARIABLE: config_file, SECRETS_VARIABLE: secrets_dir}
        super().__init__(
            settings_cls,
            [Entry(path, value, origin) for path, value in flatten(values) if path],
            {name: os.fspath(path) for name, path in paths.items() if path},
        )

    def place_of_text(self, variable: str) -> str:
        """Return the argument that stands for *variable*."""
        return _ARGUMENTS[variable]


_ARGUMENTS = {CONFIG_VARIABLE: "config_file", SECRETS_VARIABLE: "_secrets_dir"}
"""The arguments of ``Settings`` for the variables that say where to look."""
