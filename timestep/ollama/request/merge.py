"""Schemas that hold together, ``allOf`` above all, as one; and the types that a schema allows. Pure."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from timestep.net.json_text import as_json
from timestep.ollama.request.refs import ANNOTATIONS, Inliner, Schema

ALL_TYPES = ("string", "number", "boolean", "object", "array", "null")

# What a schema is about when it has one of these keywords and no type.
_IMPLIED = {
    "object": {
        "additionalProperties",
        "maxProperties",
        "minProperties",
        "patternProperties",
        "properties",
        "propertyNames",
        "required",
    },
    "array": {"contains", "items", "maxItems", "minItems", "prefixItems", "uniqueItems"},
    "string": {"format", "maxLength", "minLength", "pattern"},
    "number": {"exclusiveMaximum", "exclusiveMinimum", "maximum", "minimum", "multipleOf"},
}  # a table reads better in rows # fmt: skip


@dataclass(slots=True)
class Merging:
    """Merges the schemas of one document, and lists what it loses."""

    inline: Inliner  # opens the references of the document
    losses: list[str] = field(default_factory=list[str])  # no longer enforced

    def lose(self, path: str, keyword: str) -> None:
        """List *keyword* as no longer enforced."""
        self.losses.append(f"{path or 'schema'}: {keyword}")

    def fold(self, node: Schema, path: str) -> tuple[Schema, list[tuple[str, Any]]]:
        """Return *node* with ``allOf`` merged in, ``oneOf`` as ``anyOf`` and ``const`` as ``enum``.

        The second result holds the keywords that its parts say differently, with what the later
        part says.
        """
        folded: Schema = {}
        clashes: list[tuple[str, Any]] = []
        waiting = [node]
        while waiting:
            part = self._usable(waiting.pop(0), path)
            inner: list[Schema] = []
            if (branches := part.pop("oneOf", None)) is not None:
                if len(branches) > 1:
                    self.lose(path, "oneOf (as anyOf)")
                inner.append({"anyOf": branches})
            for schema in cast("list[Any]", part.pop("allOf", [])):
                mapping = cast("Mapping[str, Any]", schema) if isinstance(schema, Mapping) else None
                opened = None if mapping is None else self.inline.open(mapping)
                if opened is not None:
                    inner.append(opened)
                elif schema is not True:
                    self.lose(path, "allOf")
            waiting[:0] = inner
            clashes += self._merge(folded, part, path)
        return folded, clashes

    def _usable(self, node: Schema, path: str) -> Schema:
        """Return *node* without malformed keywords, ``const`` as ``enum``."""
        usable: Schema = {}
        for key, value in node.items():
            if key in _IS_WELL_FORMED and not _IS_WELL_FORMED[key](value):
                self.lose(path, key)
            else:
                usable[key] = value
        if "const" in usable:
            const = [usable.pop("const")]
            usable["enum"] = _common(usable["enum"], const) if "enum" in usable else const
        return usable

    def _merge(self, folded: Schema, part: Schema, path: str) -> list[tuple[str, Any]]:
        """Merge *part* into *folded*; returns what both say differently."""
        clashes: list[tuple[str, Any]] = []
        for key, value in part.items():
            known: Any = folded.setdefault(key, value)
            if known is value:
                continue
            if key == "properties":
                both = known.keys() & value.keys()
                twice = {name: {"allOf": [known[name], value[name]]} for name in both}
                folded[key] = {**known, **value, **twice}
            elif key == "required":
                folded[key] = list(dict.fromkeys([*known, *value]))
            elif key == "enum":
                folded[key] = _common(known, value)
            elif key == "type":
                folded[key] = _common_types(known, value)
            elif key == "description" and known != value:
                folded[key] = f"{known} {value}"
            elif key not in ANNOTATIONS and _canonical(known) != _canonical(value):
                self.lose(path, key)
                clashes.append((key, value))
        return clashes


def join_path(path: str, step: str) -> str:
    """Return *path*, one *step* further."""
    return f"{path}.{step}" if path else step


def shown(value: Any) -> str:
    """Return *value* as JSON for people; never fails."""
    try:
        return as_json(value)
    except (TypeError, ValueError, RecursionError):  # not a schema at all: the request will not go
        return "…"


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(text, str) for text in cast("list[Any]", value)
    )


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


_IS_WELL_FORMED: dict[str, Callable[[Any], bool]] = {
    "allOf": _is_list,
    "anyOf": _is_list,
    "enum": _is_list,
    "oneOf": _is_list,
    "properties": lambda value: isinstance(value, Mapping),
    "required": _is_texts,
    "type": lambda value: isinstance(value, str) or _is_texts(value),
}


def _common(left: list[Any], right: list[Any]) -> list[Any]:
    wanted = [_canonical(value) for value in right]
    return [value for value in left if _canonical(value) in wanted]


def _common_types(left: str | list[str], right: str | list[str]) -> str | list[str]:
    """Return the types that both allow; every integer is a number."""
    lefts, rights = (
        [*kinds, *(["integer"] if "number" in kinds else [])]
        for kinds in ([kind] if isinstance(kind, str) else kind for kind in (left, right))
    )
    both = [kind for kind in dict.fromkeys(lefts) if kind in rights]
    if "number" in both:
        both.remove("integer")
    return both[0] if len(both) == 1 else both


def _canonical(value: Any) -> str:
    """Return a text that is equal for values equal in JSON: ``1`` and ``1.0``, not ``true``."""
    text = shown(value)
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):  # not JSON: equal to nothing but itself
        return str(id(value))


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def types_of(schema: Mapping[str, Any]) -> list[str]:
    """Return the types that *schema* stands for.

    It has no reference and no ``allOf``, and the arms of its ``anyOf`` are schemas, not booleans. A
    schema about which nothing is known stands for all of them.
    """
    said: Any = schema.get("type")
    if isinstance(said, str):
        return [said]
    if isinstance(said, list):
        return list(cast("list[str]", said))
    if isinstance(values := schema.get("enum"), list):
        return _unique(type_of(value) for value in cast("list[Any]", values))
    if isinstance(arms := schema.get("anyOf"), list):
        found = [types_of(arm) for arm in cast("list[Mapping[str, Any]]", arms)]
        return _unique(kind for kinds in found for kind in kinds)
    return [kind for kind, keys in _IMPLIED.items() if keys & schema.keys()] or list(ALL_TYPES)


def type_of(value: Any) -> str:
    """Return the JSON type of *value*."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case str():
            return "string"
        case list() | tuple():
            return "array"
        case _:
            return "object"


def one_or_list(types: list[str]) -> str | list[str]:
    """Return *types* in the form of the keyword ``type``."""
    return types[0] if len(types) == 1 else types


def _unique(types: Iterable[str]) -> list[str]:
    found = list(dict.fromkeys(types))
    return [kind for kind in found if kind != "integer"] if "number" in found else found
