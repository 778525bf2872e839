"""Finds settings that load but are probably a mistake. Makes no request, raises no error.

Settings with such doubts can be loaded. ``from_env(check=True)`` and ``timestep doctor --strict``
refuse them.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from timestep.config.conflicts import models_tables
from timestep.config.provenance import KeyPath, dotted
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.config.shape import field_at
from timestep.config.sources.base import SECRETS_VARIABLE
from timestep.config.sources.dotenv import DotenvSource, EnvFile
from timestep.config.sources.secrets import secrets_directories
from timestep.config.sources.variables import (
    VariablesSource,
    environment_variables,
    is_ours,
    meant_variable,
    variable_name,
    variable_path,
)
from timestep.net.ollama_options import unknown_option


@dataclass(frozen=True, slots=True)
class Doubt:
    """A setting that probably does not do what the user wants."""

    text: str  # what it is, and where
    fix: str = ""  # the command or the line of configuration that fixes it, or an empty text


def find_doubts(settings: Settings, *, env_file: EnvFile = "") -> list[Doubt]:
    """Return the doubts about *settings*, which were read from the environment and *env_file*."""
    dotenv = DotenvSource(type(settings), env_file)
    names = dict.fromkeys([*os.environ, *(variable.name for variable in dotenv.variables)])
    return [
        *(doubt for name in names for doubt in doubts_of_variable(name)),
        *(
            Doubt(
                f"{each.origin}: {each.name} has no value, and counts as unset; "
                f"write {each.name}=VALUE"
            )
            for each in dotenv.without_value
        ),
        *(
            Doubt(
                f"{path} is a directory, and no variable is read from it. A container gets "
                "one if the file to mount is missing."
            )
            for path in dotenv.files
            if path.is_dir() and not (path / "pyvenv.cfg").exists()  # no virtual environment
        ),
        *_unread_secrets(settings, dotenv),
        *_unused(settings),
        *_versions(settings),
    ]


def doubts_of_variable(name: str) -> Iterator[Doubt]:
    """Yield a doubt if nothing reads the variable *name*, and its name is nearly one of ours."""
    read = name.removesuffix("_FILE")
    path = variable_path(name)
    is_known = path is not None and field_at(Settings, path) is not None
    if read != name and is_ours(read) and not is_known:
        yield Doubt(
            f"No setting is read from the variable {name}. To use a file, call it {read} "
            f"and put it into the directory that {SECRETS_VARIABLE} names.",
            f'export {read}="$(cat "${name}")"; unset {name}',
        )
    elif meant := meant_variable(name):
        yield Doubt(
            f"No setting is read from the variable {name}. Did you mean {meant}?",
            f'export {meant}="${name}"; unset {name}',
        )


def _unread_secrets(settings: Settings, dotenv: DotenvSource) -> Iterator[Doubt]:
    """Yield the secret files that nothing reads, and whose names are nearly ours."""
    environment = VariablesSource(type(settings), environment_variables(os.environ))
    for directory, _ in secrets_directories(type(settings), (environment, dotenv)):
        for path in sorted(directory.iterdir()):
            meant = path.stem if is_ours(path.stem) else meant_variable(path.stem)
            if not is_ours(path.name) and meant:
                yield Doubt(f"No setting is read from {path}. Did you mean to call it {meant}?")


def _unused(settings: Settings) -> Iterator[Doubt]:
    for path, why in hidden_hosts(settings):
        yield Doubt(settings.told((*path, "host"), f"{why}."))
    for path, table in _ollama_tables(settings):
        options: dict[KeyPath, dict[str, Any]] = {(*path, "options"): table.options}
        options |= {
            (*path, "models", model): given for model, given in table.options_by_model.items()
        }
        for where, given in options.items():
            for name in given:
                if not_known := unknown_option(name):
                    end = "" if not_known.endswith("?") else "."
                    yield Doubt(settings.told((*where, name), f"{not_known}{end}"))


def _versions(settings: Settings) -> Iterator[Doubt]:
    """Yield the models that a variable spells with an underscore in the version."""
    for path, tables in models_tables(settings):
        for name in tables:
            place = settings.place_of((*path, name))
            if place and place.variable and re.search(r"\d_\d", name):
                yield Doubt(
                    f"{place}: a variable cannot spell a dot or a hyphen. If {name} is not the name of "
                    "the model, write the table as JSON, as in "
                    f'{variable_name(path)}={{"{name.replace("_", ".")}": …}}.'
                )


def _ollama_tables(settings: Settings) -> Iterator[tuple[KeyPath, OllamaSettings]]:
    yield ("ollama",), settings.ollama
    for name, table in settings.providers.items():
        if isinstance(table, OllamaSettings):
            yield ("providers", name), table


def hidden_hosts(settings: Settings) -> Iterator[tuple[KeyPath, str]]:
    """Yield each table whose ``host`` has no effect, and the reason."""
    for path, table in _ollama_tables(settings):
        if table.host is not None and table.base_url is not None:
            winner = settings.origin_of(dotted((*path, "base_url"))).winner
            yield path, f"this is not used, because base_url ({winner}) is for every model"
