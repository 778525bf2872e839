"""What is written in a text: JSON, calls to tools, an output that matches a schema."""

import itertools
import json

import pytest
from agents import AgentOutputSchema, AgentOutputSchemaBase
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, ValidationError

from timestep.answer.chunks import Call
from timestep.answer.from_text import (
    Mismatch,
    begun_call,
    declared_name,
    read_call,
    read_calls,
    read_json,
    read_output,
    unfence,
)


class Answer(BaseModel):
    words: str


OUTPUT = AgentOutputSchema(Answer)


def call(name, **arguments):
    return {"name": name, "arguments": arguments}


def written_call(text):
    """The name and arguments of the call that *text* is; None when it is not a call."""
    try:
        found = read_call(text, TOOLS)
    except Mismatch:
        return None
    return found.name, found.arguments


def written_output(text, output):
    try:
        return read_output(text, output)
    except Mismatch:
        return None


FENCED = '```python\nprint("hi")\n```'
TOOLS = ("f", "g")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"name": "f", "arguments": {"x": 1}}', ("f", {"x": 1})),
        (' {"name": "g"}\n', ("g", {})),
        ('```json\n{"name": "g", "arguments": {}}\n```', ("g", {})),
        ('Here:\n```\n{"name": "g", "arguments": {}}\n```\nDone.', ("g", {})),
        (json.dumps(call("f", x=FENCED)), ("f", {"x": FENCED})),
        (f"```json\n{json.dumps(call('f', x=FENCED))}\n```", ("f", {"x": FENCED})),
        ('{"name": "f", "parameters": {"x": 1}}', ("f", {"x": 1})),
        ('{"type": "function", "name": "f", "parameters": {"x": 1}}', ("f", {"x": 1})),
        ('{"name": "f", "arguments": null}', ("f", {})),
        ('{"name": "functions.f", "arguments": {}}', ("f", {})),
        ('{"name": " f<|channel|>commentary", "arguments": {}}', ("f", {})),
        ('{"name": "f", "args": {"x": 1}}', None),
        ('{"name": "f", "input": {"x": 1}}', None),
        ('{"name": "f", "kwargs": {"x": 1}}', None),
        ('{"name": "f", "x": 1}', None),
        ('{"name": "f", "arguments": {}, "parameters": {"x": 1}}', None),
        ('{"name": "f", "arguments": {}, "reason": "why"}', None),
        ('{"name": "h", "arguments": {}}', None),
        ('{"name": "f", "arguments": "{}"}', None),
        ('{"name": "f", "arguments": [1]}', None),
        ('{"name": "f", "arguments": {"x": NaN}}', None),
        ('{"name": "f", "arguments": {"x": "\\ud800"}}', None),
        ('{"name": 5, "arguments": {}}', None),
        ('{"name": ["f"]}', None),
        ('{"answer": "f"}', None),
        ('[{"name": "f"}]', None),
        ('{"name": "f"', None),
        ("f()", None),
        ("", None),
        ("[" * 5_000, None),
        ("\ud800", None),
    ],
    ids=itertools.count(),
)
def test_a_call_is_read_out_of_text(text, found):
    assert written_call(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"words": "a"}', '{"words": "a"}'),
        ('\n{"words": "a"} ', '\n{"words": "a"} '),
        ('```json\n{"words": "a"}\n```', '{"words": "a"}'),
        (json.dumps({"words": FENCED}), json.dumps({"words": FENCED})),
        ('Sure.\n```\n{"words": "a"}\n```', '{"words": "a"}'),
        ('{"words": 5}', None),
        ('{"word": "a"}', None),
        ("null", None),
        ("words", None),
        ("", None),
        ("```\n```", None),
        ('{"words": "\\ud800"}', None),
        ('{"words": "\ud800"}', None),
    ],
    ids=itertools.count(),
)
def test_an_output_is_read_out_of_text(text, found):
    assert written_output(text, OUTPUT) == found


def test_an_output_that_cannot_be_validated_here_is_any_json():
    class Remote(AgentOutputSchemaBase):
        def is_plain_text(self):
            return False

        def name(self):
            return "Remote"

        def json_schema(self):
            return {}

        def is_strict_json_schema(self):
            return True

        def validate_json(self, json_str):
            raise NotImplementedError

    assert written_output('```json\n{"a": 1}\n```', Remote()) == '{"a": 1}'
    assert written_output("words", Remote()) is None


def test_only_json_is_validated():
    """The SDK puts an error on the current span for every text that does not validate."""
    seen = []

    class Watched(AgentOutputSchema):
        def validate_json(self, json_str):
            seen.append(json_str)
            return super().validate_json(json_str)

    read_output('```json\n{"words": "a"}\n```', Watched(Answer))

    assert seen == ['{"words": "a"}']


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", ""),
        (" a ", "a"),
        ("```\na\n```", "a"),
        ("```json\na\n```", "a"),
        ("```json a```", "json a"),
        ("```a```", "a"),
        ("say\n```json\na\n```\nend", "a"),
        ("```json\na", "```json\na"),
        ("a```", "a```"),
        ("``` ```", ""),
        ("``````", ""),
        ("```c++\na\n```", "c++\na"),
    ],
)
def test_a_fence_is_taken_off(text, inside):
    assert unfence(text) == inside


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
    | st.text("`a ", max_size=6),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text("abc`", max_size=3), below),
    max_leaves=8,
)


@given(VALUES, st.sampled_from(["{}", "\n{}  ", "```json\n{}\n```", "```\n{}\n```"]))
def test_json_is_read_bare_and_fenced(value, frame):
    assert read_json(frame.replace("{}", json.dumps(value))) == value


@given(st.text() | st.text('`{}[]"\\:,nul 1a\n'))
def test_any_text_is_json_or_none(text):
    value = read_json(text)

    assert value is None or read_json(json.dumps(value)) == value
    assert written_call(text) is None
    unfence(text)


@pytest.mark.parametrize(
    ("text", "said", "is_near"),
    [
        ('{"name": "f", "args": {}}', "belong under 'arguments', not under 'args'", True),
        ('{"name": "f", "arguments": 5}', "its arguments are not a JSON object", True),
        ('{"name": "h", "arguments": {}}', "its name is not one of f, g", False),
        ("[1]", "not one JSON object", False),
        ('{"name": "f", "arguments": {"x": NaN}}', "it holds NaN or Infinity", False),
        ('{"name": "f", "arguments": {"x": "}', "its JSON ends too early", True),
        ('{"name": "f", "arguments": {}} or so', "not one JSON object", False),
        ('{"name": "h", "arguments": {"x": 1', "not one JSON object", False),
    ],
)
def test_a_text_that_is_no_call_says_what_is_wrong(text, said, is_near):
    with pytest.raises(Mismatch, match=said) as raised:
        read_call(text, TOOLS)

    assert raised.value.is_near is is_near


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("search", "search"),
        ("search<|channel|>commentary", "search"),
        ("search<|constrain|>json", "search"),
        ("functions.search", "search"),
        ("functions.search<|channel|>commentary", "search"),
        (" search", "search"),
        ("search\n", "search"),
        ("Search", "Search"),
        ("searches", "searches"),
        ("tools.search", "tools.search"),
        ("", ""),
    ],
)
def test_a_name_means_the_declared_tool(name, meant):
    assert declared_name(name, ("search", "find")) == meant


def test_a_name_that_may_mean_two_tools_is_refused():
    tools = ("search", "functions.search")

    assert declared_name("functions.search", tools) == "functions.search"
    with pytest.raises(Mismatch, match=r"may mean functions\.search or search"):
        declared_name("functions.search<|channel|>commentary", tools)


def wrapped(name, arguments, **more):
    function = {"name": name, "arguments": arguments}
    return json.dumps({**more, "type": "function", "function": function})


F, G = Call("f", {"x": 1}), Call("g", {})
F_TEXT, G_TEXT = '{"name": "f", "arguments": {"x": 1}}', '{"name": "g"}'
TAGS = '</tool_call> {"\\n; </tools>'


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"name": "f", "parameters": {"x": 1}}', [F]),
        ('```json\n{"name": "f", "arguments": {"x": 1}}\n```', [F]),
        ('[{"name": "f", "arguments": {"x": 1}}, {"name": "g"}]', [F, G]),
        ('<tool_call>\n{"name": "f", "arguments": {"x": 1}}\n</tool_call>', [F]),
        (
            '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call>\n<tool_call>{"name": "g"}</tool_call>',
            [F, G],
        ),
        ('<|python_tag|>{"name": "f", "parameters": {"x": 1}}<|eom_id|>', [F]),
        ('[TOOL_CALLS][{"name": "g", "arguments": {}}]', [G]),
        ('I call it: {"name": "g"}', None),
        ('<tool_call>{"name": "g"}</tool_call> now', None),
        ('[{"name": "g"}, 5]', None),
        ("[]", None),
        ("", None),
        # A closing tag, a bracket or a separator inside a string is text.
        (f"<tool_call>{json.dumps(call('f', x=TAGS))}</tool_call>", [Call("f", {"x": TAGS})]),
        (
            f"<tool_call>{json.dumps(call('f', x=TAGS))}</tool_call>\n<tool_call>{G_TEXT}</tool_call>",
            [Call("f", {"x": TAGS}), G],
        ),
        (f"{json.dumps(call('f', x=TAGS))};{G_TEXT}", [Call("f", {"x": TAGS}), G]),
        # Several calls stand on lines of their own, or between semicolons.
        (f"{F_TEXT}\n{G_TEXT}", [F, G]),
        (f"{F_TEXT}\n\n{G_TEXT}\n{F_TEXT}", [F, G, F]),
        (f"{F_TEXT}; {G_TEXT};", [F, G]),
        (f"<|python_tag|>{F_TEXT}; {G_TEXT}<|eom_id|>", [F, G]),
        (f"```json\n{F_TEXT}\n{G_TEXT}\n```", [F, G]),
        (f"<tool_call>{F_TEXT}\n{G_TEXT}</tool_call>", [F, G]),
        (f"<tool_call>{F_TEXT}</tool_call>;<tool_call>{G_TEXT}</tool_call>;", [F, G]),
        (f"{F_TEXT}\nand\n{G_TEXT}", None),
        (f"{F_TEXT}\n{G_TEXT} now", None),
        (f"{F_TEXT}\n5", None),
        (f'{F_TEXT} "g"', None),
        (f"{F_TEXT}\n{G_TEXT[:-1]}", None),
        (f"{F_TEXT}\n}}", None),
        (f"<tool_call>{F_TEXT}</tools>", None),
        (f"<|tool_call|>[{F_TEXT}]<|/tool_call|>", [F]),
        (f"<toolcall>{F_TEXT}</toolcall>", [F]),
        # The end of the answer closes a tag, but no JSON.
        (f"<|tool_call|>[{F_TEXT}, {G_TEXT}]", [F, G]),
        (f"<tool_call>{F_TEXT}</tool_call><tool_call>{G_TEXT}", [F, G]),
        (f"<tool_call>{F_TEXT} now", None),
        (f"<tool_call>{F_TEXT}</tool_call><tool_call>{G_TEXT[:-1]}", None),
        # The form of chat completions.
        ('{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}', [F]),
        (wrapped("f", '{"x": 1}'), [F]),
        (wrapped("g", ""), [G]),
        (
            '{"type": "function", "function": {"id": "call_in", "name": "g", "arguments": {}}}',
            [Call("g", {}, "call_in")],
        ),
        (wrapped("g", "null"), [G]),
        (wrapped("f", '{"x": 1}', id="call_1"), [Call("f", {"x": 1}, "call_1")]),
        (f"[{wrapped('f', '{}')}, {G_TEXT}]", [Call("f", {}), G]),
        (wrapped("f", '{"x": 1'), None),
        (wrapped("f", "[1]"), None),
        (wrapped("f", "{}", parameters={"x": 1}), None),
        ('{"type": "function", "function": {"name": "f", "args": {"x": 1}}}', None),
        ('{"type": "tool", "function": {"name": "f", "arguments": {"x": 1}}}', None),
        # An id of the call; without arguments it may be one of them.
        ('{"id": "call_1", "name": "f", "arguments": {"x": 1}}', [Call("f", {"x": 1}, "call_1")]),
        ('{"name": "f", "parameters": {"x": 1}, "id": 5}', [Call("f", {"x": 1}, 5)]),
        ('{"name": "f", "id": "5"}', None),
    ],
    ids=itertools.count(),
)
def test_calls_are_read_out_of_a_text_that_is_nothing_else(text, found):
    if found is None:
        with pytest.raises(Mismatch):
            read_calls(text, TOOLS)
    else:
        assert read_calls(text, TOOLS) == found


@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.text('<>/tool_call{}[];"\\\n')), min_size=1)
)
@example([{"```": ""}, {"```": ""}])
@example([{"a": "```5```"}, {}])
def test_calls_are_read_whatever_their_arguments_hold(arguments):
    texts = [json.dumps(call("f", **{"": one})) for one in arguments]
    found = [Call("f", {"": one}) for one in arguments]

    assert read_calls("\n".join(texts), TOOLS) == found
    assert read_calls(";".join(texts), TOOLS) == found
    assert read_calls("".join(f"<tool_call>{one}</tool_call>" for one in texts), TOOLS) == found


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "f", "argu',
        '{"type": "function", "function": {"name": "f", "argu',
        '{"id": "call_1", "type": "function", "function": {"name": "f", ',
        '<tool_call>{"id": "call_1", "name": "f"',
        f"{F_TEXT}\n{G_TEXT[:-3]}",
    ],
)
def test_the_beginning_of_a_call_names_its_tool(text):
    assert begun_call(text, TOOLS) == "f"


class Limits(BaseModel):
    f: float = Field(gt=0)
    names: list[str] = []


@pytest.mark.parametrize(
    ("output", "text", "said"),
    [
        (Limits, '{"f": 0, "names": []}', "f: Input should be greater than 0"),
        (Limits, '{"f": 1, "names": ["a", 5]}', "names.1: Input should be a valid string"),
        (Limits, "{}", "f: Field required"),
        (int, '{"response": "a"}', "response: Input should be a valid integer"),
        (list[int], '{"response": ["a"]}', "response.0: Input should be a valid integer"),
        (Limits, "I think so", "it is not JSON"),
        (Limits, '{"f": NaN}', "it holds NaN or Infinity, which JSON does not have"),
        (Limits, '```json\n{"f": Infinity}\n```', "it holds NaN or Infinity, which JSON does not"),
    ],
)
def test_an_output_that_does_not_match_says_what_is_wrong(output, text, said):
    with pytest.raises(Mismatch) as raised:
        read_output(text, AgentOutputSchema(output))

    assert said in str(raised.value)
    assert isinstance(raised.value.__cause__, ValidationError) is ("JSON" not in said)


def test_only_some_of_many_problems_are_told():
    text = json.dumps({"f": 1, "names": [1] * 9})

    with pytest.raises(Mismatch, match=r"^names.0: .*; names.1: .*; and 4 more$"):
        read_output(text, AgentOutputSchema(Limits))
