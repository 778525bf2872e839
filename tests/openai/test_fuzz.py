"""Any answer of a server ends in a result or an error of the tree, in time linear in its bytes."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ollama.answers import rules
from tests.ollama.test_reply import json_values, words
from tests.openai.decoding import ChatDecoder, sse
from timestep import errors
from timestep.answer.rules import Reading
from timestep.net.limits import MOST_CALLS

asked = st.builds(
    rules,
    st.sampled_from(Reading),
    must_call=st.booleans(),
    one_call=st.booleans(),
    think_tags=st.booleans(),
)


def fields(**optional):
    """Objects with any of these keys, or something else altogether."""
    return st.fixed_dictionaries({}, optional=optional) | json_values


indexes = st.integers(0, 2) | json_values
calls = st.lists(
    fields(
        index=indexes,
        id=words | json_values,
        type=json_values,
        function=fields(name=words | json_values, arguments=words | json_values),
        extra_content=json_values,
    ),
    max_size=3,
)
deltas = fields(
    role=json_values,
    content=words
    | json_values
    | st.lists(fields(type=st.just("thinking"), text=words), max_size=2),
    reasoning_content=words | json_values,
    reasoning=json_values,
    reasoning_details=json_values
    | st.lists(
        fields(type=json_values, index=indexes, text=words | json_values, data=words), max_size=3
    ),
    refusal=words | json_values,
    tool_calls=calls | json_values,
    function_call=json_values,
)
reasons = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "error"])
choices = fields(
    index=st.just(0) | json_values,
    delta=deltas,
    message=deltas,
    finish_reason=reasons | json_values,
    logprobs=fields(content=json_values),
    error=json_values,
)
details = fields(cached_tokens=json_values, reasoning_tokens=json_values)
usages = fields(
    prompt_tokens=json_values,
    completion_tokens=json_values,
    cost=json_values,
    prompt_tokens_details=details,
    completion_tokens_details=details,
)
events = fields(
    choices=st.lists(choices, max_size=2) | json_values,
    usage=usages,
    error=fields(message=json_values, code=json_values, type=json_values, status=json_values),
    detail=json_values,
    object=st.just("error") | json_values,
    timings=json_values,
)


def outcome(pieces, rules=None):
    """What came of *pieces*: the events, and the error if there was one."""
    decoder = ChatDecoder(rules)
    error = None
    try:
        for piece in pieces:
            decoder.feed(piece)
        decoder.end_of_body()
    except errors.TimestepError as exc:
        error = (type(exc), str(exc))
        decoder.fail("broken")
    else:
        decoder.finish()
    found = decoder.take_events()
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert all(event.model_dump_json() for event in found)
    return found, error


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"\n\n", b"data: "]), max_size=8), asked)
def test_no_bytes_raise_anything_but_our_errors(pieces, rules):
    outcome(pieces, rules)


@settings(max_examples=400)
@given(st.lists(events, max_size=4), asked, st.booleans())
def test_no_event_raises_anything_but_our_errors(found, rules, done):
    outcome([sse(found, done=done)], rules)


@settings(max_examples=200)
@given(events, asked)
def test_no_document_raises_anything_but_our_errors(document, rules):
    outcome([json.dumps(document).encode()], rules)


@given(st.lists(events, max_size=3), st.data())
def test_odd_events_are_refused_alike_however_they_are_split(found, data):
    body = sse(found)
    places = sorted(data.draw(st.sets(st.integers(0, len(body)), max_size=4)))
    pieces = [body[a:b] for a, b in itertools.pairwise([0, *places, len(body)])]

    assert outcome(pieces) == outcome([body])


def call(index=None, call_id=None, name=None, arguments=""):
    function = {"name": name, "arguments": arguments}
    piece = {"index": index, "id": call_id, "function": function}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [piece]}}]}


END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]}
MANY = 100_000

# What takes quadratic time here would take minutes or hours.
LONG = {
    "text in many deltas": [{"choices": [{"index": 0, "delta": {"content": "x"}}]}] * MANY,
    "one call in many pieces": [call(0, "c", "f", '{"a": "'), *[call(0, arguments="x")] * MANY, call(0, arguments='"}')],
    "a name in every piece, and no id": [
        call(None, None, "f", '{"a": "'), *[call(None, None, "f", "}")] * MANY, call(None, None, "f", '"}')
    ],
    "many calls": [call(number, f"c{number}", "f", "{}") for number in range(MOST_CALLS)],
    "many calls, each in one piece, and no index": [call(None, f"c{number}", "f", "{}") for number in range(MOST_CALLS)],
    "many calls on one index": [call(0, f"c{number}", "f", "{}") for number in range(MOST_CALLS)],
}  # fmt: skip


@pytest.mark.parametrize("found", LONG.values(), ids=LONG)
def test_a_long_answer_is_read_in_linear_time(found):
    body = sse([*found, END])

    found, error = outcome([body[at : at + 65_536] for at in range(0, len(body), 65_536)])

    assert error is None
    assert found[-1].type == "response.completed"


@pytest.mark.parametrize("form", [b"data: %b\n\n", b"%b"], ids=["event", "document"])
@pytest.mark.parametrize(
    "text",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"choices": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"choices": [{"message": {"content": "\\ud800"}}]}',
        b'{"choices": [{"message": {"content": "\xed\xa0\x80"}}]}',
        b'{"choices": [{"delta": {"content": 1e999}}]}',
        b'{"choices": [{"finish_reason": "stop", "delta": {}}], "usage": {"prompt_tokens": ' + b"9" * 5000 + b"}}",
        b'{"choices": [{"finish_reason": "stop", "delta": {}}], "usage": {"prompt_tokens": NaN, "cost": Infinity}}',
        b'{"error": {"message": "x", "code": ' + b"9" * 5000 + b"}}",
    ],
    ids=["deep", "deep choices", "half a pair", "half a pair in raw bytes", "infinity", "a huge count", "NaN", "a huge code"],
)  # fmt: skip
def test_an_extreme_answer_is_read_or_refused(form, text):
    outcome([form % text])
