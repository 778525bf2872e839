"""The chat-completions model in front of a real loopback server, asked by the real Runner."""

import asyncio
import json
import re

import openai
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, function_tool
from agents.exceptions import ModelRefusalError
from agents.models.interface import ModelProvider
from pydantic import BaseModel

from tests.conftest import CHUNK, chat_stream
from timestep import errors
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.errors import OpenAIConnectionError
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.wire import ChatWire


class One(ModelProvider):
    def __init__(self, model):
        self.model = model

    def get_model(self, name):
        return self.model


@pytest.fixture
async def model(openai_server):
    wires = []

    def build(**options):
        wire = ChatWire(OpenAIEndpoint(base_url=openai_server.base_url, api_key="sk-secret-key"))
        wires.append(wire)
        return ChatCompletionsModel("m", wire, ChatModelOptions(**{"max_retries": 0, **options}))

    yield build
    for wire in wires:
        await wire.aclose()


def config(model):
    return RunConfig(model_provider=One(model), tracing_disabled=True)


def chunk(delta=None, finish=None, **fields):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {**CHUNK, "choices": [choice], **fields}


def stream(*chunks, end="data: [DONE]\n\n"):
    return chat_stream(chunks, end).encode()


def call(arguments, finish="tool_calls", name="delete_files"):
    function = {"name": name, "arguments": arguments}
    return stream(
        chunk({"tool_calls": [{"index": 0, "id": "call_1", "function": function}]}),
        chunk(finish=finish),
    )


DELETED = []


@function_tool
def delete_files(folder: str = "*") -> str:
    """Delete the files of a folder."""
    DELETED.append(folder)
    return "done"


@pytest.fixture(autouse=True)
def nothing_deleted():
    DELETED.clear()


class City(BaseModel):
    name: str


async def test_an_answer_comes_whole_and_streamed(model, openai_server, run):
    result = await run(Agent(name="a"), run_config=config(model()))
    assert result.final_output == "hello"
    path, headers, body = openai_server.requests[-1]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-secret-key"
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


async def test_usage_of_a_stream_is_counted(model, openai_server, run):
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 3},
    }
    openai_server.body = stream(
        chunk({"content": "hi"}), chunk(finish="stop"), {**CHUNK, "choices": [], "usage": usage}
    )
    result = await run(Agent(name="a"), run_config=config(model()))
    counted = result.context_wrapper.usage
    assert (counted.requests, counted.input_tokens, counted.output_tokens) == (1, 7, 2)
    assert counted.input_tokens_details.cached_tokens == 3


async def test_a_server_that_refuses_to_count_is_asked_without_and_remembered(
    model, openai_server, run, caplog
):
    def answer(body):
        if "stream_options" in body:
            return 400, {"error": {"message": "unknown field stream_options"}}
        return None

    openai_server.answers = answer
    subject = model()
    for _ in range(2):
        result = await run(Agent(name="a"), run_config=config(subject))
        assert result.final_output == "hello"
    asked = ["stream_options" in body for _, _, body in openai_server.requests]
    assert asked == [True, False, False]
    assert "cannot say how many tokens" in caplog.text


async def test_a_call_is_run_and_its_result_goes_back(model, openai_server, run):
    answers = iter(
        [call('{"folder": "/tmp/one"}'), stream(chunk({"content": "gone"}), chunk(finish="stop"))]
    )
    openai_server.answers = lambda body: (200, next(answers))
    result = await run(Agent(name="a", tools=[delete_files]), run_config=config(model()))
    assert DELETED == ["/tmp/one"]
    assert result.final_output == "gone"
    messages = openai_server.requests[-1][2]["messages"]
    assert messages[-2]["tool_calls"][0]["id"] == messages[-1]["tool_call_id"] == "call_1"


@pytest.mark.parametrize("arguments", ["", '{"fol', '{"folder": "/tmp/one"}'])
@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_a_call_in_an_answer_that_was_cut_is_never_run(
    model, openai_server, run, arguments, finish
):
    openai_server.body = call(arguments, finish)
    with pytest.raises(Exception, match=r"not run|may be incomplete") as caught:
        await run(Agent(name="a", tools=[delete_files]), run_config=config(model()))
    assert DELETED == []
    assert ("Raise max_tokens." in str(caught.value)) == (finish == "length")


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_text_that_was_cut_is_an_answer_with_a_mark(model, openai_server, run, finish):
    openai_server.body = stream(chunk({"content": "half of"}), chunk(finish=finish))
    result = await run(Agent(name="a"), run_config=config(model()))
    assert result.final_output == "half of"
    [message] = result.raw_responses[0].output
    assert message.status == "incomplete"
    assert message.provider_data["finish_reason"] == finish


async def test_nothing_but_a_filters_stop_is_an_error(model, openai_server, run):
    openai_server.body = stream(chunk({"content": ""}), chunk(finish="content_filter"))
    with pytest.raises(errors.ModelOutputError, match="content filter"):
        await run(Agent(name="a"), run_config=config(model()))


async def test_an_answer_that_broke_off_is_an_error_with_a_reason(model, openai_server, run):
    openai_server.body = stream(chunk({"content": ""}), end="")
    with pytest.raises(errors.BrokenAnswerError, match="broke off"):
        await run(Agent(name="a"), run_config=config(model()))


@pytest.mark.parametrize(
    ("status", "kind", "theirs"),
    [
        (401, errors.AuthenticationError, openai.AuthenticationError),
        (404, errors.OllamaStatusError, openai.APIStatusError),
        (429, errors.RateLimitError, openai.RateLimitError),
        (503, errors.ServerBusyError, openai.APIStatusError),
    ],
)
async def test_a_refusal_is_of_both_trees_and_shows_no_key(
    model, openai_server, run, status, kind, theirs
):
    openai_server.failure = (status, "your key sk-secret-key is wrong")
    with pytest.raises(kind) as caught:
        await run(Agent(name="a"), run_config=config(model()))
    assert isinstance(caught.value, theirs)
    assert caught.value.status_code == status
    assert "sk-secret-key" not in f"{caught.value} {caught.value.__cause__!r}"


async def test_a_passing_failure_is_tried_again_as_often_as_allowed(model, openai_server, run):
    openai_server.answers = lambda body: (429, {"error": {"message": "slow"}})
    openai_server.answer_headers = {"Retry-After": "0"}
    with pytest.raises(errors.RateLimitError):
        await run(Agent(name="a"), run_config=config(model(max_retries=2)))
    assert len(openai_server.requests) == 3


async def test_a_failure_of_the_caller_is_not_tried_again(model, openai_server, run):
    openai_server.failure = (400, "no")
    with pytest.raises(errors.OllamaStatusError):
        await run(Agent(name="a"), run_config=config(model(max_retries=2)))
    assert len(openai_server.requests) == 1


@pytest.mark.parametrize("how", ["json_schema", "json_object", "prompt"])
async def test_a_typed_answer_is_asked_for_as_the_options_say(model, openai_server, run, how):
    openai_server.body = stream(chunk({"content": '{"name": "Oslo"}'}), chunk(finish="stop"))
    agent = Agent(name="a", output_type=City)
    result = await run(agent, run_config=config(model(structured_output=how)))
    assert result.final_output == City(name="Oslo")
    body = openai_server.requests[-1][2]
    kind = body.get("response_format", {}).get("type")
    assert kind == {"json_schema": "json_schema", "json_object": "json_object", "prompt": None}[how]
    assert ("JSON schema" in json.dumps(body["messages"])) == (how != "json_schema")


async def test_a_typed_answer_that_is_wrong_is_asked_for_again_with_the_reason(
    model, openai_server, run
):
    answers = iter(
        [
            stream(chunk({"content": '{"nam": 1}'}), chunk(finish="stop")),
            stream(chunk({"content": '{"name": "Oslo"}'}), chunk(finish="stop")),
        ]
    )
    openai_server.answers = lambda body: (200, next(answers))
    result = await run(Agent(name="a", output_type=City), run_config=config(model()))
    assert result.final_output == City(name="Oslo")
    *_, said, asked = openai_server.requests[-1][2]["messages"]
    assert said == {"role": "assistant", "content": '{"nam": 1}'}
    assert "name" in asked["content"]
    assert result.context_wrapper.usage.requests in {1, 2}


async def test_a_required_call_that_did_not_come_is_asked_for_again(model, openai_server, run):
    answers = iter(
        [stream(chunk({"content": "no"}), chunk(finish="stop")), call('{"folder": "a"}')]
    )
    openai_server.answers = lambda body: (200, next(answers))
    agent = Agent(
        name="a",
        tools=[delete_files],
        tool_use_behavior="stop_on_first_tool",
        model_settings=ModelSettings(tool_choice="required"),
    )
    await run(agent, run_config=config(model()))
    assert DELETED == ["a"]


@pytest.mark.parametrize("tools", [[], [delete_files]])
async def test_a_choice_that_is_not_offered_is_refused_before_anything_is_sent(
    model, openai_server, run, tools
):
    offered = "delete_files" if tools else "none"
    agent = Agent(name="a", tools=tools, model_settings=ModelSettings(tool_choice="delete_file"))
    with pytest.raises(errors.UnsupportedInputError, match=rf"\(it offers: {offered}\)"):
        await run(agent, run_config=config(model()))
    assert openai_server.requests == []


async def test_tools_of_the_server_stand_beside_those_of_the_agent(model, openai_server, run):
    openai_server.body = stream(chunk({"content": "Hi"}), chunk(finish="stop"))
    settings = ModelSettings(extra_body={"tools": [{"type": "web_search"}]})
    result = await run(Agent(name="a", model_settings=settings), run_config=config(model()))
    assert result.final_output == "Hi"


async def test_calls_under_tool_choice_none_are_not_run(model, openai_server, run):
    openai_server.body = call('{"folder": "a"}')
    agent = Agent(name="a", tools=[delete_files], model_settings=ModelSettings(tool_choice="none"))
    with pytest.raises(errors.ModelOutputError, match="tool_choice is 'none'"):
        await run(agent, run_config=config(model()))
    assert DELETED == []


async def test_thinking_comes_before_the_answer(model, openai_server, run):
    openai_server.body = stream(
        chunk({"reasoning_content": "hm"}), chunk({"content": "yes"}), chunk(finish="stop")
    )
    result = await run(Agent(name="a"), run_config=config(model()))
    thinking, message = result.raw_responses[0].output
    assert thinking.content[0].text == "hm"
    assert message.content[0].text == "yes"


async def test_a_refusal_of_the_model_is_told(model, openai_server, run, caplog):
    openai_server.body = stream(chunk({"refusal": "I will not."}), chunk(finish="stop"))
    with pytest.raises(ModelRefusalError, match="I will not"):
        await run(Agent(name="a"), run_config=config(model()))
    assert "empty answer" not in caplog.text


async def sent_after_a_call(model, openai_server, run, *, delta=None, **more):
    """The assistant message of the second request, after an answer of *delta* and a call with *more*."""
    function = {"name": "delete_files", "arguments": '{"folder": "a"}'}
    call = {"index": 0, "id": "call_1", "function": function, **more}
    first = stream(chunk(delta or {}), chunk({"tool_calls": [call]}), chunk(finish="tool_calls"))
    answers = iter([first, stream(chunk({"content": "ok"}), chunk(finish="stop"))])
    openai_server.answers = lambda body: (200, next(answers))
    await run(Agent(name="a", tools=[delete_files]), run_config=config(model()))
    return openai_server.requests[-1][2]["messages"][-2]


async def test_a_signature_goes_back_with_its_call(model, openai_server, run):
    extra = {"google": {"thought_signature": "abc"}}
    sent = await sent_after_a_call(model, openai_server, run, extra_content=extra)
    assert sent["tool_calls"][0]["extra_content"] == extra


async def test_reasoning_details_go_back_with_their_turn(model, openai_server, run):
    details = [{"type": "reasoning.encrypted", "index": 0, "id": "r1", "data": "abc"}]
    delta = {"reasoning": "hm", "reasoning_details": details}
    sent = await sent_after_a_call(model, openai_server, run, delta=delta)
    assert sent["reasoning_details"] == details


async def test_a_result_whose_call_is_gone_is_sent_as_words(model, openai_server, caplog, run):
    items = [
        {"type": "function_call_output", "call_id": "gone", "output": "42"},
        {"role": "user", "content": "and?"},
    ]
    await run(Agent(name="a"), items, run_config=config(model()))
    [told, _] = openai_server.requests[-1][2]["messages"]
    assert told == {"role": "user", "content": "Result of an earlier call: 42"}
    assert "sent as text" in caplog.text


@pytest.mark.parametrize(
    ("delta", "named"),
    [
        ({"content": "hi", "images": [{"type": "image_url"}]}, "images"),
        ({"content": "hi", "audio": {"data": "AA"}}, "audio"),
        ({"content": "hi", "annotations": [{"type": "url_citation"}]}, "annotations"),
        ({"content": [{"type": "text", "text": "hi"}, {"type": "image_url"}]}, "parts that are"),
        ({"content": "hi", "images": [], "audio": None}, None),
        ({"content": [{"type": "text", "text": "hi"}, {"type": "text", "text": ""}]}, None),
    ],
)
async def test_what_an_answer_holds_beside_text_is_listed_as_ignored(
    model, openai_server, caplog, run, delta, named
):
    openai_server.body = stream(chunk(delta), chunk(finish="stop"))
    assert (await run(Agent(name="a"), run_config=config(model()))).final_output == "hi"
    assert ("which are ignored" in caplog.text) == (named is not None)
    assert named is None or f"sent {named}" in caplog.text


async def test_cancelling_a_run_closes_the_connection(model, fake_slow_openai):
    base_url, hung_up = fake_slow_openai
    wire = ChatWire(OpenAIEndpoint(base_url=base_url))
    subject = ChatCompletionsModel("m", wire)
    running = asyncio.create_task(_first_event(subject))
    await asyncio.wait_for(running, 60)
    await asyncio.wait_for(hung_up.wait(), 60)
    await wire.aclose()


async def _first_event(subject):
    from agents import ModelTracing  # noqa: PLC0415 - as above

    events = subject.stream_response(
        None, "x", ModelSettings(), [], None, [], ModelTracing.DISABLED
    )
    async for event in events:
        if event.type == "response.output_text.delta":
            break
    await events.aclose()


@pytest.fixture
async def fake_slow_openai():
    """A server that says one word and waits; and the event that its client hung up."""
    hung_up = asyncio.Event()

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(f"data: {json.dumps(chunk({'content': 'once'}))}\n\n".encode())
        await writer.drain()
        while await reader.read(1000):
            pass
        hung_up.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/v1", hung_up


def test_a_second_event_loop_works(openai_server):
    wire = ChatWire(OpenAIEndpoint(base_url=openai_server.base_url))
    subject = ChatCompletionsModel("m", wire)

    async def ask():
        from agents import Runner  # noqa: PLC0415 - as above

        result = await Runner.run(Agent(name="a"), "hi", run_config=config(subject))
        await wire.aclose()
        return result.final_output

    assert [asyncio.run(ask()), asyncio.run(ask())] == ["hello", "hello"]


async def test_a_proxy_that_is_down_is_not_blamed_on_the_server(monkeypatch, run):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    wire = ChatWire(OpenAIEndpoint(base_url="http://vllm.invalid/v1"))
    subject = ChatCompletionsModel("m", wire, ChatModelOptions(max_retries=0))

    with pytest.raises(OpenAIConnectionError, match=r"HTTP_PROXY names.*Check the proxy"):
        await run(Agent(name="a"), run_config=config(subject))
    await wire.aclose()


async def test_mistral_gets_call_ids_of_nine_letters_that_belong_together(
    monkeypatch, openai_server
):
    ran = []

    @function_tool
    def look(city: str) -> str:
        ran.append(city)
        return f"{city}: sunny"

    monkeypatch.setenv("HTTP_PROXY", openai_server.base_url.removesuffix("/v1"))
    cities = {"call_of_another_server_1": "Oslo", "abcDEF123": "Rome"}
    calls = [
        {
            "index": at,
            "id": key,
            "function": {"name": "look", "arguments": json.dumps({"city": city})},
        }
        for at, (key, city) in enumerate(cities.items())
    ]
    turns = iter(
        [
            stream(chunk({"tool_calls": calls}, "tool_calls")),
            stream(chunk({"content": "ok"}, "stop")),
        ]
    )
    openai_server.answers = lambda body: (200, next(turns))
    wire = ChatWire(OpenAIEndpoint(base_url="http://api.mistral.ai/v1"))
    subject = ChatCompletionsModel("m", wire, ChatModelOptions(max_retries=0))

    await Runner.run(Agent(name="a", tools=[look]), "hi", run_config=config(subject))
    await wire.aclose()

    assert sorted(ran) == ["Oslo", "Rome"]
    [_, turn, *results] = openai_server.requests[-1][2]["messages"]
    ids = [call["id"] for call in turn["tool_calls"]]
    assert ids[1] == "abcDEF123"  # its own form stays
    assert re.fullmatch("[a-z0-9]{9}", ids[0])
    assert {result["tool_call_id"]: result["content"] for result in results} == {
        ids[0]: "Oslo: sunny",
        ids[1]: "Rome: sunny",
    }


@pytest.mark.parametrize(
    ("host", "is_short"),
    [
        ("api.mistral.ai", True),
        ("mistral.ai", True),
        ("notmistral.ai", False),
        ("mistral.ai.example", False),
    ],
)
def test_only_mistral_gets_short_call_ids(host, is_short):
    assert OpenAIEndpoint(base_url=f"http://{host}/v1").wants_short_call_ids is is_short


def move(openai_server, location):
    """Have *openai_server* redirect what comes to the usual path."""

    def answer(body):
        [path] = [path for path, _, sent in list(openai_server.requests) if sent is body]
        return (307, b"") if path == "/v1/chat/completions" else None

    openai_server.answer_headers = {"Location": location}
    openai_server.answers = answer


@pytest.mark.parametrize("location", ["/v2/chat/completions", "other/completions"])
async def test_a_redirect_is_followed_on_its_own_origin(model, openai_server, run, location):
    move(openai_server, location)
    subject = model()
    for _ in range(2):  # the second call goes there at once
        assert (await run(Agent("a"), run_config=config(subject))).final_output == "hello"

    first, *moved = [path for path, _, _ in openai_server.requests]
    assert first == "/v1/chat/completions"
    assert [path.endswith(location) for path in moved] == [True, True]


@pytest.mark.parametrize(
    ("location", "requests"),
    [
        ("https://elsewhere.example/v1/chat/completions", 1),
        ("http://[::1", 1),
        ("http://127.0.0.1:99999/v1", 1),
        ("", 1),
        ("/v1/chat/completions", 6),  # a ring, which is followed a few times
    ],
)
async def test_a_redirect_that_cannot_be_followed_is_an_error(
    model, openai_server, run, location, requests
):
    openai_server.answer_headers = {"Location": location}
    openai_server.body, openai_server.status = b"", 307

    with pytest.raises(errors.TimestepError, match="307"):
        await run(Agent("a"), run_config=config(model()))

    assert len(openai_server.requests) == requests


async def test_requests_that_are_redirected_at_once_are_all_answered(model, openai_server, run):
    move(openai_server, "/v2/chat/completions")
    subject = model()

    asking = [run(Agent("a"), run_config=config(subject)) for _ in range(8)]
    results = await asyncio.gather(*asking)

    assert [result.final_output for result in results] == ["hello"] * 8
