"""Half a call is never run: by the SDK's own model for chat completions, and by ours."""

import asyncio
import functools
import json

import agents
import pytest
from agents import Agent, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool
from openai import APIError, AsyncOpenAI
from pydantic import ValidationError

from timestep import MultiModelProvider, MultiModelProviderMap, Settings, errors
from timestep.testing import ErrorLine, FakeOpenAI, NoDone
from timestep.traces import install, uninstall

PAID, CLIENTS = [], []


@function_tool
def pay(amount: int = 100) -> str:
    """Pay an amount."""
    PAID.append(amount)
    return "paid"


@pytest.fixture(autouse=True)
def nothing_paid():
    PAID.clear()


@pytest.fixture
def server():
    with FakeOpenAI(strict=False) as fake:
        yield fake


def settings(url, **table):
    table = {"kind": "openai", "base_url": url, "api": "chat_completions", **table}
    return {"providers": {"a": {"max_retries": 0, **table}}}


def own(url):
    return MultiModelProvider.from_settings(Settings(**settings(url))), "a/m"


def sdk(url):
    return MultiModelProvider.from_settings(Settings(**settings(url, adapter="sdk"))), "a/m"


def keywords(url, *, use_responses=False):
    client = AsyncOpenAI(api_key="k", base_url=url, max_retries=0)
    CLIENTS.append(client)
    return {"openai_client": client, "openai_use_responses": use_responses}


def given_client(url):
    return MultiModelProvider.from_env(**keywords(url)), "m"


def by_hand(url):
    return MultiModelProvider(**keywords(url)), "m"


def in_a_map(url):
    providers = MultiModelProviderMap()
    providers.add_provider("a", by_hand(url)[0].openai_provider)
    return MultiModelProvider(provider_map=providers), "a/m"


def given_client_responses(url):
    return MultiModelProvider.from_env(**keywords(url, use_responses=True)), "m"


def by_hand_responses(url):
    return MultiModelProvider(**keywords(url, use_responses=True)), "m"


@pytest.fixture(params=[own, sdk, given_client, by_hand, in_a_map])
def asked(request, server):
    return request.param(server.base_url)


def call(arguments):
    return {"id": "call_1", "type": "function", "function": {"name": "pay", "arguments": arguments}}


async def ask(run, asked):
    provider, model = asked
    try:
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        return await run(Agent(name="a", model=model, tools=[pay]), run_config=config)
    finally:
        await provider.aclose()
        while CLIENTS:
            await CLIENTS.pop().close()


@pytest.mark.parametrize(
    ("arguments", "reason", "error"),
    [
        ("", "length", errors.ModelOutputError),
        ('{"amount": 5', "length", errors.ModelOutputError),
        ('{"amount": 5}', "length", errors.ModelOutputError),
        ("", "content_filter", errors.ModelOutputError),
        ("", "error", errors.ServerBusyError),
        ("", None, errors.BrokenAnswerError),
        ('{"amount": 5', None, errors.BrokenAnswerError),
    ],
)
async def test_a_call_that_may_be_half_is_not_run(run, server, asked, arguments, reason, error):
    server.reply(tool_calls=[call(arguments)], finish_reason=reason)
    shown = agents.ModelBehaviorError  # what a stream that has shown the call ends with
    with pytest.raises((error, shown) if run.is_streamed else error):
        await ask(run, asked)
    assert PAID == []


async def test_a_stream_that_ends_behind_a_call_runs_nothing(server, asked, whole_and_streamed):
    server.reply(tool_calls=[call("{}")], finish_reason=None, done=False)
    with pytest.raises(errors.BrokenAnswerError):
        await ask(whole_and_streamed[1], asked)
    assert PAID == []


@pytest.mark.parametrize("provider", [sdk, given_client, by_hand, in_a_map])
async def test_an_error_in_the_middle_of_a_stream_is_of_both_trees(
    server, provider, whole_and_streamed
):
    server.reply("hello", fault=ErrorLine("The model crashed.", after=1))
    with pytest.raises(errors.ServerBusyError, match=r"The model crashed\.") as caught:
        await ask(whole_and_streamed[1], provider(server.base_url))
    assert isinstance(caught.value, APIError)


@pytest.mark.parametrize(
    "body",
    [
        '{"error": {"message": "slow", "code": "rate_limit_exceeded"}}',
        '{"choices": []}',
        "data: [DONE]\n\n",
        ": ping\n\n",
        'data: {"id": "x", "object": "chat.completion.chunk", "choices": []}\n\ndata: [DONE]\n\n',
        'data: {"id": "x", "object": "chat.completion.chunk", "choices": null}\n\n',
        "",
    ],
)
async def test_a_stream_without_a_choice_is_no_answer(server, asked, whole_and_streamed, body):
    server.fail(200, body=body, headers={"Content-Type": "application/json"})
    with pytest.raises(errors.TimestepError):
        await ask(whole_and_streamed[1], asked)


def chunk(**delta):
    choice = {"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": "stop"}
    fields = {"id": "x", "object": "chat.completion.chunk", "choices": [choice]}
    return f"data: {json.dumps(fields)}\n\ndata: [DONE]\n\n"


def document(**message):
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return json.dumps({"id": "x", "object": "chat.completion", "choices": [choice]})


@pytest.mark.parametrize(
    ("whole", "events"),
    [
        ('{"choices": 5}', 'data: {"choices": 5}\n\n'),
        ('{"choices": [5]}', 'data: {"choices": [5]}\n\n'),
        ("nope", "data: nope\n\n"),
        (document(tool_calls=[call(["a"])]), chunk(tool_calls=[{"index": 0, **call(["a"])}])),
        (document(tool_calls=[5]), chunk(tool_calls=[5])),
        (document(content=[{"x": 1}]), chunk(content={"x": 1})),
    ],
    ids=["choices", "choice", "json", "arguments", "call", "content"],
)
async def test_an_answer_of_another_shape_is_an_error_of_ours(run, server, asked, whole, events):
    body, kind = (events, "text/event-stream") if run.is_streamed else (whole, "application/json")
    server.fail(200, body=body, headers={"Content-Type": kind})
    with pytest.raises((errors.TimestepError, agents.ModelBehaviorError)) as failed:
        await ask(run, asked)
    assert PAID == []
    behind = (failed.value.__cause__, failed.value.__context__)  # neither may hold the answer
    assert not any(isinstance(each, json.JSONDecodeError | ValidationError) for each in behind)


@pytest.mark.parametrize(("arguments", "amount"), [("", 100), ("{}", 100), ('{"amount": 5}', 5)])
async def test_a_whole_call_is_run(run, server, asked, arguments, amount):
    server.reply(tool_calls=[call(arguments)])
    server.reply("done")
    assert (await ask(run, asked)).final_output == "done"
    assert [amount] == PAID


@pytest.mark.parametrize("adapter", ["timestep", "sdk"])
async def test_a_chain_goes_on_after_half_a_call(server, adapter, whole_and_streamed):
    server.reply(tool_calls=[call("")], finish_reason=None, model="m")
    server.reply("from the second", model="n")
    provider = MultiModelProvider.from_settings(
        Settings(
            **settings(server.base_url, adapter=adapter),
            default_model=["a/m", "a/n"],
            fallback={"on": ["broken"]},
        )
    )
    assert (await ask(whole_and_streamed[0], (provider, None))).final_output == "from the second"
    assert PAID == []


@pytest.mark.parametrize("build", [by_hand_responses, given_client_responses])
async def test_a_response_that_breaks_off_is_a_broken_answer_and_recorded_as_failed(
    server, build, tmp_path
):
    provider, model = build(server.base_url)
    server.reply("one two three", fault=NoDone())
    store = install(tmp_path / "traces.db")

    run = Runner.run_streamed(
        Agent(name="a", model=model), "hi", run_config=RunConfig(model_provider=provider)
    )
    with pytest.raises(errors.BrokenAnswerError, match="broke off its answer"):
        async for _ in run.stream_events():
            pass
    await CLIENTS.pop().close()

    uninstall()
    with store:
        [recorded] = store.traces()
        assert recorded.outcome == "failed"


@pytest.mark.parametrize("build", [by_hand, by_hand_responses])
def test_a_client_of_another_event_loop_is_an_error_of_ours(server, build):
    server.reply("hello", times=None)
    provider, model = build(server.base_url)
    client, first_loop = CLIENTS.pop(), asyncio.new_event_loop()
    config = RunConfig(model_provider=provider, tracing_disabled=True)

    async def run():
        return await Runner.run(Agent(name="a", model=model), "hi", run_config=config)

    first_loop.run_until_complete(run())
    with pytest.raises(errors.OllamaConnectionError, match="belongs to another event loop"):
        asyncio.run(run())

    first_loop.run_until_complete(client.close())
    first_loop.close()


def test_openai_itself_is_asked_through_the_sdks_model_which_is_held_once(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    provider = MultiModelProvider.from_env(openai={"api": "chat_completions"})
    model = provider.get_model("gpt-4.1")
    assert isinstance(model, OpenAIChatCompletionsModel)
    fetch = model._fetch_response
    assert not isinstance(fetch.args[0], functools.partial)
