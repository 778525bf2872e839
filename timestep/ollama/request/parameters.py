"""Tool schemas, narrowed to what an Ollama server keeps. Pure.

The server decodes a tool's parameters into fixed structs and drops the rest. What it would drop
is rewritten first (``$ref`` inlined, ``allOf`` folded, ``oneOf`` to ``anyOf``, ``const`` to
``enum``). The rest goes into the description for the model, and is listed as a loss.

The parsers behind the server read an argument by the ``type`` of its property, or by those of the
arms of an ``anyOf`` one level deep; without one it stays text. So every property gets its type:
unions in unions are flattened, a missing type is derived, and the types of a union also stand
beside it.

A narrowed schema may accept more than its source. It accepts less only where a keyword such as
``properties`` implies a type that the source left out.

Source: ollama ``api/types.go`` (``ToolFunctionParameters``, ``ToolProperty``) and
``model/parsers`` (``parseValue``), v0.33.0.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from timestep.ollama.request.merge import Merging, as_json, join_path, one_or_list, types_of
from timestep.ollama.request.refs import (
    ANNOTATIONS,
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
            notes.append(f"{said}: {as_json(whole[key])}")
    if (kind := whole.get("type", "object")) != "object":
        merging.lose("", "type")
        notes.append(f"Type of the arguments: {as_json(kind)}")
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

    def narrow(self, schema: Any, path: str) -> Schema:
        """Return *schema*, which stands at *path*, as the server keeps it, with its types."""
        narrowed = self._mapping(schema, path)
        if not path or "type" in narrowed:
            return narrowed
        return {"type": one_or_list(types_of(narrowed)), **narrowed}

    def _mapping(self, schema: Any, path: str) -> Schema:
        if not isinstance(schema, Mapping):
            return self._boolean(schema, path)
        source = cast("Mapping[str, Any]", schema)
        inline = self.merging.inline
        with inline.level():
            cuts = inline.cuts
            node = inline.open(source)
            if node is None:
                return self._cut(source, path)
            node, clashes = self.merging.fold(node, path)
            words = [self._told(key, value, path) for key, value in clashes]
            if inline.cuts > cuts:
                self.merging.lose(path, "$ref")
            # The server takes empty lists for missing ones.
            if any(node.get(key) == [] for key in ("anyOf", "enum", "type")):
                return self._boolean(False, path)
            return self._keywords(node, words, path)

    def _cut(self, source: Mapping[str, Any], path: str) -> Schema:
        """Return a substitute for a schema that is nested too deep, and list it as a loss."""
        self.merging.lose(path, "$ref" if "$ref" in source else "size")
        ref = source.get("$ref", "")
        target = resolve(self.merging.inline.root, ref) or {}
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
                words = f"{arm.get('description', '')} (one of: {as_json(inner)})".strip()
                kept = {key: value for key, value in arm.items() if key != "anyOf"}
                flat.append({**kept, "description": words})
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
        if path and not narrowed.keys() & {"type", "enum", "anyOf"}:
            narrowed = {"type": one_or_list(types_of(node)), **narrowed}
        return narrowed

    def _kept(self, node: Schema, path: str) -> Schema:
        """Return the keywords of *node* that the server keeps, with what is in them narrowed."""
        kept: Schema = {key: node[key] for key in ("type", "enum", "required") if key in node}
        if "anyOf" in node:
            arms = [
                self.narrow(branch, join_path(path, f"anyOf[{index}]"))
                for index, branch in enumerate(node["anyOf"])
            ]
            kept["anyOf"] = self._flat(arms, path)
        if "properties" in node:
            kept["properties"] = {
                name: self.narrow(schema, join_path(path, f"properties.{name}"))
                for name, schema in node["properties"].items()
            }
        # Beside "prefixItems", "items" are the other items; a list is how they were once written.
        if isinstance(node.get("items"), Mapping | bool) and "prefixItems" not in node:
            kept["items"] = self.narrow(node["items"], join_path(path, "items"))
        return kept

    def _told(self, key: str, value: Any, path: str) -> str:
        inline = self.merging.inline
        cuts = inline.cuts
        # A pattern is read by people and models; as JSON its backslashes would be doubled.
        is_plain = key == "pattern" and isinstance(value, str)
        told = value if is_plain else as_json(inline.expand_keyword(key, value))
        if inline.cuts > cuts:
            self.merging.lose(join_path(path, key), "$ref")
        return f"{_WORDS.get(key, key)}: {told}"
