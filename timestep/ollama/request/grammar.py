"""JSON schemas as the ``format`` of a request: only what llama.cpp's grammar takes. Pure.

The server turns ``format`` into a grammar before the model writes a word. A schema that the
converter refuses makes the request a 400, and some make the server hang. Its rules, in its order:

- ``$ref``: ``#/`` and keys without escapes, which have to lead somewhere; anywhere in the document,
  in data and in properties called ``$ref`` too. What stands beside it is ignored. A rule that
  begins with itself is refused.
- ``oneOf`` or ``anyOf``: everything beside it is ignored.
- ``type`` as a list: the whole schema, once for each type.
- ``const``, then ``enum``.
- ``properties`` or ``additionalProperties``: a missing ``additionalProperties`` closes the object.
  Beside an open one, the names of properties are copied into classes of characters.
- ``allOf``: only ``properties``, ``enum`` and references in it count.
- ``items``, then ``prefixItems``; ``minItems`` and ``maxItems`` count beside ``items`` only.
- ``pattern`` (see `patterns`), then ``format`` (``uuid``, ``date``, ``time``, ``date-time``), then
  ``minLength`` and ``maxLength``. A repetition of 2,000 is refused, and so is a minimum above it.
- ``minimum`` and ``maximum`` of integers; more digits than fit its rule make the server hang.
- Last a known ``type``, or the empty schema, which stands for any **object**. All else is refused:
  ``true``, ``{"title": "X"}``, ``{"minimum": 3}``.

Everything else is ignored. What the grammar does not enforce is a loss: the request says it in
words, and the answer is validated afterwards.

Source: llama.cpp ``common/json-schema-to-grammar.cpp`` (``visit``, ``resolve_refs``,
``_build_object_rule``, ``_build_min_max_int``) and ``src/llama-grammar.cpp``, b10488.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from timestep.ollama.request.merge import ALL_TYPES, Merging, join_path, one_or_list, types_of
from timestep.ollama.request.patterns import to_grammar
from timestep.ollama.request.refs import (
    ANNOTATIONS,
    DEFINITIONS,
    MAX_DEPTH,
    Inliner,
    References,
    Schema,
    resolve,
)

MAX_LENGTH = 1_900
"""The largest count of characters or items that is left to the grammar, which stops at 2,000."""

MAX_OPTIONAL = 900
"""How many optional properties one object may have; each one makes two of the 2,000 rules."""

MAX_INTEGER = 10**15
"""Limits of integers are smaller than this; the grammar's rule has room for 16 digits."""

_KNOWN_TYPES = frozenset({*ALL_TYPES, "integer"})
_FORMATS = re.compile(r"uuid[1-5]?|date|time|date-time")
_NAME_IN_CLASS = re.compile(r"[A-Za-z0-9_ $@:./-]*", re.ASCII)
_OF_TYPE = {
    "object": frozenset({"properties", "required", "additionalProperties"}),
    "array": frozenset({"items", "prefixItems", "minItems", "maxItems"}),
    "string": frozenset({"pattern", "format", "minLength", "maxLength"}),
    "integer": frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}),
}
LIMITS = _OF_TYPE["string"] | _OF_TYPE["integer"] | {"minItems", "maxItems"}
"""Keywords that say how long, how many or how much."""
_READ: frozenset[str] = frozenset({"type"}).union(*_OF_TYPE.values())


@dataclass(frozen=True, slots=True)
class Format:
    """A schema for ``format``."""

    schema: Schema  # what the server enforces
    losses: tuple[str, ...]  # paths and keywords that it does not enforce, such as `code: pattern`


def to_format(schema: Any) -> Format:
    """Return *schema* as a ``format`` that no server refuses. The result is shared: leave it as it is."""
    # The SDK makes the same schema again for every turn, so it is known by its text.
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError):  # not a schema at all
        return _converted(schema)
    return _known(text)


@lru_cache(maxsize=64)
def _known(text: str) -> Format:
    return _converted(json.loads(text))


def _converted(schema: Any) -> Format:
    writer = FormatWriter()
    return writer.finish(writer.add(schema))


class FormatWriter:
    """Puts schemas of several documents into one format, which has one set of definitions."""

    def __init__(self) -> None:
        self.definitions: dict[str, Any] = {}
        self.losses: list[str] = []

    def add(self, document: Any, path: str = "") -> Schema:
        """Return the schema *document* as a part of the format; *path* is where it will stand."""
        merging = Merging(Inliner(document), self.losses)
        conversion = _Conversion(document, References(self.definitions), merging)
        converted = conversion.convert(document, path, None)
        conversion.define()
        return converted

    def finish(self, schema: Schema) -> Format:
        """Return the format whose root is *schema*."""
        if self.definitions:
            schema = {"$defs": self.definitions, **schema}
        return Format(schema, tuple(dict.fromkeys(self.losses)))


@dataclass(slots=True)
class _Conversion:
    """Converts the schemas of one document."""

    root: Any  # the document, in which references point
    references: References  # its references, as definitions of the format
    merging: Merging
    depth: int = 0  # how many schemas are around the current one

    def define(self) -> None:
        """Convert the definitions that were referred to, and those that they refer to."""
        references = self.references
        while references.waiting:
            name, target = references.waiting.popitem()
            references.definitions[name] = self.convert(target, name, name)

    def convert(self, schema: Any, path: str, owner: str | None) -> Schema:
        """Return *schema* as the grammar takes it.

        Args:
            schema: Any part of the document.
            path: Where it stands, for the losses.
            owner: The definition that begins with it; None inside of brackets.
        """
        if not isinstance(schema, Mapping):
            if schema is not True:
                self.merging.lose(path, "false" if schema is False else "schema")
            return _anything()
        if self.depth > MAX_DEPTH:
            self.merging.lose(path, "size")
            return _anything()
        self.depth += 1
        with self.merging.inline.level():
            converted = self._node(dict(cast("Mapping[str, Any]", schema)), path, owner)
        self.depth -= 1
        return converted

    def _node(self, node: Schema, path: str, owner: str | None) -> Schema:
        said = {key: node[key] for key in node if key in ANNOTATIONS and not _has_ref(node[key])}
        for key in DEFINITIONS:
            said.pop(key, None)
        if "$ref" in node:
            return {**said, **self._reference(node, path, owner)}
        if "allOf" in node:
            node, clashes = self.merging.fold(node, path)
            for key, _ in clashes:
                self.merging.lose(path, key)
        return {**said, **self._keywords(node, path, owner)}

    def _keywords(self, node: Schema, path: str, owner: str | None) -> Schema:
        for key in ("oneOf", "anyOf"):
            if isinstance(node.get(key), list):
                self._lose_beside(node, {key, "type"}, path)
                return self._union(key, node[key], path, owner)
        if "const" in node and not _has_ref(node["const"]):
            self._lose_beside(node, {"const", "enum", "type"}, path)
            return {**_known_type(node), "const": node["const"]}
        if isinstance(values := node.get("enum"), list) and values and not _has_ref(values):
            self._lose_beside(node, {"enum", "type"}, path)
            return {**_known_type(node), "enum": values}
        types = [kind for kind in types_of(_typed(node)) if kind in _KNOWN_TYPES]
        if not types:
            self.merging.lose(path, "type")
            return _anything()
        self._lose_beside(node, _READ, path)
        converted: Schema = {"type": one_or_list(types)}
        for kind in types:
            relevant = {key: node[key] for key in node if key in _OF_TYPE.get(kind, ())}
            if relevant:
                converted |= _PARTS[kind](self, relevant, path)
        for key in node.keys() & _READ - converted.keys() - {"required"}:
            self.merging.lose(path, key)
        return converted

    def _reference(self, node: Schema, path: str, owner: str | None) -> Schema:
        ref = node.pop("$ref")
        self._lose_beside(node, frozenset(), path)
        target = resolve(self.root, ref)
        if target is None:
            self.merging.lose(path, "$ref")
            return _anything()
        name = self.references.name_of(ref, target)
        if owner is not None and not self.references.begin(owner, name):
            self.merging.lose(path, "$ref")
            return _anything()
        return {"$ref": f"#/$defs/{name}"}

    def _union(self, key: str, arms: list[Any], path: str, owner: str | None) -> Schema:
        converted: list[Schema] = []
        for index, arm in enumerate(arms):
            if arm is False:
                continue  # nothing matches it
            here = join_path(path, f"{key}[{index}]")
            ref = cast("Mapping[str, Any]", arm).get("$ref") if isinstance(arm, Mapping) else None
            if self.references.is_ring(ref, owner):
                continue  # a union that contains itself is what the other arms say
            converted.append(self.convert(arm, here, owner))
        if not converted:
            self.merging.lose(path, key)
            return _anything()
        return {key: converted}

    def object(self, node: Schema, path: str) -> Schema:
        """Return the keywords of an object that the grammar takes."""
        said = node.get("properties")
        named = cast("Mapping[str, Any]", said if isinstance(said, Mapping) else {})
        if "$ref" in named:
            return {}  # taken for a reference
        properties = {
            name: self.convert(schema, join_path(path, name), None)
            for name, schema in named.items()
            if schema is not False
        }
        required = [name for name in _texts(node.get("required")) if name in properties]
        if len(properties) - len(required) > MAX_OPTIONAL:
            return {}
        converted: Schema = {}
        if isinstance(said, Mapping):
            converted["properties"] = properties
        if required:
            converted["required"] = required
        others = node.get("additionalProperties")
        if others in (True, {}) or isinstance(others, Mapping):
            if all(map(_NAME_IN_CLASS.fullmatch, properties)):
                here = join_path(path, "additionalProperties")
                converted["additionalProperties"] = (
                    others if others is True else self.convert(others, here, None)
                )
        elif others is False:
            converted["additionalProperties"] = False
        return converted

    def array(self, node: Schema, path: str) -> Schema:
        """Return the keywords of an array that the grammar takes."""
        first: Any = node.get("prefixItems", node.get("items"))
        if isinstance(first, list):
            if isinstance(node.get("items"), Mapping | bool) and node["items"] is not False:
                self.merging.lose(path, "items")
            here = join_path(path, "items")
            parts = [
                self.convert(part, f"{here}[{index}]", None)
                for index, part in enumerate(cast("list[Any]", first))
            ]
            # A tuple of this many; what its limits say is known, and "false" is refused.
            silent = {key: node[key] for key in ("minItems", "maxItems") if key in node}
            fitting: Schema = {k: v for k, v in silent.items() if v == len(parts)}
            key = "prefixItems" if "prefixItems" in node else "items"
            return {key: parts, **fitting}
        converted: Schema = {}
        if isinstance(first, Mapping | bool) and first is not False:
            converted["items"] = self.convert(first, join_path(path, "items"), None)
            converted.update(_counts(node, "minItems", "maxItems"))
        return converted

    def string(self, node: Schema, path: str) -> Schema:
        """Return the keywords of a text that the grammar takes."""
        pattern = node.get("pattern")
        written = to_grammar(pattern) if isinstance(pattern, str) else None
        if written is not None:
            return {"pattern": written}
        if isinstance(node.get("format"), str) and _FORMATS.fullmatch(node["format"]):
            return {"format": node["format"]}
        return _counts(node, "minLength", "maxLength")

    def integer(self, node: Schema, path: str) -> Schema:
        """Return the limits of an integer that the grammar takes."""
        limits = {
            key: value
            for key, value in node.items()
            if type(value) is int and abs(value) < MAX_INTEGER
        }
        least = max(
            limits.get("minimum", -MAX_INTEGER), limits.get("exclusiveMinimum", -MAX_INTEGER) + 1
        )
        most = min(
            limits.get("maximum", MAX_INTEGER), limits.get("exclusiveMaximum", MAX_INTEGER) - 1
        )
        return limits if least <= most else {}

    def _lose_beside(self, node: Schema, kept: Iterable[str], path: str) -> None:
        for key in node:
            if key not in kept and key not in ANNOTATIONS:
                self.merging.lose(path, key)


_PARTS = {
    "object": _Conversion.object,
    "array": _Conversion.array,
    "string": _Conversion.string,
    "integer": _Conversion.integer,
}


def _anything() -> Schema:
    return {"type": list(ALL_TYPES)}


def _typed(node: Schema) -> Schema:
    """Return *node* without a malformed type or union, from which none can be derived."""
    said = node.get("type")
    if isinstance(said, str) or _texts(said):
        return {"type": said if isinstance(said, str) else _texts(said)}
    return {key: value for key, value in node.items() if key not in ("type", "enum", "anyOf")}


def _known_type(node: Schema) -> Schema:
    """Return the type of *node*, which its values imply, where the grammar knows it."""
    said = node.get("type")
    known = said in _KNOWN_TYPES if isinstance(said, str) else False
    return {"type": said} if known else {}


def _texts(value: Any) -> list[str]:
    items = cast("list[Any]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, str)]


def _counts(node: Schema, least: str, most: str) -> Schema:
    """Return the limits of a length that the grammar takes."""
    counts: Schema = {
        key: node[key]
        for key in (least, most)
        if type(node.get(key)) is int and 0 <= node[key] <= MAX_LENGTH
    }
    return counts if counts.get(least, 0) <= counts.get(most, MAX_LENGTH) else {}


def _has_ref(value: Any) -> bool:
    """Return True when *value* has a key ``$ref``. The server treats it as a reference, even in data."""
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        return "$ref" in mapping or any(map(_has_ref, mapping.values()))
    if isinstance(value, list | tuple):
        return any(map(_has_ref, cast("list[Any]", value)))
    return False
