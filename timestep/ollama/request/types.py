"""The types that a JSON schema allows, said or implied. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

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
