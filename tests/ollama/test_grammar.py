"""Schemas as a format: only what llama.cpp's grammar takes."""

import json
from collections.abc import Sequence
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, Optional, Union
from uuid import UUID

import pytest
from agents import AgentOutputSchema
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import AnyUrl, AwareDatetime, BaseModel, ConfigDict, Field, create_model

from timestep.ollama.request.grammar import MAX_INTEGER, MAX_LENGTH, to_format
from timestep.testing.grammar import GrammarError, check_grammar

ANY = ["string", "number", "boolean", "object", "array", "null"]


def of_property(schema):
    """Return the format of one property, and what it loses; both checked by the grammar."""
    made = to_format({"type": "object", "properties": {"p": schema}})
    check_grammar(made.schema)
    return made.schema["properties"]["p"], [loss.removeprefix("p: ") for loss in made.losses]


# One property: what it says, what is enforced, what is lost.
FORMATS = {
    "plain": ({"type": "string", "title": "P"}, {"type": "string", "title": "P"}, []),
    "anything": (True, {"type": ANY}, []),
    "anything with a title": ({"title": "P"}, {"title": "P", "type": ANY}, []),
    "nothing known": ({"not": {}}, {"type": ANY}, ["not"]),
    "an unknown type": ({"type": "date"}, {"type": ANY}, ["type"]),
    "a list of types": ({"type": ["string", "null"]}, {"type": ["string", "null"]}, []),
    "const": ({"const": 1}, {"const": 1}, []),
    "enum": ({"enum": ["a"], "type": "string"}, {"enum": ["a"], "type": "string"}, []),
    "no values": ({"enum": []}, {"type": ANY}, ["enum"]),
    "data like a reference": ({"enum": [{"$ref": "x"}]}, {"type": ANY}, ["enum"]),
    "a default like a reference": ({"type": "null", "default": {"$ref": 1}}, {"type": "null"}, []),
    "a pattern": (
        {"type": "string", "pattern": r"^\d{3}$"},
        {"type": "string", "pattern": "^[0-9]{3}$"},
        [],
    ),
    "a pattern without anchors": ({"type": "string", "pattern": "a"}, {"type": "string"}, ["pattern"]),
    "lengths beside a pattern": (
        {"type": "string", "pattern": "^a*$", "maxLength": 3},
        {"type": "string", "pattern": "^a*$"},
        ["maxLength"],
    ),
    "lengths": (
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
        {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
        [],
    ),
    "2,000 characters": ({"type": "string", "maxLength": 2000}, {"type": "string"}, ["maxLength"]),
    "at least 2,000": ({"type": "string", "minLength": 2000}, {"type": "string"}, ["minLength"]),
    "lengths that contradict": (
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "string"},
        ["minLength", "maxLength"],
    ),
    "a date": ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, []),
    "an address": ({"type": "string", "format": "email"}, {"type": "string"}, ["format"]),
    "limits": (
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        [],
    ),
    "limits that contradict": (
        {"type": "integer", "minimum": 5, "maximum": 3},
        {"type": "integer"},
        ["minimum", "maximum"],
    ),
    "a limit of many digits": (
        {"type": "integer", "minimum": MAX_INTEGER},
        {"type": "integer"},
        ["minimum"],
    ),
    "half a limit": ({"type": "integer", "minimum": 0.5}, {"type": "integer"}, ["minimum"]),
    "limits of fractions": ({"type": "number", "minimum": 0}, {"type": "number"}, ["minimum"]),
    "items of any kind": (
        {"type": "array", "items": {}, "minItems": 1},
        {"type": "array", "items": {"type": ANY}, "minItems": 1},
        [],
    ),
    "3,000 items": (
        {"type": "array", "items": {"type": "null"}, "minItems": 3000},
        {"type": "array", "items": {"type": "null"}},
        ["minItems"],
    ),
    "unique items": ({"type": "array", "uniqueItems": True}, {"type": "array"}, ["uniqueItems"]),
    "a tuple": (
        {"type": "array", "prefixItems": [{"type": "null"}, True], "minItems": 2, "maxItems": 2},
        {"type": "array", "prefixItems": [{"type": "null"}, {"type": ANY}], "minItems": 2, "maxItems": 2},
        [],
    ),
    "a tuple with more": (
        {"type": "array", "prefixItems": [{"type": "null"}], "items": {"type": "string"}},
        {"type": "array", "prefixItems": [{"type": "null"}]},
        ["items"],
    ),
    "an object without a type": (
        {"properties": {"a": True}, "required": ["a", "b"]},
        {"type": "object", "properties": {"a": {"type": ANY}}, "required": ["a"]},
        [],
    ),
    "a map": (
        {"type": "object", "additionalProperties": {"type": "null"}},
        {"type": "object", "additionalProperties": {"type": "null"}},
        [],
    ),
    "an open object": (
        {"type": "object", "properties": {"a b": {"type": "null"}}, "additionalProperties": True},
        {"type": "object", "properties": {"a b": {"type": "null"}}, "additionalProperties": True},
        [],
    ),
    "an open object with a name of another script": (
        {"type": "object", "properties": {"é": {"type": "null"}}, "additionalProperties": True},
        {"type": "object", "properties": {"é": {"type": "null"}}},
        ["additionalProperties"],
    ),
    "a property called $ref": (
        {"type": "object", "properties": {"$ref": {"type": "null"}}, "additionalProperties": False},
        {"type": "object"},
        ["properties", "additionalProperties"],
    ),
    "a property that cannot be": (
        {"type": "object", "properties": {"a": False, "b": {"type": "null"}}},
        {"type": "object", "properties": {"b": {"type": "null"}}},
        [],
    ),
    "a union": (
        {"anyOf": [{"type": "null"}, False, {"title": "T"}], "default": None},
        {"anyOf": [{"type": "null"}, {"title": "T", "type": ANY}], "default": None},
        [],
    ),
    "a union beside more": (
        {"anyOf": [{"type": "null"}], "minLength": 1},
        {"anyOf": [{"type": "null"}]},
        ["minLength"],
    ),
    "allOf": (
        {"allOf": [{"type": "string"}, {"minLength": 2}]},
        {"type": "string", "minLength": 2},
        [],
    ),
    "a reference to nothing": ({"$ref": "#/$defs/A"}, {"type": ANY}, ["$ref"]),
    "a reference elsewhere": ({"$ref": "https://x.example/a"}, {"type": ANY}, ["$ref"]),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("schema", "enforced", "lost"), FORMATS.values(), ids=FORMATS)
def test_a_format_is_what_the_grammar_takes(schema, enforced, lost):
    made, losses = of_property(schema)

    assert made == enforced
    assert sorted(losses) == sorted(lost)


@pytest.mark.parametrize("name", ["A", "A.B_c-1", "a b", "a/b", "a~b", "é", "Box[int]"])
def test_definitions_of_any_name_are_kept(name):
    pointer = name.replace("~", "~0").replace("/", "~1")
    schema = {"$ref": f"#/$defs/{pointer}", "$defs": {name: {"type": "integer", "title": name}}}
    made = to_format(schema)
    check_grammar(made.schema)

    assert made.losses == ()
    assert list(made.schema["$defs"].values()) == [{"type": "integer", "title": name}]
    assert Draft202012Validator(made.schema).is_valid(1)
    assert not Draft202012Validator(made.schema).is_valid("1")


def test_definitions_whose_names_look_alike_stay_apart():
    schema = {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/a b"}, "b": {"$ref": "#/$defs/a-b"}},
        "$defs": {"a b": {"type": "null"}, "a-b": {"type": "string"}},
    }
    made = to_format(schema).schema

    assert Draft202012Validator(made).is_valid({"a": None, "b": ""})
    assert not Draft202012Validator(made).is_valid({"a": "", "b": ""})


TREE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
    "required": ["value"],
}  # a table reads better in rows # fmt: skip


def test_recursion_is_kept():
    schema = {"$ref": "#/$defs/Tree", "$defs": {"Tree": TREE}}

    assert to_format(schema).schema == schema


@pytest.mark.parametrize(
    "definitions",
    [
        {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}},
        {"A": {"$ref": "#/$defs/A"}},
        {"A": {"$ref": "#/$defs/B"}, "B": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]}},
        {
            "A": {"anyOf": [{"type": "array", "items": {"$ref": "#/$defs/B"}}, {"$ref": "#/$defs/B"}]},
            "B": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/A"}]},
        },
    ],
)  # a table reads better in rows # fmt: skip
def test_a_rule_that_begins_with_itself_is_broken_up(definitions):
    schema = {"$ref": "#/$defs/A", "$defs": definitions}
    with pytest.raises(GrammarError):
        check_grammar(schema)
    made = to_format(schema).schema
    check_grammar(made)

    assert Draft202012Validator(made).is_valid(None)


def test_a_union_that_contains_itself_is_what_the_rest_of_it_says():
    schema = {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}},
    }

    assert to_format(schema).schema["$defs"] == {"A": {"anyOf": [{"type": "null"}]}}
    assert to_format(schema).losses == ()


class Color(Enum):
    RED = "red"
    BLUE = 1


class Size(IntEnum):
    S = 1


class Cat(BaseModel):
    kind: Literal["cat"]
    name: Annotated[str, Field(pattern=r"^\w+$")] = "Tom"


class Dog(BaseModel):
    model_config = ConfigDict(extra="allow")

    kind: Literal["dog"]
    tags: dict[str, Any] = {}


class Node(BaseModel):
    value: int
    below: list["Node"] = []
    parent: Optional["Node"] = None


COUNTS = st.sampled_from([None, 0, 1, 5, 1000, 1999, 2000, 2001, 3000, 5000, 10**6])
NUMBERS = st.sampled_from([None, -(10**18), -10, -1, 0, 1, 7, 99, 10**14, 10**15, 10**17, 10**30])
PATTERNS = st.sampled_from(
    [None, r"^\d{3}$", r"\d", r"^\w+\S$", "^a", "a$", "^[a-z]{2000}$", r"^(?:a|b)$", '^"$', r"^a\/b$", "^é+$", ""]
)  # a table reads better in rows # fmt: skip


def sized(low, high):
    """Return the two limits in an order pydantic takes."""
    return (high, low) if None not in (low, high) and low > high else (low, high)


def text(pattern, low, high):
    low, high = sized(low, high)
    return Annotated[str, Field(pattern=pattern, min_length=low, max_length=high)]


def number(kind, low, high, step):
    low, high = sized(low, high)
    return Annotated[kind, Field(ge=low, lt=high, multiple_of=step)]


def many(item, low, high):
    low, high = sized(low, high)
    return Annotated[list[item], Field(min_length=low, max_length=high)]


LEAVES = st.one_of(
    st.sampled_from(
        [str, int, float, bool, None, Any, Color, Size, Cat, Dog, Node, UUID, AnyUrl, AwareDatetime,
         Literal["a", 1] | None, dict, list, bytes, object]
    ),
    st.builds(text, PATTERNS, COUNTS, COUNTS),
    st.builds(number, st.sampled_from([int, float]), NUMBERS, NUMBERS, st.sampled_from([None, 2])),
)  # a table reads better in rows # fmt: skip
FIELDS = st.recursive(
    LEAVES,
    lambda below: st.one_of(
        st.builds(many, below, COUNTS, COUNTS),
        below.map(lambda item: dict[str, item]),
        below.map(lambda item: tuple[item, ...]),
        below.map(lambda item: set[str] | item if item is not None else set[str]),
        below.map(lambda item: Sequence[item]),
        st.tuples(below, below).map(lambda items: tuple[items[0], items[1]]),
        st.tuples(below, below).map(lambda items: Union[items[0], items[1]]),  # noqa: UP007 - of any values
        below.map(lambda item: Optional[item]),  # noqa: UP045 - as above
    ),
    max_leaves=4,
)
NAMES = st.sampled_from(
    ["a", "b c", "é", 'q"', "$ref", "root", "string", "]", "a-b", "definitions"]
)


def model(fields, extra):
    described = {
        f"f{index}": (kind, Field(default, alias=name))
        for index, (name, (kind, default)) in enumerate(fields.items())
    }
    return create_model("Made", __config__=ConfigDict(extra=extra), **described)


MODELS = st.builds(
    model,
    st.dictionaries(NAMES, st.tuples(FIELDS, st.sampled_from([..., None])), min_size=1, max_size=4),
    st.sampled_from(["ignore", "allow", "forbid"]),
)


@given(MODELS, st.booleans())
def test_nothing_that_pydantic_writes_is_refused_by_the_grammar(kind, is_strict):
    written = kind.model_json_schema()
    made = to_format(written)

    check_grammar(made.schema)
    assert json.loads(json.dumps(made.schema)) == made.schema
    try:
        asked = AgentOutputSchema(kind, strict_json_schema=is_strict).json_schema()
    except Exception:  # noqa: BLE001 - the SDK has no strict form of it
        return
    check_grammar(to_format(asked).schema)


@pytest.mark.parametrize("kind", [Cat, Node, Annotated[Cat | Dog, Field(discriminator="kind")]])
def test_what_the_grammar_takes_is_left_as_pydantic_wrote_it(kind):
    written = create_model("Made", p=(kind, ...)).model_json_schema()
    expected = json.loads(json.dumps(written).replace(r"^\\w+$", "^[0-9A-Z_a-z]+$"))

    if "tags" in json.dumps(written):
        expected["$defs"]["Dog"]["properties"]["tags"] |= {"default": {}}
    assert to_format(written).schema == expected
