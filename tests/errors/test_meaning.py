"""One table says what an error means, and everybody reads it."""

import pytest

from tests.errors.test_tree import TREE
from timestep import errors
from timestep.errors import Failure, TimestepError
from timestep.errors.meaning import MEANINGS, Meaning, meaning_of

CALLER = Meaning("caller")
CASES = [
    (errors.ConfigurationError("x"), CALLER),
    (errors.AllModelsFailedError("x"), CALLER),
    (errors.AllModelsFailedError([Failure("a", "not_found", "x")]), CALLER),
    (
        errors.AllModelsFailedError(
            [
                Failure("a", "not_found", "x", retry_after=1.0),
                Failure("b", "busy", "x", is_passing=True, retry_after=9.0),
                Failure("c", "rate_limit", "x", is_passing=True, retry_after=5.0),
            ]
        ),
        Meaning("caller", passes=True, wait=5.0),
    ),
    (
        errors.AllModelsFailedError(
            [
                Failure("a", "busy", "x", is_passing=True),
                Failure("b", "rate_limit", "x", is_passing=True, retry_after=5.0),
            ]
        ),
        Meaning("caller", passes=True),
    ),
    (errors.BrokenAnswerError("x"), Meaning("host", passes=True, reason="broken")),
    (errors.OllamaConnectionError("x"), Meaning("host", passes=True, reason="connection")),
    (errors.OllamaTimeoutError("x"), Meaning("host", passes=True, reason="timeout")),
    (errors.ModelNotFoundError("x"), Meaning("host", reason="not_found")),
    (errors.AuthenticationError("x", status_code=403), Meaning("caller", reason="authentication")),
    (errors.RateLimitError("x"), Meaning("host", passes=True, reason="rate_limit")),
    (errors.RateLimitError("x", is_quota=True), Meaning("host", reason="rate_limit")),
    (errors.ServerBusyError("x"), Meaning("host", passes=True, reason="busy")),
    (
        errors.ServerBusyError("x", retry_after=99.0),
        Meaning("host", passes=True, reason="busy", wait=99.0),
    ),
    (errors.CapabilityError("x", capability="tools", status_code=500), Meaning("model")),
    (errors.ContextWindowExceededError("x", status_code=500), CALLER),
    (errors.OllamaStreamError("x"), Meaning("host", passes=True, reason="broken")),
    (errors.ModelOutputError("x"), Meaning("model", passes=True)),
    (errors.OllamaStatusError("x"), CALLER),
    (errors.OllamaStatusError("x", status_code=400), CALLER),
    (errors.OllamaStatusError("x", status_code=402), Meaning("caller", reason="rate_limit")),
    (errors.OllamaStatusError("x", status_code=404), Meaning("caller", reason="not_found")),
    (
        errors.OllamaStatusError("x", status_code=408),
        Meaning("host", passes=True, reason="timeout"),
    ),
    (errors.OllamaStatusError("x", status_code=409), Meaning("host", passes=True)),
    (errors.OllamaStatusError("x", status_code=499), CALLER),
    (errors.OllamaStatusError("x", status_code=500), Meaning("host", passes=True, reason="busy")),
]


@pytest.mark.parametrize(("error", "meaning"), CASES)
def test_what_an_error_means(error, meaning):
    assert meaning_of(error) == meaning


def test_every_class_but_the_base_has_its_row():
    assert set(MEANINGS) == set(TREE) - {TimestepError}


def test_a_class_of_an_application_means_what_its_base_means():
    class Mine(errors.ServerBusyError):
        pass

    assert meaning_of(Mine("x")) == meaning_of(errors.ServerBusyError("x"))


def test_errors_of_others_are_not_in_the_table():
    assert meaning_of(ValueError("x")) is None
    assert meaning_of(TimestepError("x")) is None
