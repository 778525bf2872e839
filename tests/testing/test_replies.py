import json
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timestep.testing import NoDone, Recording, Reply, Request
from timestep.testing.answers import Computed, StatusAnswer, Ticks
from timestep.testing.replies import aggregate

RECORDINGS = {
    recording.name: recording
    for recording in Recording.load_all(Path(__file__).parents[1] / "wire")
}
TWINS = sorted(
    name.removesuffix("-stream")
    for name, recording in RECORDINGS.items()
    if name.endswith("-stream")
    and name.replace("-stream", "-nostream") in RECORDINGS
    and recording.status == 200
    and "error" not in recording.lines[-1]
)
ASKING = Request("POST", "/api/chat", {}, b'{"model": "m", "messages": [{}], "tools": [{}]}')
ASKING_WHOLE = Request("POST", "/api/chat", {}, ASKING.body[:-1] + b', "stream": false}')


def lines(reply, request=ASKING):
    body = b"".join(reply.respond(request, Ticks()).pieces)
    return [json.loads(line) for line in body.split(b"\n") if line]


def whole(reply, request=ASKING_WHOLE):
    (answer,) = lines(reply, request)
    return answer


def timeless(answer):
    """*answer* without what is random in each call, keys in order."""
    text = re.sub(r'"(created_at|id|\w+_duration)": [^,}]+', r'"\1": 0', json.dumps(answer))
    return re.sub(r'"arguments": {[^}]*}', '"arguments": {}', text)


@pytest.mark.parametrize("name", TWINS)
def test_chunks_add_up_to_what_the_server_sent_whole(name):
    streamed, sent_whole = RECORDINGS[f"{name}-stream"], RECORDINGS[f"{name}-nostream"]

    answer = aggregate(streamed.lines, with_calls=bool(streamed.request.json.get("tools")))

    assert timeless(answer) == timeless(sent_whole.json)


def test_many_recordings_come_in_both_forms():
    assert len(TWINS) >= 40


@pytest.mark.parametrize("name", ["chat-text-stream", "chat-tool-tools2-stream"])
def test_a_scripted_stream_has_the_keys_of_a_recorded_one_in_their_order(name):
    recorded = RECORDINGS[name].lines
    calls = [("a", {}), ("b", {})] if "tool" in name else []

    scripted = lines(Reply("x" if not calls else "", tool_calls=calls))

    assert _keys(scripted[0]) == _keys(recorded[0])
    assert _keys(scripted[-1]) == _keys(recorded[-1])


def test_text_and_thinking_come_a_word_a_chunk_thinking_first():
    *chunks, done = [chunk["message"] for chunk in lines(Reply("Hi, you!", thinking="Well now"))]

    assert [chunk.get("thinking") for chunk in chunks] == ["Well", " now", None, None, None, None]
    assert [chunk["content"] for chunk in chunks] == ["", "", "Hi", ",", " you", "!"]
    assert done == {"role": "assistant", "content": ""}


@given(st.text())
def test_no_text_is_lost_between_the_chunks(text):
    chunks = lines(Reply(text))

    assert "".join(chunk["message"]["content"] for chunk in chunks) == text
    assert whole(Reply(text))["message"]["content"] == text


def test_pieces_choose_the_chunks():
    chunks = lines(Reply(pieces=["H", "", "allo"]))

    assert [chunk["message"]["content"] for chunk in chunks] == ["H", "", "allo", ""]


def test_each_call_has_its_own_chunk_an_id_and_a_number():
    first, second, done = lines(Reply(tool_calls=[("f", {"x": 1}), ("g", {})]))

    ids = [chunk["message"]["tool_calls"][0].pop("id") for chunk in (first, second)]
    assert first["message"]["tool_calls"] == [
        {"function": {"index": 0, "name": "f", "arguments": {"x": 1}}}
    ]
    assert second["message"]["tool_calls"] == [
        {"function": {"index": 1, "name": "g", "arguments": {}}}
    ]
    assert all(re.fullmatch(r"call_[a-z0-9]{8}", call_id) for call_id in ids)
    assert len(set(ids)) == 2
    assert "tool_calls" not in done["message"]
    assert done["done_reason"] == "stop"


def test_calls_can_come_on_the_last_chunk_and_without_ids():
    (done,) = lines(Reply(tool_calls=[("f", {}), ("g", {})], calls_on_done=True, call_ids=False))

    assert done["done"] is True
    assert [call["function"]["name"] for call in done["message"]["tool_calls"]] == ["f", "g"]
    assert not any("id" in call for call in done["message"]["tool_calls"])


def test_a_call_can_be_given_as_it_stands_on_the_wire():
    call = {"id": "odd", "function": {"name": "f", "arguments": "text"}}

    assert lines(Reply(tool_calls=[call]))[0]["message"]["tool_calls"] == [call]


def test_a_whole_answer_has_calls_only_if_tools_were_offered():
    unasked = Request("POST", "/api/chat", {}, b'{"model": "m", "stream": false}')
    reply = Reply("x", tool_calls=[("f", {})])

    assert "tool_calls" in whole(reply)["message"]
    assert "tool_calls" not in whole(reply, unasked)["message"]


def test_logprobs_ride_on_the_chunks_of_text():
    entries = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1e-7}]
    reply = Reply(pieces=["a", "b", "c"], logprobs=[entries[0], entries])

    assert [chunk.get("logprobs") for chunk in lines(reply)] == [entries[:1], entries, None, None]
    assert whole(reply)["logprobs"] == [entries[0], *entries]


def test_counts_are_the_chunks_unless_given_and_absent_when_zero():
    counted = lines(Reply("one two"))[-1]
    given_ones = lines(Reply("one", prompt_eval_count=0, eval_count=7, done_reason=None))[-1]

    assert (counted["prompt_eval_count"], counted["eval_count"]) == (26, 2)
    assert given_ones["eval_count"] == 7
    assert "prompt_eval_count" not in given_ones
    assert "done_reason" not in given_ones


def test_raw_chunks_go_out_as_given():
    chunks = [{"message": {"content": "x"}}, {"odd": [1]}, {"model": "other", "created_at": "t"}]

    assert lines(Reply(chunks=chunks)) == [
        {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"content": "x"}},
        {"model": "m", "created_at": "2026-01-01T00:00:00.001Z", "odd": [1]},
        {"model": "other", "created_at": "t"},
    ]


def test_a_stream_without_its_end_is_no_answer_when_whole():
    answer = whole(Reply("partial words", faults=[NoDone()]))

    assert answer["done"] is False
    assert answer["message"]["content"] == "partial words"
    assert "eval_count" not in answer


def test_nothing_at_all_is_the_servers_empty_answer():
    assert json.dumps(whole(Reply(chunks=[])), separators=(",", ":")) == (
        '{"model":"","created_at":"0001-01-01T00:00:00Z",'
        '"message":{"role":"","content":""},"done":false}'
    )


def test_a_generator_of_pieces_makes_a_whole_answer_too():
    assert whole(Reply(pieces=(word for word in "abc")))["message"]["content"] == "abc"


def test_times_and_ids_repeat_from_run_to_run_but_never_within_one():
    first, second = Ticks(), Ticks()
    ids = [first.call_id() for _ in range(5000)]
    times = [first.now() for _ in range(5000)]

    assert ids == [second.call_id() for _ in range(5000)]
    assert max(Counter(ids + times).values()) == 1
    assert times[:3] + times[1000:1001] == [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:00:00.001Z",
        "2026-01-01T00:00:00.002Z",
        "2026-01-01T00:00:01Z",
    ]


@pytest.mark.parametrize(
    ("failure", "content_type", "body"),
    [
        (StatusAnswer(503, "busy"), "application/json; charset=utf-8", b'{"error":"busy"}'),
        (
            StatusAnswer(401, "unauthorized", fields={"signin_url": "u"}),
            "application/json; charset=utf-8",
            b'{"error":"unauthorized","signin_url":"u"}',
        ),
        (
            StatusAnswer(400, {"message": "m"}),
            "application/json; charset=utf-8",
            b'{"error":{"message":"m"}}',
        ),
        (StatusAnswer(403, body=""), "text/plain", b""),
        (StatusAnswer(502, body="<p>", headers={"content-type": "text/html"}), "text/html", b"<p>"),
        (StatusAnswer(500, body=b"\xff"), "text/plain", b"\xff"),
    ],
)
def test_a_failure_has_the_status_type_and_body_it_was_given(failure, content_type, body):
    response = failure.respond(ASKING, Ticks())

    assert response.status == failure.status
    assert dict(response.headers)["Content-Type"] == content_type
    assert b"".join(response.pieces) == body


def test_a_function_may_return_text_or_any_answer():
    text = Computed(lambda request: f"for {request.json['model']}", Reply)
    failure = Computed(lambda request: StatusAnswer(418, "teapot"), Reply)

    assert "".join(chunk["message"]["content"] for chunk in lines(text)) == "for m"
    assert failure.respond(ASKING, Ticks()).status == 418


def _keys(value):
    if isinstance(value, dict):
        return [(key, _keys(item)) for key, item in value.items() if key != "arguments"]
    return [_keys(item) for item in value] if isinstance(value, list) else None
