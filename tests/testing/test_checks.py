"""The checker agrees with every exchange recorded from a real server."""

import json
from pathlib import Path

import pytest

from timestep.testing import Recording
from timestep.testing.checks import (
    RefusedError,
    check_chat,
    check_format,
    check_options,
)

CHATS = [
    recording
    for recording in Recording.load_all(Path(__file__).parents[1] / "wire")
    if (recording.request.method, recording.request.path) == ("POST", "/api/chat")
]
# Refused by the model, its template or its runner, or by the lack of it: nothing that decoding sees.
BY_THE_MODEL = (
    "bad-model-cloud-tag",
    "bad-model-not-found",
    "chat-formatvalue-bad-type",
    "chat-formatvalue-openai-wrapper",
    "chat-formatvalue-ref-missing",
    "chat-nothinkmodel-",
    "chat-tool-",
    "chat-unload-unknown-model",
    "ctx-",
    "fail-load-broken-model",
    "image-nonvision-native",
)


def refusal_of(body: bytes) -> RefusedError | None:
    try:
        chat = check_chat(body)
        check_options(chat.get("options") or {})
        check_format(chat.get("format"))
    except RefusedError as refused:
        return refused
    return None


@pytest.mark.parametrize("recording", CHATS, ids=lambda recording: recording.name)
def test_the_checker_answers_as_the_recorded_server(recording: Recording):
    refusal = refusal_of(recording.request.body)

    if recording.status == 200 or recording.name.startswith(BY_THE_MODEL):
        assert refusal is None
    else:
        assert refusal is not None
        assert (refusal.status, {"error": refusal.error}) == (recording.status, recording.json)


def test_the_recordings_hold_refusals_of_every_kind():
    refused = [chat for chat in CHATS if chat.status != 200]

    assert len([chat for chat in refused if not chat.name.startswith(BY_THE_MODEL)]) >= 30


# The words below are those of Go 1.26's encoding/json, encoding/base64 and time, run on the types
# of Ollama v0.33.0-rc2.


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"stream": "yes"}, "json: cannot unmarshal string into Go struct field ChatRequest.stream of type bool"),
        ({"top_logprobs": 1.0}, "json: cannot unmarshal number 1.0 into Go struct field ChatRequest.top_logprobs of type int"),
        ({"top_logprobs": 21}, "top_logprobs must be between 0 and 20"),
        ({"think": "xhigh"}, 'invalid think value: "xhigh" (must be "high", "medium", "low", "max", true, or false)'),
        ({"think": []}, 'think must be a boolean or string ("high", "medium", "low", "max", true, or false)'),
        ({"keep_alive": True}, "Unsupported type: 'bool'"),
        ({"keep_alive": []}, "Unsupported type: '[]interface {}'"),
        ({"keep_alive": {}}, "Unsupported type: 'map[string]interface {}'"),
        ({"keep_alive": "10"}, 'time: missing unit in duration "10"'),
        ({"keep_alive": "-+1h"}, 'time: invalid duration "-+1h"'),
        ({"keep_alive": ""}, 'time: invalid duration ""'),
        ({"messages": ["hi"]}, "json: cannot unmarshal string into Go struct field ChatRequest.messages of type api.Alias"),
        ({"messages": [{"content": ["a"]}]}, "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string"),
        ({"messages": [{"images": [1]}]}, "json: cannot unmarshal number into Go struct field ChatRequest.messages.images of type api.ImageData"),
        ({"messages": [{"tool_calls": [{"id": 1}]}]}, "json: cannot unmarshal number into Go struct field ChatRequest.messages.tool_calls.id of type string"),
        ({"messages": [{"tool_calls": [{"function": {"index": "0"}}]}]}, "json: cannot unmarshal string into Go struct field ChatRequest.messages.tool_calls.function.index of type int"),
        ({"tools": ["f"]}, "json: cannot unmarshal string into Go struct field ChatRequest.tools of type api.Tool"),
        ({"tools": [{"function": "f"}]}, "json: cannot unmarshal string into Go struct field Tool.tools.function of type api.ToolFunction"),
        ({"tools": [{"function": {"parameters": {"type": ["object"]}}}]}, "json: cannot unmarshal array into Go struct field ToolFunctionParameters.tools.function.parameters.type of type string"),
        ({"tools": [{"function": {"parameters": {"properties": {"a": {"anyOf": [{"type": 5}]}}}}}]}, "json: cannot unmarshal number into Go struct field ToolFunctionParameters.tools.function.parameters.properties.anyOf.type of type []string"),
        ({"tools": [{"function": {"parameters": {"properties": {"a": {"properties": {"b": 1}}}}}}]}, "json: cannot unmarshal number into Go struct field ToolFunctionParameters.tools.function.parameters.properties.properties of type api.ToolProperty"),
        ({"model": None}, "model is required"),
    ],
    ids=repr,
)  # a table reads better in rows # fmt: skip
def test_a_wrong_type_is_refused_in_gos_words(fields, error):
    refusal = refusal_of(json.dumps({"model": "m", **fields}).encode())

    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, error)


@pytest.mark.parametrize(
    "fields",
    [
        {"keep_alive": "-1.5h1m.5s1ms1us1µs1ns"},
        {"keep_alive": "0"},
        {"keep_alive": -1},
        {"messages": [{"images": [""]}, {"tool_calls": [{"function": {"arguments": {}}}]}]},
        {
            "tools": [
                {"function": {"parameters": {"properties": {"a": None, "b": {"type": ["x"]}}}}}
            ]
        },
        {"format": "json"},
        {"format": {"type": "object"}},
        {"options": {"use_mmap": True, "temperature": 1, "unknown": []}},
        {"model": "hf.co/bartowski/Llama-3.2-3B-Instruct-GGUF:Q4_K_M"},
        {"model": "https://host:5000/ns/m:t"},
    ],
    ids=repr,
)
def test_what_go_takes_is_taken(fields):
    assert refusal_of(json.dumps({"model": "m", **fields}).encode()) is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"use_mmap": 1}, 'option "use_mmap" must be of type boolean'),
        ({"main_gpu": "0"}, 'option "main_gpu" must be of type integer'),
        ({"min_p": True}, 'option "min_p" must be of type float32'),
    ],
)
def test_an_option_of_the_wrong_type_is_a_500(options, error):
    refusal = refusal_of(json.dumps({"model": "m", "options": options}).encode())

    assert refusal is not None
    assert (refusal.status, refusal.error) == (500, error)


@pytest.mark.parametrize(
    ("value", "shown"),
    [("xml", r'"\"xml\""'), (5, '"5"'), ([1], '"[1]"'), (True, '"true"')],
)
def test_a_format_that_is_no_schema_is_a_500(value, shown):
    refusal = refusal_of(json.dumps({"model": "m", "format": value}).encode())

    assert refusal is not None
    assert refusal.status == 500
    assert refusal.error.startswith(f"invalid format: {shown};")


@pytest.mark.parametrize(
    "name",
    ["a/b/c/d", "a//b", "m:", ":t", "m@sha256:x", "ns.dot/m", "-bad", "m:a/b", "ü", "x" * 81],
)
def test_a_name_that_cannot_be_is_refused(name):
    refusal = refusal_of(json.dumps({"model": name}).encode())

    assert refusal is not None
    assert refusal.error == "invalid model name"


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", None),
        ("aGk=", None),
        ("aG\nk=\r\n", None),
        ("aA==", None),
        ("data:image/png;base64,aGk=", 4),
        ("https://example.com/a.png", 5),
        ("aG_-", 2),
        ("=", 0),
        ("é", 0),
    ],
)
def test_base64_is_corrupt_where_go_says_so(text, offset):
    refusal = refusal_of(json.dumps({"model": "m", "messages": [{"images": [text]}]}).encode())

    error = None if offset is None else f"illegal base64 data at input byte {offset}"
    assert (refusal and refusal.error) == error


@pytest.mark.parametrize("text", ["aGk", "aGkx\naGk", "a===", "aA=", "aA=x", "aGk=\nx", "aGk=="])
def test_base64_that_is_not_padded_right_is_corrupt(text):
    assert refusal_of(json.dumps({"model": "m", "messages": [{"images": [text]}]}).encode())


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b" \n", "missing request body"),
        (b"null", "model is required"),
        (b'{"model": "m"', "unexpected EOF"),
        (b'{"model": "m', "unexpected EOF"),
        (b'{"model": Infinity}', "invalid character 'I' looking for beginning of value"),
        (b"{1}", "invalid character '1' looking for beginning of object key string"),
    ],
)
def test_broken_json_is_refused(body, error):
    refusal = refusal_of(body)

    assert refusal is not None
    assert refusal.status == 400
    assert refusal.error.startswith(error)


@pytest.mark.parametrize(
    "body", [b'{"model" 1}', b'{"a": 1"}', b'{"model": "a\nb"}', b'{"model": -Infinity}']
)
def test_json_that_is_broken_elsewhere_is_refused_too(body):
    assert refusal_of(body)


def test_what_follows_the_first_value_is_ignored():
    assert refusal_of(b'{"model": "m\xff", "messages": []} and more') is not None
    assert refusal_of(b'{"model": "m", "messages": []} and more') is None
