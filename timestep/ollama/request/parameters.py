"""Tool schemas, narrowed to what an Ollama server keeps. Pure.

The server decodes a tool's parameters into fixed structs and drops the rest. What it would drop
is rewritten first (``$ref`` inlined, ``allOf`` folded, ``oneOf`` to ``anyOf``, ``const`` to
``enum``). The rest goes into the description for the model, and is listed as a loss.

The parsers behind the server read an argument by the ``type`` of its property, or by those of the
arms of an ``anyOf`` one level deep; without one it stays text. So every property gets its type:
unions in unions are flattened, a missing type is derived, and the types of a union also stand
beside it. The server keeps ``items`` as they come, so nothing is dropped in there; the types are
the same.

A narrowed schema may accept more than its source. It accepts less only where a keyword such as
``properties`` implies a type that the source left out.

Source: ollama ``api/types.go`` (``ToolFunctionParameters``, ``ToolProperty``) and
``model/parsers`` (``parseValue``), v0.33.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from timestep.ollama.request.merge import (
    ALL_TYPES,
    Merging,
    join_path,
    one_or_list,
    shown,
    types_of,
)
from timestep.ollama.request.refs import (
    ANNOTATIONS,
    DEFINITIONS,
    SILENT,
    Inliner,
    Schema,
    resolve,
)

_NOTHING = "Nothing is valid here; leave it out."
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

# Keywords whose schemas are of values in the argument itself, so that their types help to read it.
_TYPED = frozenset({"additionalProperties", "anyOf", "items", "prefixItems"})
_TYPED_MAPS = frozenset({"patternProperties", "properties"})
_READ_TOGETHER = frozenset(
    {
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    }
)
"""Keywords that mean something else beside those of another part of an ``allOf``."""


@dataclass(frozen=True, slots=True)
class ToolParameters:
    """A tool's parameters as the server keeps them."""

    schema: Schema  # always an object schema with `properties`
    notes: str  # what only words can say about the whole; belongs to the tool's description
    # Paths and keywords the schema no longer enforces, such as `properties.age: minimum`. What is
    # well-formed also stands in words, except that an object is closed.
    losses: tuple[str, ...]
    foreign: tuple[str, ...]  # references whose target is not in the schema


def narrow_parameters(schema: Any) -> ToolParameters:
    """Return *schema*, an object schema of a tool's arguments, as the server will keep it."""
    merging = Merging(Inliner(schema))
    whole = _Narrowing(merging).narrow(schema, "")
    notes: list[str] = []
    for key, said in (("anyOf", "Arguments match one of"), ("enum", "Arguments are one of")):
        if key in whole:
            merging.lose("", key)
            notes.append(f"{said}: {shown(whole[key])}")
    if (kind := whole.get("type", "object")) != "object":
        merging.lose("", "type")
        notes.append(f"Type of the arguments: {shown(kind)}")
    if text := whole.get("description"):
        notes.append(text)
    parameters: Schema = {"type": "object", "properties": whole.get("properties", {})}
    if whole.get("required"):
        parameters["required"] = whole["required"]
    return ToolParameters(
        parameters,
        "\n".join(notes),
        tuple(dict.fromkeys(merging.losses)),
        tuple(dict.fromkeys(merging.inline.foreign)),
    )


@dataclass(slots=True)
class _Narrowing:
    """Narrows the schemas of one document."""

    merging: Merging

    @property
    def _inline(self) -> Inliner:
        return self.merging.inline

    def typed(self, schema: Any, path: str) -> Schema:
        """Return *schema*, that of a property or of an arm, narrowed and with its types."""
        narrowed = self.narrow(schema, path)
        if "anyOf" in narrowed:
            narrowed["anyOf"] = self._flat(narrowed["anyOf"], path)
        if "type" not in narrowed:
            narrowed = {"type": one_or_list(types_of(narrowed)), **narrowed}
        return narrowed

    def narrow(self, schema: Any, path: str) -> Schema:
        """Return *schema*, which stands at *path*, as the server keeps it."""
        if not isinstance(schema, Mapping):
            return self._boolean(schema, path)
        source = cast("Mapping[str, Any]", schema)
        with self._inline.level():
            cuts = self._inline.cuts
            node = self._inline.open(source)
            if node is None:
                return self._cut(source, path)
            node, clashes = self.merging.fold(node, path)
            words = [self._told(key, value, path) for key, value in clashes]
            if self._inline.cuts > cuts:
                self.merging.lose(path, "$ref")
            # The server takes empty lists for missing ones.
            if any(node.get(key) == [] for key in ("anyOf", "enum", "type")):
                return self._boolean(False, path)
            return self._keywords(node, words, path)

    def _cut(self, source: Mapping[str, Any], path: str) -> Schema:
        """Return a substitute for a schema that is nested too deep, and list it as a loss."""
        self.merging.lose(path, "$ref" if "$ref" in source else "size")
        return self._nested(source)

    def _nested(self, source: Mapping[str, Any]) -> Schema:
        """Return a substitute for a schema that is nested too deep to be inlined."""
        ref = source.get("$ref", "")
        target = resolve(self._inline.root, ref) or {}
        known = {"type": target["type"]} if isinstance(target.get("type"), str) else {}
        name = str(ref).rpartition("/")[2].strip("#")
        return {**known, "description": f"{name or 'Anything'}, nested as above."}

    def _boolean(self, schema: Any, path: str) -> Schema:
        if schema is False:
            self.merging.lose(path, "false")
            return {"description": _NOTHING}
        if schema is not True:
            self.merging.lose(path, "schema")
        return {}

    def _flat(self, arms: list[Schema], path: str) -> list[Schema]:
        """Return *arms*, with the arms of a union among them in its place."""
        flat: list[Schema] = []
        for arm in arms:
            inner: list[Schema] = arm.get("anyOf", [])
            rest = arm.keys() - ANNOTATIONS - {"anyOf", "type"}
            if not inner:
                flat.append(arm)
            elif rest:  # both the union and these hold, which one level cannot say
                self.merging.lose(path, "anyOf")
                words = f"{arm.get('description', '')} (one of: {shown(inner)})".strip()
                kept = {key: value for key, value in arm.items() if key != "anyOf"}
                flat.append(_with_type({**kept, "description": words}))
            else:
                said = arm.get("description")
                flat += [{"description": said, **part} if said else part for part in inner]
        return flat

    def _keywords(self, node: Schema, words: list[str], path: str) -> Schema:
        narrowed = self._kept(node, path)
        for key, value in node.items():
            if key in narrowed or key in SILENT:
                continue
            if key not in ANNOTATIONS:
                self.merging.lose(path, key)
            if key != "additionalProperties" or not isinstance(value, bool):
                words.append(self._told(key, value, path))
        said = str(node.get("description") or "")
        if text := f"{said} ({'; '.join(words)})".strip() if words else said:
            narrowed["description"] = text
        is_told = not path or narrowed.keys() & {"type", "enum", "anyOf"}
        return narrowed if is_told else _with_type(narrowed, types_of(node))

    def _kept(self, node: Schema, path: str) -> Schema:
        """Return the keywords of *node* that the server keeps, with what is in them narrowed."""
        kept: Schema = {key: node[key] for key in ("type", "enum", "required") if key in node}
        if "anyOf" in node:
            kept["anyOf"] = [
                self.typed(branch, join_path(path, f"anyOf[{index}]"))
                for index, branch in enumerate(node["anyOf"])
            ]
        if "properties" in node:
            kept["properties"] = {
                name: self.typed(schema, join_path(path, f"properties.{name}"))
                for name, schema in node["properties"].items()
            }
        # Beside "prefixItems", "items" are the other items; a list is how they were once written.
        if isinstance(node.get("items"), Mapping | bool) and "prefixItems" not in node:
            cuts = self._inline.cuts
            kept["items"] = self._whole(node["items"], join_path(path, "items"))
            if self._inline.cuts > cuts:
                self.merging.lose(join_path(path, "items"), "$ref")
        return kept

    def _whole(self, schema: Any, path: str) -> Any:
        """Return *schema*, of which the server keeps everything, with its types."""
        if not isinstance(schema, Mapping):
            return False if schema is False else {}
        source = cast("Mapping[str, Any]", schema)
        with self._inline.level():
            node = self._inline.open(source)
            if node is None:
                return self._nested(source)
            has_parts = "allOf" in node
            node, clashes = self.merging.fold(node, path)
            if has_parts and node.keys() & _READ_TOGETHER:
                self.merging.lose(path, "allOf")
            if any(node.get(key) == [] for key in ("anyOf", "enum", "type")):
                return False
            whole = {
                key: self._below(key, value, path)
                for key, value in node.items()
                if key not in DEFINITIONS
            }
            if clashes:
                words = "; ".join(self._told(key, value, path) for key, value in clashes)
                whole["description"] = f"{whole.get('description') or ''} ({words})".strip()
        if "anyOf" in whole:
            whole["anyOf"] = self._flat(list(map(_mapping, whole["anyOf"])), path)
        return _with_type(whole)

    def _below(self, key: str, value: Any, path: str) -> Any:
        """Return *value*, which stands under *key* of a schema that the server keeps."""
        here = join_path(path, key)
        if key in _TYPED_MAPS and isinstance(value, Mapping):
            named = cast("Mapping[str, Any]", value)
            return {name: self._whole(each, join_path(here, name)) for name, each in named.items()}
        if key in _TYPED and isinstance(value, list):
            return [
                self._whole(each, f"{here}[{index}]")
                for index, each in enumerate(cast("list[Any]", value))
            ]
        return (
            self._whole(value, here) if key in _TYPED else self._inline.expand_keyword(key, value)
        )

    def _told(self, key: str, value: Any, path: str) -> str:
        cuts = self._inline.cuts
        # A pattern is read by people and models; as JSON its backslashes would be doubled.
        is_plain = key == "pattern" and isinstance(value, str)
        told = value if is_plain else shown(self._inline.expand_keyword(key, value))
        if self._inline.cuts > cuts:
            self.merging.lose(join_path(path, key), "$ref")
        return f"{_WORDS.get(key, key)}: {told}"


def _with_type(schema: Schema, implied: list[str] | None = None) -> Schema:
    """Return *schema* with the types that its keywords imply, if it names none and they are not all."""
    kinds = types_of(schema) if implied is None else implied
    is_known = "type" in schema or kinds == list(ALL_TYPES)
    return schema if is_known else {"type": one_or_list(kinds), **schema}


def _mapping(schema: Any) -> Schema:
    """Return *schema* as a mapping; False becomes the schema that nothing matches."""
    return {"not": {}} if schema is False else schema
