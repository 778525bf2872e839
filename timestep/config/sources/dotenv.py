"""The ``.env`` file."""

import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream
from pydantic_settings import BaseSettings, SettingsError

from timestep.config.provenance import Origin
from timestep.config.sources.base import is_set, read_text, unset_reference
from timestep.config.sources.variables import (
    PREFIX,
    SHORT_NAMES,
    Variable,
    VariablesSource,
    is_ours,
    not_set,
    shown_name,
    variable_path,
)

EnvFile: TypeAlias = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None

_OURS = re.compile(
    rf"(?<![\w.])(?:{'|'.join(SHORT_NAMES)}|{PREFIX}\w*)(?!\w)", re.ASCII | re.IGNORECASE
)


class DotenvSource(VariablesSource):
    """The variables of a ``.env`` file, or of a list of files in which the last one wins.

    An empty *env_file* is that of the ``model_config``. Only ``.env`` itself may be missing.
    """

    def __init__(self, settings_cls: type[BaseSettings], env_file: EnvFile) -> None:
        if env_file == "":
            env_file = settings_cls.model_config.get("env_file")
        files = [env_file] if isinstance(env_file, str | os.PathLike) else env_file or []
        self.files = [Path(file) for file in files]  # the weakest first
        self.without_value: list[Variable] = []  # names that stand alone, without an =
        self._unset: list[tuple[Variable, str]] = []
        super().__init__(
            settings_cls,
            [
                variable
                for file in reversed(self.files)
                for variable in self._variables(settings_cls, file)
            ],
        )

    def __call__(self) -> dict[str, Any]:
        """Return the tree of settings."""
        tree = super().__call__()
        for variable, name in self._unset:
            path = variable_path(variable.name)
            # A variable with a stronger name may set the key too.
            beside = any(e.path == path and e.origin != variable.origin for e in self.entries)
            if path is None or not (beside or is_set(path, self.current_state)):
                step = f"set it, or write ${{{name}:-}} if it may be missing"
                reason = unset_reference(name, "${{{}}}", step)
                raise SettingsError(f"{variable.name} ({variable.origin}): {reason}")
        return tree

    def _variables(self, settings_cls: type[BaseSettings], path: Path) -> list[Variable]:
        # A directory called .env is usually a virtual environment.
        is_missing = path == Path(".env") and (path.is_dir() or not os.path.lexists(path))
        text = "" if is_missing else read_text(path, "env_file")
        bindings: list[tuple[Binding, int]] = []
        for binding in parse_stream(io.StringIO(text)):
            statement = binding.original.string
            blank = statement[: len(statement) - len(statement.lstrip())].count("\n")
            bindings.append((binding, binding.original.line + blank))
        for binding, line in bindings:
            if reason := _misread(settings_cls, binding):
                raise SettingsError(f"{path}:{line}: {reason}")
        # The library logs every statement that it cannot read, each time it is asked.
        read = "".join(binding.original.string for binding, _ in bindings if not binding.error)
        values = dotenv_values(stream=io.StringIO(read))
        found: dict[str, Variable] = {}
        for binding, line in bindings:
            if binding.key is not None:
                origin = Origin("dotenv", f"{path}:{line}", binding.key.upper())
                found[binding.key] = Variable(binding.key, values[binding.key] or "", origin)
                if not is_ours(binding.key):
                    continue
                if binding.value is None:
                    self.without_value.append(found[binding.key])
                elif name := _unset_name(binding.value, values):
                    self._unset.append((found[binding.key], name))
        return list(found.values())


def _unset_name(value: str, values: Mapping[str, str | None]) -> str | None:
    """Return the first NAME of a ``${NAME}`` in *value* that is not set, or None."""
    names = re.findall(r"\$\{([^}:]*)\}", value)
    return next((name for name in names if name not in os.environ and not values.get(name)), None)


def _misread(settings_cls: type[BaseSettings], binding: Binding) -> str | None:
    """Return why *binding* names a variable of ours but does not set it, or None."""
    statement = binding.original.string.strip()
    if not binding.error:
        if binding.key is None or (binding.value is not None and is_ours(binding.key)):
            return None  # a comment, the end of the file, or a value of ours
        statement = statement.partition("=")[0]  # the value may hold anything
    found = _OURS.search(statement)
    if found is None:
        return None
    name = shown_name(settings_cls, found[0])
    if not binding.error and binding.value is None and name == binding.key:
        return None  # a name alone, which Docker reads as a variable to pass on
    return not_set(name)
