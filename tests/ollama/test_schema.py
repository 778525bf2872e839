import json
import time
from enum import Enum
from typing import Annotated, Literal, Optional

import pytest
from hypothesis import example, given, reject
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter, create_model

from timestep.ollama.request.parameters import narrow_parameters
from timestep.ollama.request.refs import ANNOTATIONS, MAX_DEPTH, MAX_NODES, Inliner
from timestep.testing.checks import check_chat

KEPT = {"type", "description", "enum", "anyOf", "items", "properties", "required"}


def inline_refs(schema):
    """Return *schema* without references."""
    return Inliner(schema).expand(schema)


def accepts(schema, instance):
    return Draft202012Validator(schema).is_valid(instance)


def accepted_by_server(parameters):
    """Raise when a real server would refuse a tool with *parameters*."""
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    check_chat(json.dumps({"model": "m", "messages": [], "tools": [tool]}).encode())


def keys_of(schema):
    """Every keyword of *schema* and below that the server reads into structs."""
    yield from schema
    for below in (*schema.get("properties", {}).values(), *schema.get("anyOf", [])):
        yield from keys_of(below)


def narrowed(schema):
    """The schema of one property after narrowing, and what was lost."""
    parameters = narrow_parameters({"type": "object", "properties": {"p": schema}})
    assert parameters.schema["type"] == "object"
    return parameters.schema["properties"]["p"], [
        loss.removeprefix("properties.p: ") for loss in parameters.losses
    ]


ANY = ["string", "number", "boolean", "object", "array", "null"]
NOTHING = {"type": ANY, "description": "Nothing is valid here; leave it out."}

# One property: what goes in, what is kept, what is lost.
PROPERTIES = {
    "plain": ({"type": "string"}, {"type": "string"}, []),
    "type list": ({"type": ["string", "null"]}, {"type": ["string", "null"]}, []),
    "const": ({"const": "a"}, {"type": "string", "enum": ["a"]}, []),
    "const null": ({"const": None}, {"type": "null", "enum": [None]}, []),
    "const within enum": ({"const": 1, "enum": [1.0, 2]}, {"type": "number", "enum": [1.0]}, []),
    "const outside enum": (
        {"const": 3, "enum": [1, 2]},
        NOTHING,
        ["false"],
    ),
    "title is silent": ({"title": "P", "type": "string"}, {"type": "string"}, []),
    "default": (
        {"type": "integer", "default": 3},
        {"type": "integer", "description": "(default: 3)"},
        [],
    ),
    "default joins the description": (
        {"description": "How many.", "default": None},
        {"type": ANY, "description": "How many. (default: null)"},
        [],
    ),
    "examples and deprecation": (
        {"examples": ["ü"], "deprecated": True},
        {"type": ANY, "description": '(examples: ["ü"]; deprecated: true)'},
        [],
    ),
    "limits": (
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 9},
        {"type": "integer", "description": "(at least: 1; less than: 9)"},
        ["minimum", "exclusiveMaximum"],
    ),
    "pattern and format": (
        {"type": "string", "pattern": "^a", "format": "date"},
        {"type": "string", "description": '(pattern: ^a; format: "date")'},
        ["pattern", "format"],
    ),
    "one branch": ({"oneOf": [{"type": "null"}]}, {"type": "null", "anyOf": [{"type": "null"}]}, []),
    "branches": (
        {"oneOf": [{"const": 1}, {"const": 2}]},
        {
            "type": "integer",
            "anyOf": [{"type": "integer", "enum": [1]}, {"type": "integer", "enum": [2]}],
        },
        ["oneOf (as anyOf)"],
    ),
    "oneOf beside anyOf": (
        {"anyOf": [{"type": "null"}], "oneOf": [{"const": 1}]},
        {"type": "null", "anyOf": [{"type": "null"}], "description": '(anyOf: [{"const": 1}])'},
        ["anyOf"],
    ),
    "allOf": (
        {
            "description": "One.",
            "allOf": [
                {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
                {"properties": {"b": True}, "required": ["a", "b"], "description": "Two."},
            ],
        },
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": ANY}},
            "required": ["a", "b"],
            "description": "One. Two.",
        },
        [],
    ),
    "allOf of one property": (
        {
            "properties": {"a": {"type": "number"}},
            "allOf": [{"properties": {"a": {"type": ["integer", "string"]}}}],
        },
        {"type": "object", "properties": {"a": {"type": "integer"}}},
        [],
    ),
    "allOf of enums": (
        {"enum": [1, True, {"a": 1, "b": 2}], "allOf": [{"enum": [1.0, {"b": 2, "a": 1.0}]}]},
        {"type": ["integer", "object"], "enum": [1, {"a": 1, "b": 2}]},
        [],
    ),
    "allOf of types": (
        {"type": ["number", "string"], "allOf": [{"type": ["integer", "string"]}]},
        {"type": ["string", "integer"]},
        [],
    ),
    "allOf of numbers": (
        {"type": ["number", "null"], "allOf": [{"type": ["number", "integer"]}]},
        {"type": "number"},
        [],
    ),
    "allOf of the same": (
        {"minLength": 1, "title": "A", "allOf": [{"minLength": 1.0, "title": "B"}, True]},
        {"type": "string", "description": "(shortest: 1)"},
        ["minLength"],
    ),
    "allOf of two limits": (
        {"minimum": 3, "allOf": [{"minimum": 5}]},
        {"type": "number", "description": "(at least: 5; at least: 3)"},
        ["minimum"],
    ),
    "allOf of nothing": ({"type": "null", "allOf": [False]}, {"type": "null"}, ["allOf"]),
    "contradiction": (
        {"type": "string", "allOf": [{"type": "integer"}]},
        NOTHING,
        ["false"],
    ),
    "empty enum": ({"enum": []}, NOTHING, ["false"]),
    "false": (False, NOTHING, ["false"]),
    "true": (True, {"type": ANY}, []),
    "not a schema": ("string", {"type": ANY}, ["schema"]),
    "items": (
        {"type": "array", "items": {"type": "string", "minLength": 1}},
        {"type": "array", "items": {"type": "string", "minLength": 1}},
        [],
    ),
    "any items": ({"items": True}, {"type": "array", "items": {}}, []),
    "no items": ({"items": False}, {"type": "array", "items": False}, []),
    "tuple": (
        {"prefixItems": [{"type": "string"}], "items": False, "minItems": 1},
        {"type": "array", "description": '(first items: [{"type": "string"}]; other items: false; fewest items: 1)'},
        ["prefixItems", "items", "minItems"],
    ),
    "tuple of old": (
        {"items": [{"type": "string"}]},
        {"type": "array", "description": '(other items: [{"type": "string"}])'},
        ["items"],
    ),
    "closed object": (
        {"type": "object", "additionalProperties": False},
        {"type": "object"},
        ["additionalProperties"],
    ),
    "malformed": (
        {
            "type": 5,
            "enum": "ab",
            "required": True,
            "properties": [],
            "anyOf": {},
            "allOf": 1,
            "oneOf": None,
            "description": 7,
        },
        {"type": ANY, "description": "7"},
        ["type", "enum", "required", "properties", "anyOf", "allOf", "oneOf"],
    ),
    "malformed lists": (
        {"type": ["string", None], "required": ["a", 1]},
        {"type": ANY},
        ["type", "required"],
    ),
    "unresolvable reference": (
        {"$ref": "https://example.com/s.json", "type": "string"},
        {"type": "string"},
        ["$ref"],
    ),
    "anchor": ({"$ref": "#name"}, {"type": ANY}, ["$ref"]),
    "reference that is not text": ({"$ref": 5}, {"type": ANY}, ["$ref"]),
    "reference to a missing place": ({"$ref": "#/$defs/None/x"}, {"type": ANY}, ["$ref"]),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("schema", "kept", "lost"), PROPERTIES.values(), ids=PROPERTIES)
def test_a_property_is_narrowed(schema, kept, lost):
    assert narrowed(schema) == (kept, lost)


DOCUMENT = {
    "type": "object",
    "properties": {
        "a": {"$ref": "#/$defs/A"},
        "escaped": {"$ref": "#/$defs/with~1slash~0tilde%20space"},
        "indexed": {"$ref": "#/properties/list/anyOf/1"},
        "beyond": {"$ref": "#/properties/list/anyOf/2"},
        "list": {"anyOf": [{"type": "null"}, {"type": "boolean"}]},
        "chain": {"$ref": "#/$defs/B"},
        "limited": {"$ref": "#/$defs/A", "maximum": 3},
        "any": {"$ref": "#/$defs/any"},
    },
    "$defs": {
        "A": {"type": "integer", "title": "A", "description": "An A."},
        "B": {"$ref": "#/$defs/A", "description": "A B."},
        "with/slash~tilde space": {"type": "number"},
        "any": True,
    },
}


def test_references_are_inlined_where_they_point():
    parameters = narrow_parameters(DOCUMENT)

    assert parameters.schema["properties"] == {
        "a": {"type": "integer", "description": "An A."},
        "escaped": {"type": "number"},
        "indexed": {"type": "boolean"},
        "beyond": {"type": ANY},
        "list": {
            "type": ["null", "boolean"],
            "anyOf": [{"type": "null"}, {"type": "boolean"}],
        },
        "chain": {"type": "integer", "description": "A B."},
        "limited": {"type": "integer", "description": "An A. (at most: 3)"},
        "any": {"type": ANY},
    }
    assert parameters.losses == ("properties.beyond: $ref", "properties.limited: maximum")


def test_references_in_words_and_items_are_inlined():
    schema = {
        "properties": {
            "map": {"additionalProperties": {"$ref": "#/$defs/A"}},
            "items": {"items": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A", "minimum": 2}]}},
            "data": {"enum": [{"$ref": "#/$defs/A"}], "default": {"$ref": "x"}},
        },
        "$defs": {"A": {"type": "integer"}},
    }  # a table reads better in rows # fmt: skip
    properties = narrow_parameters(schema).schema["properties"]

    assert properties["map"] == {
        "type": "object",
        "description": '(other properties: {"type": "integer"})',
    }
    assert properties["items"] == {
        "type": "array",
        "items": {
            "type": "integer",
            "anyOf": [{"type": "integer"}, {"type": "integer", "minimum": 2}],
        },
    }
    assert properties["data"]["enum"] == [{"$ref": "#/$defs/A"}]
    assert inline_refs(schema)["properties"]["map"] == {"additionalProperties": {"type": "integer"}}
    assert "$defs" not in inline_refs(schema)


@pytest.mark.parametrize("key", ["$defs", "definitions", "title", "default", "$ref", "items"])
def test_a_property_may_be_called_like_a_keyword(key):
    schema = {"type": "object", "properties": {key: {"type": "string"}}}

    assert narrow_parameters(schema).schema == schema
    assert inline_refs(schema) == schema


@pytest.mark.parametrize(
    ("whole", "schema", "notes", "losses"),
    [
        (True, {}, "", ()),
        ({}, {}, "", ()),
        (False, {}, "Nothing is valid here; leave it out.", ("schema: false",)),
        (None, {}, "", ("schema: schema",)),
        ([], {}, "", ("schema: schema",)),
        ({"type": "object", "description": "Said."}, {}, "Said.", ()),
        ({"minProperties": 1}, {}, "(minProperties: 1)", ("schema: minProperties",)),
        (
            {"anyOf": [{"required": ["a"]}]},
            {},
            'Arguments match one of: [{"type": "object", "required": ["a"]}]',
            ("schema: anyOf",),
        ),
        ({"type": "array"}, {}, 'Type of the arguments: "array"', ("schema: type",)),
        ({"const": {"a": 1}}, {}, 'Arguments are one of: [{"a": 1}]', ("schema: enum",)),
        ({"$ref": "#"}, {}, "Anything, nested as above.", ("schema: $ref",)),
        (
            {"$ref": "#/$defs/A", "$defs": {"A": {"properties": {"x": {}}, "required": ["x"]}}},
            {"properties": {"x": {"type": ANY}}, "required": ["x"]},
            "",
            (),
        ),
    ],
)
def test_the_whole_is_always_an_object_with_properties(whole, schema, notes, losses):
    parameters = narrow_parameters(whole)

    assert parameters.schema == {"type": "object", "properties": {}, **schema}
    assert (parameters.notes, parameters.losses) == (notes, losses)


def test_recursion_is_inlined_twice_and_then_cut_in_words():
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/Tree"}}}
    parameters = narrow_parameters({"$ref": "#/$defs/Tree", "$defs": {"Tree": tree}})

    assert parameters.schema == {
        "type": "object",
        "properties": {
            "left": {
                "type": "object",
                "properties": {"left": {"type": "object", "description": "Tree, nested as above."}},
            }
        },
    }
    assert parameters.losses == ("properties.left.properties.left: $ref",)


def nested(levels):
    schema = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def doubling(levels):
    definitions = {
        f"D{level}": {
            "type": "object",
            "properties": {side: {"$ref": f"#/$defs/D{level + 1}"} for side in "lr"},
        }
        for level in range(levels)
    }
    definitions[f"D{levels}"] = {"type": "string"}
    return {"type": "object", "properties": {"a": {"$ref": "#/$defs/D0"}}, "$defs": definitions}


def circular():
    schema = {"type": "object"}
    schema["properties"] = {"a": schema}
    schema["default"] = schema
    return schema


def mutual(keyword):
    """Two definitions that need each other, under *keyword*."""
    wrap = {"allOf": lambda ref: {"allOf": [ref]}, "items": lambda ref: {"items": ref}}.get(
        keyword, lambda ref: {keyword: [ref, {"type": "null"}]}
    )
    return {
        "$ref": "#/$defs/A",
        "$defs": {
            name: {"properties": {"x": wrap({"$ref": f"#/$defs/{other}"})}}
            for name, other in ("AB", "BA")
        },
    }


def deep_list(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


ENDLESS = {
    "itself": {"$ref": "#"},
    "ring of references": {
        "$ref": "#/$defs/A",
        "$defs": {"A": {"$ref": "#/$defs/B"}, "B": {"$ref": "#/$defs/A"}},
    },
    "itself under allOf": {"allOf": [{"$ref": "#"}]},
    "itself under oneOf": {"oneOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "mutual properties": mutual("anyOf"),
    "mutual allOf": mutual("allOf"),
    "mutual items": mutual("items"),
    "mutual oneOf": mutual("oneOf"),
    "doubling": doubling(30),
    "deep": nested(5_000),
    "circular": circular(),
    "deep allOf": json.loads('{"allOf":[' * 400 + "true" + "]}" * 400),
    "wide allOf": {"allOf": [{"properties": {"x": {"minimum": n}}} for n in range(3_000)]},
    "two deep alternatives": {"anyOf": [{"x": deep_list(2_000)}], "oneOf": [{"y": 1}]},
    "deep data": {"enum": [deep_list(2_000)], "const": deep_list(2_000)},
    "keys that are not text": {"properties": {1: {"x": {(1, 2): 3}}}},
    "long chain": {
        "$ref": "#/$defs/0",
        "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(3_000)},
    },
}


@pytest.mark.parametrize("schema", ENDLESS.values(), ids=ENDLESS)
def test_no_schema_is_too_much(schema):
    started = time.process_time()
    parameters = narrow_parameters(schema)
    inlined = inline_refs(schema)

    assert time.process_time() - started < 10
    assert '"$ref"' not in json.dumps(parameters.schema, skipkeys=True)
    assert isinstance(inlined, dict)


def test_the_size_and_the_depth_have_an_end():
    for grown in (narrow_parameters(doubling(30)).schema, inline_refs(doubling(30))):
        assert json.dumps(grown).count("{") < 3 * MAX_NODES

    assert json.dumps(narrow_parameters(nested(500)).schema).count('"a"') == MAX_DEPTH
    assert json.dumps(inline_refs(nested(500))).count('"a"') == MAX_DEPTH
    assert narrow_parameters(nested(40)).schema == nested(40)


class Color(Enum):
    RED = "red"
    BLUE = 2


class Point(BaseModel):
    """A point."""

    model_config = ConfigDict(extra="forbid")

    x: int
    y: float = 0.5


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=1, le=9)] = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


class Node(BaseModel):
    value: int
    children: list["Node"] = []
    parent: Optional["Node"] = None


class Everything(BaseModel):
    """All kinds of fields."""

    text: str
    color: Color
    point: Point
    maybe: Point | None = None
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    other: Cat | Dog
    pair: tuple[int, str]
    many: list[Point]
    table: dict[str, Point]
    flags: set[bool]
    literal: Literal["a", 1, True] | None
    described: Annotated[Point, Field(description="Where.")]
    free: dict
    count: Annotated[int, Field(gt=0, multiple_of=2)]


@pytest.mark.parametrize("kind", [Point, Cat, Node, Everything, Color, list[Point]])
def test_what_pydantic_writes_is_kept_but_for_what_is_listed(kind):
    schema = {
        "type": "object",
        "properties": {"p": TypeAdapter(kind).json_schema(ref_template="#/properties/p/$defs/{model}")},
        "required": ["p"],
    }  # a table reads better in rows # fmt: skip
    parameters = narrow_parameters(schema)

    accepted_by_server(parameters.schema)
    assert set(keys_of(parameters.schema)) <= KEPT
    words = json.dumps(parameters.schema) + parameters.notes
    for path, _, keyword in (loss.partition(": ") for loss in parameters.losses):
        assert keyword not in KEPT, path
        assert "$ref" not in keyword or kind is Node
    assert "$defs" not in words
    if kind is Everything:
        assert "(other properties: " in words
        assert '"x": {"title": "X", "type": "integer"}' in json.loads(
            json.dumps(parameters.schema["properties"]["p"]["properties"]["table"]["description"])
        )


INT_OR_TEXT = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
NULL = {"type": "null"}
FLAT = {
    "type": ["integer", "string", "null"],
    "anyOf": [{"type": "integer"}, {"type": "string"}, NULL],
}

# What stands under "items", which the server keeps as it comes, and what is sent.
BELOW_ITEMS = {
    "a union in a union": ({"anyOf": [INT_OR_TEXT, NULL]}, FLAT),
    "oneOf": ({"oneOf": [INT_OR_TEXT, NULL]}, FLAT),
    "a reference": ({"anyOf": [{"$ref": "#/$defs/U"}, NULL]}, FLAT),
    "a list of lists": (
        {"items": {"anyOf": [INT_OR_TEXT, NULL]}}, {"type": "array", "items": FLAT},
    ),
    "other properties": (
        {"additionalProperties": {"anyOf": [INT_OR_TEXT, NULL]}},
        {"type": "object", "additionalProperties": FLAT},
    ),
    "properties": (
        {"properties": {"a": {"anyOf": [INT_OR_TEXT, NULL]}, "b": {"const": 1}}},
        {"type": "object", "properties": {"a": FLAT, "b": {"type": "integer", "enum": [1]}}},
    ),
    "first items": (
        {"prefixItems": [{"anyOf": [INT_OR_TEXT, NULL]}, {"enum": [True]}]},
        {"type": "array", "prefixItems": [FLAT, {"type": "boolean", "enum": [True]}]},
    ),
    "an arm that is a list": (
        {"anyOf": [{"items": {"anyOf": [INT_OR_TEXT, NULL]}}, NULL]},
        {"type": ["array", "null"], "anyOf": [{"type": "array", "items": FLAT}, NULL]},
    ),
    "allOf": (
        {"allOf": [{"properties": {"a": {"minimum": 1}}}, {"required": ["a"]}]},
        {
            "type": "object",
            "properties": {"a": {"type": "number", "minimum": 1}},
            "required": ["a"],
        },
    ),
    "limits": ({"minLength": 1}, {"type": "string", "minLength": 1}),
    "anything": ({"title": "Any"}, {"title": "Any"}),
    "nothing in a union": ({"anyOf": [False, NULL]}, {"anyOf": [{"not": {}}, NULL]}),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("items", "sent"), BELOW_ITEMS.values(), ids=BELOW_ITEMS)
@pytest.mark.parametrize("is_optional", [False, True])
def test_types_are_said_below_items_too(items, sent, is_optional):
    source = {"type": "array", "items": items}
    schema = {
        "properties": {"p": {"anyOf": [source, NULL]} if is_optional else source},
        "$defs": {"U": INT_OR_TEXT},
    }
    found = narrow_parameters(schema).schema["properties"]["p"]

    assert (found["anyOf"][0] if is_optional else found)["items"] == sent


def untyped(schema, path="p"):
    """Yield where a schema below *schema* has no types, though something is known of it."""
    if not isinstance(schema, dict):
        return
    if not schema.keys() & {"type", "anyOf"} and schema.keys() - ANNOTATIONS:
        yield path
    if schema.keys() & {"$ref", "allOf", "oneOf", "const"}:
        yield f"{path}: {', '.join(schema)}"
    for index, arm in enumerate(schema.get("anyOf", [])):
        if "anyOf" in arm or "type" not in arm:
            yield f"{path}.anyOf[{index}]"
    for key in ("additionalProperties", "items"):
        yield from untyped(schema.get(key), f"{path}.{key}")
    for key in ("anyOf", "prefixItems"):
        for index, below in enumerate(schema.get(key, [])):
            yield from untyped(below, f"{path}.{key}[{index}]")
    for name, below in schema.get("properties", {}).items():
        yield from untyped(below, f"{path}.properties.{name}")


def composed(below):
    """The types that are made of others, in every way that pydantic writes differently."""
    described = st.just(Field(description="Said."))
    union = st.builds(lambda left, right: left | right, below, below)
    return st.one_of(
        union,
        st.builds(lambda kind, field: Annotated[kind, field], union, described),
        st.builds(lambda kind: RootModel[kind], union),
        st.builds(lambda kind: list[kind], below),
        st.builds(lambda kind: set[kind], below),
        st.builds(lambda kind: dict[str, kind], below),
        st.builds(lambda left, right: tuple[left, right], below, below),
        st.builds(
            lambda one, other: create_model("Model", one=(one, ...), other=(other | None, None)),
            below,
            below,
        ),
    )


KINDS = st.recursive(
    st.sampled_from([int, str, float, bool, int | None, Literal["a", 1], Literal[True] | None])
    | st.sampled_from([Color, Point, Cat | Dog, Annotated[Cat | Dog, Field(discriminator="kind")]])
    | st.sampled_from([Annotated[int, Field(gt=0)], Annotated[str, Field(min_length=1)]]),
    composed,
    max_leaves=6,
)


@given(KINDS)
@example(str | list[Annotated[int | str, Field(description="Said.")] | None])
@example(list[dict[str, RootModel[int | list[int | None]]]] | None)
def test_whatever_pydantic_writes_every_schema_on_the_wire_has_its_types(kind):
    found = narrow_parameters(create_model("Tool", p=(kind, ...)).model_json_schema())

    accepted_by_server(found.schema)
    assert list(untyped(found.schema["properties"]["p"])) == []
    assert found.foreign == ()


# A small world, so that schemas and values meet.
NAMES = st.sampled_from(["a", "b", "$ref"])
SCALARS = st.sampled_from([None, True, False, 0, 1, 1.0, -1, 2.5, "", "a", "ab"])
VALUES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(NAMES, below, max_size=3),
    max_leaves=6,
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
REFS = st.sampled_from(["#/$defs/A", "#/$defs/B", "#/$defs/A/properties/a", "#/$defs/C"])


# What a schema without a type is about; such a type is derived, and then others are refused.
ABOUT = {
    "object": {"properties", "required", "additionalProperties", "unevaluatedProperties"},
    "array": {"items", "prefixItems", "maxItems"},
    "string": {"minLength"},
    "number": {"minimum"},
}


def with_type(schema):
    """Return *schema* with the types its keywords are about, when it has none of its own."""
    about = [kind for kind, keys in ABOUT.items() if keys & schema.keys()]
    return {"type": about, **schema} if about else schema


def schemas(below, **more):
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "properties": st.dictionaries(NAMES, below, max_size=2),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "anyOf": st.lists(below, min_size=1, max_size=2),
            "allOf": st.lists(below, min_size=1, max_size=3),
            "oneOf": st.lists(below, min_size=1, max_size=2),
            "items": below,
            "enum": st.lists(VALUES, max_size=3),
            "const": VALUES,
            "description": st.just("Said."),
            "default": VALUES,
            "title": st.just("T"),
            **more,
        },
    ).map(with_type)


RICH = st.recursive(
    st.booleans() | st.fixed_dictionaries({"type": TYPES}) | st.fixed_dictionaries({"$ref": REFS}),
    lambda below: schemas(
        below,
        **{
            "$ref": REFS,
            "minimum": st.integers(-1, 2),
            "maxItems": st.integers(0, 2),
            "minLength": st.integers(0, 1),
            "not": below,
            "additionalProperties": below,
            "prefixItems": st.lists(below, min_size=1, max_size=2),
            "unevaluatedProperties": st.booleans(),
        },
    ),
    max_leaves=6,
)
PLAIN = st.recursive(st.booleans() | schemas(st.just(True)), schemas, max_leaves=6)


def document(root, definitions):
    return {"type": "object", "properties": {"p": root}, "$defs": definitions}


DOCUMENTS = st.builds(
    document, RICH, st.fixed_dictionaries({"A": RICH}, optional={"B": RICH, "C": RICH})
).filter(lambda schema: not is_dangling(schema))


def is_dangling(schema):
    """True when a reference of *schema* leads nowhere: jsonschema refuses to validate then."""
    text = json.dumps(schema)
    return any(f'"#/$defs/{name}"' in text and name not in schema["$defs"] for name in "ABC") or (
        "#/$defs/A/properties/a" in text and not has_property_a(schema["$defs"].get("A"))
    )


def has_property_a(schema):
    return isinstance(schema, dict) and "a" in schema.get("properties", {})


@given(
    st.one_of(PLAIN.map(lambda root: document(root, {})), DOCUMENTS),
    st.lists(VALUES, min_size=1, max_size=5),
)
@example(document({"prefixItems": [{"$ref": "#/$defs/A"}]}, {"A": False}), [[None]])
@example(document({"$ref": "#/$defs/A"}, {"A": False}), [None])
@example(
    document({"prefixItems": [{"$ref": "#/$defs/A"}]}, {"A": {"items": {"$ref": "#/$defs/A"}}}),
    [[]],
)
def test_what_the_tool_accepts_the_narrowed_schema_accepts_and_without_losses_nothing_else(
    schema, values
):
    parameters = narrow_parameters(schema)
    inlined = inline_refs(schema)
    instances = [{"p": value} for value in values]
    try:
        right = [accepts(schema, instance) for instance in instances]
    except RecursionError:
        reject()  # a ring of references that no value ends

    accepted_by_server(parameters.schema)
    assert set(keys_of(parameters.schema)) <= KEPT
    assert "$defs" not in inlined
    for result, losses in (
        (parameters.schema, parameters.losses),
        (inlined, [loss for loss in parameters.losses if "$ref" in loss]),
    ):
        accepted = [accepts(result, instance) for instance in instances]
        assert accepted == right or losses
        assert all(new or not old for new, old in zip(accepted, right, strict=True))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "properties", "$ref", "allOf", "oneOf", "anyOf", "items", "required", "enum", "const", "$defs", "description", "x"]), below, max_size=4)
    ),
    max_leaves=20,
)  # a table reads better in rows # fmt: skip


@given(JSON)
def test_any_json_value_narrows_to_what_the_server_takes(schema):
    accepted_by_server(narrow_parameters(schema).schema)
    inline_refs(schema)


def test_an_arm_whose_own_union_is_only_told_in_words_has_the_type_of_the_rest():
    arm = {"anyOf": [{}, {"type": "string"}], "items": {}}
    schema = {"properties": {"a": {"items": {"anyOf": [arm, {"type": "null"}]}}}}

    narrowed = narrow_parameters(schema).schema

    assert narrowed["properties"]["a"]["items"]["anyOf"][0]["type"] == "array"
    assert narrow_parameters(narrowed).schema == narrowed
