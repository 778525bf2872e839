"""What goes to no other model: errors of the caller, and streams that were shown."""

from typing import get_args

import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    Runner,
)
from openai import BadRequestError

from tests.fallback.chains import QUIET, agent, chained, ollama, openai, requests_of, weather
from timestep import (
    AllModelsFailedError,
    AuthenticationError,
    CapabilityError,
    ContextWindowExceededError,
    FallbackModel,
    FallbackRules,
    ModelOutputError,
    RateLimitError,
    UnsupportedInputError,
)
from timestep.net.fallback_rules import FallbackReason
from timestep.testing import ErrorLine, FakeOpenAI, NoDone, Reset

STAYS = [
    ({"status": 400, "error": "invalid options: num_ctx"}, Exception),
    ({"status": 401, "error": "unauthorized"}, AuthenticationError),
    (
        {"status": 400, "error": "the input exceeds the available context size"},
        ContextWindowExceededError,
    ),
    ({"status": 500, "error": "XML syntax error on line 3: unexpected EOF"}, ModelOutputError),
    ({"status": 500, "error": "tool 'delete_files' not found"}, ModelOutputError),
    ({"status": 500, "error": "error parsing tool call: raw='{'"}, ModelOutputError),
]


@pytest.mark.parametrize(("fault", "error"), STAYS)
async def test_an_error_of_the_caller_goes_to_no_other_model(
    fake_ollama, provider, run, fault, error
):
    fault = dict(fault)
    fake_ollama.fail(fault.pop("status"), **fault)

    with pytest.raises(error) as caught:
        await run(agent(provider))

    assert not isinstance(caught.value, AllModelsFailedError)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("calls", [[], [("weather", {"city": "Paris"})]], ids=["empty", "call"])
async def test_an_answer_that_a_limit_or_a_filter_cut_goes_to_no_other_model(
    second, clock, run, reason, calls
):
    """The next model has the same limit, and is no way around a filter."""
    rules = FallbackRules(on=get_args(FallbackReason))
    with FakeOpenAI() as fake:
        fake.reply(tool_calls=calls, finish_reason=reason)
        chain = chained(clock, rules, a=openai(fake, use_responses=False), b=ollama(second))
        with pytest.raises(ModelBehaviorError):
            await run(agent(chain, tools=[weather]))
    assert not requests_of(second)


async def test_input_that_cannot_be_sent_goes_to_no_other_model(provider, run):
    item = {
        "role": "user",
        "content": [{"type": "input_image", "image_url": "https://example.com/a.png"}],
    }

    with pytest.raises(UnsupportedInputError, match="remote image"):
        await run(agent(provider), [item])


async def test_a_broken_answer_goes_on_only_where_the_rules_say_so(
    fake_ollama, second, clock, provider
):
    fake_ollama.reply("half", fault=NoDone(), times=2)
    with pytest.raises(Exception, match="done: true"):
        await Runner.run(agent(provider), "hi", run_config=QUIET)

    second.reply("from b")
    rules = FallbackRules(on=["broken"])
    careful = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))

    assert (await Runner.run(agent(careful), "hi", run_config=QUIET)).final_output == "from b"


async def test_a_refused_key_goes_on_only_where_the_rules_say_so(fake_ollama, second, clock, run):
    fake_ollama.fail(401, "unauthorized")
    second.reply("from b")
    rules = FallbackRules(on=["authentication"])

    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"


async def test_what_the_rules_leave_out_is_raised_as_it_is(fake_ollama, second, clock, run):
    fake_ollama.fail(429, "too many requests")
    rules = FallbackRules(on=["connection"])
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))

    with pytest.raises(RateLimitError):
        await run(agent(provider))


@pytest.mark.parametrize("fault", [NoDone(), ErrorLine("CUDA error", after=2), Reset(after=2)])
async def test_a_stream_that_was_shown_goes_to_no_other_model(fake_ollama, provider, fault):
    fake_ollama.reply(pieces=["Hel", "lo ", "you"], fault=fault)
    seen = []

    async def read():
        result = Runner.run_streamed(agent(provider), "hi", run_config=QUIET)
        async for event in result.stream_events():
            seen.append(getattr(event, "data", None))  # noqa: PERF401 - what came before the error

    with pytest.raises(ModelBehaviorError, match=r"response\.failed"):
        await read()

    assert seen[-1].response.output[0].content[0].text.startswith("Hello ")


async def test_the_events_of_a_failed_try_are_not_shown(fake_ollama, second, provider):
    fake_ollama.fail(503, "busy")
    second.reply("from b")
    result = Runner.run_streamed(agent(provider), "hi", run_config=QUIET)

    types = [e.data.type async for e in result.stream_events() if e.type == "raw_response_event"]

    assert types[:2] == ["response.created", "response.in_progress"]
    assert types[-1] == "response.completed"
    assert len([name for name in types if name == "response.created"]) == 1


@pytest.mark.parametrize("value", ["x_1", ""])
@pytest.mark.parametrize("state", ["previous_response_id", "conversation_id"])
async def test_state_that_a_server_keeps_stays_with_the_first(
    openai_server, clock, second, run, state, value, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    openai_server.failure = (503, "busy")
    provider = chained(clock, a=openai(openai_server, use_responses=True), b=ollama(second))

    with pytest.raises(Exception, match="busy"):
        await run(agent(provider), **{state: value})

    assert not second.requests


async def test_a_model_without_tools_is_passed_over_when_tools_are_offered(
    fake_ollama, second, provider, run
):
    fake_ollama.add_model("m", capabilities=["completion"])
    second.reply(tool_calls=[("weather", {"city": "Paris"})])
    second.reply("sunny")
    fake_ollama.reply("no tools needed")

    assert (await run(agent(provider, tools=[weather]))).final_output == "sunny"
    assert (await run(agent(provider))).final_output == "no tools needed"


async def test_a_model_that_cannot_see_is_passed_over_when_there_is_an_image(
    fake_ollama, second, provider, run
):
    fake_ollama.add_model("m", capabilities=["completion"])
    second.reply("a cat")
    pixel = (
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9"
        "QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    )
    item = {"role": "user", "content": [{"type": "input_image", "image_url": pixel}]}

    assert (await run(agent(provider), [item])).final_output == "a cat"
    assert not requests_of(fake_ollama)


async def test_when_no_model_has_tools_the_error_says_so_of_each(
    fake_ollama, second, provider, run
):
    fake_ollama.add_model("m", capabilities=["completion"])
    second.add_model("m", capabilities=["completion"])

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider, tools=[weather]))

    assert [(f.model, f.reason) for f in caught.value.failures] == [
        ("a/m", "tools"),
        ("b/m", "tools"),
    ]
    assert isinstance(caught.value.__cause__, CapabilityError)


async def test_a_server_that_speaks_openais_api_is_not_asked_what_it_can_do(
    openai_server, second, clock, run
):
    openai_server.failure = (400, "m does not support tools")
    provider = chained(clock, a=openai(openai_server), b=ollama(second))

    with pytest.raises(BadRequestError, match="does not support tools"):
        await run(agent(provider, tools=[weather]))

    assert not second.requests


async def test_a_chain_within_a_chain_is_left_for_the_next_model(
    fake_ollama, second, third, clock, run
):
    inner = chained(clock, a=ollama(fake_ollama), b=ollama(second))
    fake_ollama.fail(503, "busy")
    second.fail(404, "model 'm' not found")
    third.reply("from c")
    outer = FallbackModel({"inner": inner.get_model(None), "c": ollama(third).get_model("m")})

    assert (await run(Agent("x", model=outer))).final_output == "from c"
