"""Answers of chat completions: the recordings, and the shapes that servers are known to send."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.openai.reading import WIRE, read, recording
from timestep.net.origin import Origin
from timestep.openai.stream import ChatReader

GOLDEN = json.loads((WIRE / "chunks.json").read_text())


def body_of(name):
    answer = recording(name)["response"]
    return answer["body"].encode(), answer["end"] == "complete"


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recorded_answer_is_read_as_it_was_meant(name):
    body, is_complete = body_of(name)
    assert read(body, is_complete=is_complete) == GOLDEN[name]


@pytest.mark.parametrize("name", GOLDEN)
def test_a_recorded_answer_in_small_pieces_is_the_same(name):
    body, is_complete = body_of(name)
    pieces = [body[at : at + 7] for at in range(0, len(body), 7)]
    assert read(*pieces, is_complete=is_complete) == GOLDEN[name]


@given(
    name=st.sampled_from(
        ["aimock-unicode-stream", "llamacpp-tool-two-stream-usage", "tf-text-whole"]
    ),
    cuts=st.lists(st.integers(0, 4000), max_size=8),
)
def test_every_split_of_the_bytes_gives_the_same_chunks(name, cuts):
    body, is_complete = body_of(name)
    at = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    pieces = [body[a:b] for a, b in itertools.pairwise(at)]
    assert read(*pieces, is_complete=is_complete) == GOLDEN[name]


def event(delta=None, *, finish=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return b"data: " + json.dumps({"choices": [choice], **fields}).encode() + b"\n\n"


def piece(index=0, call_id=None, name=None, arguments=None, **more):
    """A delta with one piece of a call; None leaves a field out."""
    function = {"name": name, "arguments": arguments}
    call = {"index": index, "id": call_id, **more}
    call = {key: value for key, value in call.items() if value is not None}
    call["function"] = {key: value for key, value in function.items() if value is not None}
    return {"tool_calls": [call]}


DONE = b"data: [DONE]\n\n"
HELLO = event({"role": "assistant", "content": "hello"})
STOP = event(finish="stop")
END = ["end", "stop", [0, 0, 0]]
ANSWER = [["text", "hello"], END]

ACCEPTED = {
    "a byte order mark": (b"\xef\xbb\xbf" + HELLO + STOP + DONE, ANSWER),
    "unknown fields": (b"id: 1\nretry: 5\n\nfoo: bar\n\n" + HELLO + STOP + DONE, ANSWER),
    "NUL bytes and blank lines": (b"\x00\n\n \n\n" + HELLO + b"\n\n" + STOP + DONE, ANSWER),
    "comments": (b": OPENROUTER PROCESSING\n\n" + HELLO + STOP + DONE, ANSWER),
    "pings": (b"event: ping\ndata: {}\n\n" + HELLO + b'event: ping\ndata: {"type": "ping"}\n\n' + STOP + DONE, ANSWER),
    "no [DONE]": (HELLO + STOP, ANSWER),
    "no blank line at the end": (HELLO + STOP[:-2], ANSWER),
    "[DONE] without a finish reason, and a proper end": (HELLO + DONE, [["text", "hello"], ["end", None, [0, 0, 0]]]),
    "something behind [DONE]": (HELLO + STOP + DONE + b"data: not json\n\n", ANSWER),
    "a filter's report without choices": (b'data: {"choices": [], "prompt_filter_results": []}\n\n' + HELLO + STOP + DONE, ANSWER),
    "a second choice": (
        b'data: {"choices": [{"index": 1, "delta": {"content": "other"}}]}\n\n' + HELLO + STOP + DONE,
        ANSWER,
    ),
    "a choice with an index that is a list": (
        b'data: {"choices": [{"index": [0], "delta": {"content": "other"}}]}\n\n' + HELLO + STOP + DONE,
        ANSWER,
    ),
    "a second choice without a message": (
        b'{"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}, {"index": 1}]}',
        ANSWER,
    ),
    "error fields that are empty": (event({"content": "hello"}, error=None) + event(finish="stop", error={}) + DONE, ANSWER),
    "a whole document": (b' {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}', ANSWER),
    "a whole document without a finish reason": (
        b'{"choices": [{"message": {"content": "hello"}}]}',
        [["text", "hello"], ["end", None, [0, 0, 0]]],
    ),
    "usage beside the finish reason": (
        HELLO + event(finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
        [["text", "hello"], ["end", "stop", [3, 2, 0]]],
    ),
    "usage in a chunk of its own, with cached tokens": (
        HELLO + STOP
        + b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1}}}\n\n'
        + DONE,
        [["text", "hello"], ["end", "stop", [3, 2, 1]]],
    ),
    "usage of strange types": (HELLO + event(finish="stop", usage={"prompt_tokens": "3", "completion_tokens": -1}), ANSWER),
    "reasoning": (event({"reasoning": "hm"}) + event({"content": "hello"}) + STOP, [["thinking", "hm"], *ANSWER]),
    "reasoning_content beside an empty content": (
        event({"reasoning_content": "hm", "content": ""}) + event({"content": "hello"}) + STOP,
        [["thinking", "hm"], *ANSWER],
    ),
    "the same reasoning in two fields": (
        event({"reasoning_content": "hm", "reasoning": "hm"}) + event({"content": "hello"}) + STOP,
        [["thinking", "hm"], *ANSWER],
    ),
    "a list of parts, with thinking as text": (
        event({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "hello"}]}) + STOP,
        [["thinking", "hm"], *ANSWER],
    ),
    "a list of parts, with thinking": (
        event({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "hello"}]}) + STOP,
        [["thinking", "hm"], *ANSWER],
    ),
    "a refusal": (event({"refusal": "I can"}) + event({"refusal": "not."}) + STOP, [["refusal", "I cannot."], END]),
    "an empty answer": (event({"role": "assistant", "content": ""}) + STOP + DONE, [END]),
    "an unknown finish reason": (HELLO + event(finish="eos"), [["text", "hello"], ["end", "eos", [0, 0, 0]]]),
    "content cut by a filter": (HELLO + event(finish="content_filter"), [["text", "hello"], ["end", "content_filter", [0, 0, 0]]]),
}  # fmt: skip


@pytest.mark.parametrize(("body", "chunks"), ACCEPTED.values(), ids=ACCEPTED)
def test_a_known_shape_is_an_answer(body, chunks):
    assert read(body) == chunks
    assert read(*(body[at : at + 1] for at in range(len(body)))) == chunks


CALL = ["call", "f", '{"a": 1}', "call_1"]
CALLS = {
    "in pieces": (
        [piece(0, "call_1", "f", ""), piece(0, arguments='{"a"'), piece(0, arguments=": 1}")],
        [CALL],
    ),
    "id and name in every piece": (
        [piece(0, "call_1", "f", '{"a"'), piece(0, "call_1", "f", ": 1}")],
        [CALL],
    ),
    "type repeated": (
        [piece(0, "call_1", "f", '{"a"', type="function"), piece(0, arguments=": 1}", type="function")],
        [CALL],
    ),
    "two, side by side": (
        [piece(0, "call_1", "f", '{"a"'), piece(1, "call_2", "g", "{"), piece(0, arguments=": 1}"), piece(1, arguments="}")],
        [CALL, ["call", "g", "{}", "call_2"]],
    ),
    "two in one delta": (
        [{"tool_calls": piece(0, "call_1", "f", '{"a": 1}')["tool_calls"] + piece(1, "call_2", "g", "{}")["tool_calls"]}],
        [CALL, ["call", "g", "{}", "call_2"]],
    ),
    "two on one index, told apart by their ids": (
        [piece(0, "call_1", "f", '{"a": 1}'), piece(0, "call_2", "f", '{"a": 2}')],
        [CALL, ["call", "f", '{"a": 2}', "call_2"]],
    ),
    "without index": (
        [piece(None, "call_1", "f", '{"a"'), piece(None, arguments=": 1}"), piece(None, "call_2", "g", "{}")],
        [CALL, ["call", "g", "{}", "call_2"]],
    ),
    "without index and id, told apart by their names": (
        [piece(None, name="f", arguments='{"a": 1}'), piece(None, name="g", arguments="{}")],
        [["call", "f", '{"a": 1}', None], ["call", "g", "{}", None]],
    ),
    "twice the same, without index and id": (
        [piece(None, name="f", arguments="{}"), piece(None, name="f", arguments="{}")],
        [["call", "f", "{}", None], ["call", "f", "{}", None]],
    ),
    "a name in every piece, without index and id": (
        [piece(None, name="f", arguments=part) for part in ('{"a": "\\', '"}', '[{\\\\"', "}")],
        [["call", "f", '{"a": "\\"}[{\\\\"}', None]],
    ),
    "an index that is a list": ([piece([0], "call_1", "f", '{"a": 1}')], [CALL]),
    "a piece of an earlier call": (
        [piece(None, "call_1", "f", '{"a"'), piece(None, "call_2", "g", "{}"), piece(None, "call_1", arguments=": 1}")],
        [CALL, ["call", "g", "{}", "call_2"]],
    ),
    "arguments as an object": ([piece(0, "call_1", "f", {"a": 1})], [["call", "f", {"a": 1}, "call_1"]]),
    "no arguments": ([piece(0, "call_1", "f", "")], [["call", "f", "", "call_1"]]),
    "the old form": ([{"function_call": {"name": "f", "arguments": "{}"}}], [["call", "f", "{}", None]]),
    "both forms at once": (
        [{**piece(0, "call_1", "f", '{"a": 1}'), "function_call": {"name": "f", "arguments": '{"a": 1}'}}],
        [CALL],
    ),
    "text behind a call": (
        [piece(0, "call_1", "f", '{"a"'), {"content": "soon"}, piece(0, arguments=": 1}")],
        [CALL, ["text", "soon"]],
    ),
    "a newline behind a call": ([piece(0, "call_1", "f", '{"a": 1}'), {"content": "\n"}], [CALL]),
    "text before a call": ([{"content": "let me see"}, piece(0, "call_1", "f", '{"a": 1}')], [["text", "let me see"], CALL]),
}  # fmt: skip


@pytest.mark.parametrize(("deltas", "chunks"), CALLS.values(), ids=CALLS)
def test_calls_are_put_together(deltas, chunks):
    body = b"".join(map(event, deltas)) + event(finish="tool_calls") + DONE
    assert read(body) == [*chunks, ["end", "tool_calls", [0, 0, 0]]]


def test_what_a_server_wants_back_with_a_call_is_kept():
    extra = {"google": {"thought_signature": "abc"}}
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    body = event(piece(0, "call_1", "f", "{}", extra_content=extra)) + event(finish="tool_calls")
    call, _ = [*reader.feed(body), *reader.end_of_body()][-2:]
    assert call.extra == {"extra_content": extra}


def thought(kind, index=None, **more):
    """A delta with one piece of ``reasoning_details``."""
    place = {} if index is None else {"index": index}
    return {"reasoning_details": [{"type": f"reasoning.{kind}", **place, **more}]}


CALLS = (
    event(piece(0, "call_1", "f", "{}"))
    + event(piece(1, "call_2", "g", "{}"))
    + event(finish="tool_calls")
)


def test_reasoning_details_are_put_together_and_kept_with_the_first_call():
    pieces = [
        thought("text", 0, text="a ", signature=None),
        thought("text", 0, text="b", format="anthropic"),
        thought("text", 0, signature="abc"),
        thought("encrypted", 0, data="xy", id="r1"),
        thought("summary", summary="s"),
        thought("summary", summary="t"),
    ]
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    first, second, _ = reader.feed(b"".join(map(event, pieces)) + CALLS + DONE)[-3:]
    assert first.extra == {
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "index": 0,
                "text": "a b",
                "format": "anthropic",
                "signature": "abc",
            },
            {"type": "reasoning.encrypted", "index": 0, "data": "xy", "id": "r1"},
            {"type": "reasoning.summary", "summary": "s"},
            {"type": "reasoning.summary", "summary": "t"},
        ]
    }
    assert second.extra == {}


def test_reasoning_details_of_a_whole_document_are_kept():
    message = {
        "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": "{}"}}],
        **thought("text", 0, text="hm"),
    }
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    reader.feed(
        json.dumps({"choices": [{"message": message, "finish_reason": "tool_calls"}]}).encode()
    )
    call, _ = reader.end_of_body()[-2:]
    assert call.extra == {
        "reasoning_details": [{"type": "reasoning.text", "index": 0, "text": "hm"}]
    }


@pytest.mark.parametrize("value", ["text", 5, {"type": "reasoning.text"}, [5, None, "x"], [{}]])
def test_reasoning_details_that_are_not_entries_are_left_out(value):
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    first, _, _ = reader.feed(event({"reasoning_details": value}) + CALLS + DONE)[-3:]
    assert first.extra == {}


def details(*pieces):
    """The reasoning details that go back after an answer of *pieces*."""
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    first, _, _ = reader.feed(b"".join(map(event, pieces)) + CALLS + DONE)[-3:]
    return first.extra.get("reasoning_details", [])


@pytest.mark.parametrize("value", [["a", "b"], {"a": 1}, 5])
@pytest.mark.parametrize("field", ["text", "summary", "data"])
def test_reasoning_details_keep_what_is_not_text(field, value):
    entry = {"type": "reasoning.x", "index": 0, field: value}

    assert details({"reasoning_details": [entry]}) == [entry]


def test_another_id_begins_another_entry_of_reasoning_details():
    found = details(
        thought("text", 0, id="a", text="one "),
        thought("text", 0, text="more"),
        thought("text", 0, id="b", text="two"),
    )
    assert [(entry["id"], entry["text"]) for entry in found] == [("a", "one more"), ("b", "two")]


@pytest.mark.parametrize("index", [True, -1, 1_000, 2.0, "0", None])
def test_an_index_that_is_no_place_begins_an_entry_each_time(index):
    piece_ = {"reasoning_details": [{"type": "reasoning.text", "index": index, "text": "x"}]}
    assert len(details(piece_, piece_)) == 2


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": {"b": float("-inf")}}])
def test_what_json_cannot_say_does_not_go_back(value):
    """It would make the next request one that cannot be sent."""
    whole = thought("text", 1, text="x")
    assert details(thought("text", 0, more=value), whole) == whole["reasoning_details"]
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    body = event(piece(0, "call_1", "f", "{}", extra_content={"a": value}))
    call, _ = reader.feed(body + event(finish="tool_calls") + DONE)[-2:]
    assert call.extra == {}


FAILED = {
    "an end without finish reason and [DONE]": (HELLO, "BrokenAnswerError"),
    "[DONE] without a finish reason behind a call without arguments": (event(piece(0, "call_1", "f", "")) + DONE, "BrokenAnswerError"),
    "nothing": (b"", "BrokenAnswerError"),
    "white space": (b" \n\n", "BrokenAnswerError"),
    "comments alone": (b": ping\n\n", "BrokenAnswerError"),
    "a page of HTML": (b"<html>busy</html>", "BrokenAnswerError"),
    "an event that is not JSON": (HELLO + b"data: {oops\n\n", "BrokenAnswerError"),
    "an event that is a list": (b"data: []\n\n", "BrokenAnswerError"),
    "a document without choices": (b'{"choices": []}', "BrokenAnswerError"),
    "a document of something else": (b'{"models": []}', "BrokenAnswerError"),
    "a document that is cut": (b'{"choices": [{"message": {"con', "BrokenAnswerError"),
    "content that is a number": (event({"content": 5}), "BrokenAnswerError"),
    "a flood of reasoning_details": (event({"reasoning_details": [{"type": "reasoning.text"}] * 1_001}) + CALLS + DONE, "BrokenAnswerError"),
    "tool_calls that are text": (event({"tool_calls": "f()"}), "BrokenAnswerError"),
    "an error event": (b'data: {"error": {"message": "no", "code": "server_error"}}\n\n', "OpenAIServerBusyError"),
    "an error beside a piece": (HELLO + event({"content": "x"}, error={"message": "no"}), "OpenAIStatusError"),
    "an error in a choice": (b'data: {"choices": [{"index": 0, "delta": {}, "error": {"message": "no", "code": 429}}]}\n\n', "OpenAIRateLimitError"),
    "an error as text": (b'data: {"error": "no"}\n\n', "OpenAIStatusError"),
    "event: error with a detail": (b'event: error\ndata: {"detail": "no"}\n\n', "OpenAIStatusError"),
    "an error object of vLLM": (b'data: {"object": "error", "message": "no", "type": "BadRequestError", "code": 400}\n\n', "OpenAIBadRequestError"),
    "a document with a detail": (b'{"detail": "no"}', "OpenAIStatusError"),
    "finish_reason error": (HELLO + event(finish="error"), "OpenAIServerBusyError"),
    "finish_reason abort": (HELLO + event(finish="abort"), "OpenAIServerBusyError"),
    "finish_reason insufficient_system_resource": (HELLO + event(finish="insufficient_system_resource"), "OpenAIServerBusyError"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "error"), FAILED.values(), ids=FAILED)
def test_what_is_not_an_answer_is_a_failure(body, error):
    assert read(body)[-1] == ["failure", error]
    assert read(*(body[at : at + 1] for at in range(len(body))))[-1] == ["failure", error]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (event({"content": 5}), "sent content that is neither text nor a list"),
        (event({"content": [{"type": "text", "text": 5}]}), "sent content that is not text"),
        (event({"reasoning": 5}), "sent reasoning that is not text"),
        (event({"tool_calls": "f()"}), "sent tool_calls that are not a list"),
        (
            event({"tool_calls": [{"function": {"name": "f", "args": '{"a": 1}'}}]}),
            "sent a tool call whose arguments are under another key",
        ),
        (event(finish="abort"), "the answer ended with finish_reason 'abort'"),
        (
            b'data: {"choices": [{"delta": {}, "logprobs": {"content": [5]}}]}\n\n',
            "sent logprobs that are not a list of tokens",
        ),
    ],
)
def test_a_failure_says_what_was_sent(body, words):
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    assert words in str(reader.feed(body)[-1].error)


def test_words_behind_calls_come_after_them_in_one_piece():
    later = event({"content": "and "}) + event({"content": "more"})
    body = event(piece(0, "c", "f", "{}")) + later + event(finish="tool_calls")
    assert read(body)[-2:] == [["text", "and more"], ["end", "tool_calls", [0, 0, 0]]]


def test_a_finish_reason_makes_the_answer_whole_before_the_body_ends():
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    reader.feed(HELLO)
    assert not reader.is_whole
    reader.feed(STOP)
    assert reader.is_whole


def test_a_cost_that_the_server_says_is_counted():
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    body = event(
        finish="stop", usage={"cost": 0.0021, "completion_tokens_details": {"reasoning_tokens": 4}}
    )
    end = [*reader.feed(body), *reader.end_of_body()][-1]
    assert (end.usage.cost, end.usage.reasoning_tokens) == (0.0021, 4)


@pytest.mark.parametrize("cost", ["free", float("nan"), float("inf"), -1, 1e30, True])
def test_a_cost_that_is_not_one_is_unknown(cost):
    reader = ChatReader(Origin("m", "http://h", url="http://h"))
    [*_, end] = [*reader.feed(event(finish="stop", usage={"cost": cost})), *reader.end_of_body()]
    assert end.usage.cost is None


def test_a_key_that_the_server_repeats_is_masked():
    reader = ChatReader(Origin("m", "http://h", ("s3cret-key",), url="http://h"))
    for body in (
        b"data: {s3cret-key\n\n",
        b'data: {"error": {"message": "bad key s3cret-key"}}\n\n',
    ):
        reader = ChatReader(Origin("m", "http://h", ("s3cret-key",), url="http://h"))
        failure = reader.feed(body)[-1].error
        assert "s3cret-key" not in f"{failure} {vars(failure)}"
        assert "***" in str(failure)
