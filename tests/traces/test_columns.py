"""The columns of a step, which are read from its JSON after the run went on."""

import json

import pytest
from agents import custom_span, generation_span, trace
from hypothesis import given
from hypothesis import strategies as st

from timestep.traces import TraceStore
from timestep.traces.columns import with_columns
from timestep.traces.install import TraceProcessor
from timestep.traces.records import Exchange, SpanCopied

NAMES = ("role", "type", "content", "output", "input", "status", "usage", "model", "messages")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(NAMES),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(NAMES) | st.text(), inner),
)


def copied(kind, data, request=b"{}"):
    at, exchange = "2026-01-01T00:00:00+00:00", Exchange("u", 200, request, b"")
    return SpanCopied("s", "t", kind, "n", at, at, None, data, exchanges=(exchange,))


@given(st.sampled_from(["generation", "response", "function", "custom"]), JSON, JSON)
def test_whatever_a_step_holds_its_columns_can_be_read(kind, content, request):
    ended = with_columns(copied(kind, json.dumps(content), json.dumps(request).encode()))

    assert (ended.data, ended.span_id) == (json.dumps(content), "s")
    assert all(
        value is None or value.encode() is not None for value in (ended.text, ended.question)
    )


@pytest.mark.parametrize("data", ["", "{", "[" * 100_000, '"x"', '{"output": NaN}', "null"])
def test_a_step_whose_json_is_no_object_has_columns_without_words(data):
    ended = with_columns(copied("generation", data, b"\xff"))

    assert (ended.text, ended.question, ended.model) == ("NaN" if "NaN" in data else "", None, None)


def test_the_columns_of_a_model_call_come_from_its_request_and_its_answer():
    said = {"role": "assistant", "content": "It is sunny."}
    request = {"messages": [{"role": "user", "content": "The weather?"}]}
    content = {"model": "m", "output": [said], "usage": {"input_tokens": 3, "output_tokens": 4}}

    ended = with_columns(copied("generation", json.dumps(content), json.dumps(request).encode()))

    assert (ended.question, ended.answer) == ("The weather?", "It is sunny.")
    assert ended.text == "The weather?\nIt is sunny."
    assert (ended.model, ended.input_tokens, ended.output_tokens) == ("m", 3, 4)


def test_what_changes_after_a_step_ended_is_not_recorded(tmp_path):
    with TraceStore(tmp_path / "traces.db") as store:
        processor = TraceProcessor(store)
        said, data = {"role": "user", "content": "before"}, {"word": "before"}
        with trace("t"):
            with generation_span(model="m", input=[said]) as call:
                pass
            with custom_span("c", data) as custom:
                pass
        for span in (call, custom):
            processor.on_span_start(span)
            processor.on_span_end(span)
        said["content"] = data["word"] = "after"
        assert store.flush(60)
        assert len(store.search("before")) == 2
        assert store.search("after") == []
        processor.shutdown()
