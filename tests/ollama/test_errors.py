"""Refusals and error lines of every wording, as errors of the tree."""

import json

import pytest
from agents import ModelBehaviorError
from hypothesis import given
from hypothesis import strategies as st

from tests.ollama.answers import ORIGIN
from tests.ollama.refusals import refusal
from timestep import errors
from timestep.errors.retry import retry_advice
from timestep.net.secrets import secrets_in
from timestep.ollama.server_errors import line_error, status_error

HTML = (
    b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title><style>h1 { color: red }</style>"
    b"<SCRIPT>track()</SCRIPT></head><body>\n<h1>502 Bad  Gateway</h1><hr>cloudflare</body></html>"
)


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (400, {"error": "invalid model name"}, errors.OllamaStatusError, "invalid model name"),
        (401, {"error": "unauthorized"}, errors.AuthenticationError, "OLLAMA_API_KEY"),
        (401, b"", errors.AuthenticationError, "OLLAMA_API_KEY"),
        (402, {"error": "payment required"}, errors.OllamaStatusError, "payment required"),
        (403, b"", errors.AuthenticationError, "OLLAMA_ORIGINS"),
        (
            403,
            {"error": "ollama cloud is disabled: remote model is unavailable"},
            errors.AuthenticationError,
            "OLLAMA_NO_CLOUD",
        ),
        (
            403,
            {
                "error": "this model requires a subscription, upgrade for access: "
                "https://ollama.com/upgrade (ref: 1)"
            },
            errors.AuthenticationError,
            "paid plan",
        ),
        (
            404,
            {"error": 'model "m" not found, try pulling it first'},
            errors.ModelNotFoundError,
            "pull",
        ),
        (404, {"error": "model 'page-maker' not found"}, errors.ModelNotFoundError, "pull"),
        (404, b"404 page not found", errors.OllamaStatusError, "without /v1"),
        (405, b"405 method not allowed", errors.OllamaStatusError, "without /v1"),
        (429, b"", errors.RateLimitError, "too many requests"),
        (499, {"error": "request canceled"}, errors.OllamaStatusError, "request canceled"),
        (500, b"", errors.OllamaStatusError, "answered 500: it gave no reason"),
        (500, {"error": "Internal Server Error (ref: 1)"}, errors.OllamaStatusError, "ref: 1"),
        (500, {"error": "Server overloaded (ref: 1)"}, errors.ServerBusyError, "in a moment"),
        (502, HTML, errors.ServerBusyError, "answered 502: 502 Bad Gateway 502 Bad Gateway cloud"),
        (503, b"", errors.ServerBusyError, "overloaded"),
        (
            503,
            {"error": "server busy, please try again.  maximum pending requests exceeded"},
            errors.ServerBusyError,
            "server busy, please try again.  maximum pending requests exceeded",
        ),
        (
            503,
            {"error": "Server overloaded, please retry shortly (ref: 1)"},
            errors.ServerBusyError,
            "please retry shortly (ref: 1)",
        ),
        (504, b"upstream timeout", errors.ServerBusyError, "upstream timeout"),
        (529, b"", errors.ServerBusyError, "overloaded"),
        (
            500,
            {"error": "error parsing tool call: raw='{', err=x"},
            errors.ModelOutputError,
            "raw='{'",
        ),
        (
            500,
            {"error": "failed to parse JSON: x"},
            errors.ModelOutputError,
            "failed to parse JSON",
        ),
        (
            500,
            {"error": "incomplete GLM tool call: x"},
            errors.ModelOutputError,
            "GLM tool call: x",
        ),
    ],
)  # fmt: skip - a table reads better in rows
def test_a_refusal_has_its_class_and_says_what_to_do(status, body, expected, words):
    error = refusal(status, body)

    assert type(error) is expected
    assert words in str(error)
    assert "'m'" in str(error) or "http://localhost:11434" in str(error)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"null", "null"),
        (b"true", "true"),
        (b"5", "5"),
        (b"[]", "[]"),
        (b'["a", {"b": 1}]', '["a", {"b": 1}]'),
        (b'"just text"', "just text"),
        (b"{}", "{}"),
        (b'{"detail":"Not Found"}', '{"detail": "Not Found"}'),
        (b'{"error":null}', '{"error": null}'),
        (b'{"error":""}', '{"error": ""}'),
        (b'{"error":5}', "5"),
        (b'{"error":["a"]}', '["a"]'),
        (b'{"error":{"message":"deep"}}', "deep"),
        (b'{"error":{"code":1}}', '{"code": 1}'),
        (b'{"error":"{oops"}', "{oops"),
        (b'{"error":"{\\"error\\":{\\"message\\":\\"inner\\"}}"}', "inner"),
        (b'{"error":"{\\"error\\":{\\"message\\":\\"inner\\"}}\\nlast log line"}', "inner"),
        (b'{"StatusCode":500,"Status":"500 Oops","error":"struct"}', "struct"),
        (b'{"message":"only a message"}', "only a message"),
        (b'{"error":"caf\xe9"}', '{"error":"caf\ufffd"}'),
        (b'{"error":"x', '{"error":"x'),
        (b'{"error": NaN}', "NaN"),
        (b"\x00\x01\xff\xfe", "\ufffd\ufffd\ufffd\ufffd"),
        (b"\x1b[31mred", "\ufffd[31mred"),
        (b"  two\r\n lines ", "two lines"),
        (b"<p>unfinished <b", "unfinished"),
        (b"<script>never closed", ""),
        (b"[" * 10_000, "[" * 600 + "… (10000 characters)"),
        (b'{"error":"' + b"x" * 5_000_000 + b'"}', "x" * 600 + "… (5000000 characters)"),
    ],
    ids=lambda value: repr(value[:64]),
)
def test_the_server_s_words_are_found_in_any_body(body, said):
    error = refusal(500, body)

    assert type(error) is errors.OllamaStatusError
    assert error.server_message == said
    assert said in str(error)


def test_nesting_without_end_is_cut_short():
    body = {"error": "the end"}
    for _ in range(50):
        body = {"error": body}

    assert "the end" in refusal(500, body).server_message


@pytest.mark.parametrize("page", [b"<script", b"<", b"<style>x</style", b"<!--"])
def test_a_page_of_a_megabyte_is_read_in_no_time(page):
    # What takes quadratic time here would take minutes.
    assert refusal(502, page * (1_000_000 // len(page))).server_message is not None


@pytest.mark.parametrize(
    ("words", "capability", "advice"),
    [
        ("registry.ollama.ai/library/m:latest does not support tools", "tools", "tool_emulation"),
        ("m does not support tools", "tools", "tool_emulation"),
        ('"m" does not support thinking', "thinking", "reasoning.effort"),
        (
            (
                "m does not support thinking. Pull the model again to get the latest version with full "
                "thinking support"
            ),
            "thinking",
            "Pull the model again",
        ),
        ('"m" does not support chat', "completion", "Choose a model that does"),
        ("this model does not support image input", "vision", "Choose a model that does"),
        (
            (
                '{"error":{"code":500,"message":"image input is not supported - hint: if this is '
                'unexpected, you may need to provide the mmproj","type":"server_error"}}'
            ),
            "vision",
            "mmproj",
        ),
        ("m does not support insert", "insert", "Choose a model that does"),
    ],
)
def test_a_missing_capability_is_named(words, capability, advice):
    error = refusal(400, {"error": words})

    assert type(error) is errors.CapabilityError
    assert error.capability == capability
    assert f"'m' does not support {capability}" in str(error)
    assert advice in str(error)


def test_a_server_that_knows_no_levels_of_thinking_is_not_a_model_that_cannot_think():
    error = refusal(400, {"error": 'think value "medium" is not supported for this model'})

    assert type(error) is errors.CapabilityError
    assert error.capability == "think levels"
    assert "does not support thinking" not in str(error)
    assert "update the server" in str(error)


@pytest.mark.parametrize(
    ("words", "is_quota"),
    [
        ("you (ann) have reached your session usage limit, upgrade for higher limits", True),
        ("you have reached your weekly usage limit", True),
        ("Quota exceeded", True),
        ("too many concurrent requests", False),
        ("", False),
    ],
)
def test_a_used_up_plan_is_told_from_a_burst(words, is_quota):
    error = refusal(429, {"error": words})

    assert type(error) is errors.RateLimitError
    assert error.is_quota is is_quota
    assert retry_advice(error).suggested is not is_quota
    assert ("useless" in str(error)) is is_quota


def test_a_remote_stub_s_refusal_is_unwrapped():
    body = {"StatusCode": 429, "Status": "429 Too Many Requests", "error": "hourly usage limit"}

    assert refusal(429, body).is_quota


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://ollama.com/connect?name=box&key=c3No", "https://ollama.com/connect?name=box&key=c3No"),
        (5, None),
        (None, None),
    ],
)  # a table reads better in rows # fmt: skip
def test_a_sign_in_page_is_shown(url, shown):
    error = refusal(401, {"error": "unauthorized", "signin_url": url})

    assert type(error) is errors.AuthenticationError
    assert error.signin_url == shown
    assert (shown or "OLLAMA_API_KEY") in str(error)


@pytest.mark.parametrize(
    ("location", "shown"),
    [
        ("https://ollama.com/api/chat", "redirects to https://ollama.com/api/chat"),
        (
            "https://ann:pass@ollama.com/api/chat?token=secret",
            "redirects to https://ollama.com/api/chat,",
        ),
        ("https://h/@user/api#secret", "redirects to https://h/@user/api,"),
        (None, "redirects to elsewhere"),
    ],
)
def test_a_redirect_says_where_to_and_nothing_secret(location, shown):
    error = refusal(301, b"", {"Location": location} if location else {})

    assert type(error) is errors.OllamaStatusError
    assert shown in str(error)
    assert "pass" not in str(error)
    assert "secret" not in str(error)


def test_the_key_is_taken_out_of_everything_an_error_keeps():
    secrets = ("sk-1234567890", "long-header-value")
    body = {"error": "bad key sk-1234567890 or long-header-value", "signin_url": "x?sk-1234567890"}

    error = refusal(401, body, {"X-Echo": "sk-1234567890"}, secrets=secrets)

    kept = f"{error} {error.__dict__}"
    assert "***" in kept
    assert not any(secret in kept for secret in secrets)


@pytest.mark.parametrize("key", ["x", "key", "ollama", "none"])
def test_a_word_in_the_place_of_a_key_stays_in_what_the_server_says(key):
    words = "the ollama key is none of x, see https://ollama.com"

    assert secrets_in({"authorization": f"Bearer {key}"}) == ()
    secrets = secrets_in({"authorization": "Bearer s3cr"})
    assert secrets == ("s3cr",)
    assert refusal(500, {"error": words}, secrets=secrets).server_message == words


def test_headers_are_kept_in_lower_case_without_credentials():
    headers = {"X-Request-Id": "r1", "Set-Cookie": "a=b", "Authorization": "k", "Cookie": "c"}

    assert refusal(500, b"", headers).headers == {"x-request-id": "r1"}


@pytest.mark.parametrize(
    ("line", "expected", "said"),
    [
        ({"error": "CUDA error"}, errors.OllamaStreamError, "CUDA error"),
        ({"error": {"message": "CUDA error"}}, errors.OllamaStreamError, "CUDA error"),
        ({"error": "123"}, errors.OllamaStreamError, "123"),
        ({"error": {}}, errors.OllamaStreamError, "{}"),
        ({"error": ["x"]}, errors.OllamaStreamError, '["x"]'),
        ({}, errors.OllamaStreamError, "{}"),
        ({"status": "success"}, errors.OllamaStreamError, '{"status": "success"}'),
        (
            {"error parsing tool call": "invalid character 'o'"},
            errors.ModelOutputError,
            "invalid character 'o'",
        ),
        (
            {"error": "prediction aborted, token repeat limit reached"},
            errors.ModelOutputError,
            "token repeat limit reached",
        ),
        (
            {"error": 'llama-server returned invalid tool call arguments for "f": EOF'},
            errors.ModelOutputError,
            'arguments for "f": EOF',
        ),
    ],
)
def test_an_error_line_has_its_class_and_the_server_s_words(line, expected, said):
    error = line_error(line, ORIGIN)

    assert type(error) is expected
    assert said in error.server_message
    assert error.server_message in str(error)
    assert isinstance(error, ModelBehaviorError) is (expected is errors.ModelOutputError)


def test_an_object_that_is_no_json_is_shown_anyway():
    assert "object at" in str(line_error({"odd": object()}, ORIGIN))


def test_words_with_half_a_character_can_be_printed():
    error = line_error({"error": '{"error": "\ud800"}'}, ORIGIN)

    assert "\ufffd" in str(error)
    str(error).encode()


words = st.text(max_size=20)
names = words | st.sampled_from(["error", "message"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner) | st.dictionaries(names, inner),
    max_leaves=5,
)
bodies = st.one_of(
    st.binary(),
    words.map(str.encode),
    values.map(lambda value: json.dumps(value).encode()),
    values.map(lambda value: json.dumps({"error": json.dumps({"error": value})}).encode()),
)
dates = st.from_regex(r"(Fri, )?\d{1,12} (Nov|Jan) \d{1,6} \d{1,3}:\d\d:\d\d (GMT|[+-]\d{1,9})?")
headers = st.dictionaries(
    st.sampled_from(["Retry-After", "Date", "Location", "X-Other"]),
    dates | words | st.floats().map(str),
)


@given(st.integers(100, 999), headers, bodies)
def test_whatever_refuses_is_an_error_of_the_tree(status, sent, body):
    error = status_error(status, sent, body, ORIGIN)

    assert isinstance(error, errors.OllamaError)
    assert 0 < len(str(error)) < 2000
    assert str(error).encode()
    assert retry_advice(error).reason.startswith(str(error))


@given(st.dictionaries(names, values, max_size=3))
def test_whatever_line_is_no_chunk_is_an_error_of_the_tree(line):
    error = line_error(line, ORIGIN)

    assert isinstance(error, errors.OllamaStreamError | errors.ModelOutputError)
    assert 0 < len(str(error)) < 2000
