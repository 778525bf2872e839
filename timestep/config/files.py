"""The files that settings may come from, for those who ask which of them are read."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from timestep.config.provenance import KeyPath
from timestep.config.settings import Settings
from timestep.config.sources.arguments import ArgumentsSource
from timestep.config.sources.base import CONFIG_VARIABLE, SECRETS_VARIABLE, named_path
from timestep.config.sources.dotenv import DotenvSource
from timestep.config.sources.toml import TomlSource, toml_places
from timestep.config.sources.variables import (
    VariablesSource,
    environment_variables,
    meant_variable,
)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or a directory of secrets, that may hold settings.

    Attributes:
        path: Where it is, or would be.
        table: The table in it that holds the settings; empty for the whole file.
        is_read: False when it is missing, holds no settings, or another TOML file comes first.
    """

    path: Path
    table: KeyPath
    is_read: bool


def source_files(
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    config_file: str | os.PathLike[str] | None = None,
) -> list[SourceFile]:
    """Return the files that `load_settings` with these arguments looks for, strongest first.

    Raises:
        SettingsError: A file that is needed to find the others cannot be read.
    """
    naming = (
        ArgumentsSource(Settings, {}, config_file=config_file),
        VariablesSource(Settings, environment_variables(os.environ)),
        DotenvSource(Settings, env_file),
    )
    secrets = named_path(SECRETS_VARIABLE, naming)
    config = named_path(CONFIG_VARIABLE, naming)
    read = TomlSource(Settings, config).file if config is None or config.is_file() else None
    files = [] if env_file is None else [SourceFile(Path(env_file), (), Path(env_file).is_file())]
    files += [] if secrets is None else [SourceFile(secrets, (), secrets.is_dir())]
    return files + [SourceFile(path, table, path == read) for path, table in toml_places(config)]


def misspelled_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables that nothing reads, by name, with what they were probably meant to be."""
    names = os.environ if environment is None else environment
    return {name: meant for name in names if (meant := meant_variable(name))}
