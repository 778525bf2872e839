"""What stands behind an error: its class, and words of our own."""

import asyncio
import traceback

import pytest

from timestep.errors import OllamaConnectionError
from timestep.net.client import Client
from timestep.net.connection import Request, TransportError, as_cause, drop_frames
from timestep.net.origin import Origin
from timestep.net.timeouts import Timeouts
from timestep.ollama.wire_errors import OllamaWireErrors

KEY = "sk-marked-0123456789"


class Raising:
    def __init__(self, error):
        self.error = error

    async def send(self, request, guard):
        raise self.error

    async def aclose(self):
        pass


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LookupError(KEY), "LookupError was raised, which timestep did not expect"),
        (ImportError(KEY, name="h2"), "the package h2 cannot be imported"),
        (UnicodeError(KEY), "UnicodeError was raised"),
        (ExceptionGroup(KEY, [ValueError(KEY)]), "ExceptionGroup was raised"),
    ],
)
async def test_an_unforeseen_error_names_itself(error, words):
    client = Client("http://h", Timeouts(), opener=lambda *_: Raising(error))
    exchange = client.exchange(
        Request("POST", "http://h", {}, b""), OllamaWireErrors(Origin("m", "h"))
    )

    with pytest.raises(OllamaConnectionError, match=words) as caught:
        await anext(exchange)

    cause = caught.value.__cause__
    assert isinstance(cause, TransportError)
    assert type(error).__name__ in str(cause)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    await client.aclose()


def test_a_cause_names_the_class_behind_it_and_forgets_its_words():
    error = TransportError("reach", "connection refused")
    error.__cause__ = ValueError(KEY)

    kept = as_cause(error)

    assert (kept.__cause__, kept.__context__) == (None, None)
    assert kept.__notes__ == ["raised for builtins.ValueError"]


def test_frames_are_dropped_from_a_ring_of_causes():
    errors = []
    for _ in range(3):
        try:
            {}["nothing"]
        except KeyError as exc:
            errors.append(exc)
    for one, other in zip(errors, [*errors[1:], errors[0]], strict=True):
        one.__context__ = other

    drop_frames(errors[0])

    assert [each.__traceback__ for each in errors] == [None] * 3


async def test_a_cancelled_reader_takes_nothing_with_it():
    client = Client("http://h", Timeouts(), opener=lambda *_: Raising(LookupError(KEY)))
    exchange = client.exchange(
        Request("POST", "http://h", {}, b""), OllamaWireErrors(Origin("m", "h"))
    )
    reading = asyncio.ensure_future(anext(exchange))
    reading.cancel()

    with pytest.raises(asyncio.CancelledError):
        await reading
    await client.aclose()
