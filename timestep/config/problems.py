"""Turns pydantic's errors into messages that say what to write. No message repeats a value."""

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import SettingsError

from timestep.config.provenance import KeyOrigin, KeyPath, Origin, SourceKind, dotted, toml_value
from timestep.config.shape import arms_at, field_at, is_model, names_at
from timestep.config.sources.variables import CONTROL_VARIABLES, variable_name
from timestep.net.nearest import nearest
from timestep.net.ollama_options import OPTION_NAMES, WrongEntryError
from timestep.net.unresolved import FIXES, UnreadError


@dataclass(frozen=True, slots=True)
class KeyPlaces:
    """Where the user wrote each key."""

    # The origin of each key that is set, by dotted key.
    origins: Mapping[str, KeyOrigin] = field(default_factory=dict[str, KeyOrigin])
    # Where files have their tables, by path.
    tables: Mapping[KeyPath, Origin] = field(default_factory=dict[KeyPath, Origin])

    def of(self, path: KeyPath) -> Origin | None:
        """Return where the key at *path* is written. Else where its table, a key below it or a table around it is."""
        if (exact := self.origins.get(dotted(path))) is not None:
            return exact.winner
        if path in self.tables:
            return self.tables[path]
        head = f"{dotted(path)}."
        below = [found.winner for key, found in self.origins.items() if key.startswith(head)]
        if below:
            # A variable spells names as the other sources do, so the mistake is theirs.
            return min(below, key=lambda origin: origin.variable is not None)
        return self.of(path[:-1]) if path[:-1] else None


def explain(
    error: ValidationError, model: type[BaseModel], kinds: Collection[str], places: KeyPlaces
) -> ValidationError:
    """Return *error* with messages that name the key, the place and the fix, and no input."""
    return _error(
        _explained(problem, model, kinds, places)
        for problem in error.errors(include_input=False, include_url=False)
    )


def refusal(path: KeyPath, text: str) -> ValidationError:
    """Return the error whose message is *text*, about the key at *path*."""
    return _error([(path, text)])


def told(path: KeyPath, origin: Origin | None, reason: str, model: type[BaseModel]) -> str:
    """Return the key at *path*, its place, and *reason* in the form of *origin*."""
    place = f" ({origin})" if origin else ""
    return f"{dotted(path) or 'settings'}{place}: {_in_form(reason, path, origin, model)}"


def printable(text: str) -> str:
    """Return *text* with escapes for bytes that are not text, as names of variables may hold."""
    return text.encode(errors="backslashreplace").decode()


def message_of(error: ValidationError | SettingsError) -> str:
    """Return the messages of *error*, one a line."""
    if isinstance(error, ValidationError):
        return "\n".join(problem["msg"] for problem in error.errors())
    return "\n".join(map(str, error.args))


def _in_form(text: str, path: KeyPath, origin: Origin | None, model: type[BaseModel]) -> str:
    """Return *text* with its settings written as variables, if *origin* is one.

    Its examples are TOML, as in ``kind = "openai"``. It is about the key or the table at *path*.
    """
    if origin is None or origin.variable is None:
        return text

    def assignment(found: re.Match[str]) -> str:
        below = (*path, found[1])
        is_table = path[-1:] != (found[1],) and arms_at(model, below)
        key = below if is_table else (*path[:-1], found[1])
        value = found[2].strip('"')
        if value.startswith("{"):
            value = json.dumps(tomllib.loads(f"x = {value}")["x"])
        return f"{variable_name(key)}={value}"

    text = re.sub(
        r"\[(providers)\.\"?([^]\"]+)\"?\]", lambda at: f"{variable_name(at.groups())}__…", text
    )
    return re.sub(r'\b([a-z_]+) = ("[^"]*"|\[[^]]*\]|\{[^}]*\}|[^\s,;]+)', assignment, text)


def _error(problems: Iterable[tuple[KeyPath, str]]) -> ValidationError:
    lines: list[InitErrorDetails] = []
    for path, text in problems:
        problem = PydanticCustomError("configuration", "{text}", {"text": printable(text)})
        lines.append({"type": problem, "loc": path, "input": None})
    return ValidationError.from_exception_data("Settings", lines, hide_input=True)


def _explained(
    problem: ErrorDetails, model: type[BaseModel], kinds: Collection[str], places: KeyPlaces
) -> tuple[KeyPath, str]:
    """Return the key of *problem*, and the whole message."""
    path, error = _path(problem), problem.get("ctx", {}).get("error")
    if isinstance(error, WrongEntryError | UnreadError) and error.name is not None:
        path = (*path, error.name)
    is_of_value = problem["type"] == "value_error" and problem["loc"][-1:] != ("[key]",)
    is_section = is_of_value and any(map(is_model, arms_at(model, path)))
    # A section as a whole refuses only a URL that would carry its key in the clear.
    url = (*path, "base_url")
    origin = places.of(url if is_section and dotted(url) in places.origins else path)
    if isinstance(error, UnreadError):
        form = _FORMS.get(origin.kind) if origin and error.slip == "variable" else None
        variable = origin.variable if origin and origin.variable else variable_name(path)
        how = form.format(key=dotted(path[-1:]), variable=variable) if form else FIXES[error.slip]
        reason = f"{error.reason}; {how}"
    else:
        reason = _reason(problem, path, model, kinds, origin)
    return path, told(path, origin, reason, model)


_FORMS: dict[SourceKind, str] = {
    "toml": 'write {key} = "env:NAME"',
    "dotenv": "write {variable}=${{NAME}}, or the value itself",
    "environment": 'write the value itself, as in export {variable}="$NAME"',
    "secrets": "the file holds the value itself, and nothing else",
}
"""How to write the value of a variable, by the kind of source."""


def _path(problem: ErrorDetails) -> KeyPath:
    """Return the key of *problem*, without tags of unions (``:seconds``) and pydantic's marks."""
    parts = [str(part) for part in problem["loc"]]
    # The name of an unknown key may look like a tag.
    unknown = [parts.pop()] if problem["type"] == "extra_forbidden" else []
    return (*(part for part in parts if not part.startswith(":") and part != "[key]"), *unknown)


def _reason(
    problem: ErrorDetails,
    path: KeyPath,
    model: type[BaseModel],
    kinds: Collection[str],
    origin: Origin | None,
) -> str:
    context = problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            names = _names(problem, model)
            return "unknown setting." + _suggestion(path, names, model, origin)
        case "missing":
            return f"is missing; add it{_example(path, model)}"
        case "union_tag_not_found":
            return f'needs a kind, as in kind = "openai"; known kinds: {", ".join(sorted(kinds))}'
        case "union_tag_invalid":
            kind = str(context["tag"]).strip("':")
            near = nearest(kind, kinds)
            hint = f'. Did you mean "{near}"?' if near else ""
            return f"unknown kind; known kinds: {', '.join(sorted(kinds))}{hint}"
        case "bool_type" | "bool_parsing":
            return "must be true or false"
        case "path_type":
            return f"must be the path of a file, as text{_example(path, model)}"
        case "dict_type" | "model_type":
            return f"must be a table of settings{_example(path, model)}"
        case _:
            return re.sub(r"^\w+ should", "must", problem["msg"]) + _example(path, model)


def _names(problem: ErrorDetails, model: type[BaseModel]) -> list[str]:
    """Return the names that are known in the table with the unknown key of *problem*."""
    *table, _ = _path(problem)
    tags = {str(part)[1:] for part in problem["loc"] if str(part).startswith(":")}
    return sorted(
        {
            name
            for arm in arms_at(model, table)
            if is_model(arm) and (not tags or _kind(arm) in tags | {None})
            for name in arm.model_fields
        }
    )


def _kind(arm: Any) -> str | None:
    kind = arm.model_fields.get("kind")
    return next(iter(get_args(kind.annotation)), None) if kind else None


def _suggestion(
    path: KeyPath, names: Collection[str], model: type[BaseModel], origin: Origin | None
) -> str:
    *table, unknown = path
    variable = origin.variable if origin else None
    meant = {name: (*table, name) for name in names}
    if not table:  # a section and its key, run together: openai_api_key
        meant |= {f"{name}_{key}": (name, key) for name in names for key in names_at(model, [name])}
        if variable:
            meant |= {path[0]: path for path in CONTROL_VARIABLES.values()}
    if "options" in names:  # an option of Ollama, one level too high
        meant |= {option: (*table, "options", option) for option in OPTION_NAMES}
    near = nearest(unknown, meant)
    if near is None:
        return f" Known here: {', '.join(names)}"
    found = meant[near]
    if variable and variable_name(path) in variable.upper():
        return f" Did you mean {variable.replace(variable_name(path), variable_name(found))}?"
    return f" Did you mean {dotted(found)}?"


def _example(path: KeyPath, model: type[BaseModel]) -> str:
    field = field_at(model, path)
    if field is None or not field.examples:
        return ""
    return f", for example {path[-1]} = {toml_value(field.examples[0])}"
