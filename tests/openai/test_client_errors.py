"""The models of the SDK with a client of the application's own: what they raise is of both trees."""

import pickle

import openai
import pytest
from agents import Agent, ModelBehaviorError, RunConfig
from openai import AsyncOpenAI

import timestep
from timestep import MultiModelProvider
from timestep.openai.errors import openai_request
from timestep.openai.wire_errors import of_both_trees
from timestep.testing import Reset, Stall

KEY = "sk-a-key-of-the-application"


@pytest.fixture(params=[True, False], ids=["responses", "chat"])
def ask(request, fake_openai, run):
    async def ask(url=fake_openai.base_url, **options):
        async with AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0, **options) as client:
            provider = MultiModelProvider(openai_client=client, openai_use_responses=request.param)
            config = RunConfig(model_provider=provider, tracing_disabled=True)
            return await run(Agent("a", model="m"), run_config=config)

    return ask


REFUSALS = {
    "a wrong key": (401, "wrong", timestep.AuthenticationError, openai.AuthenticationError),
    "an unknown model": (
        404,
        "The model 'm' does not exist",
        timestep.ModelNotFoundError,
        openai.NotFoundError,
    ),
    "a limit": (429, "slow", timestep.RateLimitError, openai.RateLimitError),
    "a busy server": (503, "busy", timestep.ServerBusyError, openai.InternalServerError),
    "a prompt that is too long": (
        400,
        "This model's maximum context length is 10 tokens",
        timestep.ContextWindowExceededError,
        openai.BadRequestError,
    ),
}


@pytest.mark.parametrize(("status", "said", "ours", "theirs"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_of_both_trees_and_pickles(ask, fake_openai, status, said, ours, theirs):
    fake_openai.fail(status, said)

    with pytest.raises(ours) as caught:
        await ask()

    again = pickle.loads(pickle.dumps(caught.value))
    for error in (caught.value, again):
        assert isinstance(error, theirs)
        assert error.status_code == status
        assert said in str(error)


async def test_a_refusal_repeats_no_key_and_holds_none(ask, fake_openai):
    fake_openai.fail(429, f"no quota for {KEY}")

    with pytest.raises(timestep.RateLimitError) as caught:
        await ask()

    error = caught.value
    told = f"{error} {error!r} {vars(error)} {error.response.text} {error.request.headers}"
    assert KEY not in f"{told} {error.__cause__!r} {error.__context__!r}"


async def test_a_refusal_shows_no_password_of_the_url(ask, fake_openai):
    fake_openai.fail(429, "no quota for secret-pw-1")

    with pytest.raises(timestep.RateLimitError) as caught:
        await ask(fake_openai.base_url.replace("//", "//user:secret-pw-1@"))

    error = caught.value
    assert "secret-pw-1" not in f"{error} {error!r} {error.request.url} {vars(error)}"


async def test_a_server_that_is_not_there_is_told_in_both_trees(ask):
    with pytest.raises(timestep.OllamaConnectionError, match="Cannot reach") as caught:
        await ask("http://127.0.0.1:9/v1")

    assert isinstance(caught.value, openai.APIConnectionError)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), openai.APIConnectionError)


async def test_a_server_that_stays_silent_is_told_in_both_trees(ask, fake_openai):
    stall = Stall()
    fake_openai.reply("late", fault=stall)

    with pytest.raises(timestep.OllamaTimeoutError) as caught:
        await ask(timeout=0.05)
    stall.release()

    assert isinstance(caught.value, openai.APITimeoutError)


async def test_a_stream_that_is_cut_is_an_error_of_the_tree(ask, fake_openai, run):
    fake_openai.reply(pieces=["a", "b"], fault=Reset())

    with pytest.raises((timestep.TimestepError, ModelBehaviorError)):
        await ask()


class GatewaysOwnError(openai.RateLimitError):
    """As LiteLLM's, which is raised in more than one way."""


@pytest.mark.parametrize(
    "error",
    [
        openai.APIError("no", openai_request("http://h/v1"), body=None),
        timestep.RateLimitError("no"),
        GatewaysOwnError.__new__(GatewaysOwnError),
    ],
)
def test_what_the_tree_does_not_have_stays_as_it_is(error):
    assert of_both_trees(error) is error
