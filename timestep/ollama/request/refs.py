"""References in a JSON schema: their targets in their place, or as definitions of a ``format``. Pure."""

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

DEFINITIONS = frozenset({"$defs", "definitions"})
SILENT = DEFINITIONS | {"$comment", "$id", "$schema", "description", "discriminator", "title"}
"""Keywords that say nothing about what is valid, and nothing the model has to read twice."""

ANNOTATIONS = SILENT | {"default", "deprecated", "examples", "readOnly", "writeOnly"}
"""Keywords that do not decide what is valid."""

# Keywords that hold a schema, or a list of them; the value of an unknown keyword is data.
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
_SUBSCHEMA_MAPS = frozenset(
    {"$defs", "dependencies", "dependentSchemas", "patternProperties", "properties"}
)

_UNNAMEABLE = re.compile(r"[^A-Za-z0-9-]+", re.ASCII)


@dataclass(slots=True)
class Inliner:
    """Puts targets in the place of the references of one document, within bounds.

    A definition that contains itself is inlined `MAX_REF_DEPTH` times, then accepts anything.
    """

    root: Any  # the document
    cuts: int = 0  # how many references could not be followed to their end
    # The references among them whose target is not in the document.
    foreign: list[str] = field(default_factory=list[str])
    _open: list[str] = field(default_factory=list[str])
    _depth: int = 0
    _nodes: int = 0

    @contextmanager
    def level(self) -> Generator[None]:
        """Enter one subschema: the references opened in it stay open until its end."""
        mark = len(self._open)
        self._depth += 1
        yield
        self._depth -= 1
        del self._open[mark:]

    def open(self, schema: Mapping[str, Any]) -> Schema | None:
        """Return *schema* with the target in the place of its reference; None at the bounds."""
        self._nodes += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            self.cuts += 1
            return None
        node: Schema = dict(schema)
        while (ref := node.pop("$ref", None)) is not None:
            target = resolve(self.root, ref)
            if target is None:
                self.cuts += 1  # what stands beside it still holds
                self.foreign.append(str(ref))
                break
            if self._open.count(ref) >= MAX_REF_DEPTH:
                self.cuts += 1
                return None
            self._open.append(ref)
            # Both hold; only where one cannot contradict the other may they become one.
            bare = node.keys() <= ANNOTATIONS
            node = {**target, **node} if bare else {"allOf": [target, node]}
        return node

    def expand(self, schema: Any) -> Any:
        """Return *schema* with every reference in it expanded, and without definitions."""
        if not isinstance(schema, Mapping):
            return False if schema is False else {}
        with self.level():
            node = self.open(cast("Mapping[str, Any]", schema)) or {}
            return {
                key: self.expand_keyword(key, value)
                for key, value in node.items()
                if key not in DEFINITIONS
            }

    def expand_keyword(self, key: str, value: Any) -> Any:
        """Return *value*, which stands under *key*, with every reference in it expanded."""
        return convert_below(key, value, lambda schema, _: self.expand(schema))


def convert_below(key: str, value: Any, convert: Callable[[Any, str], Any]) -> Any:
    """Return *value*, which stands under *key*, with each schema in it, and its place, converted."""
    if key in _SUBSCHEMAS:
        if isinstance(value, list):
            parts = enumerate(cast("list[Any]", value))
            return [convert(part, f"{key}[{index}]") for index, part in parts]
        return convert(value, key)
    if key in _SUBSCHEMA_MAPS and isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        return {name: convert(part, str(name)) for name, part in named.items()}
    return value


def resolve(root: Any, ref: Any) -> Mapping[str, Any] | None:
    """Return the schema of *root* that *ref* points to; None when it points elsewhere."""
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


@dataclass(slots=True)
class References:
    """What the references of one document become."""

    definitions: dict[str, Any]  # the format's, filled as references are met
    waiting: dict[str, Any] = field(default_factory=dict[str, Any])  # not converted yet
    _names: dict[str, str] = field(default_factory=dict[str, str])
    _begins: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def name_of(self, ref: str, target: Any) -> str:
        """Return the name of the definition for *ref*, which points to *target*."""
        name = self._names.get(ref)
        if name is None:
            name = self._names[ref] = self._new_name(ref)
            self.definitions[name] = self.waiting[name] = target
            self._begins[name] = set()
        return name

    def begin(self, owner: str, name: str) -> bool:
        """Let the definition *owner* begin with *name*; return False when that makes a ring."""
        if self._may_begin(name, owner):
            return False
        self._begins[owner].add(name)
        return True

    def is_ring(self, ref: object, owner: str | None) -> bool:
        """Return True when *ref* is *owner*, or a known definition that begins with it."""
        name = self._names.get(ref) if isinstance(ref, str) else None
        return name is not None and owner is not None and self._may_begin(name, owner)

    def _new_name(self, ref: str) -> str:
        # Rules of the grammar are named after definitions, with dashes for other characters.
        name = _UNNAMEABLE.sub("-", ref.rpartition("/")[2]).strip("-") or "root"
        taken = {_UNNAMEABLE.sub("-", known) for known in self.definitions}
        plain = ref.rpartition("/")[2]
        if name not in taken:
            return plain if re.fullmatch(r"[A-Za-z0-9_.-]+", plain, re.ASCII) else name
        return next(n for i in range(1, len(taken) + 2) if (n := f"{name}-{i}") not in taken)

    def _may_begin(self, name: str, other: str) -> bool:
        """Return True when *name* is *other*, or leads to it through any number of references."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            current = waiting.pop()
            if current == other:
                return True
            if current not in seen:
                seen.add(current)
                waiting += self._begins[current]
        return False
