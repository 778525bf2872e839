"""A request whose ``format`` the server could not make a grammar of: what to ask instead. Pure.

`grammar` sends nothing that the llama.cpp of today refuses. Another version may refuse more, so
such a request is asked once more without the constraint that the server's words are about.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from timestep.answer.told import told_output, with_instructions
from timestep.errors import OllamaError, OllamaStatusError
from timestep.ollama.request.build import ChatRequest
from timestep.ollama.request.merge import join_path
from timestep.ollama.request.refs import Schema
from timestep.ollama.request.types import ALL_TYPES

_REFUSED = re.compile(
    r"JSON schema conversion failed|failed to parse grammar|initialize samplers", re.IGNORECASE
)
_UNRECOGNIZED = re.compile(r"Unrecognized schema: (\{.*\})")
_PATTERN = re.compile(r"\bpattern\b|parenthes|brackets", re.IGNORECASE)
_REFERENCE = re.compile(r"\bref\b")
_LIMITS = frozenset(
    {
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maximum",
        "minItems",
        "minLength",
        "minimum",
        "pattern",
    }
)  # fmt: skip - a table reads better in rows
_SHOWN = 5
_IN_LISTS = ("anyOf", "oneOf", "prefixItems")
_IN_MAPS = ("properties", "$defs")


def is_refused_format(error: OllamaError) -> bool:
    """Return True when *error* says that the server could not make a grammar of the format."""
    return isinstance(error, OllamaStatusError) and bool(_REFUSED.search(error.server_message))


def without_constraint(request: ChatRequest, error: OllamaStatusError) -> ChatRequest | None:
    """Return *request* without the constraint that *error* names; None when that was tried."""
    schema = request.body.get("format")
    if request.left_out or not isinstance(schema, Mapping):
        return None
    source = cast("Schema", schema)
    named = _named(source, error.server_message)
    if not named:
        return None
    body: dict[str, Any] = {**request.body, "format": _relaxed(source, error.server_message)}
    if request.rules.output is not None and not request.rules.is_repair:
        # The grammar no longer says all of it, so words do.
        words = told_output(request.rules.output)
        body["messages"] = with_instructions(body["messages"], words)
    return replace(request, body=body, left_out=tuple(named))


def refused_format_error(request: ChatRequest, error: OllamaStatusError) -> OllamaStatusError:
    """Return *error* with the fields of the schema that it may be about."""
    schema = request.body.get("format")
    named = _named(schema, error.server_message)
    where = f"It is about {_listed(named)}. " if named else ""
    if request.left_out:
        where += f"Leaving out {_listed(request.left_out)} did not help. "
    return OllamaStatusError(
        f"{error.host} cannot make a grammar of the schema for the answer of {error.model!r}: "
        f"{error.server_message.rstrip('.')}. {where}Choose a simpler type, check the value in a "
        "validator, or update the server.",
        status_code=error.status_code,
        headers=error.headers,
        server_message=error.server_message,
        model=error.model,
        host=error.host,
    )


def _listed(fields: Sequence[str]) -> str:
    more = len(fields) - _SHOWN
    return ", ".join([*fields[:_SHOWN], *([f"{more} more"] if more > 0 else [])])


def _named(schema: object, words: str) -> list[str]:
    """Return the places in *schema* that *words* are about, such as ``code: pattern``.

    The caller may have written *schema*, so any part of it may be of a wrong type.
    """
    return [
        f"{path or 'the root'}: {key}"
        for path, node in _nodes(schema, "")
        for key in node
        if _is_meant(node, key, words)
    ]


def _relaxed(schema: Any, words: str) -> Any:
    """Return *schema* without the keywords that *words* are about."""
    if not isinstance(schema, Mapping):
        return schema
    source = cast("Schema", schema)
    kept: dict[str, Any] = {
        key: value for key, value in source.items() if not _is_meant(source, key, words)
    }
    for key in _IN_LISTS:
        if isinstance(kept.get(key), list):
            kept[key] = [_relaxed(part, words) for part in kept[key]]
    for key in _IN_MAPS:
        if isinstance(kept.get(key), Mapping):
            kept[key] = {name: _relaxed(part, words) for name, part in kept[key].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(kept.get(key), Mapping):
            kept[key] = _relaxed(kept[key], words)
    # The server takes an empty schema for that of an object.
    return kept or {"type": list(ALL_TYPES)}


def _is_meant(node: Schema, key: str, words: str) -> bool:
    if found := _UNRECOGNIZED.search(words):
        return bool(node == _parsed(found[1]))
    if _PATTERN.search(words):
        return key == "pattern"
    if _REFERENCE.search(words):
        return key == "$ref"
    return key in _LIMITS


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _nodes(schema: object, path: str) -> Iterator[tuple[str, Schema]]:
    if not isinstance(schema, Mapping):
        return
    node = cast("Schema", schema)
    yield path, node
    for key in _IN_LISTS:
        parts = node.get(key)
        for index, part in enumerate(cast("list[Any]", parts) if isinstance(parts, list) else []):
            yield from _nodes(part, join_path(path, f"{key}[{index}]"))
    for key in _IN_MAPS:
        named = node.get(key)
        for name, part in cast("Schema", named).items() if isinstance(named, Mapping) else ():
            yield from _nodes(part, join_path(path, str(name)))
    for key in ("items", "additionalProperties"):
        yield from _nodes(node.get(key), join_path(path, key))
