"""When to ask again: ``Retry-After`` in every form, and advice for every class."""

import pytest

from tests.errors.test_tree import TREE
from tests.ollama.refusals import refusal
from timestep import errors
from timestep.errors.retry import retry_advice

NOW = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "5"}, 5.0),
        ({"RETRY-AFTER": " 7 "}, 7.0),
        ({"retry-after": "0"}, 0.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT", "Date": NOW}, 30.0),
        ({"Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT", "Date": NOW}, 0.0),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 GMT", "Date": "today"}, None),
        ({"Retry-After": "Sat, 21 Nov 2026 10:00:30 -0000", "Date": NOW}, None),
        ({"Retry-After": "Fri, 31 Dec 99999999999 23:59:59 GMT", "Date": NOW}, None),
    ],
)
def test_retry_after_is_read_in_every_form(headers, seconds):
    error = refusal(503, b"", headers)

    assert error.retry_after == seconds
    assert retry_advice(error).retry_after == seconds
    assert retry_advice(error).normalized.retry_after == seconds


@pytest.mark.parametrize(("seconds", "is_advised"), [("60", True), ("60.1", False), ("1e9", False)])
def test_no_retry_is_advised_when_the_server_asks_to_wait_too_long(seconds, is_advised):
    error = refusal(503, b"", {"Retry-After": seconds})

    advice = retry_advice(error)

    assert error.retry_after == float(seconds)
    assert advice.suggested is is_advised
    assert (advice.replay_safety == "safe") is is_advised
    assert advice.retry_after == (60.0 if is_advised else None)
    assert advice.normalized.retry_after == advice.retry_after
    assert ("longer than the 60 s" in advice.reason) is not is_advised


STATUS = {"status_code": 400}


ADVICE = [
    (errors.OllamaError("x"), False),
    (errors.OllamaConnectionError("x"), True),
    (errors.OllamaTimeoutError("x", phase="idle", seconds=1.0), True),
    (errors.OllamaStatusError("x", status_code=400), False),
    (errors.OllamaStatusError("x", status_code=408), True),
    (errors.OllamaStatusError("x", status_code=409), True),
    (errors.OllamaStatusError("x", status_code=499), False),
    (errors.OllamaStatusError("x", status_code=500), True),
    (errors.ModelNotFoundError("x", status_code=404), False),
    (errors.AuthenticationError("x", status_code=401), False),
    (errors.RateLimitError("x", status_code=429), True),
    (errors.RateLimitError("x", status_code=429, is_quota=True), False),
    (errors.ServerBusyError("x", status_code=503), True),
    (errors.CapabilityError("x", capability="tools", status_code=500), False),
    (errors.ContextWindowExceededError("x", status_code=500), False),
    (errors.OllamaStreamError("x"), True),
    (errors.ModelOutputError("x"), True),
]


@pytest.mark.parametrize(("error", "suggested"), ADVICE)
def test_retry_advice(error, suggested):
    advice = retry_advice(error)

    assert advice.suggested is suggested
    assert advice.replay_safety == ("safe" if suggested else None)
    assert advice.reason == advice.normalized.message == "x"
    assert advice.normalized.status_code == getattr(error, "status_code", None)
    assert advice.normalized.is_network_error is isinstance(error, errors.OllamaConnectionError)
    assert advice.normalized.is_timeout is isinstance(error, errors.OllamaTimeoutError)
    assert advice.normalized.is_abort is False


def test_retry_advice_is_known_for_every_class():
    known = {cls for cls in TREE if issubclass(cls, errors.OllamaError)}

    assert known == {type(error) for error, _ in ADVICE}


@pytest.mark.parametrize(
    "error", [ValueError("x"), errors.ConfigurationError("x"), errors.UnsupportedInputError("x")]
)
def test_nothing_is_advised_for_errors_that_no_server_made(error):
    assert retry_advice(error) is None
