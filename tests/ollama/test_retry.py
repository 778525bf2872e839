"""What the SDK's Runner repeats, on the advice of the adapter."""

import asyncio

import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    Runner,
    function_tool,
    retry_policies,
)

from timestep import (
    ModelNotFoundError,
    ModelOutputError,
    OllamaConnectionError,
    OllamaStreamError,
    RateLimitError,
    ServerBusyError,
)
from timestep.testing import ErrorLine, NoDone, Reset

QUIET = RunConfig(tracing_disabled=True)
RETRY = ModelSettings(
    retry=ModelRetrySettings(
        max_retries=2,
        policy=retry_policies.provider_suggested(),
        backoff={"initial_delay": 0.0, "max_delay": 0.01, "jitter": False},
    )
)


def agent(model, settings=RETRY):
    return Agent("a", model=model, model_settings=settings)


@pytest.mark.parametrize(
    "fault",
    [
        {
            "status": 503,
            "error": "server busy, please try again.  maximum pending requests exceeded",
        },
        {"status": 503, "error": "busy", "headers": {"Retry-After": "0"}},
        {"status": 429, "error": "too many requests"},
        {"status": 500, "error": "error parsing tool call: raw='{', err=unexpected end"},
        {"status": 500, "error": "model runner has unexpectedly stopped"},
        {"status": 502, "body": "<html>Bad gateway</html>"},
    ],
    ids=["busy", "retry after", "burst", "bad tool call", "runner stopped", "gateway"],
)
async def test_what_may_pass_is_repeated(fake_ollama, model, run, fault):
    fault = dict(fault)
    fake_ollama.fail(fault.pop("status"), **fault)
    fake_ollama.reply("at last")

    result = await run(agent(model), "hi", run_config=QUIET)

    assert result.final_output == "at last"
    assert result.context_wrapper.usage.requests == 2


async def test_a_connection_that_breaks_before_the_answer_is_repeated(fake_ollama, model, run):
    fake_ollama.reply("lost", fault=Reset(after=0))
    fake_ollama.reply("at last")

    result = await run(agent(model), "hi", run_config=QUIET)

    assert result.final_output == "at last"


async def test_a_server_that_is_down_is_asked_as_often_as_the_settings_say(fake_ollama, model, run):
    fake_ollama.refuse()

    with pytest.raises(OllamaConnectionError, match="ollama serve"):
        await run(agent(model), "hi", run_config=QUIET)


async def test_a_server_that_comes_up_again_answers_the_next_try(fake_ollama, model, run):
    suggested = retry_policies.provider_suggested()

    async def policy(context):
        await asyncio.to_thread(fake_ollama.accept)
        return suggested(context)

    fake_ollama.refuse()
    fake_ollama.reply("at last")
    retry = ModelRetrySettings(max_retries=1, policy=policy, backoff={"initial_delay": 0.0})

    result = await run(agent(model, ModelSettings(retry=retry)), "hi", run_config=QUIET)

    assert result.final_output == "at last"
    assert result.context_wrapper.usage.requests == 2


async def test_the_policy_hears_how_long_the_server_asks_to_wait(fake_ollama, model, run):
    heard = []

    def policy(context):
        heard.append((context.provider_advice.suggested, context.provider_advice.retry_after))
        return False

    fake_ollama.fail(503, "overloaded", headers={"Retry-After": "7"})
    retry = ModelRetrySettings(max_retries=1, policy=policy)

    with pytest.raises(ServerBusyError):
        await run(agent(model, ModelSettings(retry=retry)), "hi", run_config=QUIET)

    assert heard == [(True, 7.0)]


@pytest.mark.parametrize(
    ("status", "said", "error"),
    [
        (
            429,
            "you have reached your session usage limit, upgrade for higher limits",
            RateLimitError,
        ),
        (404, "model 'm' not found", ModelNotFoundError),
    ],
)
async def test_what_stays_wrong_is_not_repeated(fake_ollama, model, run, status, said, error):
    fake_ollama.fail(status, said)

    with pytest.raises(error):
        await run(agent(model), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 1


async def test_without_retry_settings_nothing_is_repeated(fake_ollama, model, run):
    fake_ollama.fail(503, "busy")

    with pytest.raises(ServerBusyError):
        await run(agent(model, ModelSettings()), "hi", run_config=QUIET)

    assert len(fake_ollama.chats) == 1


@pytest.mark.parametrize("fault", [NoDone(), ErrorLine("CUDA error", after=2), Reset(after=2)])
async def test_a_stream_that_was_shown_is_not_repeated_and_not_lost(fake_ollama, model, fault):
    fake_ollama.reply(pieces=["Hel", "lo ", "you"], fault=fault)
    seen = []

    async def read():
        async for event in Runner.run_streamed(
            agent(model), "hi", run_config=QUIET
        ).stream_events():
            seen.append(getattr(event, "data", None))

    with pytest.raises(ModelBehaviorError, match=r"response\.failed"):
        await read()

    seen = [event for event in seen if event is not None]

    assert len(fake_ollama.chats) == 1
    assert "".join(e.delta for e in seen if e.type == "response.output_text.delta")[:6] == "Hello "
    assert seen[-1].type == "response.failed"
    assert seen[-1].response.output[0].content[0].text.startswith("Hello ")


async def test_a_whole_answer_that_broke_off_is_repeated(fake_ollama, model):
    fake_ollama.reply("half", fault=NoDone())
    fake_ollama.reply("whole")

    result = await Runner.run(agent(model), "hi", run_config=QUIET)

    assert result.final_output == "whole"


async def test_without_retries_a_broken_answer_is_its_own_error(fake_ollama, model):
    fake_ollama.reply("half", fault=NoDone())

    with pytest.raises(OllamaStreamError, match="done: true"):
        await Runner.run(agent(model, ModelSettings()), "hi", run_config=QUIET)


async def test_an_empty_answer_beside_tools_is_repeated(fake_ollama, model, run):
    @function_tool
    def noop() -> str:
        """Nothing."""
        return ""

    asked = Agent("a", model=model, model_settings=RETRY, tools=[noop])
    fake_ollama.reply("", eval_count=5)
    fake_ollama.reply("better")

    result = await run(asked, "hi", run_config=QUIET)

    assert result.final_output == "better"


async def test_an_answer_cut_in_its_thinking_says_what_to_raise(fake_ollama, model):
    fake_ollama.reply("", thinking="hm hm", done_reason="length")

    with pytest.raises(ModelOutputError, match="max_tokens"):
        await Runner.run(agent(model, ModelSettings()), "hi", run_config=QUIET)
