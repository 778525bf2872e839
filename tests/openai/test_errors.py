"""Refusals of servers that speak OpenAI's API, in their own words."""

import copy
import json
import pickle

import openai
import pytest

from tests.openai.reading import URL, WIRE, recording
from timestep import errors
from timestep.errors.meaning import meaning_of
from timestep.net.connection import TransportError
from timestep.net.origin import Origin
from timestep.openai import errors as openai_errors
from timestep.openai.server_errors import said_error, status_error
from timestep.openai.wire_errors import OpenAIWireErrors

ORIGIN = Origin("m", "http://h", ("s3cret-key",), url=URL)


def refused(status, body, headers=None):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return status_error(status, headers or {}, raw, ORIGIN)


TOO_LONG = {
    "OpenAI": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens. Please reduce the length of the messages.",
    "vLLM": "This model's maximum context length is 8192 tokens. However, you requested 9001 tokens (8901 in the messages, 100 in the completion).",
    "vLLM, newer": "The decoder prompt (length 9001 tokens) is longer than the maximum model length of 8192. Make sure that max_model_len is no smaller.",
    "llama.cpp": "the request exceeds the available context size (8192 tokens), try increasing it; the prompt has 9001 tokens",
    "llama-cpp-python": "Requested 9001 tokens exceed context window of 8192",
    "Groq": "Please reduce the length of the messages or completion.",
    "Mistral": "Prompt contains 9001 tokens and 0 draft tokens, too large for model with 8192 maximum context length",
    "SGLang": "The input (9001 tokens) is longer than the model's context length (8192 tokens).",
    "Gemini": "The input token count (9001 tokens) exceeds the maximum number of tokens allowed (8192).",
    "Anthropic": "prompt is too long: 9001 tokens > 8192 maximum",
    "LiteLLM": "litellm.ContextWindowExceededError: litellm.BadRequestError: This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens",
}  # fmt: skip


@pytest.mark.parametrize("words", TOO_LONG.values(), ids=TOO_LONG)
@pytest.mark.parametrize("status", [400, 413, 422, 500])
def test_a_prompt_that_is_too_long_is_told_from_other_refusals(words, status):
    error = refused(status, {"error": {"message": words, "type": "invalid_request_error"}})
    assert isinstance(error, errors.ContextWindowExceededError)
    assert isinstance(error, openai.BadRequestError)
    assert error.server_message == words.rstrip(".")
    if "9001" in words:
        assert error.prompt_tokens == 9001
    if "8192" in words and "Anthropic" not in words and "> 8192" not in words:
        assert error.context_length == 8192


def test_a_prompt_that_is_too_long_shows_the_refusal_as_others_do():
    said = {"message": TOO_LONG["OpenAI"]}
    error = refused(400, {"error": said})
    assert json.loads(error.response.text) == error.body == said


CLASSES = {
    "a wrong key": (401, {"error": {"message": "bad key", "code": "invalid_api_key"}}, errors.AuthenticationError),
    "a key without rights": (403, {"error": {"message": "no"}}, errors.AuthenticationError),
    "an unknown model": (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, errors.ModelNotFoundError),
    "an unknown model at LiteLLM": (400, {"error": {"message": "/chat/completions: Invalid model name passed in model=x. Call `/v1/models`", "code": "400"}}, errors.ModelNotFoundError),
    "an unknown model at LiteLLM's router": (400, {"error": {"message": "no healthy deployments for this model", "code": "400"}}, errors.ModelNotFoundError),
    "a limit": (429, {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, errors.RateLimitError),
    "a used-up plan": (429, {"error": {"message": "pay", "code": "insufficient_quota"}}, errors.RateLimitError),
    "no credit": (402, {"error": {"message": "pay", "code": 402}}, errors.RateLimitError),
    "an overloaded server": (503, {"error": {"message": "later"}}, errors.ServerBusyError),
    "an overloaded server by its code": (500, {"error": {"message": "x", "type": "overloaded_error"}}, errors.ServerBusyError),
    "a page of a gateway": (502, b"<html><h1>Bad gateway</h1></html>", errors.ServerBusyError),
    "a failed server": (500, {"error": {"message": "oops"}}, errors.OllamaStatusError),
    "a refused request": (422, {"detail": [{"loc": ["body"], "msg": "wrong"}]}, errors.OllamaStatusError),
    "a path that is not there": (404, {"detail": "Not Found"}, errors.OllamaStatusError),
    "a filtered request": (400, {"error": {"message": "no", "code": "content_filter"}}, errors.ModelOutputError),
}  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), CLASSES.values(), ids=CLASSES)
def test_a_refusal_has_the_class_that_means_it(status, body, kind):
    error = refused(status, body)
    assert isinstance(error, kind)
    assert "http://h" in str(error)


@pytest.mark.parametrize(("status", "body", "kind"), CLASSES.values(), ids=CLASSES)
def test_a_status_is_caught_as_openai_says_it_too(status, body, kind):
    error = refused(status, body)
    if kind is errors.ModelOutputError:
        return
    assert isinstance(error, openai.APIStatusError)
    assert error.status_code == error.response.status_code == status
    assert "authorization" not in error.request.headers


def test_what_a_status_means_is_read_from_the_one_table():
    assert meaning_of(refused(429, {"error": "slow"}, {"Retry-After": "7"})).wait == 7
    assert meaning_of(refused(429, {"error": "slow"})).reason == "rate_limit"
    assert not meaning_of(refused(429, {"error": {"code": "insufficient_quota"}})).passes
    assert meaning_of(refused(500, {"error": "x"})).reason == "busy"
    assert meaning_of(refused(400, {"error": "x"})).fault == "caller"


def test_a_gateways_own_name_for_retry_after_counts():
    assert refused(429, {}, {"llm_provider-retry-after": "3"}).retry_after == 3
    both = {"llm_provider-retry-after": "3", "retry-after": "5"}
    assert refused(429, {}, both).retry_after == 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"message": "no"}, "no"),
        ({"error": {"error": {"message": "no"}}}, "no"),
        (b"Internal Server Error", "Internal Server Error"),
        (b"<html><title>no</title></html>", "no"),
        (b"", ""),
    ],
)
def test_the_servers_words_are_kept_from_every_shape(body, words):
    assert refused(500, body).server_message == words


def test_recorded_refusals_are_of_the_tree():
    names = [path.stem for path in WIRE.glob("*-whole.json")] + ["llamacpp-error-toolong-stream"]
    kinds = {}
    for name in names:
        answer = recording(name)["response"]
        if answer["status"] is not None and answer["status"] >= 400:
            error = status_error(
                answer["status"], answer["headers"], answer["body"].encode(), ORIGIN
            )
            kinds[name] = type(error).__name__
    expected = {
        "aimock-error-badjson-whole": "OpenAIBadRequestError",
        "aimock-error-err400-whole": "OpenAIBadRequestError",
        "aimock-error-err500-whole": "OpenAIServerBusyError",
        "aimock-error-err503-whole": "OpenAIServerBusyError",
        "aimock-error-errctx-whole": "OpenAIContextWindowExceededError",
        "aimock-error-errquota-whole": "OpenAIRateLimitError",
        "llamacpp-error-toolong-stream": "OpenAIContextWindowExceededError",
        "litellm-error-toolong-llamacpp-whole": "OpenAIContextWindowExceededError",
        "litellm-error-err429-whole": "OpenAIRateLimitError",
        "litellm-keys-nokey-whole": "OpenAIAuthenticationError",
        "litellm-error-upstreamkey-whole": "OpenAIAuthenticationError",
        "lcpy-schema-whole": "OpenAIServerBusyError",
    }
    assert {name: kinds[name] for name in expected} == expected
    assert len(kinds) > len(expected)


def test_llama_cpp_says_the_numbers():
    answer = recording("llamacpp-error-toolong-stream")["response"]
    error = status_error(400, {}, answer["body"].encode(), ORIGIN)
    said = json.loads(answer["body"])["error"]
    assert (error.prompt_tokens, error.context_length) == (said["n_prompt_tokens"], said["n_ctx"])


def test_an_error_under_status_200_is_read_like_a_refusal():
    error = said_error({"error": {"message": "slow", "code": 429}}, ORIGIN)
    assert isinstance(error, errors.RateLimitError)
    assert error.status_code == 429


def test_no_secret_stands_in_an_error():
    body = {"error": {"message": "your key s3cret-key is wrong", "param": "s3cret-key"}}
    error = refused(401, body, {"X-Echo": "s3cret-key", "Set-Cookie": "a=b"})
    seen = f"{error} {error.body} {error.headers} {error.server_message} {error.response.headers}"
    assert "s3cret-key" not in seen
    assert "set-cookie" not in error.headers


def test_a_broken_connection_and_silence_are_of_both_trees():
    faults = OpenAIWireErrors(ORIGIN)
    failed = faults.failed(TransportError("reach", "refused with s3cret-key"))
    assert isinstance(failed, errors.OllamaConnectionError)
    assert isinstance(failed, openai.APIConnectionError)
    assert "s3cret-key" not in str(failed)
    silent = faults.silent("first_byte", 5.0)
    assert isinstance(silent, errors.OllamaTimeoutError)
    assert isinstance(silent, openai.APITimeoutError)
    assert (silent.phase, silent.seconds) == ("first_byte", 5.0)


ALL = [
    value
    for value in vars(openai_errors).values()
    if isinstance(value, type)
    and issubclass(value, errors.TimestepError)
    and value.__module__ == openai_errors.__name__
]


@pytest.mark.parametrize("kind", ALL)
def test_an_error_is_rebuilt_from_its_message_and_survives_copies(kind):
    error = kind("what happened")
    for again in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error), kind(*error.args)):
        assert type(again) is kind
        assert str(again) == "what happened"
        if issubclass(kind, openai.APIStatusError):
            assert again.status_code == error.status_code


@pytest.mark.parametrize(
    ("status", "theirs"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
    ],
)
def test_a_refusal_is_of_the_class_that_openai_s_client_raises(status, theirs):
    error = refused(status, {"error": {"message": "no"}})

    assert isinstance(error, theirs)
    assert error.status_code == status


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (openai_errors.OpenAIAuthenticationError, 401),
        (openai_errors.OpenAIContextWindowExceededError, 400),
        (openai_errors.OpenAIModelNotFoundError, 404),
        (openai_errors.OpenAIRateLimitError, 429),
        (openai_errors.OpenAIServerBusyError, 503),
        (openai_errors.OpenAIStatusError, 0),
    ],
)
def test_an_error_rebuilt_from_its_message_has_the_usual_status_of_its_class(kind, status):
    assert kind("words").status_code == status


def test_a_body_with_half_a_surrogate_pair_is_kept_without_it():
    error = openai_errors.OpenAIBadRequestError("x", body={"message": "\ud800"})

    assert error.response.text == '{"message": "?"}'
