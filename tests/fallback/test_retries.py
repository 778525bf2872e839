"""Retries, timeouts and cancelling."""

import asyncio

import pytest
from agents import (
    Agent,
    Model,
    ModelRetryAdvice,
    ModelSettings,
    ModelTimeoutError,
    ModelTracing,
    Runner,
    retry_policies,
)
from agents.testing import ScriptedModel, assistant_message
from openai import APIError

from tests.fallback.chains import (
    QUIET,
    agent,
    chained,
    ollama,
    openai,
    requests_of,
    retrying,
)
from timestep import (
    AllModelsFailedError,
    AuthenticationError,
    FallbackModel,
    FallbackRules,
    ServerBusyError,
)
from timestep.testing import Stall


@pytest.mark.parametrize("times", [0, 1, 3])
async def test_a_chain_is_repeated_as_a_whole_so_each_is_asked_as_often_as_alone(
    fake_ollama, second, provider, run, times
):
    fake_ollama.fail(503, "busy", times=times + 1)
    second.fail(503, "busy", times=times + 1)

    with pytest.raises(AllModelsFailedError):
        await run(agent(provider, model_settings=retrying(times)))

    assert (requests_of(fake_ollama), requests_of(second)) == (times + 1, times + 1)


async def test_a_model_that_answers_ends_the_retries(fake_ollama, second, provider, run):
    fake_ollama.fail(503, "busy", times=2)
    second.fail(503, "busy")
    second.reply("at last")

    result = await run(agent(provider, model_settings=retrying(5)))

    assert result.final_output == "at last"
    assert (requests_of(fake_ollama), requests_of(second)) == (2, 2)


async def test_what_does_not_pass_is_not_repeated(fake_ollama, second, provider, run):
    fake_ollama.fail(404, "model 'm' not found")
    second.fail(429, "you have reached your usage limit")

    with pytest.raises(AllModelsFailedError):
        await run(agent(provider, model_settings=retrying(3)))

    assert (requests_of(fake_ollama), requests_of(second)) == (1, 1)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [(({"Retry-After": "9"}, {"Retry-After": "7"}), 7.0), (({"Retry-After": "9"}, {}), None)],
)
async def test_the_policy_hears_when_the_first_of_them_may_answer(
    fake_ollama, second, provider, run, headers, wait
):
    heard = []
    fake_ollama.fail(503, "busy", headers=headers[0])
    second.fail(503, "busy", headers=headers[1])

    def policy(context):
        heard.append((context.provider_advice.suggested, context.normalized.retry_after))
        return False

    with pytest.raises(AllModelsFailedError):
        await run(agent(provider, model_settings=retrying(1, policy)))

    assert heard == [(True, wait)]


YEARS = {"Retry-After": "99999999"}


@pytest.mark.parametrize("policy", ["provider_suggested", "retry_after"])
@pytest.mark.parametrize("name", [None, "a/m"])
async def test_no_call_waits_for_years(fake_ollama, second, provider, run, name, policy):
    fake_ollama.fail(503, "busy", headers=YEARS)
    if name is None:
        second.fail(503, "busy", headers=YEARS)
    settings = retrying(2, getattr(retry_policies, policy)())

    async with asyncio.timeout(30):
        with pytest.raises(AllModelsFailedError if name is None else ServerBusyError) as caught:
            await run(Agent("a", model=provider.get_model(name), model_settings=settings))

    assert requests_of(fake_ollama) == 1
    if name is None:
        assert [f.retry_after for f in caught.value.failures] == [99999999.0] * 2
    else:
        assert caught.value.retry_after == 99999999.0


@pytest.mark.parametrize("on", [["rate_limit"], ["connection"]])
@pytest.mark.parametrize("policy", ["provider_suggested", "retry_after", "http_status"])
async def test_no_call_waits_for_years_for_a_server_that_speaks_openais_api(
    openai_server, clock, run, on, policy, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    openai_server.failure, openai_server.answer_headers = (429, "slow down"), YEARS
    apis = {"a": openai(openai_server), "b": openai(openai_server, use_responses=True)}
    provider = chained(clock, FallbackRules(on=on, cool_down=0), **apis)
    policies = {"http_status": lambda: retry_policies.http_status([429])}
    settings = retrying(1, policies.get(policy, getattr(retry_policies, policy))())

    async with asyncio.timeout(30):
        with pytest.raises((AllModelsFailedError, APIError)):
            await run(agent(provider, model_settings=settings))

    asked = 2 if on == ["rate_limit"] else 1
    times = 2 if policy == "http_status" else 1  # a policy of the caller's own, with its backoff
    assert len(openai_server.requests) == asked * times


async def test_the_policy_hears_of_a_network_that_is_down(fake_ollama, second, provider, run):
    fake_ollama.refuse()
    second.refuse()
    policy, heard = retry_policies.network_error(), []

    def listening(context):
        heard.append(context.normalized.is_network_error)
        return policy(context)

    with pytest.raises(AllModelsFailedError):
        await run(agent(provider, model_settings=retrying(1, listening)))

    assert heard == [True]


async def test_an_error_of_one_model_brings_the_advice_of_its_kind(fake_ollama, provider, run):
    heard = []

    def policy(context):
        heard.append(context.provider_advice.suggested)
        return False

    fake_ollama.fail(401, "unauthorized")
    with pytest.raises(AuthenticationError):
        await run(agent(provider, model_settings=retrying(1, policy)))

    assert heard == [False]


class Unsafe(Model):
    """A model that may have done its work before it failed."""

    def get_retry_advice(self, request):
        return ModelRetryAdvice(suggested=False, replay_safety="unsafe")

    async def get_response(self, *args, **keywords):
        raise ConnectionError("gone")

    async def stream_response(self, *args, **keywords):
        raise ConnectionError("gone")
        yield


async def test_a_request_that_must_not_be_repeated_goes_to_no_other_model(run):
    other = ScriptedModel([[assistant_message("twice")]])
    model = FallbackModel({"a": Unsafe(), "b": other})

    with pytest.raises(ConnectionError):
        await run(Agent("a", model=model))


async def test_the_timeout_of_the_agent_is_no_reason_to_ask_another(
    fake_ollama, second, provider, run
):
    fake_ollama.reply("late", fault=Stall(0))

    with pytest.raises(ModelTimeoutError):
        await run(agent(provider, model_settings=ModelSettings(timeout=1.0)))

    assert not second.requests
    await fake_ollama.disconnected()


async def test_cancelling_asks_no_other_model(fake_ollama, second, provider, run):
    silence = Stall(0)
    fake_ollama.reply("late", fault=silence)
    task = asyncio.create_task(run(agent(provider)))
    await silence.reached()

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await fake_ollama.disconnected()
    assert not second.requests


async def test_an_abandoned_stream_hangs_up(fake_ollama, second, provider):
    fake_ollama.fail(503, "busy")
    second.reply("one two three", fault=Stall(1))
    arguments = (None, "hi", ModelSettings(), [], None, [], ModelTracing.DISABLED)
    events = provider.get_model(None).stream_response(*arguments)
    async for event in events:
        if event.type == "response.output_text.delta":
            break

    await events.aclose()

    await second.disconnected()


WIRES = {
    "ours": {"use_responses": False},
    "chat": {"use_responses": False, "options": None},
    "responses": {"use_responses": True},
}


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize("wire", WIRES)
async def test_a_model_before_the_last_is_asked_once_without_a_wait(
    wire, status, clock, fake_ollama, openai_server, run
):
    openai_server.failure = (status, "later")
    openai_server.answer_headers["Retry-After"] = "10"
    fake_ollama.reply("from the second")
    provider = chained(clock, first=openai(openai_server, **WIRES[wire]), last=ollama(fake_ollama))

    result = await run(agent(provider))
    await provider.aclose()

    assert result.final_output == "from the second"
    assert len(openai_server.requests) == 1


@pytest.mark.parametrize(
    "rules",
    [None, FallbackRules(attempts=2), FallbackRules(on=["connection", "busy"])],
    ids=["last of the list", "last attempt", "the chain stays with it"],
)
@pytest.mark.parametrize("wire", WIRES)
async def test_the_last_model_keeps_the_retries_of_its_client(
    wire, rules, clock, fake_ollama, openai_server, run
):
    openai_server.failure = (429, "later")
    openai_server.answer_headers["Retry-After"] = "0.01"
    fake_ollama.fail(503, "busy")
    asked = openai(openai_server, **WIRES[wire])
    others = {"a": ollama(fake_ollama), "b": asked}
    if rules is not None:
        others["c"] = ollama(fake_ollama)
    provider = chained(clock, rules, **others)

    with pytest.raises(Exception, match=r"."):
        await run(agent(provider))
    await provider.aclose()

    assert len(openai_server.requests) == 3


async def test_a_chain_in_a_chain_does_not_wait_either(fake_ollama, openai_server):
    openai_server.failure = (503, "later")
    fake_ollama.reply("at last")
    asked = openai(openai_server, use_responses=False).get_model("m")
    inner = FallbackModel({"only": asked})
    outer = FallbackModel({"inner": inner, "last": ollama(fake_ollama).get_model("m")})

    result = await Runner.run(Agent("a", model=outer), "hi", run_config=QUIET)

    assert result.final_output == "at last"
    assert len(openai_server.requests) == 1
