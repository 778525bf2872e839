"""The files that settings may come from, and which of them are read."""

import os
from dataclasses import dataclass
from pathlib import Path

from timestep.config.provenance import KeyPath
from timestep.config.settings import Settings, customised
from timestep.config.sources.arguments import ArgumentsSource
from timestep.config.sources.base import CONFIG_VARIABLE, named_path
from timestep.config.sources.dotenv import DotenvSource, EnvFile
from timestep.config.sources.secrets import secrets_directories
from timestep.config.sources.toml import TomlSource, toml_places
from timestep.config.sources.variables import VariablesSource, environment_variables


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or a directory of secrets, that may hold settings."""

    path: Path
    table: KeyPath  # the table in it that holds the settings; empty for the whole file
    is_read: bool  # False when it is missing, holds no settings, or another TOML file comes first


def source_files(
    settings_cls: type[Settings] = Settings,
    *,
    env_file: EnvFile = "",
    config_file: str | os.PathLike[str] | None = None,
) -> list[SourceFile]:
    """Return the files that our sources look for with these arguments, strongest first."""
    dotenv = DotenvSource(settings_cls, env_file)
    naming = (
        ArgumentsSource(settings_cls, {}, config_file=config_file),
        VariablesSource(settings_cls, environment_variables(os.environ)),
        dotenv,
    )
    secrets = secrets_directories(settings_cls, naming)
    files = [SourceFile(path, (), path.is_file()) for path in reversed(dotenv.files)]
    files += [SourceFile(path, (), path.is_dir()) for path, _ in reversed(secrets)]
    named = named_path(CONFIG_VARIABLE, naming)
    config = None if named is None else named.path
    if config is not None and not config.is_file():
        return [*files, *(SourceFile(path, table, False) for path, table in toml_places(config))]
    sources = customised(settings_cls, naming, ())
    for toml in (source for source in sources if isinstance(source, TomlSource)):
        files += [SourceFile(path, table, path == toml.file) for path, table in toml_places(config)]
    return files
