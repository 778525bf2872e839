"""Clients somebody else made."""

import asyncio
import base64
import types

import httpx
import ollama
import pytest
from agents import Agent, ModelSettings, ModelTracing, RunConfig, Runner, function_tool

from timestep import (
    ConfigurationError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaModel,
    OllamaModelProvider,
    OllamaStatusError,
    OllamaStreamError,
    OllamaTimeoutError,
    UnsupportedInputError,
)
from timestep.net.connection import TransportError
from timestep.net.given_client import Given
from timestep.ollama.given_client import chat_source
from timestep.ollama.wire import Wire
from timestep.testing import Stall

QUIET = RunConfig(tracing_disabled=True)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


def get(model, asked="hi"):
    return model.get_response(None, asked, ModelSettings(), [], None, [], ModelTracing.DISABLED)


def answer(text="hi", **more):
    return {"message": {"role": "assistant", "content": text}, "done": True, **more}


def text_of(response):
    return response.output[-1].content[0].text


async def test_a_real_client_lends_its_connection_and_keeps_call_ids(fake_ollama, run):
    client = ollama.AsyncClient(host=fake_ollama.url, headers={"x-mine": "1"})
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Paris"})])
    fake_ollama.reply("sunny")

    agent = Agent("a", model=OllamaModel("m", client), tools=[get_weather])
    result = await run(agent, "hi", run_config=QUIET)
    await client.close()

    assistant, tool = fake_ollama.chats[1]["messages"][1:]
    assert result.final_output == "sunny"
    assert tool["tool_call_id"] == assistant["tool_calls"][0]["id"]
    assert {r.headers.get("x-mine") for r in fake_ollama.requests if r.path == "/api/chat"} == {"1"}


async def test_no_header_of_a_client_is_repeated_in_an_error(fake_ollama):
    headers = {"x-api-key": "gateway-key-123456", "authorization": "Bearer sk-own-0123456789"}
    client = ollama.AsyncClient(host=fake_ollama.url, headers=headers)
    fake_ollama.fail(500, "not with gateway-key-123456 and sk-own-0123456789")

    with pytest.raises(OllamaStatusError, match=r"not with \*\*\* and \*\*\*"):
        await get(OllamaModel("m", client))
    await client.close()


async def test_a_chat_that_a_subclass_overrides_is_respected():
    class Mine(ollama.AsyncClient):
        async def chat(self, **keywords):
            self.asked = keywords
            return answer("mine")

    client = Mine(host="http://127.0.0.1:9")

    response = await get(OllamaModel("m", client))
    await client.close()

    assert text_of(response) == "mine"
    assert client.asked["messages"] == [{"role": "user", "content": "hi"}]


class Whole:
    async def chat(self, **keywords):
        return answer("whole")


class Pydantic:
    async def chat(self, **keywords):
        return ollama.ChatResponse.model_validate(answer("whole"))


class Streaming:
    async def chat(self, *, stream, **keywords):
        assert stream is True

        async def chunks():
            yield {"message": {"role": "assistant", "content": "who"}, "done": False}
            yield ollama.ChatResponse.model_validate(answer("le"))

        return chunks()


class Generator:
    async def chat(self, **keywords):
        yield {"message": {"role": "assistant", "content": "who"}, "done": False}
        yield answer("le")


@pytest.mark.parametrize("client", [Whole, Pydantic, Streaming, Generator])
async def test_any_object_with_a_chat_will_do(client):
    response = await get(OllamaModel("m", client()))

    assert text_of(response) == "whole"


async def test_an_iterator_without_a_way_to_close_it_will_do():
    class Iterator:
        def __init__(self):
            self.left = [answer("only")]

        def __aiter__(self):
            return self

        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop()

    class Client:
        def chat(self, **keywords):
            return Iterator()

    assert text_of(await get(OllamaModel("m", Client()))) == "only"


async def test_a_stand_in_gets_what_its_signature_names_and_images_as_bytes():
    class Client:
        async def chat(self, truncate=None, **keywords):
            self.asked = {"truncate": truncate, **keywords}
            return answer()

    client = Client()
    item = {
        "role": "user",
        "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
    }

    await get(OllamaModel("m", client, options={"num_ctx": 4096}), [item])

    assert client.asked["truncate"] is False
    assert client.asked["messages"][0]["images"] == [b"\x89PNG\r\n\x1a\n"]
    assert client.asked["options"] == {"num_ctx": 4096}


async def test_without_a_truncate_argument_none_is_given():
    class Client:
        async def chat(self, **keywords):
            self.asked = keywords
            return answer()

    client = Client()
    await get(OllamaModel("m", client))

    assert "truncate" not in client.asked


@pytest.mark.parametrize(
    ("raised", "error"),
    [
        (ollama.ResponseError("model 'm' not found", 404), ModelNotFoundError),
        (ollama.ResponseError("CUDA error"), OllamaStreamError),
        (ConnectionError("refused"), OllamaConnectionError),
        (httpx.ConnectError("refused"), OllamaConnectionError),
        (httpx.ReadTimeout(""), OllamaTimeoutError),
    ],
)
async def test_what_a_stand_in_raises_becomes_an_error_of_the_tree(raised, error):
    class Client:
        async def chat(self, **keywords):
            raise raised

    with pytest.raises(error) as caught:
        await get(OllamaModel("m", Client()))

    assert caught.value.__cause__ is not None


async def test_a_stand_in_whose_answer_is_not_done_is_an_error():
    class Client:
        async def chat(self, **keywords):
            return {"message": {"role": "assistant", "content": "half"}, "done": False}

    with pytest.raises(OllamaStreamError, match="done: true"):
        await get(OllamaModel("m", Client()))


async def test_a_stream_of_a_stand_in_is_closed_when_its_reader_leaves():
    closed = asyncio.Event()

    class Client:
        async def chat(self, **keywords):
            try:
                for _ in range(1000):
                    yield {"message": {"role": "assistant", "content": "a"}, "done": False}
            finally:
                closed.set()

    stream = OllamaModel("m", Client()).stream_response(
        None, "hi", ModelSettings(), [], None, [], ModelTracing.DISABLED
    )
    async for event in stream:
        if event.type == "response.output_text.delta":
            break
    await stream.aclose()

    assert closed.is_set()


@pytest.mark.parametrize("client", [object(), 1, "http://localhost:11434"])
def test_what_has_no_chat_is_refused(client):
    with pytest.raises(ConfigurationError, match="has no chat"):
        OllamaModel("m", client)


def test_the_synchronous_client_is_refused():
    client = ollama.Client()

    with pytest.raises(ConfigurationError, match="AsyncClient"):
        OllamaModel("m", client)


def test_a_wire_is_its_own_source(fake_ollama):
    wire = OllamaModelProvider(base_url=fake_ollama.url).wire()

    assert isinstance(wire, Wire)
    assert chat_source(wire) is wire


async def test_a_closed_client_is_a_clear_error(fake_ollama):
    client = ollama.AsyncClient(host=fake_ollama.url)
    await client.close()

    with pytest.raises(OllamaConnectionError, match="one event loop and until it is closed"):
        await get(OllamaModel("m", client))


async def test_a_provider_hands_its_client_to_every_model(fake_ollama):
    client = ollama.AsyncClient(host=fake_ollama.url)
    provider = OllamaModelProvider(ollama_client=client, options={"num_ctx": 2048})
    fake_ollama.reply("hi")

    result = await Runner.run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)
    await client.close()

    assert result.final_output == "hi"
    assert fake_ollama.chats[0]["options"] == {"num_ctx": 2048}


async def test_a_chat_that_an_object_overrides_is_respected(fake_ollama):
    client = ollama.AsyncClient(host=fake_ollama.url)

    async def chat(**keywords):
        return answer("mine")

    client.chat = chat

    assert text_of(await get(OllamaModel("m", client))) == "mine"
    await client.close()


@pytest.mark.parametrize(
    ("settings", "lost"),
    [
        ({}, ["truncate"]),
        ({"on_context_overflow": "truncate"}, []),
        ({"keep_alive": "5m"}, ["truncate"]),
    ],
)
async def test_what_a_stand_in_does_not_take_is_warned_of_once(caplog, settings, lost):
    model = OllamaModel("m", Whole(), **settings)

    for _ in range(2):
        await get(model)

    warned = [record.getMessage() for record in caplog.records]
    assert [name for name in ("truncate", "keep_alive") if name in " ".join(warned)] == lost
    assert len(warned) == len(lost)


async def test_headers_that_a_stand_in_does_not_take_are_refused_under_strict_validation():
    model = OllamaModel(
        "m", Whole(), strict_feature_validation=True, on_context_overflow="truncate"
    )
    settings = ModelSettings(extra_headers={"x-mine": "1"})

    with pytest.raises(UnsupportedInputError, match="extra_headers"):
        await model.get_response(None, "hi", settings, [], None, [], ModelTracing.DISABLED)


async def test_a_chat_without_a_readable_signature_gets_what_the_real_one_takes():
    class Chat:
        __signature__ = "unreadable"

        async def __call__(self, **keywords):
            return answer(", ".join(keywords))

    class Client:
        chat = Chat()

    assert text_of(await get(OllamaModel("m", Client()))) == "model, messages, stream"


async def test_an_answer_may_be_any_mapping():
    class Client:
        async def chat(self, **keywords):
            return types.MappingProxyType(answer("whole"))

    assert text_of(await get(OllamaModel("m", Client()))) == "whole"


@pytest.mark.parametrize("body", ["<html>a portal</html>", '{"message": 3, "done": true}'])
async def test_what_a_stand_in_cannot_read_is_an_error_of_the_tree(fake_ollama, body):
    class Mine(ollama.AsyncClient):
        async def chat(self, **keywords):
            return await super().chat(**keywords)

    client = Mine(host=fake_ollama.url)
    fake_ollama.fail(200, body=body)

    with pytest.raises(OllamaStreamError, match="cannot be read"):
        await get(OllamaModel("m", client))
    await client.close()


def given_back(model, loop):
    """The connections of *model* are idle again."""
    for exchange in list(model._source._client.exchanges):
        loop.run_until_complete(asyncio.wait([exchange._task]))


@pytest.fixture
def first_loop():
    loop = asyncio.new_event_loop()
    yield loop
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.parametrize("more", [{"timeout": 30}, {"auth": ("a", "b")}, {"params": {"a": "b"}}])
def test_a_client_of_another_event_loop_is_a_clear_error(fake_ollama, first_loop, more):
    fake_ollama.reply("hi", times=None)  # the second request leaves, and its answer cannot be read
    client = ollama.AsyncClient(host=fake_ollama.url, **more)
    model = OllamaModel("m", client)
    first_loop.run_until_complete(get(model))
    given_back(model, first_loop)

    with pytest.raises(OllamaConnectionError, match="one event loop and until it is closed"):
        asyncio.run(get(model))

    first_loop.run_until_complete(client.close())


def test_a_client_with_nothing_but_host_and_headers_works_in_every_event_loop(
    fake_ollama, first_loop
):
    fake_ollama.reply("hi", times=None)
    client = ollama.AsyncClient(host=fake_ollama.url, headers={"x-mine": "1"})
    model = OllamaModel("m", client)

    first_loop.run_until_complete(get(model))
    given_back(model, first_loop)
    for _ in range(2):
        assert text_of(asyncio.run(get(model))) == "hi"
    first_loop.run_until_complete(get(model))  # still with the client itself
    given_back(model, first_loop)

    assert [request.headers["x-mine"] for request in fake_ollama.requests] == ["1"] * 4
    assert fake_ollama.open_connections == 1
    first_loop.run_until_complete(client.close())


def test_a_client_that_was_closed_is_closed_in_every_event_loop(fake_ollama, first_loop):
    fake_ollama.reply("hi", times=None)
    client = ollama.AsyncClient(host=fake_ollama.url)
    model = OllamaModel("m", client)
    first_loop.run_until_complete(get(model))
    given_back(model, first_loop)
    first_loop.run_until_complete(client.close())

    with pytest.raises(OllamaConnectionError, match="one event loop and until it is closed"):
        asyncio.run(get(model))


@pytest.mark.parametrize(
    ("host", "sent"),
    [("https://ollama.com", "gpt-oss:120b"), ("http://127.0.0.1:9", "gpt-oss:120b-cloud")],
)
async def test_a_client_of_ollama_com_is_asked_for_bare_names(host, sent):
    client = ollama.AsyncClient(host=host)

    assert OllamaModel("gpt-oss:120b-cloud", client)._served_as == sent
    await client.close()


async def test_a_client_keeps_its_own_time_limit(fake_ollama):
    fake_ollama.reply("hi", fault=Stall(0))
    client = ollama.AsyncClient(host=fake_ollama.url, timeout=1.0)

    with pytest.raises(OllamaTimeoutError) as caught:
        await get(OllamaModel("m", client))
    await client.close()

    assert (caught.value.phase, caught.value.seconds) == ("idle", None)


async def test_time_limits_that_are_given_replace_those_of_a_client(fake_ollama):
    stall = Stall(0)
    fake_ollama.reply("hi", fault=stall)
    client = ollama.AsyncClient(host=fake_ollama.url, timeout=0.05)
    asyncio.get_running_loop().call_later(0.2, stall.release)

    response = await get(OllamaModel("m", client, timeout={"first_byte": 30}))
    await client.close()

    assert text_of(response) == "hi"


async def test_a_client_of_another_loop_that_runs_is_refused_and_not_waited_for(fake_ollama):
    fake_ollama.reply("hello", times=None)
    async with ollama.AsyncClient(fake_ollama.url, timeout=30) as client:
        provider = OllamaModelProvider(ollama_client=client)
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        agent = Agent(name="a", model="m")
        await Runner.run(agent, "hi", run_config=config)

        def elsewhere():
            with pytest.raises(OllamaConnectionError, match="belongs to another event loop"):
                asyncio.run(Runner.run(agent, "hi", run_config=config))

        await asyncio.gather(*(asyncio.to_thread(elsewhere) for _ in range(3)))
        assert (await Runner.run(agent, "hi", run_config=config)).final_output == "hello"
    assert len(fake_ollama.chats) == 2


async def test_the_loop_that_comes_next_gets_the_client_of_a_loop_that_ended():
    async with httpx.AsyncClient(timeout=30) as client:
        given = Given(client)

        async def opened():
            return given("http://127.0.0.1", None)

        await asyncio.to_thread(asyncio.run, opened())
        await opened()
        with pytest.raises(TransportError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, opened())
