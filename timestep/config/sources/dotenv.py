"""The ``.env`` file."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic_settings import BaseSettings, SettingsError

from timestep.config.provenance import Origin
from timestep.config.sources.base import read_text
from timestep.config.sources.variables import PREFIX, SHORT_NAMES, Variable, VariablesSource

EnvFile: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None


class DotenvSource(VariablesSource):
    """The variables of a ``.env`` file. The environment of the process stays as it is.

    Args:
        env_file: The file, or a list in which the last file wins; None for none. Only ``.env``
            itself may be missing.

    Raises:
        SettingsError: The file cannot be read, or one of our variables has a quote without an end.
    """

    def __init__(self, settings_cls: type[BaseSettings], env_file: EnvFile) -> None:
        files = [env_file] if isinstance(env_file, str | os.PathLike) else env_file or []
        super().__init__(
            settings_cls,
            [variable for file in reversed(files) for variable in _variables(Path(file))],
        )


def _variables(path: Path) -> list[Variable]:
    text = _text(path)
    lines: dict[str | None, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        lines[binding.key] = line
        if binding.error and (name := _our_name(binding.original.string)) is not None:
            raise SettingsError(
                f"{path}:{line}: the value of {name} cannot be read; does it begin with a "
                "quote that has no end?"
            )
    return [
        Variable(name, value, Origin("dotenv", f"{path}:{lines[name]}", name.upper()))
        for name, value in dotenv_values(stream=io.StringIO(text)).items()
        if value is not None
    ]


def _text(path: Path) -> str:
    try:
        return read_text(path, "env_file")
    except SettingsError as exc:
        # A directory called .env is usually a virtual environment.
        is_absent = isinstance(exc.__cause__, FileNotFoundError | IsADirectoryError)
        if is_absent and path == Path(".env"):
            return ""
        raise


def _our_name(statement: str) -> str | None:
    """Return the variable of ours that *statement* would set."""
    name = statement.strip().removeprefix("export ").partition("=")[0].strip()
    is_ours = name.upper() in SHORT_NAMES or name.upper().startswith(PREFIX)
    return name if is_ours else None


def _blank_lines(statement: str) -> int:
    return statement[: len(statement) - len(statement.lstrip())].count("\n")
