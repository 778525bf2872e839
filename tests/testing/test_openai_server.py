"""FakeOpenAI on the wire, seen by plain clients and by openai's own."""

import itertools
import json

import httpx
import openai
import pytest
from agents import (
    Agent,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RunConfig,
    function_tool,
)
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from timestep.testing import (
    ChatReply,
    Close,
    ErrorLine,
    FakeOpenAI,
    FakeServerError,
    InvalidRequest,
    NoDone,
    Reset,
    Split,
    Stall,
    UnconsumedReplies,
    UnexpectedRequest,
)

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
ASK = {"model": "m", "input": "Hi"}
STREAM = {**CHAT, "stream": True}
EVENT = TypeAdapter(ResponseStreamEvent)


@pytest.fixture
def client(fake_openai):
    with httpx.Client(base_url=fake_openai.base_url, timeout=60) as client:
        yield client


def ask(client, **fields):
    return client.post("/chat/completions", json={**CHAT, **fields})


def events(response):
    found = [line[6:] for line in response.text.split("\n") if line.startswith("data: ")]
    return [json.loads(data) for data in found if data != "[DONE]"]


def deltas(response):
    return [event["choices"][0]["delta"] for event in events(response) if event["choices"]]


def said(response):
    return "".join(delta.get("content") or "" for delta in deltas(response))


def test_replies_are_served_in_order_on_one_connection(fake_openai, client):
    fake_openai.reply("one")
    fake_openai.reply("two")
    fake_openai.reply(ChatReply("three"))

    answers = [ask(client, stream=True) for _ in range(3)]

    assert [said(answer) for answer in answers] == ["one", "two", "three"]
    assert fake_openai.open_connections == 1
    assert [chat["messages"] for chat in fake_openai.chats] == [CHAT["messages"]] * 3


def test_a_stream_is_a_chunk_a_word_and_then_done(fake_openai, client):
    fake_openai.reply("one two")

    response = ask(client, stream=True)

    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert deltas(response) == [{"role": "assistant", "content": "one"}, {"content": " two"}, {}]
    assert [event["choices"][0]["finish_reason"] for event in events(response)] == [
        None,
        None,
        "stop",
    ]
    assert response.text.endswith("\n\ndata: [DONE]\n\n")


def test_every_chunk_and_answer_has_the_shape_that_openai_declares(fake_openai, client):
    reply = {"thinking": "hm", "tool_calls": [("f", {"a": 1}), ("g", {})], "call_pieces": 3}
    fake_openai.reply("one two", times=2, **reply)

    streamed = ask(client, stream=True, stream_options={"include_usage": True})
    whole = ask(client)

    for event in events(streamed):
        ChatCompletionChunk.model_validate(event, strict=True)
    answer = ChatCompletion.model_validate(whole.json(), strict=True)
    message = answer.choices[0].message
    assert message.content == "one two"
    assert message.reasoning_content == "hm"
    assert [(call.function.name, call.function.arguments) for call in message.tool_calls] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]
    assert answer.choices[0].finish_reason == "tool_calls"
    assert answer.usage == ChatCompletionChunk.model_validate(events(streamed)[-1]).usage


def test_a_stream_counts_only_when_asked(fake_openai, client):
    fake_openai.reply("a b", times=2, usage={"prompt_tokens_details": {"cached_tokens": 5}})

    plain = ask(client, stream=True)
    counted = ask(client, stream=True, stream_options={"include_usage": True})

    assert not any("usage" in event for event in events(plain))
    assert events(counted)[-1]["choices"] == []
    assert events(counted)[-1]["usage"] == {
        "prompt_tokens": 26,
        "completion_tokens": 2,
        "total_tokens": 28,
        "prompt_tokens_details": {"cached_tokens": 5},
    }


def test_a_refusal_and_logprobs_stand_where_openai_puts_them(fake_openai, client):
    entry = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
    fake_openai.reply("a", logprobs=[entry], times=2)
    fake_openai.reply(refusal="No.")

    streamed, whole, refused = ask(client, stream=True), ask(client), ask(client)

    assert events(streamed)[0]["choices"][0]["logprobs"] == {"content": [entry], "refusal": None}
    assert whole.json()["choices"][0]["logprobs"] == {"content": [entry]}
    assert refused.json()["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "No.",
    }


def test_exact_chunks_are_sent_as_they_are_and_folded_when_whole(fake_openai, client):
    choice = {"index": 0, "delta": {"content": "x"}, "finish_reason": "eos"}
    fake_openai.reply(chunks=[{"choices": [choice], "provider": "p"}], done=False, times=2)

    streamed, whole = ask(client, stream=True), ask(client)

    assert events(streamed)[0]["choices"] == [choice]
    assert "[DONE]" not in streamed.text
    assert whole.json()["provider"] == "p"
    assert whole.json()["choices"][0]["message"]["content"] == "x"


def test_a_reply_is_computed_from_the_request(fake_openai, client):
    fake_openai.reply(lambda request: request.json["messages"][-1]["content"].upper())
    assert said(ask(client, stream=True)) == "HI"


def test_the_responses_wire_has_the_events_that_openai_declares(fake_openai, client):
    reply = {"thinking": "hm", "tool_calls": [("f", {"a": 1}), ("g", {})], "call_pieces": 3}
    fake_openai.reply("one two", times=2, **reply)

    streamed = client.post("/responses", json={**ASK, "stream": True})
    whole = client.post("/responses", json=ASK)

    found = [EVENT.validate_python(event) for event in events(streamed)]
    assert [event.sequence_number for event in found] == list(range(len(found)))
    assert [event.type for event in found][:2] == ["response.created", "response.in_progress"]
    assert found[-1].type == "response.completed"
    answer = Response.model_validate(whole.json())
    assert [item.type for item in answer.output] == [
        "reasoning",
        "message",
        "function_call",
        "function_call",
    ]
    assert answer.output_text == "one two"
    assert [(call.name, call.arguments) for call in answer.output[2:]] == [
        ("f", '{"a":1}'),
        ("g", "{}"),
    ]
    ended = found[-1].response
    assert [item.type for item in ended.output] == [item.type for item in answer.output]
    assert ended.usage == answer.usage


def test_a_response_that_is_cut_says_why(fake_openai, client):
    fake_openai.reply("half", finish_reason="length", times=2)

    whole = client.post("/responses", json=ASK).json()
    streamed = events(client.post("/responses", json={**ASK, "stream": True}))

    assert (whole["status"], whole["incomplete_details"]["reason"]) == (
        "incomplete",
        "max_output_tokens",
    )
    assert streamed[-1]["type"] == "response.incomplete"


def test_failures_have_the_shape_of_openai(fake_openai, client):
    fake_openai.fail(429, "slow down", headers={"Retry-After": "2"})
    fake_openai.fail(400, "too long", code="context_length_exceeded")
    fake_openai.fail(500, {"detail": "no"})
    fake_openai.fail(502, body="<html>", headers={"Content-Type": "text/html"})
    fake_openai.redirect("https://elsewhere.example/v1/chat/completions")

    answers = [ask(client) for _ in range(5)]

    assert [answer.status_code for answer in answers] == [429, 400, 500, 502, 307]
    assert answers[0].json()["error"] == {
        "message": "slow down",
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
    }
    assert answers[0].headers["retry-after"] == "2"
    assert answers[1].json()["error"]["code"] == "context_length_exceeded"
    assert answers[2].json() == {"error": {"detail": "no"}}
    assert answers[3].text == "<html>"


def test_a_key_that_is_required_must_come(fake_openai, client):
    fake_openai.require_key("sk-right")
    fake_openai.reply("in")

    without, wrong, right = (
        client.post("/chat/completions", json=STREAM, headers=headers)
        for headers in (
            {},
            {"Authorization": "Bearer sk-wrong"},
            {"Authorization": "Bearer sk-right"},
        )
    )

    assert [without.status_code, wrong.status_code] == [401, 401]
    assert wrong.json()["error"]["code"] == "invalid_api_key"
    assert said(right) == "in"


def test_models_are_listed_and_others_are_refused(fake_openai, client):
    assert client.get("/models").json() == {"object": "list", "data": []}
    fake_openai.add_model("m")
    fake_openai.reply("yes")

    listed = client.get("/models").json()["data"]
    answers = [ask(client, model="other"), ask(client, stream=True)]

    assert [model["id"] for model in listed] == ["m"]
    assert answers[0].status_code == 404
    assert answers[0].json()["error"]["code"] == "model_not_found"
    assert said(answers[1]) == "yes"


def test_an_error_in_a_stream_is_an_event(fake_openai, client):
    fake_openai.reply("one two", fault=ErrorLine("boom", after=1), times=2)
    fake_openai.reply("one two", fault=ErrorLine("boom", after=0))

    streamed, whole, first = ask(client, stream=True), ask(client), ask(client, stream=True)

    assert events(streamed)[-1]["error"]["message"] == "boom"
    assert len(events(streamed)) == 2
    assert "[DONE]" not in streamed.text
    assert (whole.status_code, first.status_code) == (500, 500)
    assert first.json()["error"]["message"] == "boom"


def test_an_error_in_a_response_is_an_event_of_its_own(fake_openai, client):
    fake_openai.reply("one two", fault=ErrorLine("boom"))

    last = events(client.post("/responses", json={**ASK, "stream": True}))[-1]

    assert (last["type"], last["message"]) == ("error", "boom")
    EVENT.validate_python(last)


def test_a_stream_without_its_end_has_no_finish_reason(fake_openai, client):
    fake_openai.reply("one two", fault=NoDone(), times=2)

    streamed, whole = ask(client, stream=True), ask(client).json()

    assert [event["choices"][0]["finish_reason"] for event in events(streamed)] == [None, None]
    assert "[DONE]" not in streamed.text
    assert whole["choices"][0]["finish_reason"] is None
    assert whole["choices"][0]["message"]["content"] == "one two"


@pytest.mark.parametrize("fault", [Reset(after=1), Close(after=1), Close(after_bytes=20), Reset()])
def test_a_broken_connection_breaks_the_answer(fake_openai, client, fault):
    fake_openai.reply("one two three", fault=fault)
    with pytest.raises(httpx.TransportError):
        ask(client, stream=True)


def test_a_split_changes_only_the_pieces(fake_openai, client):
    fake_openai.reply("dæ \u2028 ✓", fault=Split(every=1))
    with client.stream("POST", "/chat/completions", json=STREAM) as response:
        pieces = list(response.iter_raw())
    assert max(map(len, pieces)) == 1
    assert "✓" in b"".join(pieces).decode()


async def test_a_stall_holds_the_answer_until_the_client_hangs_up(fake_openai):
    stall = Stall(after=1)
    fake_openai.reply("one two", fault=stall)
    client = openai.AsyncOpenAI(base_url=fake_openai.base_url, api_key="k")

    stream = await client.chat.completions.create(**STREAM)
    first = await anext(stream)
    await stall.reached()
    await stream.close()

    assert first.choices[0].delta.content == "one"
    assert (await fake_openai.disconnected()).chunks_sent == 1
    await client.close()


def test_a_port_that_refuses_takes_connections_again(fake_openai):
    fake_openai.refuse()
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"{fake_openai.base_url}/chat/completions", json=CHAT)
    fake_openai.accept()
    fake_openai.reply("back")
    assert httpx.post(f"{fake_openai.base_url}/chat/completions", json=CHAT).is_success


def test_an_api_can_begin_at_another_path():
    with FakeOpenAI(path="/api/v1") as fake:
        fake.reply("hello")
        assert fake.base_url.endswith("/api/v1")
        assert httpx.post(f"{fake.base_url}/chat/completions", json=CHAT).is_success


def test_what_was_not_as_scripted_is_told():
    with FakeOpenAI(strict=False) as fake, httpx.Client(base_url=fake.base_url) as client:
        assert ask(client).status_code == 500
        with pytest.raises(UnexpectedRequest, match=r"no answer is queued for model 'm'.*'Hi'"):
            fake.verify()
        assert client.get("/embeddings").status_code == 404

    fake = FakeOpenAI(strict=False)
    with fake:
        fake.reply("left")
    with pytest.raises(UnconsumedReplies, match=r"'left' to /v1/chat/completions or /v1/responses"):
        fake.verify()

    fake = FakeOpenAI(strict=False)
    with fake:
        fake.reply(lambda request: {}["oops"])
        httpx.post(f"{fake.base_url}/chat/completions", json=CHAT)
    with pytest.raises(FakeServerError, match="KeyError: 'oops'"):
        fake.verify()


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CALLED = {"role": "assistant", "tool_calls": [CALL]}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "1"}
USER = {"role": "user", "content": "Hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"name": "a", "schema": {}}

TAKEN = {
    "a turn with a call": {"messages": [USER, CALLED, RESULT]},
    "two results in another order": {
        "messages": [
            {"role": "assistant", "tool_calls": [CALL, {**CALL, "id": "c2"}]},
            {**RESULT, "tool_call_id": "c2"},
            RESULT,
        ]
    },
    "every role": {"messages": [{"role": r, "content": "x"} for r in ("system", "developer", "user", "assistant")]},
    "parts": {
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:"}}]}
        ]
    },
    "an assistant that refused": {"messages": [{"role": "assistant", "refusal": "no"}, USER]},
    "tools": {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}, "parallel_tool_calls": False},
    "tools of other kinds": {"tools": [{"type": "custom", "custom": {"name": "x"}}]},
    "a schema": {"response_format": {"type": "json_schema", "json_schema": SCHEMA}},
    "an object in words": {"messages": [{"role": "user", "content": "in JSON"}], "response_format": {"type": "json_object"}},
    "null for what is not set": {"temperature": None, "tools": None, "stream": None, "stream_options": None},
    "fields of other servers": {"provider": {"order": ["x"]}, "top_k": 4},
}  # fmt: skip

REFUSED = {
    "no model": ({"model": ""}, "model parameter"),
    "no messages": ({"messages": None}, "Missing required parameter: 'messages'"),
    "messages that are text": ({"messages": "Hi"}, "Invalid type for 'messages'"),
    "an empty list of messages": ({"messages": []}, "got an empty array"),
    "a message that is text": ({"messages": ["Hi"]}, "Invalid type for 'messages[0]'"),
    "an unknown role": ({"messages": [{"role": "bot", "content": "x"}]}, "Invalid value: 'bot'"),
    "a user without content": ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    "content that is a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "an unknown part": ({"messages": [{"role": "user", "content": [{"type": "input_text"}]}]}, "Invalid value: 'input_text'"),
    "arguments as an object": (
        {"messages": [{**CALLED, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}, RESULT]},
        "tool_calls[0].function.arguments",
    ),
    "an empty list of calls": ({"messages": [{"role": "assistant", "content": "x", "tool_calls": []}]}, "messages[0].tool_calls"),
    "a result without a call": ({"messages": [USER, RESULT]}, "must be a response to a preceeding message"),
    "a result that comes twice": ({"messages": [CALLED, RESULT, RESULT]}, "must be a response to a preceeding message"),
    "a result without an id": ({"messages": [CALLED, {"role": "tool", "content": "1"}]}, "tool_call_id"),
    "a call without a result": ({"messages": [CALLED, USER]}, "did not have response messages: c1"),
    "a call at the end": ({"messages": [CALLED]}, "did not have response messages: c1"),
    "a type that is wrong": ({"temperature": "hot"}, "Invalid type for 'temperature'"),
    "true for a number": ({"max_tokens": True}, "Invalid type for 'max_tokens'"),
    "a value out of range": ({"temperature": 3}, "expected a value between 0 and 2"),
    "a choice without tools": ({"tool_choice": "required"}, "'tool_choice' is only allowed"),
    "parallel calls without tools": ({"parallel_tool_calls": True}, "'parallel_tool_calls' is only allowed"),
    "a tool without a name": ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    "a tool's name with a space": ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "does not match pattern"),
    "parameters that are not an object": (
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
        "Invalid schema for function 'f'",
    ),
    "a format that is unknown": ({"response_format": {"type": "xml"}}, "Invalid value: 'xml'"),
    "an object without the word": ({"response_format": {"type": "json_object"}}, "must contain the word 'json'"),
    "a schema without a name": ({"response_format": {"type": "json_schema", "json_schema": {}}}, "json_schema.name"),
    "usage without a stream": ({"stream_options": {"include_usage": True}}, "only allowed when 'stream' is enabled"),
    "top_logprobs alone": ({"top_logprobs": 2}, "only allowed when 'logprobs' is enabled"),
}  # fmt: skip


@pytest.mark.parametrize("fields", TAKEN.values(), ids=TAKEN)
def test_a_request_that_a_server_takes_is_answered(fake_openai, client, fields):
    fake_openai.reply("yes")
    assert ask(client, **fields).status_code == 200


@pytest.mark.parametrize(("fields", "words"), REFUSED.values(), ids=REFUSED)
def test_a_request_that_a_server_refuses_is_refused(fake_openai, client, fields, words):
    fake_openai.strict = False
    fake_openai.reply("never")

    answer = ask(client, **fields)

    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]
    assert answer.json()["error"]["type"] == "invalid_request_error"
    with pytest.raises(InvalidRequest):
        fake_openai.verify()


def test_a_body_that_is_not_json_is_refused(fake_openai, client):
    fake_openai.strict = False
    answer = client.post("/chat/completions", content=b"{oops")
    assert "could not parse the JSON body" in answer.json()["error"]["message"]


ITEM = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "1"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"input": [ITEM, OUTPUT]}, None),
        ({"input": [OUTPUT], "previous_response_id": "resp_1"}, None),
        ({"input": "Hi", "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}]}, None),
        ({"input": None}, "Missing required parameter: 'input'"),
        ({"input": 5}, "Invalid type for 'input'"),
        ({"input": ["Hi"]}, "Invalid type for 'input[0]'"),
        ({"input": [OUTPUT]}, "No tool call found for function call output with call_id c1"),
        ({"input": [ITEM]}, "No tool output found for function call c1"),
        ({"input": "Hi", "tools": [{"type": "function"}]}, "tools[0].function.name"),
        ({"input": "Hi", "max_output_tokens": "5"}, "Invalid type for 'max_output_tokens'"),
    ],
)  # fmt: skip
def test_responses_are_checked_too(fake_openai, client, fields, words):
    fake_openai.strict = False
    fake_openai.reply("yes", times=None)

    answer = client.post("/responses", json={"model": "m", **fields})

    if words is None:
        assert answer.status_code == 200
    else:
        assert words in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
def test_equal_scripts_give_equal_bytes(path):
    def play():
        with FakeOpenAI() as fake:
            fake.reply("a", tool_calls=[("f", {})], times=2)
            body = {**CHAT, **ASK, "stream": True}
            return [httpx.post(fake.base_url + path, json=body).content for _ in range(2)]

    first, second = play(), play()
    assert first == second
    assert first[0] != first[1]  # ids are new for every answer


def test_pieces_may_be_endless(fake_openai, client):
    fake_openai.reply(pieces=itertools.repeat("on "))
    with client.stream("POST", "/chat/completions", json=STREAM) as response:
        assert next(response.iter_lines()).startswith("data: ")
    fake_openai.wait_for_disconnect()


@pytest.mark.parametrize("model_class", [OpenAIResponsesModel, OpenAIChatCompletionsModel])
async def test_the_sdk_s_models_run_agents_on_it(fake_openai, run, model_class):
    @function_tool
    def weather(city: str) -> str:
        """The weather."""
        return f"sunny in {city}"

    fake_openai.reply(thinking="Hm", tool_calls=[("weather", {"city": "Paris"})], call_pieces=2)
    fake_openai.reply("Take a hat.")
    async with openai.AsyncOpenAI(base_url=fake_openai.base_url, api_key="k") as client:
        agent = Agent(name="a", tools=[weather], model=model_class("m", client))
        result = await run(agent, run_config=RunConfig(tracing_disabled=True))

    assert result.final_output == "Take a hat."
    assert "sunny in Paris" in json.dumps(fake_openai.chats[-1])


@pytest.mark.parametrize("path", ["/chat/completions", "/responses"])
async def test_the_sdk_s_client_understands_the_failures(fake_openai, path):
    fake_openai.fail(429, "slow down", headers={"Retry-After": "3"})
    async with openai.AsyncOpenAI(
        base_url=fake_openai.base_url, api_key="k", max_retries=0
    ) as client:
        with pytest.raises(openai.RateLimitError, match="slow down") as caught:
            await client.post(path, body={**CHAT, **ASK}, cast_to=object)
    assert caught.value.response.headers["retry-after"] == "3"
