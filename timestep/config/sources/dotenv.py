"""The ``.env`` file."""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic_settings import BaseSettings, SettingsError

from timestep.config.provenance import Origin
from timestep.config.sources.base import read_text
from timestep.config.sources.variables import (
    PREFIX,
    SHORT_NAMES,
    Variable,
    VariablesSource,
    is_ours,
    shown_name,
)

EnvFile: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None

_OURS = re.compile(
    rf"(?:\A(?:export[^\S\n]+)?'?|(?<![\w.]))(?P<name>{'|'.join(SHORT_NAMES)}|{PREFIX}\w*)(?!\w)",
    re.ASCII | re.IGNORECASE,
)
"""A variable of ours, with what may stand before it at the beginning of a statement."""


class DotenvSource(VariablesSource):
    """The variables of a ``.env`` file. The environment of the process stays as it is.

    Args:
        env_file: The file, or a list in which the last file wins; None for none. Only ``.env``
            itself may be missing.

    Raises:
        SettingsError: The file cannot be read, or a statement names one of our variables and does
            not set it. The message repeats nothing of the statement but a name that is known.
    """

    def __init__(self, settings_cls: type[BaseSettings], env_file: EnvFile) -> None:
        files = [env_file] if isinstance(env_file, str | os.PathLike) else env_file or []
        super().__init__(
            settings_cls,
            [
                variable
                for file in reversed(files)
                for variable in _variables(settings_cls, Path(file))
            ],
        )


def _variables(settings_cls: type[BaseSettings], path: Path) -> list[Variable]:
    text = _text(path)
    lines: dict[str | None, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        lines[binding.key] = line
        if reason := _misread(settings_cls, binding):
            raise SettingsError(f"{path}:{line}: {reason}")
    return [
        Variable(name, value, Origin("dotenv", f"{path}:{lines[name]}", name.upper()))
        for name, value in dotenv_values(stream=io.StringIO(text)).items()
        if value is not None
    ]


def _text(path: Path) -> str:
    # A directory called .env is usually a virtual environment.
    if path == Path(".env") and (path.is_dir() or not os.path.lexists(path)):
        return ""
    return read_text(path, "env_file")


def _misread(settings_cls: type[BaseSettings], binding: Binding) -> str | None:
    """Return why *binding* does not set the variable of ours that it names; None when it may."""
    statement = binding.original.string.strip()
    if binding.key is None and not binding.error:
        return None  # a comment, or the end of the file
    if not binding.error and binding.value is not None:
        if binding.key is None or is_ours(binding.key):
            return None
        statement = statement.partition("=")[0]  # the value may hold anything
    found = _OURS.search(statement)
    if found is None:
        return None
    name, rest = shown_name(settings_cls, found["name"]), statement[found.end() :]
    if found.start() > 0:
        return f"this sets no variable; begin with {name} and an ="
    if (
        binding.value is None
        and not binding.error
        and name == found["name"]
        and not rest.strip("'")
    ):
        return None  # a name alone, which Docker reads as a variable to pass on
    if not rest.lstrip("' \t").startswith("="):
        return f"there is no = after {name}; write NAME=VALUE"
    return f"the value of {name} cannot be read; does it begin with a quote that has no end?"


def _blank_lines(statement: str) -> int:
    return statement[: len(statement) - len(statement.lstrip())].count("\n")
