"""The assertions over a recorded run hold for what happened, and say what did otherwise."""

import json

import pytest

from timestep.testing import (
    assert_answer_contains,
    assert_guardrail_triggered,
    assert_handoff,
    assert_no_errors,
    assert_tokens_below,
    assert_tool_called,
    assert_tool_not_called,
    assert_tools_called,
)
from timestep.traces import Span, Trace


def span(kind, name, number, *, error=None, **data):
    tokens = {"input_tokens": 10, "output_tokens": 5} if kind == "generation" else {}
    return Span(
        f"s{number}", "t", None, kind, name, float(number), error=error, data=data, **tokens
    )


def text(words):
    return [{"type": "message", "role": "assistant", "content": [{"text": words}]}]


TRACE = Trace(
    "t",
    "run",
    0.0,
    spans=(
        span("generation", "m", 1, output=text("Let me see.")),
        span("function", "get_weather", 2, input=json.dumps({"city": "Oslo", "days": 2})),
        span("function", "get_weather", 3, input=json.dumps({"city": "Rome"})),
        span("function", "odd", 4, input="not json"),
        span("handoff", "poet", 5, from_agent="host"),
        span("guardrail", "polite", 6, triggered=True),
        span("guardrail", "short", 7, triggered=False),
        span("generation", "m", 8, output=text("Oslo is sunny.")),
    ),
)


FLAGS = Trace("t", "r", 0.0, spans=(span("function", "set", 1, input='{"a": 1, "b": false}'),))


def test_a_call_is_found_by_its_name_and_some_of_its_arguments():
    assert assert_tool_called(TRACE, "get_weather").span_id == "s2"
    assert assert_tool_called(TRACE, "get_weather", city="Rome").span_id == "s3"
    assert assert_tool_called(TRACE, "get_weather", times=2).span_id == "s2"
    assert assert_tool_called(TRACE, "get_weather", times=1, days=2).span_id == "s2"
    assert_tool_called(FLAGS, "set", a=1.0, b=False)


@pytest.mark.parametrize(
    ("check", "words"),
    [
        (lambda: assert_tool_called(TRACE, "send"), r"send\(\) was not called.*get_weather"),
        (lambda: assert_tool_called(TRACE, "odd", x=1), r"odd\(x=1\) was not called"),
        (lambda: assert_tool_called(TRACE, "get_weather", city="Bonn"), "'Bonn'"),
        (lambda: assert_tool_called(FLAGS, "set", a=True), r"set\(a=True\) was not called"),
        (lambda: assert_tool_called(FLAGS, "set", b=0), r"set\(b=0\) was not called"),
        (lambda: assert_tool_called(TRACE, "get_weather", times=3), "2 times, not 3"),
        (lambda: assert_tool_not_called(TRACE, "get_weather", city="Oslo"), "was called"),
        (lambda: assert_tools_called(TRACE, ["get_weather"]), "The tools are not get_weather"),
        (lambda: assert_tools_called(TRACE, []), "The tools are not none"),
        (lambda: assert_handoff(TRACE, "boss"), "Handoffs: host → poet"),
        (lambda: assert_handoff(TRACE, "poet", from_agent="x"), "No handoff to poet"),
        (lambda: assert_guardrail_triggered(TRACE, "short"), "short passed"),
        (lambda: assert_answer_contains(TRACE, "rain"), "Oslo is sunny"),
        (lambda: assert_tokens_below(TRACE, 30), "30 tokens"),
        (lambda: assert_answer_contains(Trace("t", "r", 0.0), "x"), "''"),
    ],
)
def test_what_did_not_happen_fails_and_shows_what_did(check, words):
    with pytest.raises(AssertionError, match=words):
        check()


def test_what_happened_passes():
    assert_tool_not_called(TRACE, "send")
    assert_tool_not_called(TRACE, "get_weather", city="Bonn")
    assert_tools_called(TRACE, ["get_weather", "get_weather", "odd"])
    assert assert_handoff(TRACE, "poet").span_id == "s5"
    assert assert_handoff(TRACE, "poet", from_agent="host").span_id == "s5"
    assert assert_guardrail_triggered(TRACE, "polite").span_id == "s6"
    assert_answer_contains(TRACE, "sunny")
    assert_tokens_below(TRACE, 31)
    assert_no_errors(TRACE)


def test_a_failed_step_is_an_error_with_its_words():
    broken = Trace("t", "r", 0.0, spans=(span("function", "f", 1, error={"message": "too hot"}),))

    with pytest.raises(AssertionError, match=r"1 steps failed.*too hot"):
        assert_no_errors(broken)
