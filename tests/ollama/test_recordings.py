"""Every exchange recorded from a real server, decoded and held against its own JSON."""

import json
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.ollama.answers import ORIGIN, decode, recorded, recordings
from timestep import errors
from timestep.errors.retry import retry_advice
from timestep.net.lines import LineSplitter
from timestep.net.origin import Origin
from timestep.ollama.server_errors import status_error

CHATS = recordings("/api/chat", status=200)

# Why an answer under status 200 is not an answer, and what the server says about it.
BROKEN = {
    "plain-tiny-repeat-*": (errors.OllamaStreamError, "done: true"),
    "ctx-num_ctx-*": (errors.OllamaStreamError, "done: true"),
    "fail-client-disconnect": (errors.OllamaStreamError, "done: true"),
    "fail-server-stopped-midstream": (errors.OllamaStreamError, "done: true"),
    "fail-runner-killed-midstream": (
        errors.OllamaStreamError,
        "an error was encountered while running the model: unexpected EOF",
    ),
    "chat-tool-harmonybad-stream": (
        errors.ModelOutputError,
        """error parsing tool call: raw='{"city": oops', err=invalid character 'o' looking for""",
    ),
    "chat-load-empty-messages*": (errors.OllamaStreamError, "only loaded"),
    "chat-unload*": (errors.OllamaStreamError, "only unloaded"),
    # A rendered prompt is not an answer: the server says done: false.
    "*-render": (errors.OllamaStreamError, "done: true"),
    "chat-think-render-*": (errors.OllamaStreamError, "done: true"),
    "bad-role-developer": (errors.OllamaStreamError, "done: true"),
    "bad-role-upper": (errors.OllamaStreamError, "done: true"),
}

REFUSED = {
    "bad-content-number": errors.OllamaStatusError,
    "bad-empty-body": errors.OllamaStatusError,
    "bad-json-*": errors.OllamaStatusError,
    "bad-messages-*": errors.OllamaStatusError,
    "bad-model-cloud-tag": errors.AuthenticationError,
    "bad-model-empty": errors.OllamaStatusError,
    "bad-model-name": errors.OllamaStatusError,
    "bad-model-not-found*": errors.ModelNotFoundError,
    "bad-model-number": errors.OllamaStatusError,
    "bad-option-*": errors.OllamaStatusError,
    "bad-options-list": errors.OllamaStatusError,
    "bad-role-number": errors.OllamaStatusError,
    "chat-formatvalue-*": errors.OllamaStatusError,
    "chat-keepalive-bad-string": errors.OllamaStatusError,
    "chat-logprobs-top-negative": errors.OllamaStatusError,
    "chat-nothinkmodel-*": errors.CapabilityError,
    "chat-think-value-*": errors.OllamaStatusError,
    "chat-tool-harmonybad-nostream": errors.ModelOutputError,
    "chat-tool-length-native*": errors.ModelOutputError,
    "chat-tool-unsupported-*": errors.CapabilityError,
    "chat-tooldef-*": errors.OllamaStatusError,
    "chat-toolresult-*": errors.OllamaStatusError,
    "chat-unload-unknown-model": errors.ModelNotFoundError,
    "ctx-*": errors.ContextWindowExceededError,
    "fail-*-broken-model*": errors.OllamaStatusError,
    "http-chat-get": errors.OllamaStatusError,
    "http-foreign-*": errors.AuthenticationError,
    "image-bad-base64": errors.OllamaStatusError,
    "image-data-url": errors.OllamaStatusError,
    "image-nonvision-native": errors.CapabilityError,
    "image-not-a-list": errors.OllamaStatusError,
    "show-bad-json": errors.OllamaStatusError,
    "show-empty-body": errors.OllamaStatusError,
    "show-get": errors.OllamaStatusError,
    "show-not-found": errors.ModelNotFoundError,
}


def matching(table, name):
    return [value for pattern, value in table.items() if fnmatchcase(name, pattern)]


WHOLE = [chat for chat in CHATS if not matching(BROKEN, chat.name)]
REFUSALS = [recording for recording in recordings() if recording.status >= 400]


def named(recording):
    return recording.name


@dataclass(frozen=True)
class Plain:
    """What the lines of an answer say, read without the decoder."""

    text: str
    thinking: str
    calls: list
    tokens: tuple
    reason: str | None

    @classmethod
    def of(cls, recording):
        lines = [json.loads(line) for line in recording.body.split(b"\n") if line]
        calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
        return cls(
            "".join(line["message"]["content"] for line in lines),
            "".join(line["message"].get("thinking", "") for line in lines),
            [(call["function"]["name"], call["function"]["arguments"]) for call in calls],
            (lines[-1].get("prompt_eval_count", 0), lines[-1].get("eval_count", 0)),
            lines[-1].get("done_reason"),
        )


def read(decoded):
    usage = decoded.response.usage
    return Plain(
        decoded.text,
        decoded.thinking,
        decoded.calls,
        (usage.input_tokens, usage.output_tokens),
        decoded.reply.done_reason,
    )


@pytest.mark.parametrize("recording", WHOLE, ids=named)
def test_an_answer_decodes_to_what_its_lines_say(recording):
    plain = Plain.of(recording)

    decoded = decode(recording.body)

    assert read(decoded) == plain
    assert decoded.reply.was_cut == (plain.reason == "length")
    assert decoded.response.status == "completed"
    assert bool(decoded.response.incomplete_details) is (plain.reason == "length")
    assert decoded.response.output == decoded.output


def test_most_recordings_are_whole_answers():
    assert len(WHOLE) > 240


TWINS = [
    (streamed, whole)
    for streamed in WHOLE
    for whole in WHOLE
    if streamed.name.endswith("-stream")
    and whole.name in {streamed.name[:-6] + "nostream", streamed.name[:-7]}
]


@pytest.mark.parametrize(("streamed", "whole"), TWINS, ids=lambda recording: recording.name)
def test_a_streamed_answer_has_the_shape_of_its_whole_twin(streamed, whole):
    one, other = decode(streamed.body), decode(whole.body)

    assert sorted(one.kinds) == sorted(other.kinds)
    assert (one.text, one.thinking, one.calls) == (other.text, other.thinking, other.calls)
    assert one.response.incomplete_details == other.response.incomplete_details


def test_twins_exist():
    assert len(TWINS) > 50


def test_a_short_answer_is_the_same_byte_by_byte():
    for recording in WHOLE:
        if len(recording.body) < 3000:
            at_once = decode(recording.body)

            byte_by_byte = decode([recording.body[i : i + 1] for i in range(len(recording.body))])

            assert byte_by_byte.events == at_once.events, recording.name
            assert byte_by_byte.output == at_once.output, recording.name


def test_a_body_has_the_same_lines_split_at_any_one_position():
    for recording in CHATS:
        body = recording.body[:3000]
        lines = [line for line in body.split(b"\n") if line]

        for position in range(len(body) + 1):
            splitter = LineSplitter()
            fed = [*splitter.feed(body[:position]), *splitter.feed(body[position:])]
            assert [*fed, *splitter.flush()] == lines, (recording.name, position)


def _one_of_each_shape():
    shapes = {}
    for recording in WHOLE:
        if len(recording.body) < 1000 and b"\n" in recording.body:
            decoded = decode(recording.body)
            shapes.setdefault((decoded.text, decoded.thinking, *decoded.types), recording)
    return list(shapes.values())


@pytest.mark.parametrize("recording", _one_of_each_shape(), ids=named)
def test_a_short_stream_is_the_same_split_at_any_one_position(recording):
    body = recording.body
    at_once = decode(body)

    for position in range(1, len(body)):
        split = decode([body[:position], body[position:]])
        assert split.events == at_once.events
        assert split.output == at_once.output


LONG = [chat for chat in WHOLE if len(chat.body) >= 3000]


@settings(derandomize=True, max_examples=100)
@given(st.data())
def test_a_long_answer_is_the_same_however_it_is_split(data):
    recording = data.draw(st.sampled_from(LONG))
    positions = data.draw(st.sets(st.integers(1, len(recording.body) - 1), max_size=12))
    edges = [0, *sorted(positions), len(recording.body)]

    split = decode([recording.body[a:b] for a, b in pairwise(edges)])

    at_once = decode(recording.body)
    assert split.events == at_once.events
    assert split.output == at_once.output


@pytest.mark.parametrize(
    "recording", [chat for chat in CHATS if matching(BROKEN, chat.name)], ids=named
)
def test_an_answer_that_broke_off_raises_the_server_s_own_words(recording):
    [(error, words)] = matching(BROKEN, recording.name)

    with pytest.raises(error, match=re.escape(words)) as raised:
        decode(recording.body)

    assert type(raised.value) is error
    assert raised.value.model == "m"
    assert raised.value.host == "http://localhost:11434"


@pytest.mark.parametrize("recording", REFUSALS, ids=named)
def test_a_refusal_becomes_its_class_with_the_server_s_own_words(recording):
    [expected] = matching(REFUSED, recording.name)

    error = status_error(recording.status, recording.headers, recording.body, ORIGIN)

    assert type(error) is expected
    assert words_of(recording)[:500] in str(error)
    assert error.host == "http://localhost:11434"
    assert getattr(error, "status_code", recording.status) == recording.status
    assert retry_advice(error) is not None


def words_of(recording):
    """The server's words: the innermost message, or the body as it is."""
    try:
        words = json.loads(recording.body)["error"]
    except ValueError:
        return recording.body.decode()
    try:
        return json.loads(words)["error"]["message"]
    except ValueError:
        return words


@pytest.mark.parametrize(
    ("table", "found"), [(BROKEN, CHATS), (REFUSED, REFUSALS)], ids=["broken", "refused"]
)
def test_every_row_of_a_table_has_a_recording(table, found):
    unused = [row for row in table if not any(fnmatchcase(chat.name, row) for chat in found)]

    assert unused == []


@pytest.mark.parametrize(
    ("name", "capability"),
    [
        ("chat-nothinkmodel-high", "thinking"),
        ("chat-tool-unsupported-stream", "tools"),
        ("image-nonvision-native", "vision"),
    ],
)
def test_a_capability_error_names_the_capability(name, capability):
    recording = recorded(name)

    error = status_error(recording.status, recording.headers, recording.body, ORIGIN)

    assert error.capability == capability


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("ctx-text-one-long-truncate-false", (2019, 512)),
        ("ctx-native-long-history-truncate-false-shift-false", (677, 512)),
        ("ctx-text-one-long-shift-false", (None, None)),
    ],
)
def test_a_prompt_that_does_not_fit_says_both_numbers_and_the_fix(name, numbers):
    recording = recorded(name)

    error = status_error(recording.status, recording.headers, recording.body, ORIGIN)

    assert (error.prompt_tokens, error.context_length) == numbers
    assert "num_ctx" in str(error)
    assert all(str(number) in str(error) for number in numbers if number)


def test_a_missing_model_says_how_to_get_it():
    recording = recorded("bad-model-not-found")
    origin = Origin("no-such-model", "http://localhost:11434")

    error = status_error(recording.status, recording.headers, recording.body, origin)

    assert "ollama pull no-such-model" in str(error)


def test_a_text_that_holds_every_unicode_line_separator_arrives_whole():
    decoded = decode(recorded("chat-line-separators-stream").body)

    assert {"\x85", "\u2028"} <= set(decoded.text)
