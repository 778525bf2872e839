"""What a finished answer amounts to: good as it is, worth one repair, or an error."""

import json

import pytest
from agents import AgentOutputSchema, function_tool
from agents.agent_output import AgentOutputSchemaBase
from pydantic import BaseModel, ValidationError

from tests.ollama.answers import call, chunk, last, ndjson, new_reply, request
from timestep.answer.outcome import settle
from timestep.answer.rules import Reading
from timestep.errors import ModelOutputError
from timestep.ollama.request.repair import repair
from timestep.ollama.request.tools import ToolConversion


@function_tool
def weather(city: str) -> str:
    """The weather."""
    return city


@function_tool
def clock() -> str:
    """The time."""
    return ""


TOOLS = tuple(ToolConversion().convert([weather, clock], []))
WEATHER = TOOLS[:1]
PARIS = '{"name": "weather", "arguments": {"city": "Paris"}}'
WRAPPED = json.dumps(
    {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
)


class Verdict(BaseModel):
    """A structured answer."""

    ok: bool
    why: str = ""


OUTPUT = AgentOutputSchema(Verdict)
YES = '{"ok": true}'


def settled(asked, *chunks):
    """The reply to *asked* that *chunks* are, and the repair it needs."""
    reply = new_reply(asked)
    reply.feed(ndjson(*chunks))
    reply.end_of_body()
    bad = settle(reply)
    return reply, bad and repair(asked, bad)


def shown(reply):
    """The items of *reply*: text, or the name and arguments of a call."""
    reply.finish()
    return [
        (item.name, json.loads(item.arguments))
        if item.type == "function_call"
        else item.content[0].text
        for item in reply.output
    ]


def required(tools=TOOLS, **fields):
    body = {"messages": [{"role": "user", "content": "hi"}], "tools": [tool.wire for tool in tools]}
    return request(Reading.HELD, body=body, tools=tools, must_call=True, **fields)


def structured(reading, **fields):
    return request(reading, output=OUTPUT, **fields)


def emulated(reading=Reading.EMULATED, **fields):
    return request(reading, tools=TOOLS, is_emulated=True, **fields)


def texts(reading=Reading.LIVE, **fields):
    body = {"messages": []}
    return request(reading, body=body, tools=TOOLS, text_calls=True, **fields)


# Requests, what the model answers, and what the caller sees of it.
GOOD = {
    "text": (request(), [last("Hi")], ["Hi"]),
    "nothing, without tools": (request(), [last()], [""]),
    "a call": (request(tools=TOOLS), [last(calls=[call("clock")])], [("clock", {})]),
    "a call of no tool on offer": (
        request(tools=TOOLS), [last(calls=[call("nope")])], [("nope", {})],
    ),
    "cut text": (request(tools=TOOLS), [last("Hel", reason="length")], ["Hel"]),
    "only thinking, without tools": (request(), [last(thinking="Hm")], ["Hm", ""]),
    "a required call as text": (required(), [last(PARIS)], [("weather", {"city": "Paris"})]),
    "a required call in a fence": (
        required(), [last(f"```json\n{PARIS}\n```")], [("weather", {"city": "Paris"})],
    ),
    "a required call without arguments": (
        required(), [last('{"name": "clock"}')], [("clock", {})],
    ),
    "a required call after thinking": (
        required(), [chunk(thinking="Hm"), last(PARIS)], ["Hm", ("weather", {"city": "Paris"})],
    ),
    "a required native call": (required(), [last(calls=[call("clock")])], [("clock", {})]),
    "required native calls with words": (
        required(),
        [last("I look", calls=[call("clock"), call("weather", {"city": "Rome"})])],
        ["I look", ("clock", {}), ("weather", {"city": "Rome"})],
    ),
    "required native calls with blanks": (
        required(), [last(" \n", calls=[call("clock")])], [("clock", {})],
    ),
    "a named native call beside a wrong one": (
        required(WEATHER),
        [last(calls=[call("clock"), call("weather", {"city": "Rome"})])],
        [("weather", {"city": "Rome"})],
    ),
    "a required call, its arguments as parameters": (
        required(),
        [last('{"name": "weather", "parameters": {"city": "Rome"}}')],
        [("weather", {"city": "Rome"})],
    ),
    "a required native call with a token in its name": (
        required(), [last(calls=[call("clock<|channel|>commentary")])], [("clock", {})],
    ),
    "words before, between and behind required native calls": (
        required(),
        [
            chunk("a", calls=[call("clock")]),
            chunk("b", calls=[call("clock")]),
            last("c"),
        ],
        ["a", ("clock", {}), "b", ("clock", {}), "c"],
    ),
    "structured, words behind a call": (
        structured(Reading.HELD, tools=TOOLS),
        [chunk("a", calls=[call("clock")]), last("b")],
        ["a", ("clock", {}), "b"],
    ),
    "a call in text": (texts(), [chunk(PARIS[:9]), last(PARIS[9:])], [("weather", {"city": "Paris"})]),
    "calls in text, in tags": (
        texts(),
        [last(f"<tool_call>{PARIS}</tool_call><tool_call>{PARIS}</tool_call>")],
        [("weather", {"city": "Paris"})] * 2,
    ),
    "a call in text, structured": (
        texts(Reading.HELD, output=OUTPUT), [last(PARIS)], [("weather", {"city": "Paris"})],
    ),
    "an answer in text, structured": (texts(Reading.HELD, output=OUTPUT), [last(YES)], [YES]),
    "a closing tag in an argument": (
        texts(),
        [chunk(f"<tool_call>{PARIS.replace('Paris', '</tool_')}"), last("</tool_call>")],
        [("weather", {"city": "</tool_"})],
    ),
    "a whole closing tag in an argument": (
        texts(),
        [chunk(f"<tool_call>{PARIS.replace('Paris', '</tool_call>')}"), last("</tool_call>")],
        [("weather", {"city": "</tool_call>"})],
    ),
    "calls on lines": (
        texts(), [chunk(f"{PARIS}\n"), last(PARIS)], [("weather", {"city": "Paris"})] * 2,
    ),
    "calls between semicolons": (
        texts(), [chunk(f"{PARIS};"), last(PARIS)], [("weather", {"city": "Paris"})] * 2,
    ),
    "a wrapped call in text": (texts(), [last(WRAPPED)], [("weather", {"city": "Paris"})]),
    "JSON in text that is not a call": (texts(), [last('{"a": 1}')], ['{"a": 1}']),
    "a call of no tool on offer in text": (
        texts(), [last('{"name": "nope", "arguments": {}}')], ['{"name": "nope", "arguments": {}}'],
    ),
    "a call in text, not asked for": (request(tools=TOOLS), [last(PARIS)], [PARIS]),
    "words before a call in text": (texts(), [last(f"So: {PARIS}")], [f"So: {PARIS}"]),
    "structured, live": (structured(Reading.LIVE), [chunk('{"ok"'), last(": true}")], [YES]),
    "structured, live, in a fence": (
        structured(Reading.LIVE), [last(f"```json\n{YES}\n```")], [YES],
    ),
    "structured, live, behind blanks": (
        structured(Reading.LIVE), [chunk(" "), chunk("\n{"), last('"ok": true}')], ['\x20\n{"ok": true}'],
    ),
    "structured, held": (structured(Reading.HELD, tools=TOOLS), [last(YES)], [YES]),
    "structured, held, in a fence": (
        structured(Reading.HELD, tools=TOOLS), [last(f"Here:\n```json\n{YES}\n```")], [YES],
    ),
    "structured, a call first": (
        structured(Reading.HELD, tools=TOOLS),
        [chunk("I look"), last(calls=[call("clock")])],
        ["I look", ("clock", {})],
    ),
    "structured, a silent call first": (
        structured(Reading.HELD, tools=TOOLS), [last(calls=[call("clock")])], [("clock", {})],
    ),
    "structured, cut behind it": (
        structured(Reading.HELD), [last(YES, reason="length")], [YES],
    ),
    "emulated answer": (emulated(), [chunk('{"answer": "H'), last('i"}')], ["Hi"]),
    "emulated call": (emulated(), [chunk(PARIS[:9]), last(PARIS[9:])], [("weather", {"city": "Paris"})]),
    "emulated call in a fence": (
        emulated(), [last(f"```json\n{PARIS}\n```")], [("weather", {"city": "Paris"})],
    ),
    "emulated, in its own way": (emulated(), [last("Just text")], ["Just text"]),
    "emulated, in its own way, cut": (emulated(), [last("Just te", reason="length")], ["Just te"]),
    "emulated, a call of no tool on offer": (
        emulated(), [last('{"name": "nope", "arguments": {}}')], ['{"name": "nope", "arguments": {}}'],
    ),
    "emulated answer, cut": (emulated(), [last('{"answer": "Hel', reason="length")], ["Hel"]),
    "emulated and structured": (
        emulated(Reading.HELD, output=OUTPUT), [last('{"answer": {"ok": true}}')], [YES],
    ),
    "emulated and structured, in any script": (
        emulated(Reading.HELD, output=OUTPUT),
        [last('{"answer": {"ok": true, "why": "é"}}')],
        ['{"ok": true, "why": "é"}'],
    ),
    "emulated and structured, without the frame": (
        emulated(Reading.HELD, output=OUTPUT), [last(YES)], [YES],
    ),
    "emulated and structured, a call": (
        emulated(Reading.HELD, output=OUTPUT), [last(PARIS)], [("weather", {"city": "Paris"})],
    ),
    "emulated and required": (
        emulated(Reading.HELD, must_call=True), [last(PARIS)], [("weather", {"city": "Paris"})],
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("asked", "chunks", "items"), GOOD.values(), ids=GOOD)
def test_a_good_answer_is_shown_and_needs_no_repair(asked, chunks, items):
    reply, again = settled(asked, *chunks)

    assert again is None
    assert shown(reply) == items


BAD = {
    "no call, though required": (required(), last("I would rather not")),
    "nothing, though a call is required": (required(), last()),
    "a call to another tool": (required(WEATHER), last(calls=[call("clock")])),
    "arguments under another name": (required(), last('{"name": "weather", "args": {"city": "x"}}')),
    "arguments beside the name": (required(), last('{"name": "weather", "city": "x"}')),
    "emulated, arguments that are not an object": (
        emulated(), last('{"name": "clock", "arguments": 5}'),
    ),
    "emulated, arguments under another name": (
        emulated(), last('{"name": "weather", "kwargs": {"city": "x"}}'),
    ),
    "a call in text, arguments under another name": (
        texts(), last('{"name": "weather", "input": {"city": "x"}}'),
    ),
    "a written call to another tool": (required(WEATHER), last('{"name": "clock"}')),
    "half a call": (required(), last(PARIS[:-5])),
    "a call without a name": (required(), last('{"arguments": {}}')),
    "a call that is a list": (required(), last(f"[{PARIS}]")),
    "prose, though structured": (structured(Reading.HELD, tools=TOOLS), last("Yes, it is.")),
    "other JSON, though structured": (structured(Reading.HELD), last('{"ok": "perhaps"}')),
    "prose, shown already": (structured(Reading.LIVE), last("Yes, it is.")),
    "the frame with a wrong answer": (
        emulated(Reading.HELD, output=OUTPUT), last('{"answer": "yes"}'),
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("asked", "chunk"), BAD.values(), ids=BAD)
def test_a_bad_answer_is_repaired_once_and_then_an_error(asked, chunk):
    reply, again = settled(asked, chunk)

    assert again is not None
    assert again.rules.is_repair
    assert again.rules.reading is Reading.HELD
    assert again.body["format"]
    assert "tools" not in again.body

    reply.restart(again)
    reply.feed(ndjson(chunk))
    with pytest.raises(ModelOutputError, match="not even when asked again") as raised:
        settle(reply)
    assert (raised.value.model, raised.value.host) == ("m", "http://localhost:11434")
    calls = " or ".join(repr(tool.name) for tool in asked.tools)
    wanted = calls if again.rules.must_call else "Verdict"
    assert f" {wanted}" in str(raised.value)


@pytest.mark.parametrize(
    ("asked", "bad", "good", "items"),
    [
        (required(), "Hm", PARIS, [("weather", {"city": "Paris"})]),
        (structured(Reading.HELD), "Hm", YES, [YES]),
        (structured(Reading.LIVE), "Hm", YES, [YES]),
        (structured(Reading.LIVE), '{"ok": 5}', YES, ['{"ok": 5}', YES]),
        (emulated(Reading.HELD, output=OUTPUT), "Hm", YES, [YES]),
    ],
)
def test_a_repaired_answer_is_shown(asked, bad, good, items):
    reply, again = settled(asked, last(bad))

    reply.restart(again)
    reply.feed(ndjson(last(good)))

    assert settle(reply) is None
    assert shown(reply) == items
    assert reply.usage.requests == 2


@pytest.mark.parametrize(
    ("asked", "bad", "said"),
    [
        (required(), "I would rather not", "it is not one JSON object with name and arguments"),
        (
            required(),
            '{"name": "weather", "args": {}}',
            "the arguments belong under 'arguments', not under 'args'",
        ),
        (structured(Reading.HELD), '{"ok": 5}', "ok: Input should be a valid boolean"),
        (structured(Reading.HELD), "Yes", "it is not JSON"),
    ],
)
def test_a_repair_shows_the_model_its_answer_and_what_is_wrong(asked, bad, said):
    _, again = settled(asked, last(bad))

    *_, answered, told = again.body["messages"]
    assert answered == {"role": "assistant", "content": bad}
    assert f": {said}. " in told["content"]


@pytest.mark.parametrize("effort", ["high", False, None])
def test_a_repair_leaves_think_as_the_request_had_it(effort):
    body = {"messages": [], **({} if effort is None else {"think": effort})}

    _, again = settled(request(Reading.HELD, body=body, output=OUTPUT), last("Yes"))

    assert again.body.get("think") == effort


@pytest.mark.parametrize("repairs", [0, 1, 3])
def test_as_many_repairs_are_asked_for_as_are_allowed(repairs):
    asked = structured(Reading.HELD, repairs=repairs)
    reply = new_reply(asked)
    for _ in range(repairs):
        reply.feed(ndjson(last("Yes")))
        asked = repair(asked, settle(reply))
        reply.restart(asked)
    reply.feed(ndjson(last("Yes")))

    with pytest.raises(ModelOutputError, match="did not match Verdict") as raised:
        settle(reply)

    assert ("asked again" in str(raised.value)) is (repairs > 0)
    assert reply.usage.requests == repairs + 1


def test_an_answer_that_does_not_match_says_why():
    reply = new_reply(structured(Reading.HELD, repairs=0))
    reply.feed(ndjson(last('{"ok": 5}')))

    with pytest.raises(ModelOutputError) as raised:
        settle(reply)

    assert "did not match Verdict: ok: Input should be a valid boolean" in str(raised.value)
    assert raised.value.text == '{"ok": 5}'
    assert isinstance(raised.value.__cause__, ValidationError)


CUT = {
    "nothing": (request(), last(reason="length")),
    "blanks": (request(), last("\n", reason="length")),
    "only thinking": (request(), last(thinking="Hm", reason="length")),
    "nothing, with tools": (request(tools=TOOLS), last(reason="length")),
    "a required call without a name yet": (required(), last(PARIS[:9], reason="length")),
    "half a structured answer": (structured(Reading.HELD), last('{"ok": tr', reason="length")),
    "half a structured answer, shown": (structured(Reading.LIVE), last('{"ok"', reason="length")),
    "an emulated call without a name yet": (emulated(), last(PARIS[:9], reason="length")),
    "an empty emulated answer": (emulated(), last(reason="length")),
}


@pytest.mark.parametrize(("asked", "chunk"), CUT.values(), ids=CUT)
def test_an_answer_cut_before_it_is_usable_is_an_error(asked, chunk):
    with pytest.raises(ModelOutputError, match="token limit") as raised:
        settled(asked, chunk)

    assert "max_tokens" in str(raised.value)
    assert raised.value.model == "m"


HALF = {
    "a call": (request(tools=TOOLS), [last(calls=[call("weather")], reason="length")]),
    "a call before the end": (
        request(tools=TOOLS), [chunk(calls=[call("weather")]), last(reason="length")],
    ),
    "a call beside words": (
        request(tools=TOOLS), [chunk("I", calls=[call("weather")]), last("a", reason="length")],
    ),
    "a required call": (required(), [last(calls=[call("weather")], reason="length")]),
    "a written call": (emulated(), [last(PARIS, reason="length")]),
    "a call in text": (texts(), [last(PARIS, reason="length")]),
    "half a call in text": (texts(), [last(PARIS[:-5], reason="length")]),
    "half a fenced call in text": (texts(), [last(f"```json\n{PARIS[:-5]}", reason="length")]),
    "half a wrapped call in text": (texts(), [last(WRAPPED[:-5], reason="length")]),
    "half a call on a second line": (texts(), [last(f"{PARIS}\n{PARIS[:-5]}", reason="length")]),
    "half a second call in text": (texts(), [last(f"[{PARIS}, {PARIS[:-5]}", reason="length")]),
    "a required call in text": (required(), [last(PARIS, reason="length")]),
    "half a required call in text": (required(), [last(PARIS[:-5], reason="length")]),
    "half an emulated call": (emulated(), [last(PARIS[:-5], reason="length")]),
    "a call, structured": (
        structured(Reading.HELD, tools=TOOLS), [last(calls=[call("weather")], reason="length")],
    ),
}  # a table reads better in rows # fmt: skip


@pytest.mark.parametrize(("asked", "chunks"), HALF.values(), ids=HALF)
def test_a_call_in_a_cut_answer_is_never_run(asked, chunks):
    with pytest.raises(ModelOutputError, match="when it called 'weather'") as raised:
        settled(asked, *chunks)

    assert "max_tokens" in str(raised.value)


@pytest.mark.parametrize("text", ['{"name": "Bob", "age": 3', "[1, 2", '{"name": "wea', "weather"])
def test_cut_text_that_begins_no_call_is_an_answer(text):
    reply, repaired = settled(texts(), last(text, reason="length"))

    assert shown(reply) == [text]
    assert repaired is None


@pytest.mark.parametrize("setting", ["max_tokens=5", "num_predict=5"])
@pytest.mark.parametrize("calls", [None, [call("weather")]])
def test_the_error_names_the_limit_that_was_in_force(setting, calls):
    with pytest.raises(ModelOutputError, match="token limit") as raised:
        settled(request(tools=TOOLS, token_limit=setting), last(calls=calls, reason="length"))

    assert f"({setting})" in str(raised.value)
    assert f"Raise {setting.partition('=')[0]}" in str(raised.value)
    assert raised.value.is_cut


def test_the_error_without_a_limit_names_the_settings_that_may_limit():
    calls = [call("weather"), call("weather")]
    with pytest.raises(ModelOutputError, match=r"Raise max_tokens") as raised:
        settled(request(tools=TOOLS), last(calls=calls, reason="length"))

    assert "token limit when it called 'weather' and 'weather'" in str(raised.value)


EMPTY = {
    "blanks, with tools": (request(tools=TOOLS), last(" \n"), "a tool that does not exist"),
    "with tools": (request(tools=TOOLS), last(), "a tool that does not exist"),
    "only thinking, with tools": (request(tools=TOOLS), last(thinking="Hm"), "does not exist"),
    "structured, live": (structured(Reading.LIVE), last(), "empty answer where Verdict is wanted"),
    "structured, held": (structured(Reading.HELD), last(" \n"), "where Verdict is wanted"),
    "emulated": (emulated(), last(), "empty answer"),
}


@pytest.mark.parametrize(("asked", "chunk", "said"), EMPTY.values(), ids=EMPTY)
def test_an_empty_answer_where_one_is_needed_is_an_error(asked, chunk, said):
    with pytest.raises(ModelOutputError, match=said) as raised:
        settled(asked, chunk)

    assert raised.value.host == "http://localhost:11434"


def test_calls_that_were_not_asked_for_are_counted():
    reply, again = settled(required(WEATHER), last(calls=[call("clock"), call("nope")]))
    reply.restart(again)
    reply.feed(ndjson(last(calls=[call("clock"), call("weather", {"city": "Rome"})])))

    assert settle(reply) is None
    assert reply.dropped_calls == 3
    assert shown(reply) == [("weather", {"city": "Rome"})]


class Untold(AgentOutputSchemaBase):
    """What a durable engine hands over: a schema that cannot validate."""

    def is_plain_text(self):
        return False

    def name(self):
        return "Untold"

    def json_schema(self):
        return {}

    def is_strict_json_schema(self):
        return False

    def validate_json(self, json_str):
        raise NotImplementedError


@pytest.mark.parametrize(("text", "is_good"), [(YES, True), ("5", True), ("Yes", False)])
def test_a_schema_that_cannot_validate_asks_for_any_json(text, is_good):
    _, again = settled(request(Reading.HELD, output=Untold()), last(text))

    assert (again is None) is is_good
