"""Every error of the tree travels: pickled, copied, and rebuilt from its message alone."""

import copy
import inspect
import json
import pickle
import re

import pytest
from agents import ModelBehaviorError, UserError

from timestep import errors
from timestep.errors import Failure, TimestepError
from timestep.fallback.reasons import StreamFailureError
from timestep.openai.errors import OpenAIStatusError


def below(cls):
    return {cls, *(found for child in cls.__subclasses__() for found in below(child))}


TREE = sorted(
    (cls for cls in below(TimestepError) if cls.__module__ == "timestep.errors"),
    key=lambda cls: cls.__name__,
)
STATUS = {
    "model": "m",
    "host": "http://h",
    "status_code": 418,
    "headers": {"a": "b"},
    "server_message": "words",
    "retry_after": 2.0,
}
FULL = [
    errors.UnknownModelError.for_prefix("olama", ["ollama", "openai"]),
    errors.AllModelsFailedError([Failure("a/m", "busy", "it is busy", True, 2.0)]),
    errors.BrokenAnswerError("x", host="http://h"),
    errors.OllamaConnectionError("x", model="m", host="http://h"),
    errors.OllamaTimeoutError("x", phase="idle", seconds=1.5, model="m"),
    errors.OllamaStatusError("x", **STATUS),
    errors.AuthenticationError("x", signin_url="https://s", **STATUS),
    errors.RateLimitError("x", is_quota=True, **STATUS),
    errors.CapabilityError("x", capability="tools", **STATUS),
    errors.ContextWindowExceededError("x", prompt_tokens=1, context_length=2, status_code=400),
    errors.OllamaStreamError("x", server_message="words"),
    errors.ModelOutputError("x", server_message="words"),
    StreamFailureError("x", code="server_error"),
]


def copies(error):
    return pickle.loads(pickle.dumps(error)), copy.deepcopy(error), copy.copy(error)


OF_OPENAI = [
    OpenAIStatusError,
    *sorted(below(OpenAIStatusError) - {OpenAIStatusError}, key=lambda cls: cls.__name__),
]


@pytest.mark.parametrize(
    "cls", [*TREE, *OF_OPENAI, StreamFailureError], ids=lambda cls: cls.__name__
)
def test_every_error_is_rebuilt_from_its_message_alone(cls):
    error = cls("what happened; the next step")

    for again in (error, *copies(error)):
        assert type(again) is cls
        assert str(again) == "what happened; the next step"
        assert told_by(again) == told_by(error)


def told_by(error):
    """What *error* tells, without the objects of an HTTP client, which equal only themselves."""
    return {k: v for k, v in vars(error).items() if k not in {"request", "response"}}


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_copy_of_an_error_has_all_that_it_had(error):
    for again in copies(error):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert vars(again) == vars(error)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_an_error_comes_back_from_a_queue_that_keeps_its_class_and_arguments_as_json(error):
    # Source: celery/backends/base.py, exception_to_python: the class, called with the arguments.
    told = json.loads(json.dumps(error.args))

    again = type(error)(*told)

    assert type(again) is type(error)
    assert str(again) == str(error)


@pytest.mark.parametrize("error", FULL, ids=lambda error: type(error).__name__)
def test_a_copy_loses_the_run_and_nothing_else(error):
    error = copy.deepcopy(error)
    error.run_data = object() if isinstance(error, TimestepError) else None
    error.add_note("a note")

    again = pickle.loads(pickle.dumps(error))

    assert again.run_data is None
    assert again.__notes__ == ["a note"]


def test_a_status_that_is_not_told_is_the_usual_one():
    refusals = [cls for cls in TREE if issubclass(cls, errors.OllamaStatusError)]

    usual = {cls.__name__: cls("x").status_code for cls in refusals}

    assert usual == {
        "OllamaStatusError": 0,
        "ModelNotFoundError": 404,
        "AuthenticationError": 401,
        "RateLimitError": 429,
        "ServerBusyError": 503,
        "CapabilityError": 400,
    }


def test_the_module_draws_the_tree():
    drawn = re.findall(r"^[│├└─ ]*(\w+Error)\b", inspect.getdoc(errors), re.MULTILINE)

    assert sorted(drawn) == [cls.__name__ for cls in TREE]


def test_errors_are_errors_of_the_sdk_too():
    assert {cls.__name__ for cls in TREE if issubclass(cls, UserError)} == {
        "UnknownModelError",
        "UnsupportedInputError",
    }
    assert {cls.__name__ for cls in TREE if issubclass(cls, ModelBehaviorError)} == {
        "ModelOutputError"
    }
