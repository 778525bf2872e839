"""The keyword arguments of ``Settings(...)`` and of `load_settings`."""

import os
from collections.abc import Mapping
from typing import Any

from pydantic_settings import BaseSettings

from timestep.config.provenance import Entry, Origin, flatten
from timestep.config.sources.base import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    NamedPath,
    Source,
    expanded,
)


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
        super().__init__(settings_cls)
        origin = Origin("argument", "argument")
        self.entries = [Entry(path, value, origin) for path, value in flatten(values) if path]
        if config_file:
            self.paths = {CONFIG_VARIABLE: NamedPath(expanded(config_file), "config_file")}
        if secrets_dir:
            named = NamedPath(expanded(secrets_dir), "_secrets_dir")
            self.paths = {**self.paths, SECRETS_VARIABLE: named}
