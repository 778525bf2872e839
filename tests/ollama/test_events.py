"""The event stream: true openai objects, complete and in the order of the Responses API."""

import pickle
from itertools import groupby

import pytest
from agents import ModelSettings, ModelTracing
from agents.testing import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import (
    ResponseFunctionCallArgumentsDoneEvent,
    ResponseStreamEvent,
    ResponseTextDeltaEvent,
)
from openai.types.responses.response_usage import InputTokensDetails
from pydantic import Field, TypeAdapter

from tests.ollama.answers import answer, call, chunk, last, logprob, ndjson, new_reply, request
from timestep.answer import usage
from timestep.answer.chunks import Usage
from timestep.answer.events import instance
from timestep.answer.logprobs import read_logprobs

DELTAS = {
    "response.output_text.delta",
    "response.reasoning_text.delta",
    "response.function_call_arguments.delta",
}
EVENT = TypeAdapter(ResponseStreamEvent)

ANSWERS = {
    "text": [chunk("Hel"), chunk("lo"), last()],
    "text on the last chunk": [last("Hello")],
    "thinking before": [chunk(thinking="Hm"), chunk(thinking="…"), chunk("Hi"), last()],
    "thinking and text in one chunk": [chunk("Hi", thinking="Hm"), last()],
    "thinking between": [chunk("a"), chunk(thinking="b"), chunk("c"), last()],
    "thinking after": [chunk("a"), chunk(thinking="b"), last()],
    "thinking all around": [
        chunk(thinking="a"), chunk("b"), chunk(thinking="c"), chunk("d"), last(thinking="e"),
    ],
    "only thinking": [chunk(thinking="a"), last()],
    "text before a call": [chunk("I look"), chunk(calls=[call("f", {"a": 1})]), last()],
    "a call before text": [chunk(calls=[call("f")]), chunk("done"), last()],
    "calls around thinking": [
        chunk(calls=[call("f")]), chunk(thinking="Hm"), chunk(calls=[call("g")]), last(),
    ],
    "calls in one chunk": [chunk(calls=[call("f", {"a": 1}), call("g", {"b": [1, None]})]), last()],
    "calls in many chunks": [chunk(calls=[call("f")]), chunk(calls=[call("f")]), last()],
    "calls on the last chunk": [chunk("x", thinking="y"), last(calls=[call("f"), call("g")])],
    "everything on the last chunk": [last("a", thinking="b", calls=[call("f")])],
    "logprobs": [
        chunk("Hi", logprobs=[logprob("Hi", top=[logprob("Ho", -2.5)])]),
        chunk(" you", logprobs=[logprob(" yo"), logprob("u")]),
        last(),
    ],
    "logprobs of thinking and of a call": [
        chunk(thinking="Hm", logprobs=[logprob("Hm")]),
        chunk(logprobs=[logprob("<tool>")]),
        chunk(calls=[call("f")], logprobs=[logprob("</tool>")]),
        last(),
    ],
    "empty": [last()],
    "cut": [chunk("Hel"), last(reason="length")],
}  # a table reads better in rows # fmt: skip

scenario = pytest.mark.parametrize("chunks", ANSWERS.values(), ids=ANSWERS)


def assert_true(event):
    """*event* is what validation would have made of its fields, in memory and over the wire."""
    validated = type(event).model_validate(event.model_dump(by_alias=True, exclude_unset=True))
    assert event == validated
    assert event.model_fields_set == validated.model_fields_set
    assert event.model_extra == validated.model_extra
    assert event.__dict__.keys() == validated.__dict__.keys()
    assert type(event).model_validate(event.model_dump(by_alias=True)) == event
    assert EVENT.validate_json(event.model_dump_json(by_alias=True)) == event
    assert event.model_copy(deep=True) == event
    assert pickle.loads(pickle.dumps(event)) == event


@scenario
def test_an_event_equals_its_validated_form(chunks):
    for event in answer(*chunks).events:
        assert_true(event)


@pytest.mark.parametrize("reason", ["length", "stop"])
def test_the_events_of_a_failure_equal_their_validated_form(reason):
    reply = new_reply()
    reply.feed(ndjson(chunk("Hel"), last(reason=reason)))
    reply.fail("it broke")

    for event in reply.take_events():
        assert_true(event)


async def golden(output):
    """The events that the SDK's scripted model makes of *output*."""
    stream = ScriptedModel([output]).stream_response(
        None,
        "hi",
        ModelSettings(),
        [],
        None,
        [],
        ModelTracing.DISABLED,
        previous_response_id=None,
        conversation_id=None,
        prompt=None,
    )
    return [event async for event in stream]


def outline(events):
    """What each event is about, deltas of one text taken together."""
    heads = []
    for key, group in groupby(events, key=_place):
        texts = [event.delta for event in group if event.type in DELTAS]
        if key[0] not in DELTAS or any(texts):
            heads.append((*key, "".join(texts)))
    return heads


def _place(event):
    item = getattr(event, "item", None)
    return (
        event.type,
        getattr(event, "output_index", None),
        getattr(event, "content_index", None),
        getattr(event, "item_id", item and item.id),
        item and item.model_dump_json(exclude_none=True, exclude={"provider_data"}),
        getattr(event, "part", None) and event.part.model_dump_json(),
        getattr(event, "text", None),
        getattr(event, "arguments", None),
        getattr(event, "name", None),
    )


@scenario
async def test_the_events_are_those_of_the_sdk_s_scripted_model(chunks):
    decoded = answer(*chunks)

    expected = outline(await golden(decoded.output))

    found = outline(decoded.events)
    assert found[:-1] == expected[:-1]
    assert decoded.types[-1] in {"response.completed", "response.incomplete"}


@scenario
def test_the_response_is_open_at_first_and_whole_at_last(chunks):
    decoded = answer(*chunks)
    created, in_progress, *_, terminal = decoded.events

    assert [event.sequence_number for event in decoded.events] == [*range(len(decoded.events))]
    assert (created.type, in_progress.type) == ("response.created", "response.in_progress")
    for event in (created, in_progress):
        assert event.response.output == []
        assert event.response.status == "in_progress"
        assert event.response.usage is None
    assert terminal.response is decoded.response
    is_cut = decoded.reply.done_reason == "length"
    assert terminal.type == "response.completed"
    assert (terminal.response.incomplete_details is not None) is is_cut
    unfinished = [item for item in decoded.output if item.status == "incomplete"]
    assert unfinished == (decoded.output[-1:] if is_cut else [])
    assert terminal.response.output == decoded.output
    assert {event.response.id for event in (created, in_progress, terminal)} == {"resp_1"}
    assert {event.response.model for event in (created, in_progress, terminal)} == {"m"}
    assert {event.response.created_at for event in (created, in_progress, terminal)} == {1.5}
    assert "provider_data" in decoded.output[0].model_dump()


def test_a_cut_text_is_an_answer_with_a_mark():
    decoded = answer(*ANSWERS["cut"])

    assert decoded.types[-1] == "response.completed"
    assert decoded.response.status == "completed"
    assert decoded.output[0].provider_data == {"model": "m", "finish_reason": "length"}
    assert decoded.response.incomplete_details.reason == "max_output_tokens"
    assert decoded.output[0].status == "incomplete"
    assert decoded.text == "Hel"
    assert decoded.response.usage.output_tokens == 7


def test_text_that_is_shown_twice_as_logprobs_is_the_same_text():
    decoded = answer(*ANSWERS["logprobs"])

    deltas = [event for event in decoded.events if event.type == "response.output_text.delta"]
    (done,) = [event for event in decoded.events if event.type == "response.output_text.done"]
    (part,) = decoded.output[0].content
    tokens = [[entry.token for entry in event.logprobs] for event in deltas]
    assert tokens == [["Hi"], [" yo", "u"]]
    assert [entry.token for entry in done.logprobs] == ["Hi", " yo", "u"]
    assert [entry.token for entry in part.logprobs] == ["Hi", " yo", "u"]
    assert part.logprobs[0].bytes == [72, 105]
    assert (part.logprobs[0].top_logprobs[0].token, part.logprobs[0].logprob) == ("Ho", -0.5)
    assert deltas[0].logprobs[0].top_logprobs[0].logprob == -2.5


def test_logprobs_of_thinking_and_calls_stand_beside_the_item():
    decoded = answer(*ANSWERS["logprobs of thinking and of a call"])

    kept = [item.model_dump()["provider_data"]["logprobs"] for item in decoded.output]
    assert [[entry["token"] for entry in entries] for entries in kept] == [
        ["Hm"],
        ["<tool>", "</tool>"],
    ]


@pytest.mark.parametrize(
    ("entry", "read"),
    [
        ({"token": "é", "logprob": -1}, {"bytes": [195, 169], "logprob": -1.0}),
        ({"token": "", "logprob": 0.0, "bytes": None}, {"bytes": []}),
        ({"token": "?", "logprob": -1.5, "bytes": [240]}, {"bytes": [240]}),
        ({"token": "a", "logprob": 0, "top_logprobs": None}, {"top_logprobs": []}),
    ],
)
def test_what_old_servers_leave_out_of_a_logprob_is_added(entry, read):
    (found,) = read_logprobs([entry])

    assert found.items() >= read.items()


@pytest.mark.parametrize(
    "entries",
    [
        5,
        "ab",
        {"token": "a", "logprob": 0.0},
        [None],
        ["a"],
        [{}],
        [{"token": "a"}],
        [{"token": 5, "logprob": 0.0}],
        [{"token": "a", "logprob": "0"}],
        [{"token": "a", "logprob": float("nan")}],
        [{"token": "a", "logprob": float("-inf")}],
        [{"token": "a", "logprob": 10**400}],
        [{"token": "a", "logprob": 0.0, "bytes": ["x"]}],
        [{"token": "a", "logprob": 0.0, "bytes": 5}],
        [{"token": "a", "logprob": 0.0, "top_logprobs": 5}],
        [{"token": "a", "logprob": 0.0, "top_logprobs": [{}]}],
    ],
)
def test_logprobs_of_a_wrong_type_are_refused(entries):
    with pytest.raises(ValueError, match="ogprob"):
        read_logprobs(entries)


def test_trailing_logprobs_belong_to_the_open_message():
    decoded = answer(chunk("Hi", logprobs=[logprob("Hi")]), last(logprobs=[logprob("<end>")]))

    assert [entry.token for entry in decoded.output[0].content[0].logprobs] == ["Hi", "<end>"]


calls = st.lists(st.builds(call, st.sampled_from(["f", "g"])), min_size=1, max_size=3)
pieces = st.one_of(
    st.builds(chunk, st.text(max_size=3)),
    st.builds(lambda text: chunk(thinking=text), st.text(max_size=3)),
    st.builds(lambda text, thought: chunk(text, thinking=thought), st.text(max_size=3), st.text()),
    st.builds(lambda found: chunk(calls=found), calls),
)


@given(st.lists(pieces, max_size=8), st.sampled_from(["stop", "length"]))
def test_the_laws_of_the_stream_hold_for_any_answer(chunks, reason):
    decoded = answer(*chunks, last(reason=reason))
    events = decoded.events

    assert [event.sequence_number for event in events] == list(range(len(events)))
    opened = [event for event in events if event.type == "response.output_item.added"]
    closed = [event for event in events if event.type == "response.output_item.done"]
    assert [event.output_index for event in opened] == list(range(len(decoded.output)))
    assert [event.output_index for event in closed] == list(range(len(decoded.output)))
    shown = [event.item for event in closed]
    if reason == "length":  # a message that thinking follows is marked when the answer ends
        shown = [
            then.model_copy(update={"status": now.status, "provider_data": now.provider_data})
            if now.type == "message"
            else then
            for then, now in zip(shown, decoded.output, strict=True)
        ]
        messages = [item for item in decoded.output if item.type == "message"]
        assert [item.status for item in messages[-1:]] == ["incomplete"] * len(messages[-1:])
        assert {item.status for item in messages[:-1]} <= {"completed"}
    assert shown == decoded.output

    ids = [item.id for item in decoded.output if item.type != "reasoning"]
    assert len(set(ids)) == len(ids)
    for item in decoded.output:
        prefix = {"message": "msg_", "function_call": "fc_", "reasoning": "__fake_id__"}
        assert item.id.startswith(prefix[item.type])
        assert item.type != "function_call" or item.call_id.startswith("call_")
    open_id = None
    for event in events[2:-1]:
        if event.type == "response.output_item.added":
            assert open_id is None
            open_id, index = event.item.id, event.output_index
        elif event.type == "response.output_item.done":
            assert (event.item.id, event.output_index) == (open_id, index)
            open_id = None
        else:
            assert (event.item_id, event.output_index) == (open_id, index)


@given(st.lists(pieces, max_size=8))
def test_deltas_add_up_to_the_text(chunks):
    decoded = answer(*chunks, last())

    for item, index in zip(decoded.output, range(len(decoded.output)), strict=True):
        deltas = "".join(
            event.delta
            for event in decoded.events
            if event.type in DELTAS and event.output_index == index
        )
        whole = item.arguments if item.type == "function_call" else item.content[0].text
        assert deltas == whole


def test_events_of_one_stream_share_no_state():
    first, second = [
        event for event in answer(chunk("a"), chunk("b"), last()).events if event.type in DELTAS
    ]

    first.delta = "changed"
    first.note = "added"  # pydantic notes the name among the fields that were given

    assert second.delta == "b"
    assert second.model_extra == {}
    assert "note" not in second.model_fields_set


class NewerDelta(ResponseTextDeltaEvent):
    """What a newer openai might add."""

    obfuscation: str | None = None
    tags: list[str] = Field(default_factory=list)


class OlderDone(ResponseFunctionCallArgumentsDoneEvent):
    """What an older openai requires, and a newer one takes as an extra field."""

    name: str


DONE = {
    "arguments": "{}",
    "item_id": "fc_1",
    "name": "f",
    "output_index": 0,
    "sequence_number": 3,
    "type": "response.function_call_arguments.done",
}
FIELDS = {
    NewerDelta: {
        "content_index": 0,
        "delta": "a",
        "item_id": "msg_1",
        "logprobs": [],
        "output_index": 0,
        "sequence_number": 3,
        "type": "response.output_text.delta",
    },
    OlderDone: DONE,
    ResponseFunctionCallArgumentsDoneEvent: DONE,
}


@pytest.mark.parametrize("cls", FIELDS)
def test_an_instance_follows_the_fields_that_its_class_declares(cls):
    made, validated = instance(cls, dict(FIELDS[cls])), cls.model_validate(FIELDS[cls])

    assert made == validated
    assert made.model_fields_set == validated.model_fields_set
    assert made.model_extra == validated.model_extra
    assert made.model_dump() == validated.model_dump()


def test_counts_that_a_newer_openai_requires_are_zero(monkeypatch):
    class Details(InputTokensDetails):
        cached_writes: int
        note: str | None = None

    monkeypatch.setattr(usage, "InputTokensDetails", Details)
    details = usage.response_usage(Usage(cached_tokens=3), raw=False).input_tokens_details

    assert details.model_dump(exclude_unset=True).items() >= {
        ("cached_tokens", 3),
        ("cached_writes", 0),
    }


def test_a_response_is_ready_for_the_sdk_s_usage():
    usage = answer(last(prompt=11, answer=5, prompt_eval_cached_count=8)).response.usage

    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (11, 5, 16)
    assert usage.input_tokens_details.cached_tokens == 8
    assert usage.output_tokens_details.reasoning_tokens == 0


def test_events_are_given_out_once():
    reply = new_reply(request())
    reply.feed(ndjson(chunk("a")))

    assert len(reply.take_events()) == 5
    assert reply.take_events() == []
