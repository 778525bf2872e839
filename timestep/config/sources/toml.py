"""The TOML file: where it is, what it says, and on which line."""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import platformdirs
from pydantic_settings import BaseSettings, SettingsError

from timestep.config.provenance import Entry, KeyPath, Origin, dotted, flatten, to_tree
from timestep.config.sources.base import NamedPath, Source, is_set, read_text, unset_reference
from timestep.config.sources.variables import decode
from timestep.net.json_parts import mapping

_TABLE = ("tool", "timestep")
_PIECES = re.compile(
    r'''
      """(?>(?:[^"\\]|\\.|"(?!""))*)"{3,5}   # a string of many lines may end in two quotes of its own
    | \'\'\'(?>(?:[^']|'(?!''))*)'{3,5}
    | "(?>(?:[^"\\]|\\.)*)"
    | '[^']*+'
    | \#[^\n]*+
    | [^"'\#\[\]{}=\n]++
    | .                                   # a bracket, an equals sign, the end of a line
    ''',
    re.VERBOSE | re.DOTALL,
)


class TomlSource(Source):
    """The settings of *config_file*, or of the first of `toml_places` that holds any.

    A value such as ``"env:GROQ_API_KEY"`` points at one of *variables*.
    """

    def __init__(
        self,
        settings_cls: type[BaseSettings],
        config_file: NamedPath | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(settings_cls)
        self._variables = variables or {}
        self.file: Path | None = None  # the file that was read
        is_found = config_file is None
        setting = "it, or move it away" if config_file is None else config_file.setting
        for path, table in toml_places(None if config_file is None else config_file.path):
            if is_found and not os.path.lexists(path):
                continue
            text = read_text(path, setting)
            settings: object = parse_toml(path, text)
            for name in table:
                settings = mapping(settings).get(name)
            if settings is not None:
                self.file = path
                lines = key_lines(text)
                self.entries = _entries(path, table, settings, lines)
                self.tables = {
                    key[len(table) :]: Origin("toml", f"{path}:{line}")
                    for key, line in lines.items()
                    if key[: len(table)] == table
                }
                break
            if not is_found:
                raise SettingsError(f"{path} has no [{dotted(table)}]; add that table to it")

    def __call__(self) -> dict[str, Any]:
        """Return the tree of settings, with the text of a variable in the place of its pointer."""
        return to_tree(map(self._followed, self.entries))

    def _followed(self, entry: Entry) -> Entry:
        value = entry.value
        if not isinstance(value, str) or not value.startswith("env:"):
            return entry
        if is_set(entry.path, self.current_state):
            return entry  # a stronger source wins
        name = value.removeprefix("env:").strip()
        text = self._variables.get(name, "").strip()
        if not text:
            reason = unset_reference(name, "'env:{}'", "set it in the environment or in .env")
            raise SettingsError(f"{dotted(entry.path)} ({entry.origin}): {reason}")
        decoded = decode(self.settings_cls, entry.path, text, entry.origin)
        return Entry(entry.path, decoded, entry.origin)


def toml_places(config_file: Path | None) -> list[tuple[Path, KeyPath]]:
    """Return the files that may hold settings, in the order of the search, each with its table.

    That is only *config_file* when it is given. Otherwise ``./timestep.toml``, ``[tool.timestep]``
    in ``./pyproject.toml``, and ``timestep.toml`` in the user's configuration directory.
    """
    if config_file is not None:
        return [(config_file, _TABLE if config_file.name == "pyproject.toml" else ())]
    user = platformdirs.user_config_path("timestep") / "timestep.toml"
    return [(Path("timestep.toml"), ()), (Path("pyproject.toml"), _TABLE), (user, ())]


def parse_toml(path: Path, text: str) -> dict[str, Any]:
    """Return the tables in *text*."""
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as exc:  # ValueError: also an integer of 5000 digits
        found = re.search(r" \(at line (\d+), column (\d+)\)\Z", str(exc))
        place, column = (f"{path}:{found[1]}", f", column {found[2]}") if found else (path, "")
        reason = next(words for said, words in _REASONS if re.match(said, str(exc)))
    raise SettingsError(f"{place} is not valid TOML{column}: {reason}")


_REASONS = (
    (r".*\(at end of document\)", "it ends in the middle of a value or a table"),
    (
        "Cannot (overwrite|declare|mutate|redefine)|Duplicate",
        "a key or a table is written twice; keep one of them",
    ),
    ("Expected '=' after a key", "there is no = after a key"),
    (
        "Invalid (value|date)|Expected newline",
        'text values need quotes, as in default_model = "ollama/llama3.2"',
    ),
    ("Unterminated|Illegal character", "a string has no closing quote; add one on the same line"),
    (
        "Unescaped|Escaped|Invalid hex",
        r"a string holds a single \; write \\, or use single quotes",
    ),
    ("Unclosed", "a bracket is not closed"),
    ("Exceeds the limit", "a number has too many digits"),
    ("maximum recursion", "tables and lists are nested too deep"),
    ("", "this is not a key with a value; write key = value, or [table]"),
)
"""What is wrong, by the parser's message. That message repeats keys, and a key may be a secret."""


def _entries(
    file: Path, table: KeyPath, settings: object, lines: Mapping[KeyPath, int]
) -> list[Entry]:
    if not isinstance(settings, dict):
        raise SettingsError(f"{file}: [{dotted(table)}] must be a table of settings")
    entries: list[Entry] = []
    for path, value in flatten(cast("dict[str, object]", settings)):
        if path:
            whole = (*table, *path)
            # The line of the key, or of the inline table that holds it.
            line = next(lines[whole[:n]] for n in range(len(whole), 0, -1) if whole[:n] in lines)
            entries.append(Entry(path, value, Origin("toml", f"{file}:{line}")))
    return entries


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line on which each key of the valid TOML *text* is first written, from 1.

    The work is linear in the length of the text. Keys inside an inline table are left out.
    """
    lines: dict[KeyPath, int] = {}
    header: KeyPath = ()
    for line, key in _written_keys(text):
        is_header = key.startswith("[")
        tree = tomllib.loads(key if is_header else f"{key} = 0")
        path = next(path for path, _ in flatten(tree))
        if is_header:
            header = path
        base = () if is_header else header
        for length in range(1, len(path) + 1):
            lines.setdefault(base + path[:length], line)
    return lines


def _written_keys(text: str) -> Iterator[tuple[int, str]]:
    """Yield the key or the header that begins each statement, as written, with its line."""
    line, depth, begin = 1, 0, 1
    key, is_value = "", False
    for match in _PIECES.finditer(f"{text}\n"):
        piece = match[0]
        if piece == "\n" and depth == 0:
            if key:
                yield begin, key
            key, is_value = "", False
        elif piece == "=":
            is_value = True
        elif not is_value and not piece.startswith("#"):
            begin = begin if key else line
            key = (key + piece).strip()
        depth += (piece in "[{") - (piece in "]}")
        line += piece.count("\n")
