"""The sources of settings, each read into a list of `Entry`.

Variables (environment, ``.env``, secrets directory) share one naming scheme; TOML and arguments
are trees already. Every function takes what it needs as a parameter: `timestep.config.settings` is the
only reader of the environment itself.
"""

import difflib
import io
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import platformdirs
from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic_settings import SettingsError

from timestep.config.provenance import Entry, KeyPath, Origin, SourceKind, dotted, flatten

PREFIX = "TIMESTEP_"
CONFIG_VARIABLE = "TIMESTEP_CONFIG"
SECRETS_VARIABLE = "TIMESTEP_SECRETS_DIR"
CONTROL_VARIABLES: dict[str, KeyPath] = {
    CONFIG_VARIABLE: ("config",),
    SECRETS_VARIABLE: ("secrets_dir",),
}
"""The variables that say where to look, and set no key."""
SHORT_NAMES: dict[str, KeyPath] = {
    "OPENAI_API_KEY": ("openai", "api_key"),
    "OPENAI_BASE_URL": ("openai", "base_url"),
    "OPENAI_ORG_ID": ("openai", "organization"),
    "OPENAI_PROJECT_ID": ("openai", "project"),
    "OLLAMA_API_KEY": ("ollama", "api_key"),
    "OLLAMA_BASE_URL": ("ollama", "base_url"),
    "OLLAMA_HOST": ("ollama", "host"),
}
"""The variables that other tools set too; ``TIMESTEP_OPENAI__API_KEY`` and so on win over them."""

_OTHER_NAMES = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION": "OPENAI_ORG_ID",
    "OPENAI_PROJECT": "OPENAI_PROJECT_ID",
    "OLLAMA_API_BASE": "OLLAMA_BASE_URL",
    "OLLAMA_URL": "OLLAMA_BASE_URL",
}
"""What other tools call the same things."""
_CLOSE = 0.88

Decode = Callable[[KeyPath, str], Any]
"""Turns the text of a variable into the value its path wants; raises `ValueError`."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as a source gives it; an empty one counts as unset."""

    name: str
    text: str = field(repr=False)
    origin: Origin

    @property
    def path(self) -> KeyPath | None:
        """The key this variable sets; None when it is not ours."""
        name = self.name.upper()
        if name in SHORT_NAMES:
            return SHORT_NAMES[name]
        if not name.startswith(PREFIX) or name in CONTROL_VARIABLES:
            return None
        path = tuple(name.removeprefix(PREFIX).lower().split("__"))
        # The shell allows no hyphen in a name, and HTTP hardly an underscore.
        return (*path[:-1], path[-1].replace("_", "-")) if "headers" in path[:-1] else path


def variable_name(path: Iterable[object]) -> str:
    """The variable that sets the key at *path*."""
    return PREFIX + "__".join(str(key).upper().replace("-", "_") for key in path)


def meant_variable(name: str) -> str | None:
    """The variable of ours that *name*, which is none, was probably meant to be."""
    name = name.upper()
    if name in SHORT_NAMES or name.startswith(PREFIX):
        return None  # ours, and its own errors say what is wrong with it
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    head, _, tail = name.partition("_")
    if tail and difflib.get_close_matches(head, [PREFIX.rstrip("_")], cutoff=_CLOSE):
        return PREFIX + tail
    return next(iter(difflib.get_close_matches(name, SHORT_NAMES, n=1, cutoff=_CLOSE)), None)


def environment_variables(environment: Mapping[str, str]) -> list[Variable]:
    """The variables of the process."""
    return [
        Variable(name, text, Origin("environment", f"environment variable {name}", name.upper()))
        for name, text in environment.items()
    ]


def dotenv_variables(path: Path, *, required: bool) -> list[Variable]:
    """The variables of the ``.env`` file at *path*; the process's environment stays as it is.

    Raises:
        SettingsError: The file is missing though *required*, unreadable, or not UTF-8; or a line
            for one of our variables has no end.
    """
    try:
        text = read_text(path, "env_file")
    except SettingsError as exc:
        # A virtual environment may be called .env.
        if not required and isinstance(exc.__cause__, FileNotFoundError | IsADirectoryError):
            return []
        raise
    lines: dict[str | None, int] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line + _blank_lines(binding.original.string)
        lines[binding.key] = line
        if binding.error and (name := _our_name(binding.original.string)) is not None:
            raise SettingsError(
                f"{path}:{line}: the value of {name} cannot be read; does it begin with a quote "
                "that has no end?"
            )
    return [
        Variable(name, value, Origin("dotenv", f"{path}:{lines[name]}", name.upper()))
        for name, value in dotenv_values(stream=io.StringIO(text)).items()
        if value is not None
    ]


def _our_name(statement: str) -> str | None:
    """The variable of ours that *statement* would set, None for one of somebody else."""
    name = statement.strip().removeprefix("export ").partition("=")[0].strip()
    is_ours = name.upper() in SHORT_NAMES or name.upper().startswith(PREFIX)
    return name if is_ours else None


def secret_variables(directory: Path) -> list[Variable]:
    """The variables that the files in *directory* hold, named like the variables.

    Only files with a name of ours are opened: the directory may hold other secrets.

    Raises:
        SettingsError: There is no such directory, or a file of ours cannot be read or is no
            regular file.
    """
    try:
        files = sorted(directory.iterdir())
    except (OSError, ValueError) as exc:  # the latter for a path with a null byte
        reason = getattr(exc, "strerror", exc)
        raise SettingsError(
            f"the secrets directory {str(directory)!r} cannot be read ({reason}); correct "
            f"{SECRETS_VARIABLE} (or _secrets_dir), or unset it"
        ) from exc
    return [
        Variable(
            path.name,
            _read_secret(path),
            Origin("secrets", f"secrets file {path}", path.name.upper()),
        )
        for path in files
        if Variable(path.name, "", Origin("secrets", "")).path is not None
    ]


def _read_secret(path: Path) -> str:
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise SettingsError(
            f"{path} is no regular file; a secret is the text of one, so put it into a file of "
            "that name"
        )
    return read_text(path, SECRETS_VARIABLE).strip()


def variable_entries(variables: Iterable[Variable], decode: Decode) -> list[Entry]:
    """What *variables* of one source set, strongest first.

    Within a source ``TIMESTEP_OPENAI__API_KEY`` wins over ``OPENAI_API_KEY``, a longer path over
    a shorter one that holds it as JSON, and an upper-case name over other spellings.

    Raises:
        SettingsError: The text of a variable cannot be what its path wants; or one variable sets
            a plain value where another writes a table.
    """
    ours = [(variable, variable.path) for variable in variables if variable.text.strip()]
    ranked = sorted(
        ((variable, path) for variable, path in ours if path is not None),
        key=lambda pair: (
            pair[0].name.upper() in SHORT_NAMES,
            -len(pair[1]),
            not pair[0].name.isupper(),
        ),
    )
    entries: list[Entry] = []
    for variable, path in ranked:
        value = _decoded(decode, path, variable.text.strip(), variable.origin)
        entries += [Entry(leaf, below, variable.origin) for leaf, below in flatten(value, path)]
    _check_one_form(entries)
    return entries


def _check_one_form(entries: Sequence[Entry]) -> None:
    """Refuse a plain value and a table for one key: neither of them is the stronger one."""
    tables = {
        entry.path[:length]: entry.origin
        for entry in entries
        for length in range(1, len(entry.path))
    }
    for entry in entries:
        if entry.path in tables and not entry.is_table:
            raise SettingsError(
                f"{dotted(entry.path)}: a plain value ({entry.origin}) and a table "
                f"({tables[entry.path]}) for one key; unset one of them"
            )


def control_text(name: str, variables: Iterable[Variable]) -> str | None:
    """The text of the control variable *name*, from the first of *variables* that sets it."""
    texts = (variable.text.strip() for variable in variables if variable.name.upper() == name)
    return next(filter(None, texts), None)


def respelled(entries: Iterable[Entry], written: Iterable[Entry]) -> list[Entry]:
    """*entries* from variables, with names of providers and aliases spelled as in *written*.

    A variable has neither hyphen nor case: ``TIMESTEP_PROVIDERS__MY_LLM__API_KEY`` belongs to
    ``[providers.my-llm]`` where a file has that table.
    """
    names = {entry.path[:2] for entry in written if entry.path[0] in {"providers", "aliases"}}
    spelled = {tuple(part.lower().replace("-", "_") for part in name): name for name in names}
    return [
        replace(entry, path=(*spelled.get(entry.path[:2], entry.path[:2]), *entry.path[2:]))
        if entry.path[:2] not in names
        else entry
        for entry in entries
    ]


def argument_entries(values: Mapping[str, Any]) -> list[Entry]:
    """What the keyword arguments of a call set."""
    origin = Origin("argument", "argument")
    return [Entry(path, value, origin) for path, value in flatten(values) if path]


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, or a directory of secrets, that may hold settings.

    Attributes:
        kind: ``"dotenv"``, ``"secrets"`` or ``"toml"``.
        path: Where it is, or would be.
        table: The table in it that holds the settings; empty for the whole file.
        is_read: False when it is missing, holds no settings, or another TOML file comes first.
    """

    kind: SourceKind
    path: Path
    table: KeyPath
    is_read: bool


def toml_places(explicit: Path | None) -> list[tuple[Path, KeyPath]]:
    """Where settings may be in TOML, in the order of the search, with the table that holds them.

    Only *explicit*, or else ``./timestep.toml``, ``[tool.timestep]`` in ``./pyproject.toml``,
    ``timestep.toml`` in the user's configuration directory.
    """
    project, table = Path("pyproject.toml"), ("tool", "timestep")
    if explicit is not None:
        return [(explicit, table if explicit.name == project.name else ())]
    user = platformdirs.user_config_path("timestep") / "timestep.toml"
    return [(Path("timestep.toml"), ()), (project, table), (user, ())]


def find_toml(explicit: Path | None) -> tuple[Path, KeyPath] | None:
    """The configuration file and the table in it that holds the settings; None without one.

    Raises:
        SettingsError: A file cannot be read or is no TOML; *explicit* names a ``pyproject.toml``
            without the table.
    """
    places = toml_places(explicit)
    if explicit is not None:
        if places[0][1] and not _has_our_table(explicit):
            raise SettingsError(f"{explicit} has no [tool.timestep]; add that table to it")
        return places[0]
    return next(
        (
            (path, table)
            for path, table in places
            if path.is_file() and (not table or _has_our_table(path))
        ),
        None,
    )


def toml_entries(path: Path, table: KeyPath = ()) -> list[Entry]:
    """What the TOML file at *path* sets, inside *table*.

    Raises:
        SettingsError: The file is missing, unreadable, not UTF-8 or no TOML.
    """
    text = read_text(path, f"config_file or {CONFIG_VARIABLE}")
    tree: Any = parse_toml(path, text)
    for name in table:
        tree = tree[name]
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: [{dotted(table)}] must be a table of settings")
    lines = key_lines(text)
    return [
        Entry(leaf, value, Origin("toml", f"{path}:{_line_of((*table, *leaf), lines)}"))
        for leaf, value in flatten(cast("dict[str, Any]", tree))
        if leaf
    ]


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """The tables in *text*.

    Raises:
        SettingsError: It is no TOML; names the line.
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: also an integer of 5000 digits
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(exc), re.DOTALL)
        place, reason = (
            (f"{path}:{found[2]}", f"{found[1]}, column {found[3]}") if found else (path, exc)
        )
        raise SettingsError(
            f"{place} is not valid TOML: {reason}; text values need quotes, as in "
            'default_model = "ollama/llama3.2"'
        ) from None


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line on which each key of the valid TOML *text* begins, counted from 1.

    A statement is the shortest run of lines that is TOML by itself, so `tomllib` finds the
    boundaries and this needs no parser of its own.
    """
    lines: dict[KeyPath, int] = {}
    header: KeyPath = ()
    statement: list[str] = []
    for number, line in enumerate(io.StringIO(text), 1):
        statement.append(line)
        try:
            tree = tomllib.loads("".join(statement))
        except tomllib.TOMLDecodeError:
            continue
        begin = number - len(statement) + 1
        is_header = statement[0].lstrip().startswith("[")
        statement = []
        for path, _ in flatten(tree):
            if is_header:
                header = path
            for length in range(1, len(path) + 1):
                lines.setdefault((() if is_header else header) + path[:length], begin)
    return lines


def follow_pointer(entry: Entry, variables: Mapping[str, str], decode: Decode) -> Entry:
    """*entry* with a value ``"env:NAME"`` replaced by the variable's text.

    Raises:
        SettingsError: There is no such variable, or it is empty.
    """
    if entry.origin.kind != "toml" or not _is_pointer(entry.value):
        return entry
    name = entry.value.removeprefix("env:").strip()
    text = variables.get(name, "").strip()
    if not text:
        where = f"{dotted(entry.path)} ({entry.origin})"
        if not name.isidentifier():  # a key that was pasted here is not repeated
            raise SettingsError(f"{where}: write the name of a variable after 'env:'")
        raise SettingsError(
            f"{where}: the variable {name!r}, which 'env:{name}' points at, is not set; set it in "
            "the environment or in .env"
        )
    return replace(entry, value=_decoded(decode, entry.path, text, entry.origin))


def read_text(path: Path, setting: str) -> str:
    """The UTF-8 text of the file at *path*; *setting* says what named it.

    Raises:
        SettingsError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as exc:
        raise SettingsError(f"{path} does not exist; correct {setting}, or leave it out") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"{path} is not UTF-8 text; save it with that encoding") from exc
    except (OSError, ValueError) as exc:  # the latter for a path with a null byte
        reason = getattr(exc, "strerror", exc)
        raise SettingsError(f"{path} cannot be read ({reason}); correct {setting}") from exc


def _decoded(decode: Decode, path: KeyPath, text: str, origin: Origin) -> Any:
    try:
        return decode(path, text)
    except ValueError as exc:
        raise SettingsError(f"{dotted(path)} ({origin}): {exc}") from None


def _has_our_table(path: Path) -> bool:
    tool = parse_toml(path, read_text(path, f"config_file or {CONFIG_VARIABLE}")).get("tool")
    return isinstance(tool, dict) and "timestep" in tool


def _is_pointer(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("env:")


def _line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int:
    return next(lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines)


def _blank_lines(statement: str) -> int:
    return statement[: len(statement) - len(statement.lstrip())].count("\n")
