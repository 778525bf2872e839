import pytest

from timestep.traces import Span, Trace
from timestep.traces.calls import call_text
from timestep.traces.conversation import (
    Call,
    Message,
    answered,
    asked,
    conversation,
    final_answer,
    read_messages,
    results,
    tool_spans,
)
from timestep.traces.text import one_line

CALL = Call("get", {"city": "Oslo"}, "c1")

OLLAMA = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Look", "images": ["aGk="]},
    {
        "role": "assistant",
        "content": "ok",
        "thinking": "hm",
        "tool_calls": [{"id": "c1", "function": {"name": "get", "arguments": {"city": "Oslo"}}}],
    },
    {"role": "tool", "content": "sunny", "tool_name": "get", "tool_call_id": "c1"},
]
CHAT = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": "data:"}},
        ],
    },
    {
        "role": "assistant",
        "content": "ok",
        "reasoning_content": "hm",
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "get", "arguments": '{"city": "Oslo"}'},
            }
        ],
    },
    {"role": "tool", "content": "sunny", "tool_call_id": "c1", "name": "get"},
]
ITEMS = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": "data:"},
        ],
    },
    {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
    {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "ok", "annotations": []}],
    },
    {"type": "function_call", "name": "get", "arguments": '{"city": "Oslo"}', "call_id": "c1"},
    {"type": "function_call_output", "call_id": "c1", "output": "sunny"},
]


@pytest.mark.parametrize("value", [OLLAMA, CHAT, ITEMS], ids=["ollama", "chat", "items"])
def test_one_conversation_reads_the_same_in_every_dialect(value):
    system, user, assistant, tool = read_messages(value)

    assert system == Message("system", "Be brief.")
    assert user == Message("user", "Look", images=1)
    assert assistant == Message("assistant", "ok", "hm", (CALL,))
    assert (tool.role, tool.text, tool.call_id) == ("tool", "sunny", "c1")


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        (None, []),
        ("hi", [Message("user", "hi")]),
        ({"odd": 1}, [Message("user", '{"odd": 1}')]),
        (["hi", 3], [Message("user", "hi"), Message("user", "3")]),
        ([{"type": "web_search_call", "id": 1}], [Message("web_search_call", '{"type": "web_search_call", "id": 1}')]),
        ([{"role": "assistant", "refusal": "No."}], [Message("assistant", "No.")]),
        ([{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}], [Message("assistant", "No.")]),
        ([{"role": "user", "content": {"a": 1}}], [Message("user", '{"a": 1}')]),
        ([{"role": "user", "content": [{"type": "file", "id": 1}]}], [Message("user", '{"type": "file", "id": 1}')]),
        (
            [{"type": "function_call", "name": "f", "arguments": "{", "call_id": "c"}],
            [Message("assistant", calls=(Call("f", "{", "c"),))],
        ),
        (
            [{"object": "response", "output": [{"role": "assistant", "content": "a"}]}],
            [Message("assistant", "a")],
        ),
    ],
)  # a table reads better in rows # fmt: skip
def test_nothing_is_dropped_and_nothing_fails(value, messages):
    assert read_messages(value) == messages


def test_two_answers_stay_two():
    text = {"role": "assistant", "content": "a"}
    thought = {"type": "reasoning", "summary": [{"text": "x"}]}

    assert len(read_messages([text, text])) == 2
    assert len(read_messages([text, thought, text])) == 2


def call_span(number, given, output, **data):
    return Span(
        f"s{number}", "t", None, "generation", "m", float(number),
        data={"input": given, "output": output, **data},
    )  # a table reads better in rows # fmt: skip


FIRST = call_span(1, OLLAMA[:2], [*ITEMS[2:5]])
SECOND = call_span(2, [*OLLAMA], [{"role": "assistant", "content": "It is sunny."}])
TRACE = Trace("t", "run", 0.0, spans=(FIRST, SECOND))


def test_a_conversation_has_every_message_once():
    (_, first), (_, second) = conversation(TRACE)

    assert [message.role for message in first] == ["system", "user", "assistant"]
    assert [message.role for message in second] == ["tool", "assistant"]
    assert final_answer(TRACE) == "It is sunny."
    assert final_answer(Trace("t", "r", 0.0)) == ""


def test_results_are_found_by_call_id():
    assert results(TRACE)["c1"].text == "sunny"


def side_by_side():
    """Two tasks at the same time, each with two calls of a model and one of the same tool."""
    spans = []
    for at, task in enumerate("ab"):
        asks = {"id": f"c{task}", "function": {"name": "get", "arguments": {"city": "Oslo"}}}
        question = [{"role": "user", "content": "Look"}]
        asking = [{"role": "assistant", "content": "", "tool_calls": [asks]}]
        found = [{"role": "tool", "content": "sunny", "tool_call_id": f"c{task}"}]
        done = [{"role": "assistant", "content": "It is sunny."}]
        parts = [
            ("generation", "m", {"input": question, "output": asking}),
            ("function", "get", {"input": '{"city": "Oslo"}'}),
            ("generation", "m", {"input": [*question, *asking, *found], "output": done}),
        ]
        spans.append(Span(task, "t", None, "task", "run", at / 10))
        spans += [
            Span(f"{task}{number}", "t", task, kind, name, number + at / 10, data=data)
            for number, (kind, name, data) in enumerate(parts)
        ]
    return Trace("t", "run", 0.0, spans=sorted(spans, key=lambda span: span.started_at))


def test_runs_at_the_same_time_are_told_nothing_twice():
    roles = {
        span.span_id: [message.role for message in messages]
        for span, messages in conversation(side_by_side())
    }

    assert roles["a2"] == roles["b2"] == ["tool", "assistant"]


def test_a_step_inside_itself_does_not_hang():
    span = Span("s", "t", "s", "generation", "m", 1.0, data={"output": "x"})
    trace = Trace("t", "run", 0.0, spans=(span,))

    assert trace.around(span, "task") is None
    assert conversation(trace) == [(span, (Message("assistant", "x"),))]


def test_a_call_is_paired_with_the_tool_of_its_own_run():
    found = tool_spans(side_by_side())

    assert {call_id: span.span_id for call_id, span in found.items()} == {"ca": "a1", "cb": "b1"}


def test_instructions_stand_before_the_input():
    span = call_span(1, "hi", None, instructions="Be kind.")

    assert asked(span) == [Message("system", "Be kind."), Message("user", "hi")]
    assert answered(span) == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"city": "Malmö", "days": [1, 2]}, 'get(city="Malmö", days=[1, 2])'),
        ('{"city": "Oslo"}', 'get(city="Oslo")'),
        ({}, "get()"),
        ("", "get()"),
        (None, "get()"),
        ("[1, 2]", "get([1, 2])"),
        ('{"city": "Os', 'get({"city": "Os)'),
    ],
)
def test_a_call_reads_like_a_program(arguments, text):
    assert call_text("get", arguments) == text
    assert str(Call("get", arguments)) == text


def test_one_line_is_cut_and_json_is_readable():
    assert one_line("a\n b", 2) == "a…"
    assert one_line({"a": "é"}) == '{"a": "é"}'
