"""Native answers as OpenAI chat completions."""

import json
import re
from collections import UserDict
from datetime import UTC, datetime

import ollama
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion

from tests.ollama.answers import call, chunk, last, logprob, recordings
from timestep import errors
from timestep.ollama import to_chat_completion

WHOLE = [
    recording
    for recording in recordings("/api/chat", status=200)
    if b'"done":true' in recording.body and recording.body.count(b"\n") == 0
    if not re.search(rb'"done_reason":"(un)?load"', recording.body)  # which is not an answer
]


@pytest.mark.parametrize("recording", WHOLE, ids=lambda recording: recording.name)
def test_a_recorded_answer_becomes_a_completion(recording):
    sent = recording.json
    message = sent["message"]

    completion = to_chat_completion(sent)

    (choice,) = completion.choices
    assert re.fullmatch(r"chatcmpl-[A-Za-z0-9]{29}", completion.id)
    assert (completion.object, completion.model) == ("chat.completion", sent["model"])
    assert completion.created == int(datetime.fromisoformat(sent["created_at"]).timestamp())
    assert (choice.index, choice.message.role) == (0, "assistant")
    assert choice.message.content == message["content"]
    assert getattr(choice.message, "reasoning", None) == message.get("thinking")
    calls = choice.message.tool_calls or []
    assert [(one.function.name, json.loads(one.function.arguments)) for one in calls] == [
        (one["function"]["name"], one["function"]["arguments"])
        for one in message.get("tool_calls", [])
    ]
    assert all(re.fullmatch(r"call_[A-Za-z0-9]{8}|call_[A-Za-z0-9]{24}", one.id) for one in calls)
    cut = "length" if sent["done_reason"] == "length" else "stop"
    assert choice.finish_reason == ("tool_calls" if calls and cut == "stop" else cut)
    prompt, answer = sent.get("prompt_eval_count", 0), sent.get("eval_count", 0)
    assert completion.usage.prompt_tokens == prompt
    assert completion.usage.completion_tokens == answer
    assert completion.usage.total_tokens == prompt + answer
    tokens = [entry.token for entry in choice.logprobs.content] if choice.logprobs else []
    assert tokens == [entry["token"] for entry in sent.get("logprobs", [])]


def test_many_recordings_are_whole():
    assert len(WHOLE) > 100


def test_an_answer_of_the_ollama_package_is_read():
    response = ollama.ChatResponse(
        model="qwen3",
        created_at="2026-11-20T15:29:48.189811715Z",
        message=ollama.Message(
            role="assistant",
            content="Hi",
            thinking="Hm",
            tool_calls=[{"function": {"name": "f", "arguments": {"a": 1}}}],
        ),
        done=True,
        done_reason="stop",
        prompt_eval_count=26,
        eval_count=7,
    )

    completion = to_chat_completion(response)

    (choice,) = completion.choices
    (tool_call,) = choice.message.tool_calls
    assert (completion.model, completion.usage.total_tokens) == ("qwen3", 33)
    assert (choice.message.content, choice.message.reasoning) == ("Hi", "Hm")
    assert (tool_call.function.name, tool_call.function.arguments) == ("f", '{"a": 1}')
    assert choice.finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "response",
    [
        UserDict(last("Hi")),
        {"message": ollama.Message(role="assistant", content="Hi"), "done": True},
        {"message": {"content": "Hi"}},
    ],
)
def test_anything_that_reads_like_an_answer_is_one(response):
    assert to_chat_completion(response).choices[0].message.content == "Hi"


def test_ids_differ_from_answer_to_answer():
    assert len({to_chat_completion(last()).id for _ in range(100)}) == 100


def test_calls_get_an_id_of_their_own_where_they_have_none():
    sent = [
        call("a", call_id="call_o2vnpxrw"),
        call("b", call_id="call_o2vnpxrw"),
        call("c"),
        call("d", call_id="toolu_1"),
        call("e", call_id=5),
    ]

    calls = to_chat_completion(last(calls=sent)).choices[0].message.tool_calls

    assert calls[0].id == "call_o2vnpxrw"
    assert all(re.fullmatch(r"call_[A-Za-z0-9]{24}", one.id) for one in calls[1:])
    assert len({one.id for one in calls}) == 5
    assert {one.type for one in calls} == {"function"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"é": [1]}, '{"é": [1]}'), ({}, "{}"), (None, "{}"), ('{"a":1}', '{"a":1}'), ([1], "[1]")],
)
def test_arguments_are_json_text(arguments, text):
    sent = last(calls=[{"function": {"name": "f", "arguments": arguments}}])

    assert to_chat_completion(sent).choices[0].message.tool_calls[0].function.arguments == text


@pytest.mark.parametrize(
    ("reason", "calls", "finish_reason"),
    [
        ("stop", [], "stop"),
        ("stop", [call("f")], "tool_calls"),
        ("length", [], "length"),
        ("length", [call("f")], "length"),
        ("strange", [], "stop"),
        (None, None, "stop"),
    ],
)
def test_the_finish_reason(reason, calls, finish_reason):
    completion = to_chat_completion(last(reason=reason, calls=calls))

    assert completion.choices[0].finish_reason == finish_reason


def test_logprobs_and_cached_tokens_are_kept():
    entry = {"token": "é", "logprob": -0.5, "top_logprobs": [logprob("e", -2)]}
    completion = to_chat_completion(last("é", logprobs=[entry], prompt_eval_cached_count=20))

    (token,) = completion.choices[0].logprobs.content
    assert (token.token, token.logprob, token.bytes) == ("é", -0.5, [195, 169])
    assert token.top_logprobs[0].token == "e"
    assert completion.usage.prompt_tokens_details.cached_tokens == 20
    assert to_chat_completion(last("é")).choices[0].logprobs is None
    assert to_chat_completion(last("é")).usage.prompt_tokens_details is None


@pytest.mark.parametrize(
    ("stamp", "created"),
    [
        ("2026-11-20T15:29:48.189811715Z", 1795188588),
        ("2026-11-20T15:29:48Z", 1795188588),
        ("2026-11-20T16:29:48+01:00", 1795188588),
        ("2026-11-20T15:29:48", 1795188588),
        (datetime(2026, 11, 20, 15, 29, 48, tzinfo=UTC), 1795188588),
        (datetime(2026, 11, 20, 15, 29, 48), 1795188588),  # noqa: DTZ001 - taken as UTC
        ("0001-01-01T00:00:00Z", 0),
        ("0001-01-01T00:00:00+14:00", 0),
        ("9999-12-31T23:59:59-14:00", 253402351199),
        ("", 0),
        ("yesterday", 0),
        (None, 0),
        (5, 0),
        ([], 0),
    ],
)
def test_the_time_is_unix_seconds(stamp, created):
    assert to_chat_completion({**last(), "created_at": stamp}).created == created


def test_the_caller_s_name_for_the_model_wins():
    assert to_chat_completion(last(), model="ollama/m").model == "ollama/m"
    assert to_chat_completion({"message": {"content": ""}}).model == ""


@pytest.mark.parametrize(
    ("response", "expected", "said"),
    [
        ({"error": "CUDA error"}, errors.OllamaStreamError, "CUDA error"),
        (
            {
                "error": "input length (9 tokens) exceeds the model's maximum context length (8 tokens)"
            },
            errors.ContextWindowExceededError,
            "longer window",
        ),
        ({"error": "error parsing tool call: raw='{'"}, errors.ModelOutputError, "raw='{'"),
        (chunk("Hel"), errors.OllamaStreamError, "done: false"),
        (None, errors.OllamaStreamError, "NoneType is not an Ollama answer"),
        ([last()], errors.OllamaStreamError, "list is not an Ollama answer"),
        ("text", errors.OllamaStreamError, "str is not an Ollama answer"),
        ({"message": "text"}, errors.OllamaStreamError, "str is not an Ollama answer"),
        ({"message": {"content": 5}}, errors.OllamaStreamError, "choices.0.message.content"),
        ({"message": {"tool_calls": {"f": 1}}}, errors.OllamaStreamError, "tool_calls is wrong"),
        ({"message": {"tool_calls": [5]}}, errors.OllamaStreamError, "int is not an Ollama answer"),
        ({"message": {"tool_calls": [{}]}}, errors.OllamaStreamError, "NoneType is no"),
        (last(calls=[{"function": {}}]), errors.OllamaStreamError, "tool_calls.0"),
        (last(calls=[call("f", {"a": float("inf")})]), errors.OllamaStreamError, "JSON compliant"),
        (last(calls=[call("f", {"a": object()})]), errors.OllamaStreamError, "arguments is wrong"),
        (last(logprobs=5), errors.OllamaStreamError, "logprobs is wrong"),
        ({"message": {}, "model": 5}, errors.OllamaStreamError, "model is wrong"),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_no_answer_is_refused(response, expected, said):
    with pytest.raises(expected, match=re.escape(said)):
        to_chat_completion(response)


words = st.text(max_size=5)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
FIELDS = ["model", "created_at", "done_reason", "logprobs", "eval_count", "error"]
odd_messages = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["content", "thinking", "tool_calls", "role"], values)
)
odd_answers = st.fixed_dictionaries(
    {}, optional={**dict.fromkeys(FIELDS, values), "message": odd_messages | values}
)


@given(odd_answers | values)
def test_no_answer_raises_anything_but_our_errors(response):
    try:
        completion = to_chat_completion(response)
    except errors.OllamaError:
        return
    assert ChatCompletion.model_validate_json(completion.model_dump_json()).id == completion.id


def test_an_end_without_done_is_an_end():
    end = {"message": {"content": "Hi"}, "done": False, "done_reason": "stop", "eval_count": 3}

    assert to_chat_completion(end).choices[0].message.content == "Hi"


def test_an_empty_error_is_no_failure():
    assert to_chat_completion({"message": {"content": "Hi"}, "error": ""}).usage.total_tokens == 0


@pytest.mark.parametrize("reason", ["load", "unload"])
def test_loading_a_model_is_no_answer(reason):
    answer = {"model": "m", "message": {"content": ""}, "done": True, "done_reason": reason}

    with pytest.raises(errors.OllamaStreamError, match=f"only {reason}ed 'm'"):
        to_chat_completion(answer)
