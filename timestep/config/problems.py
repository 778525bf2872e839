"""Errors of pydantic, turned into what to write instead. No message repeats a value."""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_settings import SettingsError

from timestep.config.provenance import KeyOrigin, KeyPath, Origin, dotted
from timestep.config.shape import arms_at, field_at, is_model, names_at
from timestep.config.sources.variables import CONTROL_VARIABLES, variable_name
from timestep.config.toml_text import toml_value

Origins = Mapping[str, KeyOrigin]


def explain(
    error: ValidationError, model: type[BaseModel], kinds: Collection[str], origins: Origins
) -> ValidationError:
    """Return *error* with messages that name the key, the place and the fix, and no input."""
    problems = error.errors(include_input=False, include_url=False)
    return _error(
        (_path(problem), _reason(problem, model, kinds, origins), origins) for problem in problems
    )


def refusal(path: KeyPath, reason: str, origins: Origins) -> ValidationError:
    """Return the error for the key at *path*; *reason* says what is wrong and what to do."""
    return _error([(path, reason, origins)])


def message_of(error: ValidationError | SettingsError) -> str:
    """Return the messages of *error*, one a line."""
    if isinstance(error, ValidationError):
        return "\n".join(problem["msg"] for problem in error.errors())
    return "\n".join(map(str, error.args))


def _error(problems: Iterable[tuple[KeyPath, str, Origins]]) -> ValidationError:
    lines: list[InitErrorDetails] = []
    for path, reason, origins in problems:
        origin = _origin(path, origins)
        place = f" ({origin})" if origin else ""
        text = f"{dotted(path) or 'settings'}{place}: {reason}"
        # A variable may hold bytes that are not text; pydantic's messages may not.
        text = text.encode(errors="backslashreplace").decode()
        problem = PydanticCustomError("configuration", "{text}", {"text": text})
        lines.append({"type": problem, "loc": path, "input": None})
    return ValidationError.from_exception_data("Settings", lines, hide_input=True)


def _path(problem: ErrorDetails) -> KeyPath:
    """Return the key of *problem*, without tags of unions (``:seconds``) and pydantic's marks."""
    parts = [str(part) for part in problem["loc"]]
    # The name of an unknown key may look like a tag.
    unknown = [parts.pop()] if problem["type"] == "extra_forbidden" else []
    return (
        *(part for part in parts if not part.startswith(":") and part != "[key]"),
        *unknown,
    )


def _reason(
    problem: ErrorDetails, model: type[BaseModel], kinds: Collection[str], origins: Origins
) -> str:
    path, context = _path(problem), problem.get("ctx", {})
    match problem["type"]:
        case "value_error":
            return str(context["error"])
        case "extra_forbidden":
            names = _names(problem, model)
            return "unknown setting." + _suggestion(path, names, model, origins)
        case "missing":
            return f"is missing; add it{_example(path, model)}"
        case "union_tag_not_found":
            return f'needs a kind, as in kind = "openai"; known kinds: {", ".join(sorted(kinds))}'
        case "union_tag_invalid":
            kind = str(context["tag"]).strip("':")
            near = difflib.get_close_matches(kind, kinds, n=1)
            hint = f'. Did you mean "{near[0]}"?' if near else ""
            return f"unknown kind; known kinds: {', '.join(sorted(kinds))}{hint}"
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
    path: KeyPath, names: Collection[str], model: type[BaseModel], origins: Origins
) -> str:
    *table, unknown = path
    origin = _origin(path, origins)
    variable = origin.variable if origin else None
    meant = {name: (*table, name) for name in names}
    if not table:  # a section and its key, run together: openai_api_key
        meant |= {f"{name}_{key}": (name, key) for name in names for key in names_at(model, [name])}
        if variable:
            meant |= {path[0]: path for path in CONTROL_VARIABLES.values()}
    near = difflib.get_close_matches(unknown, meant, n=1)
    if not near:
        return f" Known here: {', '.join(names)}"
    found = meant[near[0]]
    if variable:
        return f" Did you mean {variable.replace(variable_name(path), variable_name(found))}?"
    return f" Did you mean {dotted(found)}?"


def _example(path: KeyPath, model: type[BaseModel]) -> str:
    field = field_at(model, path)
    if field is None or not field.examples:
        return ""
    return f", for example {path[-1]} = {toml_value(field.examples[0])}"


def _origin(path: KeyPath, origins: Origins) -> Origin | None:
    """Return where the key at *path* is set, or else a key below it, or else a table around it."""
    key = dotted(path)
    if key in origins:
        return origins[key].winner
    below = next((found for name, found in origins.items() if name.startswith(f"{key}.")), None)
    if below is not None:
        return below.winner
    return _origin(path[:-1], origins) if path[:-1] else None
