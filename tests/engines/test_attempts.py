"""What one attempt sends, and what its failure tells an engine: without any engine."""

import pytest
from agents import (
    Agent,
    AsyncOpenAI,
    MaxTurnsExceeded,
    ModelRetryNormalizedError,
    ModelRetrySettings,
    ModelSettings,
    ModelTracing,
    OpenAIChatCompletionsModel,
    OpenAIResponsesModel,
    RetryPolicyContext,
    RunConfig,
    Runner,
    UserError,
)
from openai import APIStatusError

from timestep import MultiModelProvider, errors
from timestep.engines.attempts import FailedAttempt, failure_of, once
from timestep.engines.dbos import retry_policy
from timestep.net.retries import without_retries


async def ask(provider, model):
    retry = ModelRetrySettings(max_retries=2, policy=retry_policy)
    agent = Agent("asked", model=model, model_settings=ModelSettings(retry=retry))
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    return (await Runner.run(agent, "hi", run_config=config)).final_output


class Mine(errors.ServerBusyError):
    """An error of an application."""


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (errors.AuthenticationError("x"), FailedAttempt("AuthenticationError", "x", passes=False)),
        (
            Mine("x", retry_after=3.0),
            FailedAttempt("ServerBusyError", "x", passes=True, wait=3.0),
        ),
        (
            errors.RateLimitError("x", is_quota=True, retry_after=3600.0),
            FailedAttempt("RateLimitError", "x", passes=False, wait=3600.0),
        ),
        (errors.ModelOutputError("x"), FailedAttempt("ModelOutputError", "x", passes=True)),
        (UserError("x"), FailedAttempt("UserError", "x", passes=False)),
        (MaxTurnsExceeded("x"), None),
        (ValueError("x"), None),
    ],
)
def test_what_a_failure_tells_an_engine(error, failure):
    assert failure_of(error) == failure


async def refused(model):
    with without_retries(), pytest.raises(APIStatusError) as raised:
        await model.get_response(
            None,
            "hi",
            once(ModelSettings()),
            [],
            None,
            [],
            ModelTracing.DISABLED,
            previous_response_id=None,
            conversation_id=None,
            prompt=None,
        )
    return raised.value


@pytest.fixture
async def models(openai_server, monkeypatch):
    """A model of each client that speaks OpenAI's API: the SDK's own, and configured ones."""
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", openai_server.base_url)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__TOLD__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__TOLD__API", "responses")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__TOLD__BASE_URL", openai_server.base_url)
    provider = MultiModelProvider.from_env()
    async with AsyncOpenAI(api_key="k", base_url=openai_server.base_url) as client:
        yield [
            OpenAIChatCompletionsModel("m", client),
            OpenAIResponsesModel("m", client),
            provider.get_model("lab/m"),
            provider.get_model("told/m"),
        ]
        await provider.aclose()


@pytest.mark.parametrize(
    ("status", "told", "passes"),
    [
        (503, None, True),
        (503, "false", False),
        (429, None, True),
        (400, None, False),
        (401, None, False),
    ],
)
async def test_one_attempt_is_one_request(models, openai_server, status, told, passes):
    openai_server.failure = status, "no"
    openai_server.answer_headers = {"Retry-After": "7"}
    if told:
        openai_server.answer_headers["x-should-retry"] = told

    failures = [failure_of(await refused(model)) for model in models]

    assert len(openai_server.requests) == len(models)
    assert [failure.wait for failure in failures] == [7.0] * len(models)
    assert {failure.passes for failure in failures[:2]} == {passes}


async def test_the_policy_repeats_what_passes(fake_ollama):
    provider = MultiModelProvider.from_env(ollama={"base_url": fake_ollama.url})
    fake_ollama.fail(503, "server busy, please try again")
    fake_ollama.reply("hello")

    assert await ask(provider, "ollama/m") == "hello"


async def test_the_policy_repeats_nothing_else(fake_ollama):
    provider = MultiModelProvider.from_env(ollama={"base_url": fake_ollama.url})
    fake_ollama.fail(401, "unauthorized")

    with pytest.raises(errors.AuthenticationError):
        await ask(provider, "ollama/m")
    assert len(fake_ollama.chats) == 1


def test_the_policy_waits_as_long_as_the_server_asks():
    def decision(error):
        facts = {"attempt": 1, "max_retries": 2, "stream": False}
        normalized = ModelRetryNormalizedError()
        return retry_policy(RetryPolicyContext(error=error, normalized=normalized, **facts))

    assert decision(errors.RateLimitError("x", retry_after=90.0)).delay == 90.0
    assert decision(errors.RateLimitError("x")).delay is None
    assert not decision(ValueError("x")).retry
