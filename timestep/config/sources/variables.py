"""Variables: how they are named, what their text means, and the sources that read them.

The environment, ``.env`` and the secrets directory share these names. A name is ``TIMESTEP_`` and
the path of the key in upper case, with two underscores between its parts; or one of `SHORT_NAMES`.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsError

from timestep.config.provenance import Entry, KeyPath, Origin, dotted, flatten, to_tree
from timestep.config.shape import arms_at, field_at, is_table
from timestep.config.sources.base import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    NamedPath,
    Source,
    expanded,
    ours,
)
from timestep.net.nearest import nearest

PREFIX = "TIMESTEP_"
CONTROL_VARIABLES: dict[str, KeyPath] = {
    CONFIG_VARIABLE: ("config",),
    SECRETS_VARIABLE: ("secrets_dir",),
}
"""The variables that say where to look. They set no key."""
SHORT_NAMES: dict[str, KeyPath] = {
    "OPENAI_API_KEY": ("openai", "api_key"),
    "OPENAI_BASE_URL": ("openai", "base_url"),
    "OPENAI_ORG_ID": ("openai", "organization"),
    "OPENAI_PROJECT_ID": ("openai", "project"),
    "OPENAI_WEBSOCKET_BASE_URL": ("openai", "websocket_base_url"),
    "OPENAI_CUSTOM_HEADERS": ("openai", "headers"),
    "OLLAMA_API_KEY": ("ollama", "api_key"),
    "OLLAMA_BASE_URL": ("ollama", "base_url"),
    "OLLAMA_HOST": ("ollama", "host"),
}
"""The variables that other tools read too. ``TIMESTEP_OPENAI__API_KEY`` and so on win over them."""
_OTHER_NAMES = {
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_ORGANIZATION": "OPENAI_ORG_ID",
    "OPENAI_PROJECT": "OPENAI_PROJECT_ID",
    "OLLAMA_API_BASE": "OLLAMA_BASE_URL",
    "OLLAMA_URL": "OLLAMA_BASE_URL",
}
"""The names that other tools use for the same settings."""
_CLOSE = 0.88


def variable_path(name: str) -> KeyPath | None:
    """Return the key that the variable *name* sets, or None when it sets no key of ours."""
    name = name.upper()
    if name in SHORT_NAMES:
        return SHORT_NAMES[name]
    if not name.startswith(PREFIX) or name in CONTROL_VARIABLES:
        return None
    path = tuple(name.removeprefix(PREFIX).lower().split("__"))
    # A shell allows no hyphen in a name; a header has hyphens and hardly ever an underscore.
    return (*path[:-1], path[-1].replace("_", "-")) if "headers" in path[:-1] else path


def variable_name(path: Iterable[object]) -> str:
    """Return the name of the variable that sets the key at *path*."""
    return PREFIX + "__".join(str(key).upper().replace("-", "_") for key in path)


def names_of(path: KeyPath) -> list[str]:
    """Return the variables that a shell can spell for the key at *path*, strongest first."""
    names = [variable_name(path), *(name for name, target in SHORT_NAMES.items() if target == path)]
    return [name for name in names if name.isidentifier()]


def is_ours(name: str) -> bool:
    """Return True when *name* is a variable of ours, whether or not the settings know its key."""
    return name.upper() in CONTROL_VARIABLES or variable_path(name) is not None


def shown_name(settings_cls: type[BaseModel], name: str) -> str:
    """Return *name* for a message, unless it is unknown: then an API key may be stuck to it."""
    path = variable_path(name)
    is_known = path is None or field_at(settings_cls, path) is not None
    return name if is_known else "the name"


def not_set(name: str) -> str:
    """Return what is wrong with a line such as `export NAME`, which sets nothing."""
    return f"this does not set {name}; write NAME=VALUE, and end a quoted value with its quote"


def meant_variable(name: str) -> str | None:
    """Return the variable of ours that was probably meant by *name*, or None."""
    name = name.upper()
    if name in SHORT_NAMES or name.startswith(PREFIX):
        return None  # ours; the settings say what is wrong with it
    if name in _OTHER_NAMES:
        return _OTHER_NAMES[name]
    head, _, tail = name.partition("_")
    if tail and nearest(head, [PREFIX.rstrip("_")], cutoff=_CLOSE):
        return PREFIX + tail
    return nearest(name, SHORT_NAMES, cutoff=_CLOSE)


def spelling_of(written: Iterable[KeyPath]) -> dict[KeyPath, KeyPath]:
    """Return the names of providers and aliases, by the names that variables have for them.

    A variable has no hyphen and no case: ``TIMESTEP_PROVIDERS__MY_LLM__API_KEY`` belongs to
    ``[providers.my-llm]`` when a file has that table. *written* are the paths of other sources.
    """
    names = {path[:2] for path in written if path[:1] in {("providers",), ("aliases",)}}
    plain = {tuple(part.lower().replace("-", "_") for part in name): name for name in names}
    return plain | {name: name for name in names}


def respelled(path: KeyPath, spelling: Mapping[KeyPath, KeyPath]) -> KeyPath:
    """Return the *path* of a variable, with its provider or alias spelled as in *spelling*."""
    return (*spelling.get(path[:2], path[:2]), *path[2:])


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of one source."""

    name: str
    text: str = field(repr=False)
    origin: Origin

    @property
    def place(self) -> str:
        """What a message calls this variable."""
        is_in_file = self.origin.kind == "dotenv"
        return f"{self.name} ({self.origin})" if is_in_file else f"the {self.origin}"


def environment_variables(environment: Mapping[str, str]) -> list[Variable]:
    """Return the variables of the process."""
    return [
        Variable(name, text, Origin("environment", f"environment variable {name}", name.upper()))
        for name, text in environment.items()
    ]


def _check_name(settings_cls: type[BaseModel], variable: Variable) -> None:
    """Refuse a name with a value stuck to it. Names of models may hold any character."""
    name = variable.name
    [head] = re.findall(r"\A\w*", name)
    path = variable_path(head)
    if path is None or name.replace("-", "_").replace(".", "_").isidentifier():
        return
    if field_at(settings_cls, path) is not None or "headers" in path:
        place = variable.origin.location if variable.origin.kind == "dotenv" else "environment"
        shown = shown_name(settings_cls, head)
        raise SettingsError(f"{place}: {not_set(shown)}")


class VariablesSource(Source):
    """Settings from variables.

    A long name wins over a short one, a longer path over JSON that holds it, and an upper-case name
    over other spellings.
    """

    def __init__(self, settings_cls: type[BaseSettings], variables: Iterable[Variable]) -> None:
        given = list(variables)
        for variable in given:
            _check_name(settings_cls, variable)
        self.variables = [variable for variable in given if variable.text.strip()]
        self.spelling: Mapping[KeyPath, KeyPath] = {}  # see `spelling_of`
        self.paths = {
            variable.name.upper(): NamedPath(expanded(variable.text.strip()), variable.place)
            for variable in reversed(self.variables)
            if variable.name.upper() in CONTROL_VARIABLES
        }
        super().__init__(settings_cls)

    def __call__(self) -> dict[str, Any]:
        """Return the tree of settings."""
        self.entries = [
            entry for variable, path in self._ranked() for entry in self._read(variable, path)
        ]
        _check_one_form(self.entries)
        return to_tree(reversed(self.entries))  # the strongest is written last

    def _ranked(self) -> list[tuple[Variable, KeyPath]]:
        return sorted(
            [(each, path) for each in self.variables if (path := variable_path(each.name))],
            key=lambda pair: (
                pair[0].name.upper() in SHORT_NAMES,
                -len(pair[1]),
                not pair[0].name.isupper(),
            ),
        )

    def _read(self, variable: Variable, path: KeyPath) -> Iterable[Entry]:
        text = variable.text.strip()
        if variable.name.upper() == "OPENAI_CUSTOM_HEADERS":
            # One "Name: value" a line, as OpenAI's client reads them.
            lines = (line.partition(":") for line in text.splitlines())
            value: Any = {name.strip(): below.strip() for name, colon, below in lines if colon}
        else:
            value = decode(self.settings_cls, path, text, variable.origin)
        for leaf, below in flatten(value, path):
            yield Entry(respelled(leaf, self.spelling), below, variable.origin)


def _check_one_form(entries: Iterable[Entry]) -> None:
    """Refuse a plain value and a table for one key: neither is the stronger one."""
    tables = {
        entry.path[:length]: entry.origin
        for entry in entries
        for length in range(1, len(entry.path))
    }
    for entry in entries:
        if entry.path in tables and not entry.is_empty_table:
            raise SettingsError(
                f"{dotted(entry.path)}: a plain value ({entry.origin}) and a table "
                f"({tables[entry.path]}) for one key; unset one of them"
            )


def texts_of(sources: Sequence[object]) -> dict[str, str]:
    """Return the texts of the variables in *sources*, which come strongest first, by name."""
    return {
        variable.name: variable.text
        for source in reversed(sources)
        if isinstance(source, VariablesSource)
        for variable in reversed(source.variables)
    }


def spell_alike(sources: Sequence[object]) -> None:
    """Let variables spell providers and aliases as the other *sources* do.

    A source that reads nothing before it is called comes too late for this.
    """
    written = [entry.path for source in ours(sources) for entry in source.entries]
    for source in sources:
        if isinstance(source, InitSettingsSource):  # JSON, TOML and YAML of the library
            written += [path for path, _ in flatten(source())]
    spelling = spelling_of(written)
    for source in sources:
        if isinstance(source, VariablesSource):
            source.spelling = spelling


def decode(settings_cls: type[BaseModel], path: KeyPath, text: str, origin: Origin) -> Any:
    """Return the *text* of a variable as the key at *path* wants it."""
    value = _decoded(settings_cls, path, text, origin)
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        reason = "this holds bytes or escapes that are not UTF-8 text, or too many brackets"
    else:
        return value
    raise SettingsError(f"{dotted(path)} ({origin}): {reason}; write it again")


def _decoded(settings_cls: type[BaseModel], path: KeyPath, text: str, origin: Origin) -> Any:
    allowed = arms_at(settings_cls, path)
    tables = [arm for arm in allowed if is_table(arm)]
    may_be_json = (
        Any in allowed or tables or any(get_origin(arm) in {list, Sequence} for arm in allowed)
    )
    if may_be_json and (text[0] in "[{" or Any in allowed):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # plain text, where text is allowed
    if tables and len(tables) == len(allowed):
        raise SettingsError(
            f"{dotted(path)} ({origin}): a table is written as a JSON object, or better key by key "
            f"in variables such as {variable_name(path)}__NAME"
        )
    return text
