"""Tool schemas, narrowed to what an Ollama server keeps. Pure.

The server decodes a tool's parameters into fixed structs and drops the rest. What it would drop
is rewritten first (``$ref`` inlined, ``allOf`` folded, ``oneOf`` to ``anyOf``, ``const`` to
``enum``); what cannot be rewritten is told to the model in the description and listed as a loss.
A narrowed schema may accept more than its source, never less.

Source: ollama ``api/types.go`` (``ToolFunctionParameters``, ``ToolProperty``), v0.33.0.
"""

import json
import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

Schema = dict[str, Any]

MAX_REF_DEPTH = 2
"""How often one definition may be inlined inside itself before it is cut to "anything"."""

MAX_DEPTH = 50
"""How deep subschemas may nest: what lies deeper is cut to "anything"."""

MAX_NODES = 5_000
"""How many subschemas one tool may grow to: definitions that double at every level stop here."""

_DEFINITIONS = frozenset({"$defs", "definitions"})
_SILENT = _DEFINITIONS | {"$comment", "$id", "$schema", "description", "discriminator", "title"}
# Keywords that do not decide what is valid.
_ANNOTATIONS = _SILENT | {"default", "deprecated", "examples", "readOnly", "writeOnly"}
# Keywords that hold a schema, or a list of them; what stands under an unknown keyword is data.
_SUBSCHEMAS = frozenset(
    {
        "additionalItems",
        "additionalProperties",
        "allOf",
        "anyOf",
        "contains",
        "contentSchema",
        "else",
        "if",
        "items",
        "not",
        "oneOf",
        "prefixItems",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)  # fmt: skip - a table reads better in rows
_SUBSCHEMA_MAPS = frozenset({"dependencies", "dependentSchemas", "patternProperties", "properties"})
_WORDS = {
    "additionalProperties": "other properties",
    "exclusiveMaximum": "less than",
    "exclusiveMinimum": "more than",
    "items": "other items",
    "maxItems": "most items",
    "maxLength": "longest",
    "maximum": "at most",
    "minItems": "fewest items",
    "minLength": "shortest",
    "minimum": "at least",
    "multipleOf": "multiple of",
    "prefixItems": "first items",
    "uniqueItems": "unique items",
}


@dataclass(frozen=True, slots=True)
class ToolParameters:
    """A tool's parameters as the server keeps them.

    Attributes:
        schema: Always an object schema with ``properties``.
        notes: What only words can say about the whole; belongs to the tool's description.
        losses: Paths and keywords the schema no longer enforces, such as
            ``properties.age: minimum``; what is well-formed also stands in words, but for the
            closing of objects.
    """

    schema: Schema
    notes: str
    losses: tuple[str, ...]


def narrow_parameters(schema: Any) -> ToolParameters:
    """*schema*, an object schema of a tool's arguments, as the server will keep it."""
    narrowing = _Narrowing(_Inliner(schema))
    whole = narrowing.narrow(schema, "")
    notes: list[str] = []
    for key, said in (("anyOf", "Arguments match one of"), ("enum", "Arguments are one of")):
        if key in whole:
            narrowing.lose("", key)
            notes.append(f"{said}: {_json(whole[key])}")
    if (kind := whole.get("type", "object")) != "object":
        narrowing.lose("", "type")
        notes.append(f"Type of the arguments: {_json(kind)}")
    if text := whole.get("description"):
        notes.append(text)
    parameters: Schema = {"type": "object", "properties": whole.get("properties", {})}
    if whole.get("required"):
        parameters["required"] = whole["required"]
    return ToolParameters(parameters, "\n".join(notes), tuple(dict.fromkeys(narrowing.losses)))


def inline_refs(schema: Any) -> Any:
    """*schema* without ``$ref``, ``$defs`` and ``true``: it can stand inside another schema.

    A definition that contains itself is inlined `MAX_REF_DEPTH` times, then accepts anything.
    """
    return _Inliner(schema).expand(schema)


@dataclass(slots=True)
class _Inliner:
    """Puts targets in the place of the references of one document, within bounds."""

    root: Any
    cuts: int = 0
    _open: list[str] = field(default_factory=list[str])
    _depth: int = 0
    _nodes: int = 0

    @contextmanager
    def level(self) -> Generator[None]:
        """One subschema: the references opened in it stay open until its end."""
        mark = len(self._open)
        self._depth += 1
        yield
        self._depth -= 1
        del self._open[mark:]

    def open(self, schema: Mapping[str, Any]) -> Schema | None:
        """*schema* with the target in the place of its reference; None at the bounds."""
        self._nodes += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            self.cuts += 1
            return None
        node: Schema = dict(schema)
        while (ref := node.pop("$ref", None)) is not None:
            target = _resolve(self.root, ref)
            if target is None:
                self.cuts += 1  # what stands beside it still holds
                break
            if self._open.count(ref) >= MAX_REF_DEPTH:
                self.cuts += 1
                return None
            self._open.append(ref)
            # Both hold; only where one cannot contradict the other may they become one.
            bare = node.keys() <= _ANNOTATIONS
            node = {**target, **node} if bare else {"allOf": [target, node]}
        return node

    def expand(self, schema: Any) -> Any:
        """*schema* with every reference in it expanded, and no definitions left."""
        if not isinstance(schema, Mapping):
            return False if schema is False else {}
        with self.level():
            node = self.open(cast("Mapping[str, Any]", schema)) or {}
            return {
                key: self.expand_keyword(key, value)
                for key, value in node.items()
                if key not in _DEFINITIONS
            }

    def expand_keyword(self, key: str, value: Any) -> Any:
        """*value*, which stands under *key*, with every reference in it expanded."""
        if key in _SUBSCHEMAS:
            if isinstance(value, list):
                return [self.expand(schema) for schema in cast("list[Any]", value)]
            return self.expand(value)
        if key in _SUBSCHEMA_MAPS and isinstance(value, Mapping):
            named = cast("Mapping[str, Any]", value)
            return {name: self.expand(schema) for name, schema in named.items()}
        return value


@dataclass(slots=True)
class _Narrowing:
    inline: _Inliner
    losses: list[str] = field(default_factory=list[str])

    def lose(self, path: str, keyword: str) -> None:
        """List *keyword* as no longer enforced."""
        self.losses.append(f"{path or 'schema'}: {keyword}")

    def narrow(self, schema: Any, path: str) -> Schema:
        """*schema*, which stands at *path*, as the server keeps it."""
        if not isinstance(schema, Mapping):
            return self._boolean(schema, path)
        source = cast("Mapping[str, Any]", schema)
        with self.inline.level():
            cuts = self.inline.cuts
            node = self.inline.open(source)
            if node is None:
                self.lose(path, "$ref" if "$ref" in source else "size")
                name = str(source.get("$ref", "")).rpartition("/")[2].strip("#")
                return {"description": f"{name or 'Anything'}, nested as above."}
            node, words = self._fold(node, path)
            if self.inline.cuts > cuts:
                self.lose(path, "$ref")
            # The server takes empty lists for missing ones.
            if any(node.get(key) == [] for key in ("anyOf", "enum", "type")):
                return self._boolean(False, path)
            return self._keywords(node, words, path)

    def _boolean(self, schema: Any, path: str) -> Schema:
        if schema is False:
            self.lose(path, "false")
            return {"description": "Nothing is valid here; leave it out."}
        if schema is not True:
            self.lose(path, "schema")
        return {}

    def _fold(self, node: Schema, path: str) -> tuple[Schema, list[str]]:
        """*node* with ``allOf`` merged in, and in words what could not be merged."""
        folded: Schema = {}
        words: list[str] = []
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
            words += self._merge(folded, part, path)
        return folded, words

    def _usable(self, node: Schema, path: str) -> Schema:
        """*node* without malformed keywords, ``const`` as ``enum``."""
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

    def _merge(self, folded: Schema, part: Schema, path: str) -> list[str]:
        """Merge *part* into *folded*; returns in words what both say differently."""
        words: list[str] = []
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
            elif key not in _ANNOTATIONS and _canonical(known) != _canonical(value):
                self.lose(path, key)
                words.append(self._told(key, value, path))
        return words

    def _keywords(self, node: Schema, words: list[str], path: str) -> Schema:
        narrowed: Schema = {key: node[key] for key in ("type", "enum", "required") if key in node}
        if "anyOf" in node:
            narrowed["anyOf"] = [
                self.narrow(branch, _join(path, f"anyOf[{index}]"))
                for index, branch in enumerate(node["anyOf"])
            ]
        if "properties" in node:
            narrowed["properties"] = {
                name: self.narrow(schema, _join(path, f"properties.{name}"))
                for name, schema in node["properties"].items()
            }
        # Beside "prefixItems", "items" are the other items; a list is how they were once written.
        if isinstance(node.get("items"), Mapping | bool) and "prefixItems" not in node:
            # The server keeps "items" as it comes, so only references have to go.
            cuts = self.inline.cuts
            narrowed["items"] = self.inline.expand(node["items"])
            if self.inline.cuts > cuts:
                self.lose(_join(path, "items"), "$ref")
        for key, value in node.items():
            if key in narrowed or key in _SILENT:
                continue
            if key not in _ANNOTATIONS:
                self.lose(path, key)
            if key != "additionalProperties" or not isinstance(value, bool):
                words.append(self._told(key, value, path))
        said = str(node.get("description") or "")
        if text := f"{said} ({'; '.join(words)})".strip() if words else said:
            narrowed["description"] = text
        return narrowed

    def _told(self, key: str, value: Any, path: str) -> str:
        cuts = self.inline.cuts
        told = _json(self.inline.expand_keyword(key, value))
        if self.inline.cuts > cuts:
            self.lose(_join(path, key), "$ref")
        return f"{_WORDS.get(key, key)}: {told}"


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


def _resolve(root: Any, ref: Any) -> Mapping[str, Any] | None:
    """The schema of *root* that *ref* points to; None when it points elsewhere."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return None
    node = root
    for part in unquote(ref).split("/")[1:]:
        node = _child(node, part.replace("~1", "/").replace("~0", "~"))
    if isinstance(node, bool):
        return {} if node else {"not": {}}
    return cast("Mapping[str, Any]", node) if isinstance(node, Mapping) else None


def _child(node: Any, key: str) -> Any:
    if isinstance(node, Mapping):
        return cast("Mapping[str, Any]", node).get(key)
    if isinstance(node, list) and re.fullmatch("[0-9]{1,9}", key):
        return next(iter(cast("list[Any]", node)[int(key) :]), None)
    return None


def _common(left: list[Any], right: list[Any]) -> list[Any]:
    wanted = [_canonical(value) for value in right]
    return [value for value in left if _canonical(value) in wanted]


def _common_types(left: str | list[str], right: str | list[str]) -> str | list[str]:
    """The types that both allow; every integer is a number."""
    lefts, rights = (
        [*kinds, *(["integer"] if "number" in kinds else [])]
        for kinds in ([kind] if isinstance(kind, str) else kind for kind in (left, right))
    )
    both = [kind for kind in dict.fromkeys(lefts) if kind in rights]
    if "number" in both:
        both.remove("integer")
    return both[0] if len(both) == 1 else both


def _join(path: str, step: str) -> str:
    return f"{path}.{step}" if path else step


def _canonical(value: Any) -> str:
    """Equal for values that are equal in JSON: ``1`` and ``1.0`` are, ``1`` and ``true`` are not."""
    text = _json(value)
    try:
        return json.dumps(json.loads(text, parse_float=_number), sort_keys=True)
    except (ValueError, RecursionError):  # no JSON: equal to nothing but itself
        return str(id(value))


def _number(text: str) -> float:
    number = float(text)
    return int(number) if number.is_integer() else number


def _json(value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):  # no schema at all: the request will not go
        return "…"
