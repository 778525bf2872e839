"""When the next model is asked, and when the error is the caller's."""

from typing import get_args

import httpx2
import pytest
from agents import (
    ModelBehaviorError,
    Runner,
)
from openai import APIError, APIStatusError

from tests.fallback.chains import QUIET, agent, chained, ollama, openai, requests_of
from timestep import (
    AllModelsFailedError,
    CapabilityError,
    ModelNotFoundError,
    OllamaTimeoutError,
)
from timestep.cli.check.running import is_of_model
from timestep.errors import Failure
from timestep.errors.meaning import FAILED, MEANINGS, STATUSES
from timestep.fallback.reasons import reason_of
from timestep.net.fallback_rules import FallbackReason
from timestep.net.origin import Origin
from timestep.openai.server_errors import status_error
from timestep.testing import Reset, Stall

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
    fake_ollama.reply("late", fault=Stall(0), times=None)
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
    (400, 503, "busy"),
    (400, ["server_error"], "busy"),
    (400, None, "busy"),
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
async def test_an_error_of_the_caller_that_is_said_under_status_200_goes_to_no_other_model(
    openai_server, second, clock, run, api, error
):
    openai_server.error = error
    provider = chained(clock, a=openai(openai_server, **api), b=ollama(second))

    with pytest.raises((ModelBehaviorError, APIError)) as caught:
        await run(agent(provider))

    assert not isinstance(caught.value, AllModelsFailedError)
    assert not second.requests


def test_every_reason_has_an_error_that_gives_it():
    known = {meaning.reason for meaning in (*MEANINGS.values(), *STATUSES.values(), FAILED)}

    assert known - {None} == set(get_args(FallbackReason))


def test_the_errors_of_ollama_are_told_apart():
    silent = OllamaTimeoutError("x", phase="idle", seconds=1)
    assert reason_of(silent) == "timeout"
    assert reason_of(ModelNotFoundError("x", status_code=404)) == "not_found"
    assert reason_of(ValueError("x")) is None


NO_CHOICES = "ChatCompletion response has no choices (possible provider error payload): "


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ({"message": "slow", "code": "rate_limit_exceeded"}, "rate_limit"),
        ({"message": "slow", "code": 429}, "rate_limit"),
        ({"message": "down", "type": "server_error"}, "busy"),
        ({"message": "no"}, None),
        (["slow"], None),
        ("{'code': 429", None),
        ("{" * 9000, None),
        ("{f(): 1}", None),
    ],
    ids=range(8),
)
def test_a_failure_in_the_body_of_the_sdk_s_whole_answer_has_its_reason(payload, reason):
    text = payload if isinstance(payload, str) else repr(payload)

    assert reason_of(ModelBehaviorError(NO_CHOICES + text)) == reason


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (500, "invalid_prompt", None),
        (500, "ContextWindowExceededError", None),
        (500, "CONTENT_FILTER", None),
        (400, "timeout_error", "timeout"),
        (504, "timeout_error", "timeout"),
        (400, "overloaded_error", "busy"),
        (400, "Rate_Limit_Exceeded", "rate_limit"),
        (418, None, None),
        (529, None, "busy"),
    ],
)
def test_a_code_means_the_same_in_openai_s_error_and_in_ours(status, code, reason):
    error = {"message": "no", "code": code}
    response = httpx2.Response(
        status, json={"error": error}, request=httpx2.Request("POST", "http://h")
    )
    theirs = APIStatusError("no", response=response, body=error)
    ours = status_error(status, {}, response.content, Origin("m", "http://h"))

    assert (reason_of(theirs), reason_of(ours)) == (reason, reason)


def test_a_model_without_an_ability_of_any_name_is_to_blame_in_a_chain_too():
    for ability in ("tools", "think levels", "insert"):
        alone = CapabilityError("no", capability=ability)
        chain = AllModelsFailedError([Failure("m", ability, "no")])
        assert is_of_model(alone)
        assert is_of_model(chain)
    for reason in ("busy", "cooling_down", "attempts"):
        assert not is_of_model(AllModelsFailedError([Failure("m", reason, "no")]))
