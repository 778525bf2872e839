r"""Refuses the schemas that llama.cpp's grammar refuses, in its words.

A schema becomes a grammar in two steps, and each can fail: the converter reads the schema, then
the grammar's parser reads what the converter wrote. The second says only that it failed. Where the
real server would hang or crash, the request is refused too.

Source: llama.cpp common/json-schema-to-grammar.cpp and src/llama-grammar.cpp, b10488; the
exchanges in tests/wire show the words of the first step.
"""

import json
import re
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any, cast

from timestep.net.json_parts import entries, mapping

_THRESHOLD = 2000
_INT_DIGITS = 16
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
_FORMAT = re.compile(r"uuid[1-5]?|date|time|date-time")
_PART = re.compile(
    r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.?)"
    r"|\(\?:?|\[(?:\\.|[^\]\\])*\]|\{[^}]*\}|.",
    re.DOTALL,
)
"""An escape, the beginning of a group, a class, a count, or one character."""
_TORN = re.compile(r"[^\x00-\x7f]|\\[xuU].+")
"""What is one character for a pattern and several for the converter, which parts them."""
_ESCAPE = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\\"\[\]-])")
_ESCAPED_IN_PATTERN = frozenset("^$.[]()|{}*+?")
_NO_LITERAL = frozenset("|.()[]{}*+?")
_ANY = Mapping[str, Any]


class GrammarError(Exception):
    """A schema of which the server makes no grammar; the text is the server's."""


_UNPARSABLE = "Failed to initialize samplers: failed to parse grammar"


def check_grammar(schema: Any) -> None:
    """Check that the server can make a grammar of *schema*."""
    conversion = _Conversion(schema)
    conversion.find_refs(schema)
    if not conversion.problems:
        conversion.visit(schema, None)
    if conversion.problems:
        problems = "\n".join(conversion.problems)
        raise GrammarError(
            f"Field 'json_schema': \"json_schema\": JSON schema conversion failed:\n{problems}"
        )
    try:
        TopologicalSorter(conversion.begins).prepare()
    except CycleError as exc:  # a rule can begin with itself
        raise GrammarError(_UNPARSABLE) from exc
    if conversion.is_unparsable:
        raise GrammarError(_UNPARSABLE)


class _Conversion:
    """The converter's walk through one schema."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self.problems: list[str] = []  # what the converter says
        self.is_unparsable = False  # True when the parser refuses what the converter writes
        self.begins: dict[str, set[str]] = {}  # the references that the rule of one may begin with

    def find_refs(self, node: Any) -> None:
        """Look for references everywhere, in data too, as the converter does."""
        fields = mapping(node)
        if "$ref" in fields:
            self._target(fields["$ref"])
            return
        for item in (*fields.values(), *entries(node)):
            self.find_refs(item)

    def visit(self, schema: Any, owner: str | None) -> None:
        """Read *schema*; *owner* is the reference whose rule begins with it."""
        node = mapping(schema)
        if not isinstance(schema, Mapping):
            self._unrecognized(schema)
            return
        kind = node.get("type")
        if not isinstance(node.get("format", ""), str):
            self.problems.append("type must be string")
        elif "$ref" in node:
            self._refer(node["$ref"], owner)
        elif "oneOf" in node or "anyOf" in node:
            for arm in node.get("oneOf", node.get("anyOf")):
                self.visit(arm, owner)
        elif isinstance(kind, list):
            for one in cast("list[Any]", kind):
                self.visit({**node, "type": one}, owner)
        elif "const" not in node and "enum" not in node:
            self._of_type(node, kind)

    def _of_type(self, node: _ANY, kind: Any) -> None:
        is_open = node.get("additionalProperties", True) is True
        if kind in (None, "object") and ("properties" in node or not is_open):
            self._object(node)
        elif kind in (None, "object", "string") and "allOf" in node:
            self._all_of(node["allOf"])
        elif kind in (None, "array") and ("items" in node or "prefixItems" in node):
            self._array(node)
        elif kind in (None, "string") and "pattern" in node:
            self._pattern(node["pattern"])
        elif kind in (None, "string") and _FORMAT.fullmatch(node.get("format", "")):
            pass
        elif kind == "string" and ("minLength" in node or "maxLength" in node):
            self._repeat(*_limits(node, "minLength", "maxLength"))
        elif kind == "integer":
            self._integer(node)
        elif node and kind not in _TYPES:
            self._unrecognized(node)

    def _object(self, node: _ANY) -> None:
        properties: _ANY = node.get("properties", {})
        for schema in properties.values():
            self.visit(schema, None)
        others = node.get("additionalProperties", False)
        if isinstance(others, Mapping):
            self.visit(others, None)
        if (others is True or isinstance(others, Mapping)) and properties:
            # Names are copied into classes of characters, byte by byte.
            self.is_unparsable |= any(
                set('"\\]') & set(name) or not name.isascii() for name in properties
            )
        optional = properties.keys() - set(node.get("required") or ())
        self.is_unparsable |= 2 * len(optional) >= _THRESHOLD

    def _all_of(self, parts: Any) -> None:
        for part in parts:
            for schema in part.get("anyOf", [part]):
                node = self._target(schema["$ref"]) if "$ref" in schema else schema
                for inner in mapping(node).get("properties", {}).values():
                    self.visit(inner, None)

    def _array(self, node: _ANY) -> None:
        items = node["items"] if "items" in node else node["prefixItems"]
        if isinstance(items, list):
            for item in cast("list[Any]", items):
                self.visit(item, None)
            return
        self.visit(items, None)
        least, most = _limits(node, "minItems", "maxItems")
        if most == 0 or (least == 0 and most == 1):
            return
        # One item stands before the repetition, and for none of them a question mark behind it.
        self._repeat(max(least - 1, 0), None if most is None else most - 1)
        if least == 0 and most is not None and most <= _THRESHOLD:
            self._weigh(most + 2)

    def _integer(self, node: _ANY) -> None:
        limits = {key: node[key] for key in _INTEGER_LIMITS if key in node}
        for value in limits.values():
            if not isinstance(value, int | float):
                self.problems.append("type must be number")
            elif len(str(abs(int(value)))) >= _INT_DIGITS:
                self.problems.append("FakeOllama: the real server would hang")

    def _repeat(self, least: int, most: int | None) -> None:
        """Check one repetition of one rule."""
        if least < 0 or (most is not None and most < 0) or least > _THRESHOLD:
            self.is_unparsable = True
        if most is not None and most > _THRESHOLD:
            most = None
        if most is not None and most < least:
            self.problems.append("FakeOllama: the real server would hang")
        self._weigh(most or least)

    def _weigh(self, rules: int) -> None:
        self.is_unparsable |= rules >= _THRESHOLD

    def _pattern(self, pattern: Any) -> None:
        if not isinstance(pattern, str) or not pattern:
            self.problems.append("FakeOllama: the real server would crash")
        elif not (pattern.startswith("^") and pattern.endswith("$")):
            self.problems.append("Pattern must start with '^' and end with '$'")
        else:
            try:
                _check_pattern(pattern[1:-1])
            except GrammarError as error:
                if str(error) == _UNPARSABLE:
                    self.is_unparsable = True
                else:
                    self.problems.append(str(error))

    def _refer(self, ref: str, owner: str | None) -> None:
        if owner is not None:
            self.begins[owner].add(ref)
        if ref not in self.begins:
            self.begins[ref] = set()
            self.visit(self._target(ref), ref)

    def _target(self, ref: Any) -> Any:
        if not isinstance(ref, str):
            self.problems.append("type must be string")
            return None
        if not ref.startswith("#/"):
            self.problems.append(f"Unsupported ref: {ref}")
            return None
        node = self._root
        for key in ref.split("/")[1:]:
            fields, items = mapping(node), entries(node)
            if key in fields:
                node = fields[key]
            elif key.isdecimal() and int(key) < len(items):
                node = items[int(key)]
            else:
                self.problems.append(f"Error resolving ref {ref}: {key} not in {_dump(node)}")
                return None
        return node

    def _unrecognized(self, schema: Any) -> None:
        self.problems.append(f"Unrecognized schema: {_dump(schema)}")


def _check_pattern(pattern: str) -> None:
    """Raise unless the converter and the parser take *pattern*, without its anchors."""
    before, depth = "", 0
    for part in _PART.findall(pattern):
        if part[0] in _NO_LITERAL - {"."} and _TORN.fullmatch(before):
            raise GrammarError(_UNPARSABLE)
        _check_part(part, before)
        depth += (part[0] == "(") - (part == ")")
        if depth < 0:
            raise GrammarError("Unbalanced parentheses")
        before = part
    if depth:
        raise GrammarError(_UNPARSABLE)


def _check_part(part: str, before: str) -> None:
    match part[0]:
        case "*" | "+" | "?" | "{":
            _check_quantifier(part, before)
        case "[":
            _check_class(part)
        case "\\" if not (_ESCAPE.fullmatch(part) or part[1:] in _ESCAPED_IN_PATTERN):
            raise GrammarError(_UNPARSABLE)
        case "(" if part == "(?":
            raise GrammarError("FakeOllama: the real server would crash")
        case "]" | "}":
            # No branch of the converter takes it, so it goes round for ever.
            raise GrammarError("FakeOllama: the real server would hang")
        case _:
            pass


def _check_class(part: str) -> None:
    if part == "[":
        raise GrammarError("Unbalanced square brackets")
    inside = part[1:-1].removeprefix("^")
    if not inside or "\\" in _ESCAPE.sub("", inside):
        raise GrammarError(_UNPARSABLE)


def _check_quantifier(part: str, before: str) -> None:
    if before in {"", "|", "(", "(?:"}:
        raise GrammarError("FakeOllama: the real server would crash")
    if part == "{":
        raise GrammarError("Unbalanced curly brackets")
    if part[0] != "{":
        return
    counts = part[1:-1].split(",")
    if len(counts) > 2:  # noqa: PLR2004 - least and most
        raise GrammarError("Wrong number of values in curly brackets")
    if part == "{}" or not all(re.fullmatch(r"\d*", count, re.ASCII) for count in counts):
        raise GrammarError("Invalid number in curly brackets")
    least = int(counts[0] or 0)
    most = int(counts[-1]) if counts[-1] else None
    rules = least if most is None or most > _THRESHOLD else most
    if least > _THRESHOLD or rules >= _THRESHOLD:
        raise GrammarError(_UNPARSABLE)
    if most is not None and most < least:
        raise GrammarError("FakeOllama: the real server would hang")


_INTEGER_LIMITS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")


def _limits(node: _ANY, least: str, most: str) -> tuple[int, int | None]:
    lower, upper = node.get(least, 0), node.get(most)
    is_whole = isinstance(upper, int) and not isinstance(upper, bool)
    return int(lower) if isinstance(lower, int | float) else -1, upper if is_whole else None


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
