"""What is large is left out before it is copied; what is odd stays readable, for programs and terminals."""

import json
import tracemalloc

import pytest
from agents import generation_span, trace
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from timestep.traces import StoreError, TraceStore
from timestep.traces.export import view_trace
from timestep.traces.from_sdk import is_larger, span_ended
from timestep.traces.install import TraceProcessor
from timestep.traces.records import Exchange, SpanCut
from timestep.traces.text import json_text
from timestep.traces.viewer.app import build_app

LARGE = "x" * 20_000_000


def ended(**content):
    with trace("t"), generation_span(model="m", **content) as span:
        pass
    return span


@pytest.mark.parametrize("content", [[LARGE], [LARGE[:500]] * 40_000])
def test_a_large_step_is_left_out_before_it_is_copied(content):
    said = [{"role": "user", "content": text} for text in content]
    span = ended(input=said, usage={"input_tokens": 5})
    span_ended(span, most_bytes=1_000_000)  # reads the prices
    tracemalloc.start()

    event = span_ended(span, most_bytes=1_000_000)

    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < len(LARGE) / 10
    assert isinstance(event, SpanCut)
    assert (event.data, event.input_tokens) == ('{"type": "generation"}', 5)


class Hostile:
    def __repr__(self):
        raise RuntimeError("no")


RING = []
RING.append(RING)


@pytest.mark.parametrize("held", [Hostile(), RING, {"role": Hostile()}, [{"type": RING}]])
def test_a_step_that_cannot_be_written_is_recorded_all_the_same(tmp_path, held):
    with TraceStore(tmp_path / "traces.db") as store:
        processor = TraceProcessor(store)
        span = ended(input=[{"role": "user", "content": held}], output=[held])
        processor.on_span_start(span)
        processor.on_span_end(span)
        assert store.flush(60)
        [run] = store.traces()
        [step] = store.get(run.trace_id).spans
        assert (step.name, step.ended_at is not None) == ("m", True)
        assert store.verify() == []
        processor.shutdown()


def test_a_step_of_many_small_texts_is_left_out_too():
    span = ended(input=[{"content": "x" * 10} for _ in range(50_000)])

    assert isinstance(span_ended(span, most_bytes=1_000_000), SpanCut)
    assert not isinstance(span_ended(span, most_bytes=10_000_000), SpanCut)


def test_a_large_step_is_counted_and_its_columns_are_kept(tmp_path):
    with TraceStore(tmp_path / "traces.db", queue_bytes=100_000) as store:
        processor = TraceProcessor(store)
        span = ended(input=[{"content": "x" * 200_000}], usage={"input_tokens": 5})
        processor.on_span_start(span)
        processor.on_span_end(span)
        assert store.flush(10)
        assert "larger than the queue" in store.verify()[0]
        processor.shutdown()


ODD = [
    "text",
    5,
    10**400,
    float("nan"),
    b"\xff",
    {1, 2},
    {"a": 1},
    [None, [1], "a"],
    [{"role": 5, "content": {"a": 1}, "images": 5, "status": [1]}],
    [{"tool_calls": 5}, {"tool_calls": ["x", {"function": "f", "id": [1]}], "name": [1]}],
    [{"type": "reasoning", "summary": 5, "content": 5}],
    [{"type": "function_call", "call_id": [1]}, {"role": "tool", "tool_call_id": [1]}],
    [{"type": "function_call_output", "output": 5, "call_id": [1]}],
]
PLACES = {
    "input": lambda odd: {"input": odd},
    "output": lambda odd: {"output": odd},
    "usage": lambda odd: {"usage": odd},
    "counts": lambda odd: {"usage": {"input_tokens": odd, "input_tokens_details": odd}},
    "configuration": lambda odd: {"model_config": odd},
    "measures": lambda odd: {
        "model_config": {"durations_ns": odd, "first_token_seconds": odd, "cost": odd}
    },
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_step_of_odd_values_is_recorded_and_shown(store, place):
    processor = TraceProcessor(store)
    for odd in ODD:
        with trace("t") as run, generation_span(**place(odd)) as span:
            processor.on_trace_start(run)
            processor.on_span_start(span)
        processor.on_span_end(span)
    assert store.flush(30)

    shown = [view_trace(store.get(run.trace_id)) for run in store.traces()]
    assert [run["spans"][0]["ended_at"] is not None for run in shown] == [True] * len(ODD)
    assert store.verify() == []
    processor.shutdown()


@pytest.mark.parametrize("value", ["x" * 11, [["x" * 6], {"a": b"x" * 6}]])
def test_texts_are_added_up(value):
    assert is_larger(value, 10)
    assert not is_larger(value, 20)


def test_a_value_that_holds_itself_is_looked_at_once():
    value = []
    value += [value] * 1_000

    assert not is_larger(value, 2_000)


CONTROLS = "\x7f\x80\x9b\x9f\u061c\u200e\u200f\u2028\u2029\u202a\u202e\u2066\u2069\x1b\x07"

values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.text(CONTROLS),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
)


def refuse(name):
    raise AssertionError(name)


@given(values, st.sampled_from([None, 2]))
def test_json_is_read_by_every_reader_and_steers_no_terminal(value, indent):
    text = json_text(value, indent=indent)

    json.loads(text, parse_constant=refuse)
    assert not set(CONTROLS) & set(text)


@given(st.text() | st.text(CONTROLS))
def test_text_is_the_same_behind_its_escapes(text):
    assert json.loads(json_text([text])) == [text]


def test_an_infinite_number_in_a_body_is_text():
    assert json_text(json.loads('{"a": [1e999, -1e999]}')) == '{"a": ["Infinity", "-Infinity"]}'


def test_a_viewer_is_sent_no_infinite_number(store, record):
    body = (
        b'{"model": "m", "messages": [{"role": "user", "content": 1e999}], "options": {"a": 1e999}}'
    )
    run = record(exchanges=(Exchange("http://h", 200, body, body),))

    with TestClient(build_app(store), base_url="http://127.0.0.1") as client:
        text = client.get(f"/api/runs/{run}").text

    assert json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize("path", ["a\0b", "a/\0"])
def test_a_path_that_no_file_has_is_an_error_of_ours(path):
    with pytest.raises(StoreError, match="file"):
        TraceStore(path)
