"""Chains of models, through the real Runner: who is asked, how often, and what is told of it."""

import asyncio
import copy
import pickle
from typing import get_args

import pytest
from agents import (
    Agent,
    Model,
    ModelBehaviorError,
    ModelRetryAdvice,
    ModelRetrySettings,
    ModelSettings,
    ModelTimeoutError,
    ModelTracing,
    RunConfig,
    Runner,
    add_trace_processor,
    function_tool,
    retry_policies,
)
from agents.testing import ScriptedModel, assistant_message
from agents.tracing import TracingProcessor
from openai import APIError, APIStatusError, BadRequestError

from timestep import (
    AllModelsFailedError,
    AuthenticationError,
    CapabilityError,
    ConfigurationError,
    ContextWindowExceededError,
    FallbackModel,
    FallbackRules,
    ModelNotFoundError,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModel,
    OllamaModelProvider,
    OllamaStatusError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
    UnknownModelError,
    UnsupportedInputError,
)
from timestep.config.schema import OpenAIProviderSettings
from timestep.config.settings import load_settings
from timestep.errors import Failure
from timestep.errors.meaning import FAILED, MEANINGS, STATUSES
from timestep.factory import openai_endpoint
from timestep.fallback.reasons import reason_of
from timestep.net.chains import FallbackReason
from timestep.openai.provider import OpenAICompatibleProvider, OpenAIEndpoint
from timestep.routing import chain
from timestep.testing import ErrorLine, FakeOllama, NoDone, Reset, Stall

QUIET = RunConfig(tracing_disabled=True)


@pytest.fixture
def second():
    """The server of the second choice; the first choice's is fake_ollama."""
    with FakeOllama() as fake:
        yield fake


@pytest.fixture
def third():
    with FakeOllama() as fake:
        yield fake


def ollama(fake, **settings):
    return OllamaModelProvider(base_url=fake.url, **settings)


def openai(server, **settings):
    table = OpenAIProviderSettings(kind="openai", base_url=server.base_url, api_key="sk-secret-key")
    return OpenAICompatibleProvider(openai_endpoint(table), **settings)


def chained(clock, rules=None, **providers):
    """A provider whose default is a chain: the model "m" of each of *providers*."""
    provider_map = MultiModelProviderMap()
    provider_map.set_mapping(providers)
    return MultiModelProvider(
        provider_map=provider_map,
        default_model=[f"{prefix}/m" for prefix in providers],
        fallback=rules,
        clock=clock,
    )


@pytest.fixture
def provider(fake_ollama, second, clock):
    return chained(clock, a=ollama(fake_ollama), b=ollama(second))


def agent(provider, **keywords):
    return Agent("a", model=provider.get_model(None), **keywords)


def requests_of(fake):
    return len(fake.chats)


# Which names make a chain


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("one", ["ollama/a"]),
        ("both", ["ollama/a", "gpt-4.1"]),
        ("nested", ["ollama/a", "gpt-4.1", "ollama/c"]),
        ("twice", ["gpt-4.1", "ollama/a"]),
        ("gpt-4.1", ["gpt-4.1"]),
        (None, ["ollama/a", "gpt-4.1", "ollama/d"]),
    ],
)
def test_a_list_stands_for_all_its_models_each_once(name, expected):
    aliases = {
        "one": "ollama/a",
        "both": ["one", "gpt-4.1"],
        "nested": ("both", "ollama/c", "one"),
        "twice": ["gpt-4.1", "both"],
    }

    assert chain(name, aliases, ["both", "ollama/d"]) == expected
    assert chain(None, aliases) == []


def test_a_list_of_one_is_no_chain(fake_ollama):
    provider = chained(None, a=ollama(fake_ollama))

    assert isinstance(provider.get_model(None), OllamaModel)


@pytest.mark.parametrize("default", [[], [""], ["ollama/a", " "]])
def test_an_empty_name_in_a_default_list_is_refused(default):
    with pytest.raises(ConfigurationError, match=r"default_model: .* (empty|at least 1)"):
        MultiModelProvider(default_model=default)


@pytest.mark.parametrize("asked", ["smart", None])
@pytest.mark.parametrize(
    ("later", "error", "next_step"),
    [
        ("grok/b", UnknownModelError, "configure it as [providers.grok]"),
        ("ollama/", UnknownModelError, "write one such as"),
        ("gpt-4.1", ConfigurationError, "set OPENAI_API_KEY"),
        ("keyless/gpt-4.1", ConfigurationError, "api_key in the provider's table"),
    ],
)
def test_a_chain_is_refused_when_it_is_asked_for_though_only_a_later_model_is_wrong(
    asked, later, error, next_step
):
    provider_map = MultiModelProviderMap()
    provider_map.add_provider(
        "keyless", OpenAICompatibleProvider(OpenAIEndpoint("https://api.openai.com/v1"))
    )
    provider = MultiModelProvider(
        provider_map=provider_map,
        aliases={"smart": ["ollama/a", later]},
        default_model=["ollama/a", later],
    )

    with pytest.raises(error) as caught:
        provider.get_model(asked)

    name = "default_model" if asked is None else "'smart'"
    assert str(caught.value).startswith(f"The chain {name} cannot ask {later!r}: ")
    assert next_step in str(caught.value)
    assert getattr(caught.value, "prefix", None) == getattr(caught.value.__cause__, "prefix", None)


def test_an_empty_chain_is_refused():
    with pytest.raises(ConfigurationError, match="chain of models is empty"):
        FallbackModel({})


WRONG_RULES = [
    ({"on": ["wrong"]}, "unknown reason; known are"),
    ({"on": ["busy", 1, []]}, "unknown reason; known are"),
    ({"on": [[]]}, "unknown reason; known are"),
    ({"on": "connection"}, r"write a list, as in \['connection'\]"),
    ({"on": None}, "write a list"),
    ({"on": b"busy"}, "write a list"),
    ({"attempts": 0}, "attempts"),
    ({"attempts": 1.5}, "attempts"),
    ({"attempts": True}, "attempts"),
    ({"attempts": "2"}, "attempts"),
    ({"cool_down": -1}, "cool_down"),
    ({"cool_down": "30"}, "cool_down"),
    ({"cool_down": True}, "cool_down"),
    ({"cool_down": None}, "cool_down"),
    ({"cool_down": float("nan")}, "cool_down"),
    ({"cool_down": float("inf")}, "cool_down"),
    ({"cool_down": 10**400}, "cool_down"),
    ({"cool_down": 10**5000}, "cool_down"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG_RULES, ids=range(len(WRONG_RULES)))
def test_rules_that_cannot_be_used_are_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        FallbackRules(**wrong)


def test_rules_keep_what_they_were_built_from():
    on = ["busy"]
    rules = FallbackRules(on=on)

    on.clear()

    assert rules.on == ("busy",)
    assert hash(rules) == hash(FallbackRules(on=["busy"]))


@pytest.mark.parametrize(
    ("models", "rules", "words"),
    [
        ({"a": None}, None, "'a' is NoneType, not an agents.Model"),
        ({1: ScriptedModel([])}, None, "name 1 is not a string"),
        (["a", "b"], None, "is list"),
        (None, None, "is NoneType"),
        ({"a": ScriptedModel([])}, {"on": ["busy"]}, r"rules .* dict; write FallbackRules"),
    ],
)
def test_a_chain_that_cannot_be_used_is_refused_when_it_is_built(models, rules, words):
    with pytest.raises(ConfigurationError, match=words):
        FallbackModel(models, rules)


def test_the_settings_say_when_a_chain_goes_on(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", '["ollama/a", "ollama/b"]')
    monkeypatch.setenv("TIMESTEP_FALLBACK__ON", '["busy", "authentication"]')
    monkeypatch.setenv("TIMESTEP_FALLBACK__ATTEMPTS", "2")
    monkeypatch.setenv("TIMESTEP_FALLBACK__COOL_DOWN", "7.5")

    model = MultiModelProvider.from_env().get_model(None)

    assert isinstance(model, FallbackModel)
    assert list(model.models) == ["ollama/a", "ollama/b"]
    assert model.rules == FallbackRules(on=["busy", "authentication"], attempts=2, cool_down=7.5)


def test_the_settings_and_the_code_have_the_same_defaults():
    settings = load_settings(environment={}).fallback

    assert settings == FallbackRules()


@pytest.mark.parametrize("seconds", ["1e10", "inf", "-1"])
def test_a_cool_down_that_rules_refuse_is_refused_in_the_settings_too(seconds):
    with pytest.raises(ConfigurationError, match=r"fallback\.cool_down"):
        load_settings(environment={"TIMESTEP_FALLBACK__COOL_DOWN": seconds})


def test_a_reason_nobody_knows_is_a_configuration_error():
    with pytest.raises(ConfigurationError, match=r"fallback\.on"):
        load_settings(environment={"TIMESTEP_FALLBACK__ON": '["sunspots"]'})


# When the next is asked


ELSEWHERE = {
    "503": {"status": 503, "error": "server busy, please try again"},
    "500": {"status": 500, "error": "model runner has unexpectedly stopped"},
    "burst": {"status": 429, "error": "too many requests"},
    "quota": {"status": 429, "error": "you have reached your usage limit, upgrade"},
    "no model": {"status": 404, "error": "model 'm' not found"},
    "no route": {"status": 404, "body": "404 page not found"},
}


@pytest.mark.parametrize("fault", ELSEWHERE.values(), ids=ELSEWHERE)
async def test_the_next_answers_for_one_that_cannot(fake_ollama, second, provider, run, fault):
    fault = dict(fault)
    fake_ollama.fail(fault.pop("status"), **fault)
    second.reply("from b")

    assert (await run(agent(provider))).final_output == "from b"
    assert (requests_of(fake_ollama), requests_of(second)) == (1, 1)


async def test_the_next_answers_for_one_that_is_down(fake_ollama, second, provider, run):
    fake_ollama.refuse()
    second.reply("from b")

    assert (await run(agent(provider))).final_output == "from b"


async def test_the_next_answers_for_one_that_breaks_before_it_shows_anything(
    fake_ollama, second, provider, run
):
    fake_ollama.reply("lost", fault=Reset(after=0))
    second.reply("from b")

    assert (await run(agent(provider))).final_output == "from b"


async def test_the_next_answers_for_one_that_is_silent(fake_ollama, second, clock, run):
    fake_ollama.reply("late", fault=Stall(0))
    second.reply("from b")
    provider = chained(clock, a=ollama(fake_ollama, timeout=0.1), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"


@pytest.mark.parametrize("status", [402, 404, 408, 429, 500, 503])
async def test_a_server_that_speaks_openais_api_is_replaced_too(
    openai_server, second, clock, run, status, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    openai_server.failure = (status, "not now")
    second.reply("from b")
    provider = chained(clock, a=openai(openai_server), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"
    assert len(openai_server.requests) == 1


CODES = [
    (413, "rate_limit_exceeded", "rate_limit"),
    (403, "insufficient_quota", "rate_limit"),
    (400, "insufficient_quota", "rate_limit"),
    (400, "model_not_found", "not_found"),
    (422, "model_not_found", "not_found"),
    (429, "context_length_exceeded", None),
    (500, "context_length_exceeded", None),
    (503, "content_filter", None),
    (503, "sunspots", "busy"),
    (503, 400, "busy"),
    (400, 503, None),
    (400, ["server_error"], None),
    (400, None, None),
]


@pytest.mark.parametrize(("status", "code", "reason"), CODES)
async def test_a_known_code_decides_before_the_status(
    openai_server, second, clock, run, status, code, reason, monkeypatch, caplog
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    openai_server.failure = (status, {"message": "no", "code": code, "type": "server_error"})
    provider = chained(clock, a=openai(openai_server), b=ollama(second))

    if reason is None:
        with pytest.raises(APIStatusError):
            await run(agent(provider))
        assert not second.requests
    else:
        second.reply("from b")
        assert (await run(agent(provider))).final_output == "from b"
        assert f"a/m did not answer: {reason}." in caplog.messages


async def test_a_server_that_speaks_openais_api_replaces_another(
    fake_ollama, openai_server, clock, run
):
    fake_ollama.fail(503, "busy")
    provider = chained(clock, a=ollama(fake_ollama), b=openai(openai_server, use_responses=True))

    assert (await run(agent(provider))).final_output == "hello"


@pytest.mark.parametrize("kind", ["response.failed", "error"])
async def test_a_stream_that_begins_with_its_failure_is_replaced(
    openai_server, second, clock, kind
):
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    response = {"id": "r", "object": "response", "created_at": 1, "model": "m", "output": []}
    response |= {"tools": [], "tool_choice": "auto", "parallel_tool_calls": False}
    last = {"response": {**response, "status": "failed", "error": error}}
    openai_server.events = [
        {"type": "response.created", "sequence_number": 0, "response": response},
        {"type": kind, "sequence_number": 1, **(last if kind == "response.failed" else error)},
    ]
    second.reply("from b")
    provider = chained(clock, a=openai(openai_server, use_responses=True), b=ollama(second))
    result = Runner.run_streamed(agent(provider), "hi", run_config=QUIET)

    events = [e.data.type async for e in result.stream_events() if e.type == "raw_response_event"]

    assert result.final_output == "from b"
    assert events.count("response.created") == 1
    assert kind not in events


async def test_a_stream_that_begins_with_a_failure_of_the_caller_is_not(
    openai_server, second, clock
):
    openai_server.events = [
        {"type": "error", "sequence_number": 0, "code": "invalid_prompt", "message": "no"}
    ]
    provider = chained(clock, a=openai(openai_server, use_responses=True), b=ollama(second))

    result = Runner.run_streamed(agent(provider), "hi", run_config=QUIET)
    with pytest.raises(ModelBehaviorError, match="invalid_prompt"):
        async for _ in result.stream_events():
            pass


RESPONSES, CHAT = {"use_responses": True}, {"use_responses": False}
SAID = [
    (RESPONSES, {"code": "server_error", "message": "sorry"}, "busy"),
    (RESPONSES, {"code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit"),
    (RESPONSES, {"code": "insufficient_quota", "message": "pay"}, "rate_limit"),
    (CHAT, {"code": None, "type": "server_error", "message": "sorry"}, "busy"),
    (CHAT, {"code": "rate_limit_exceeded", "type": "tokens", "message": "slow down"}, "rate_limit"),
    (CHAT, {"code": "insufficient_quota", "type": "insufficient_quota"}, "rate_limit"),
    (CHAT, {"type": "overloaded_error", "message": "Overloaded"}, "busy"),
    (CHAT, {"code": 502, "message": "the upstream is down"}, "busy"),
    (CHAT, {"code": "429", "message": 'it\'s "busy"'}, "rate_limit"),
]


@pytest.mark.parametrize(("api", "error", "reason"), SAID)
async def test_a_failure_that_is_said_under_status_200_is_one_whole_and_streamed(
    openai_server, second, clock, run, api, error, reason, caplog
):
    openai_server.error = error
    second.reply("from b")
    provider = chained(clock, a=openai(openai_server, **api), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"
    assert f"a/m did not answer: {reason}." in caplog.messages
    assert len(openai_server.requests) == 1


OWN = [
    (RESPONSES, {"code": "invalid_prompt", "message": "server_error"}),
    (RESPONSES, {"code": "image_too_large", "message": "code='server_error'"}),
    (CHAT, {"code": None, "type": "invalid_request_error", "message": "'code': 'server_error'"}),
    (CHAT, {"code": "context_length_exceeded", "type": "invalid_request_error"}),
    (CHAT, {"code": "context_length_exceeded", "type": "server_error"}),
    (CHAT, {"code": "content_policy_violation", "type": "server_error"}),
    (CHAT, {"code": 400, "type": "server_error", "message": "no"}),
    (CHAT, {"message": "who knows"}),
    (CHAT, "{'code': 'server_error'"),
]


@pytest.mark.parametrize(("api", "error"), OWN)
async def test_an_error_of_the_caller_that_is_said_under_status_200_goes_to_nobody_else(
    openai_server, second, clock, run, api, error
):
    openai_server.error = error
    provider = chained(clock, a=openai(openai_server, **api), b=ollama(second))

    with pytest.raises((ModelBehaviorError, APIError)) as caught:
        await run(agent(provider))

    assert not isinstance(caught.value, AllModelsFailedError)
    assert not second.requests


STAYS = [
    ({"status": 400, "error": "invalid options: num_ctx"}, Exception),
    ({"status": 401, "error": "unauthorized"}, AuthenticationError),
    (
        {"status": 400, "error": "the input exceeds the available context size"},
        ContextWindowExceededError,
    ),
]


@pytest.mark.parametrize(("fault", "error"), STAYS)
async def test_an_error_of_the_caller_goes_to_nobody_else(fake_ollama, provider, run, fault, error):
    fault = dict(fault)
    fake_ollama.fail(fault.pop("status"), **fault)

    with pytest.raises(error) as caught:
        await run(agent(provider))

    assert not isinstance(caught.value, AllModelsFailedError)


async def test_input_that_cannot_be_sent_goes_to_nobody_else(provider, run):
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
async def test_a_stream_that_was_shown_goes_to_nobody_else(fake_ollama, provider, fault):
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


@pytest.mark.parametrize("state", ["previous_response_id", "conversation_id"])
async def test_state_that_a_server_keeps_stays_with_the_first(
    openai_server, clock, second, run, state, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    openai_server.failure = (503, "busy")
    provider = chained(clock, a=openai(openai_server, use_responses=True), b=ollama(second))

    with pytest.raises(Exception, match="busy"):
        await run(agent(provider), **{state: "x_1"})

    assert not second.requests


# Models that cannot do what is asked


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


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


# Cool-down and attempts


async def test_a_model_that_failed_is_passed_over_until_it_has_cooled_down(
    fake_ollama, second, provider, clock, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", times=3)
    for _ in range(3):
        assert (await run(agent(provider))).final_output == "from b"
    assert requests_of(fake_ollama) == 1

    clock.now += 30
    fake_ollama.reply("from a")

    assert (await run(agent(provider))).final_output == "from a"


async def test_a_cool_down_is_known_to_every_chain_of_the_provider(
    fake_ollama, second, third, clock, run
):
    provider_map = MultiModelProviderMap()
    provider_map.set_mapping({"a": ollama(fake_ollama), "b": ollama(second), "c": ollama(third)})
    provider = MultiModelProvider(
        provider_map=provider_map,
        aliases={"one": ["a/m", "b/m"], "two": ["a/m", "c/m"]},
        clock=clock,
    )
    fake_ollama.fail(503, "busy")
    second.reply("from b")
    third.reply("from c")

    assert (await run(Agent("x", model=provider.get_model("one")))).final_output == "from b"
    assert (await run(Agent("x", model=provider.get_model("two")))).final_output == "from c"
    assert requests_of(fake_ollama) == 1


async def test_when_all_are_cooling_down_all_are_asked_again(
    fake_ollama, second, provider, clock, run
):
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    with pytest.raises(AllModelsFailedError):
        await run(agent(provider))
    fake_ollama.reply("from a")

    assert (await run(agent(provider))).final_output == "from a"


@pytest.mark.parametrize("backup", ["no tools", "busy"])
async def test_a_model_that_cools_down_is_asked_when_nobody_else_could_answer(
    fake_ollama, second, provider, run, backup
):
    fake_ollama.fail(503, "busy")
    second.reply("from b")
    await run(agent(provider))
    fake_ollama.reply("well again")
    if backup == "no tools":
        second.add_model("m", capabilities=["completion"])
    else:
        second.fail(503, "busy")

    result = await run(agent(provider, tools=[weather]))

    assert result.final_output == "well again"
    failed = {"b/m": "tools" if backup == "no tools" else "busy"}
    provenance = result.raw_responses[0].output[0].provider_data["fallback"]
    assert provenance == {"model": "a/m", "failed": failed}


@pytest.mark.parametrize("is_well", [True, False])
async def test_those_that_cool_down_are_asked_last_in_order_and_once(
    fake_ollama, second, third, clock, run, is_well
):
    provider = chained(clock, a=ollama(fake_ollama), b=ollama(second), c=ollama(third))
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    third.reply("from c")
    await run(agent(provider))
    third.fail(503, "busy")

    if is_well:
        fake_ollama.reply("well again")
        assert (await run(agent(provider))).final_output == "well again"
    else:
        fake_ollama.fail(503, "busy")
        second.fail(503, "busy")
        with pytest.raises(AllModelsFailedError) as caught:
            await run(agent(provider))
        assert [f.reason for f in caught.value.failures] == ["busy"] * 3

    asked = [requests_of(fake) for fake in (fake_ollama, second, third)]
    assert asked == [2, 1 if is_well else 2, 2]


@pytest.mark.parametrize("status", [400, 401])
async def test_an_error_of_the_caller_ends_the_chain_before_those_that_cool_down(
    fake_ollama, second, provider, run, status
):
    fake_ollama.fail(503, "busy")
    second.fail(status, "no", times=2)
    for _ in range(2):
        with pytest.raises(OllamaStatusError, match=f"answered {status}"):
            await run(agent(provider))

    assert requests_of(fake_ollama) == 1


async def test_a_chain_whose_backup_cannot_is_retried_like_its_first_model(
    fake_ollama, second, provider, run
):
    second.add_model("m", capabilities=["completion"])
    fake_ollama.fail(503, "busy")
    fake_ollama.reply("well again", times=2)
    spoiled = agent(provider, tools=[weather], model_settings=retrying(2))

    assert (await run(spoiled)).final_output == "well again"
    assert (await run(spoiled)).final_output == "well again"
    assert (requests_of(fake_ollama), requests_of(second)) == (3, 0)


async def test_attempts_bound_those_that_cool_down_too(fake_ollama, second, clock, run):
    rules = FallbackRules(attempts=1)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))
    fake_ollama.fail(503, "busy")
    with pytest.raises(AllModelsFailedError):
        await run(agent(provider))
    second.fail(404, "model 'm' not found")

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    assert [f.reason for f in caught.value.failures] == ["cooling_down", "not_found"]
    assert requests_of(fake_ollama) == 1


async def test_a_retry_reaches_a_model_that_cooled_down_and_was_not_asked(
    fake_ollama, second, clock, run
):
    rules = FallbackRules(attempts=1)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))
    fake_ollama.fail(503, "busy")
    second.fail(404, "model 'm' not found")
    fake_ollama.reply("well again")

    result = await run(agent(provider, model_settings=retrying(2)))

    assert result.final_output == "well again"


async def test_without_a_cool_down_the_first_is_always_asked_first(fake_ollama, second, clock, run):
    fake_ollama.fail(503, "busy")
    fake_ollama.reply("from a")
    second.reply("from b")
    rules = FallbackRules(cool_down=0)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second))

    assert (await run(agent(provider))).final_output == "from b"
    assert (await run(agent(provider))).final_output == "from a"


async def test_attempts_bound_how_many_are_asked(fake_ollama, second, third, clock, run):
    fake_ollama.fail(503, "busy")
    second.fail(503, "busy")
    rules = FallbackRules(attempts=2)
    provider = chained(clock, rules, a=ollama(fake_ollama), b=ollama(second), c=ollama(third))

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    assert [f.reason for f in caught.value.failures] == ["busy", "busy", "attempts"]
    assert not third.requests


# When nobody can


async def test_one_error_says_why_for_each_and_holds_no_secret(
    fake_ollama, openai_server, clock, run, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    fake_ollama.fail(404, "model 'm' not found")
    openai_server.failure = (429, "key sk-secret-key has no quota")
    provider = chained(clock, a=ollama(fake_ollama), b=openai(openai_server))

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    error = caught.value
    assert [(f.model, f.reason) for f in error.failures] == [
        ("a/m", "not_found"),
        ("b/m", "rate_limit"),
    ]
    assert "ollama pull m" in str(error)
    assert "RateLimitError, status 429" in str(error)
    assert "sk-secret" not in f"{error} {error!r} {error.failures!r}"
    assert type(error.__cause__).__name__ == "RateLimitError"


def test_the_error_pickles():
    error = AllModelsFailedError([Failure("a/m", "busy", "it is busy", True, 2.0)])

    again = pickle.loads(pickle.dumps(error))

    assert (str(again), again.failures) == (str(error), error.failures)


# Retries


def retrying(times, policy=None):
    return ModelSettings(
        retry=ModelRetrySettings(
            max_retries=times,
            policy=policy or retry_policies.provider_suggested(),
            backoff={"initial_delay": 0.0, "max_delay": 0.01, "jitter": False},
        )
    )


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
async def test_nobody_waits_for_years(fake_ollama, second, provider, run, name, policy):
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
async def test_nobody_waits_for_years_for_a_server_that_speaks_openais_api(
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


async def test_a_request_that_must_not_be_repeated_goes_to_nobody_else(run):
    other = ScriptedModel([[assistant_message("twice")]])
    model = FallbackModel({"a": Unsafe(), "b": other})

    with pytest.raises(ConnectionError):
        await run(Agent("a", model=model))


# Timeouts and cancelling


async def test_the_timeout_of_the_agent_is_no_reason_to_ask_another(
    fake_ollama, second, provider, run
):
    fake_ollama.reply("late", fault=Stall(0))

    with pytest.raises(ModelTimeoutError):
        await run(agent(provider, model_settings=ModelSettings(timeout=0.2)))

    assert not second.requests
    await fake_ollama.disconnected()


async def test_cancelling_asks_nobody_else(fake_ollama, second, provider, run):
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


# What is told


class Spans(TracingProcessor):
    def __init__(self):
        self.ended = []

    def on_trace_start(self, trace): ...
    def on_trace_end(self, trace): ...
    def on_span_start(self, span): ...
    def on_span_end(self, span):
        self.ended.append(span)

    def shutdown(self): ...
    def force_flush(self): ...


async def test_each_try_that_failed_and_each_model_passed_over_is_a_span(
    fake_ollama, second, provider, run
):
    spans = Spans()
    add_trace_processor(spans)
    fake_ollama.fail(503, "busy")
    second.reply("from b", times=2)

    await run(agent(provider), run_config=RunConfig())
    await run(agent(provider), run_config=RunConfig())

    told = [span.span_data for span in spans.ended if span.span_data.type == "custom"]
    assert [(data.name, data.data) for data in told if "reason" in data.data] == [
        ("fallback: a/m (busy)", {"model": "a/m", "reason": "busy"}),
        ("fallback: a/m (cooling_down)", {"model": "a/m", "reason": "cooling_down"}),
    ]


async def test_the_items_of_an_answer_say_who_gave_it_and_who_failed(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", thinking="hm")
    expected = {"model": "b/m", "failed": {"a/m": "busy"}}

    result = await run(agent(provider))

    items = result.raw_responses[0].output
    assert [item.type for item in items] == ["reasoning", "message"]
    assert [item.provider_data["fallback"] for item in items] == [expected] * 2
    assert {item.provider_data["model"] for item in items} == {"m"}


async def test_an_answer_of_the_first_says_nothing_of_the_chain(fake_ollama, provider, run):
    fake_ollama.reply("from a")

    result = await run(agent(provider))

    assert "fallback" not in result.raw_responses[0].output[0].provider_data


async def test_failed_requests_are_counted_where_usage_has_a_place_for_them(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", prompt_eval_count=3, eval_count=4)

    usage = (await run(agent(provider))).context_wrapper.usage

    assert usage.total_tokens == 7
    assert usage.requests == (1 if run.is_streamed else 2)
    if not run.is_streamed:
        assert [entry.total_tokens for entry in usage.request_usage_entries] == [0, 7]


async def test_a_conversation_goes_on_with_another_model(fake_ollama, second, provider, run):
    """What the first model thought and called is understood by the second."""
    fake_ollama.reply(thinking="hm", tool_calls=[("weather", {"city": "Paris"})])
    fake_ollama.fail(503, "busy")
    second.reply("sunny")

    result = await run(agent(provider, tools=[weather]))

    assert result.final_output == "sunny"
    sent = second.chats[0]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "sunny in Paris"


# Life


class Closing(ScriptedModel):
    def __init__(self, error=None):
        super().__init__([])
        self.closed = 0
        self.error = error

    async def close(self):
        self.closed += 1
        if self.error:
            raise self.error


async def test_closing_closes_every_model():
    models = {"a": Closing(), "b": Closing(RuntimeError("b")), "c": Closing()}

    with pytest.raises(RuntimeError, match="b"):
        await FallbackModel(models).close()

    assert [model.closed for model in models.values()] == [1, 1, 1]


def test_a_provider_with_a_chain_is_copied(provider):
    assert isinstance(copy.deepcopy(provider).get_model(None), FallbackModel)


async def test_a_hundred_calls_at_once_ask_the_broken_model_at_most_once_each(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy", times=None)
    second.reply("from b", times=None)
    shared = agent(provider)

    results = await asyncio.gather(*(run(shared) for _ in range(100)))

    assert {result.final_output for result in results} == {"from b"}
    assert requests_of(second) == 100
    assert requests_of(fake_ollama) <= 100


def test_every_reason_has_an_error_that_gives_it():
    known = {meaning.reason for meaning in (*MEANINGS.values(), *STATUSES.values(), FAILED)}

    assert known - {None} == set(get_args(FallbackReason))


def test_the_errors_of_ollama_are_told_apart():
    silent = OllamaTimeoutError("x", phase="idle", seconds=1)
    assert reason_of(silent) == "timeout"
    assert reason_of(ModelNotFoundError("x", status_code=404)) == "not_found"
    assert reason_of(ValueError("x")) is None
