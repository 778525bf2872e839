"""The script of a test, in order, and how the exchange differed from it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from timestep.testing.answers import Answer, Failure, Said
from timestep.testing.errors import FakeServerError, UnconsumedReplies
from timestep.testing.http import Request
from timestep.testing.recordings import Recording


@dataclass
class Queued:
    """An answer in the queue."""

    answer: Answer
    paths: Sequence[str]  # for requests to one of these paths
    model: str | None  # for requests that name this model; `None` is for all
    left: int | None  # how many requests it still answers; `None` is for any number

    def suits(self, request: Request) -> bool:
        """Return True when it may answer *request*."""
        is_model = self.model is None or field_of(request, "model") == self.model
        return is_model and request.path in self.paths

    def __str__(self) -> str:
        model = "" if self.model is None else f" for model {self.model!r}"
        times = "" if self.left == 1 else f" ({self.left} times)"
        return f"{describe(self.answer)} to {' or '.join(self.paths)}{model}{times}"


class Script:
    """The queue of answers, and the failures to report; safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: list[Queued] = []
        self._problems: list[FakeServerError] = []

    def add(self, queued: Queued) -> None:
        """Put *queued* at the end."""
        with self._lock:
            self._queue.append(queued)

    def take(self, request: Request) -> Answer | None:
        """Return the first answer that suits *request*, out of the queue; ``None`` without one."""
        with self._lock:
            for queued in self._queue:
                if queued.suits(request):
                    if queued.left is not None:
                        queued.left -= 1
                        if not queued.left:
                            self._queue.remove(queued)
                    return queued.answer
            return None

    def blame(self, problem: FakeServerError) -> None:
        """Remember *problem*."""
        with self._lock:
            self._problems.append(problem)

    def waiting(self) -> list[str]:
        """Return a description of each answer that was asked for too seldom."""
        with self._lock:
            return [str(queued) for queued in self._queue if queued.left is not None]

    def verify(self) -> None:
        """Raise an error of the first problem's class with the texts of all problems."""
        __tracebackhide__ = True  # pytest shows the test, not this
        with self._lock:
            problems = [*self._problems]
        waiting = self.waiting()
        if waiting:
            listed = "".join(f"\n  - {description}" for description in waiting)
            problems.append(UnconsumedReplies(f"these answers were never asked for:{listed}"))
        if problems:
            raise type(problems[0])("\n".join(map(str, problems)))


def field_of(request: Request, name: str) -> Any:
    """Return the field *name* of the request's body; ``None`` without such a field."""
    body: Any = request.json
    return body.get(name) if hasattr(body, "get") else None


def describe(answer: Answer) -> str:
    """Return *answer* in a few words."""
    match answer:
        case Said():
            return f"reply {answer.text!r}"
        case Failure():
            return f"status {answer.status}"
        case Recording():
            return f"recording {answer.name!r}"
        case _:
            return f"{answer}"
