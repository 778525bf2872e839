"""The shapes of an answer that every model for OpenAI's APIs must survive, ours and the SDK's."""

import json

import openai
import pytest
from agents import Agent, ModelBehaviorError, RunConfig

from timestep import (
    AuthenticationError,
    BrokenAnswerError,
    ContextWindowExceededError,
    ModelNotFoundError,
    MultiModelProvider,
    OllamaStatusError,
    RateLimitError,
    TimestepError,
)
from timestep.testing import Close, FakeOpenAI, Recording, Request

TABLES = {
    "ours": {"api": "chat_completions"},
    "the SDK's": {"api": "chat_completions", "adapter": "sdk"},
    "Responses": {"api": "responses"},
}
EVERY_MODEL = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
TEXT = {"type": "output_text", "text": "hello", "annotations": []}
MESSAGE = {"id": "m", "type": "message", "role": "assistant", "status": "completed"}
MESSAGE |= {"content": [TEXT]}
RESPONSE = {"id": "r", "object": "response", "created_at": 1, "model": "m", "tools": []}
RESPONSE |= {"tool_choice": "auto", "parallel_tool_calls": False, "output": [MESSAGE]}


def event(document):
    return b"data: " + json.dumps(document).encode() + b"\n\n"


def chunk(finish_reason=None, **delta):
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return event({**head, "choices": [choice]})


def response(kind, **fields):
    about = {"type": kind, "sequence_number": 0}
    return event({**about, "response": {**RESPONSE, "status": kind.split(".")[1], **fields}})


def begun(table):
    if table["api"] == "responses":
        return response("response.in_progress", output=[])
    return chunk(role="assistant", content="hello")


def ended(table):
    return response("response.completed") if table["api"] == "responses" else chunk("stop")


async def ask(run, server, table):
    table = {"kind": "openai", "base_url": server.base_url, **table}
    provider = MultiModelProvider.from_env(env_file=None, providers={"a": table})
    try:
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        return (await run(Agent(name="a", model="a/m"), run_config=config)).final_output
    finally:
        await provider.aclose()


NOISE = {
    "an empty ping": b"event: ping\ndata: {}\n\n",
    "a ping with words": b"event: ping\ndata: 2026-11-30 12:00\n\n",
    "a comment": b": wait\n\n",
    "an event without fields of the standard": b"foo: 1\nid: 3\n\n",
    "a line of one space": b" \n\n",
    "NUL bytes": b"\x00\n\n",
}


@EVERY_MODEL
@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
async def test_what_keeps_a_stream_open_is_no_part_of_it(
    openai_server, whole_and_streamed, table, noise
):
    openai_server.body = noise + begun(table) + noise + ended(table) + noise

    assert await ask(whole_and_streamed[1], openai_server, table) == "hello"


@EVERY_MODEL
async def test_white_space_around_the_end_of_a_stream_does_not_matter(
    openai_server, whole_and_streamed, table
):
    openai_server.body = begun(table) + ended(table) + b"data:  [DONE] \n\n"

    assert await ask(whole_and_streamed[1], openai_server, table) == "hello"


SAID = {
    "an event error": b'event: error\ndata: {"message": "slow down", "code": 429}\n\n',
    "an object error": event({"object": "error", "message": "slow down", "code": 429}),
    "an error of another shape": event({"error": {"message": "slow down", "code": 429}}),
    "a document": b'{"error": {"message": "slow down", "code": 429}}',
    "a document of another shape": b'{"object": "error", "message": "slow down", "code": 429}',
}


@EVERY_MODEL
@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
async def test_an_error_under_status_200_is_the_same_error_of_both_trees(
    openai_server, whole_and_streamed, table, said
):
    openai_server.body = said

    with pytest.raises(RateLimitError, match="slow down") as caught:
        await ask(whole_and_streamed[1], openai_server, table)
    assert isinstance(caught.value, openai.RateLimitError)


@EVERY_MODEL
@pytest.mark.parametrize(
    "said", [b'event: error\ndata: {"detail": "GPU lost"}\n\n', event({"detail": "GPU lost"})]
)
async def test_an_error_in_the_middle_is_no_part_of_an_answer(
    openai_server, whole_and_streamed, table, said
):
    openai_server.body = begun(table) + said + ended(table)

    with pytest.raises((TimestepError, ModelBehaviorError), match="GPU lost"):
        await ask(whole_and_streamed[1], openai_server, table)


CONTEXT = "This model's maximum context length is 8192 tokens"
REFUSALS = {
    "a limit": (429, "slow", RateLimitError, openai.RateLimitError),
    "a key": (401, "no", AuthenticationError, openai.AuthenticationError),
    "a long prompt": (400, CONTEXT, ContextWindowExceededError, openai.BadRequestError),
    "a model": (404, "model 'm' not found", ModelNotFoundError, openai.NotFoundError),
    "a wrong request": (400, "no", OllamaStatusError, openai.BadRequestError),
}


@EVERY_MODEL
@pytest.mark.parametrize(
    ("status", "said", "ours", "openais"), REFUSALS.values(), ids=REFUSALS.keys()
)
async def test_a_refusal_is_of_both_trees(run, table, status, said, ours, openais):
    with FakeOpenAI() as server:
        server.fail(status, said, times=None)
        with pytest.raises(ours, match=f"answered {status}") as caught:
            await ask(run, server, {**table, "max_retries": 0})
    assert isinstance(caught.value, openais)
    assert caught.value.status_code == status


async def test_a_refusal_of_the_content_filter_stays_openai_s(run):
    with FakeOpenAI() as server:
        server.fail(400, "filtered", code="content_filter")
        with pytest.raises(openai.BadRequestError, match="filtered"):
            await ask(run, server, TABLES["Responses"])


async def test_a_server_without_the_responses_api_is_told_of_the_other(run):
    with FakeOpenAI() as server:
        server.fail(404, "Not Found")
        with pytest.raises(openai.NotFoundError, match='api = "chat_completions"'):
            await ask(run, server, TABLES["Responses"])


async def test_a_command_whose_key_is_refused_is_named(run):
    with FakeOpenAI() as server:
        server.fail(401, "no", times=2)
        command = ["echo", "abcdefghijkl"]
        with pytest.raises(AuthenticationError, match="api_key_command"):
            await ask(run, server, {**TABLES["Responses"], "api_key_command": command})


@EVERY_MODEL
async def test_half_a_text_is_an_error(openai_server, whole_and_streamed, table):
    openai_server.body = begun(table)

    with pytest.raises((BrokenAnswerError, ModelBehaviorError), match="broke off"):
        await ask(whole_and_streamed[1], openai_server, table)


@EVERY_MODEL
async def test_a_connection_that_breaks_behind_the_answer_loses_nothing(whole_and_streamed, table):
    with FakeOpenAI() as server:
        server.reply("hello", fault=Close(after=2))
        assert await ask(whole_and_streamed[1], server, table) == "hello"


@pytest.mark.parametrize("adapter", ["timestep", "sdk"])
@pytest.mark.parametrize("fault", [(), Close(after=2)], ids=["ends properly", "breaks"])
async def test_done_without_a_finish_reason_is_an_end_only_if_the_body_ends_properly(
    whole_and_streamed, adapter, fault
):
    pieces = [chunk(content="hello"), b"data: [DONE]\n\n"]
    headers = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
    request = Request("POST", "/v1/chat/completions", {}, b"{}")
    recording = Recording("done", request, 200, headers, b"".join(pieces), pieces)
    table = {**TABLES["ours"], "adapter": adapter}
    with FakeOpenAI(strict=False) as server:
        server.replay(recording, model="m", fault=fault)
        if fault:
            with pytest.raises((TimestepError, ModelBehaviorError), match="broke"):
                await ask(whole_and_streamed[1], server, table)
        else:
            assert await ask(whole_and_streamed[1], server, table) == "hello"


async def test_a_choice_that_failed_is_an_error_with_the_sdk_s_model_too(
    openai_server, whole_and_streamed
):
    failed = {"index": 0, "delta": {}, "error": {"message": "GPU lost", "code": 502}}
    openai_server.body = chunk(content="hello") + event({"choices": [failed]})

    with pytest.raises(TimestepError, match="GPU lost"):
        await ask(whole_and_streamed[1], openai_server, TABLES["the SDK's"])


async def test_a_response_whose_status_is_failed_is_not_an_answer(
    openai_server, whole_and_streamed
):
    openai_server.body = response("response.completed", status="failed")

    with pytest.raises(ModelBehaviorError, match="failed"):
        await ask(whole_and_streamed[1], openai_server, TABLES["Responses"])


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_a_response_that_is_streamed_although_asked_whole_is_an_answer(
    openai_server, whole_and_streamed, line_end
):
    body = response("response.created", output=[]) + response("response.completed")
    openai_server.body = body.replace(b"\n", line_end)

    assert await ask(whole_and_streamed[0], openai_server, TABLES["Responses"]) == "hello"


NOT_WHOLE = {
    "broke off": (response("response.created"), "broke off"),
    "an error": (event({"type": "error", "message": "GPU lost"}), "GPU lost"),
    "another status": (response("response.completed", status="queued"), "queued"),
    "a failure": (response("response.failed", output=[]), "failed"),
    "an end without an answer": (event({"type": "response.completed"}), "not a JSON object"),
}


@pytest.mark.parametrize(("body", "words"), NOT_WHOLE.values(), ids=NOT_WHOLE)
async def test_a_failure_that_is_streamed_although_asked_whole_is_an_error(
    openai_server, whole_and_streamed, body, words
):
    openai_server.body = body

    with pytest.raises((TimestepError, ModelBehaviorError), match=words):
        await ask(whole_and_streamed[0], openai_server, TABLES["Responses"])
