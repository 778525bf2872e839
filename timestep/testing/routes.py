"""What a test server answers: the script, the key, the path. No sockets."""

import textwrap
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias, TypeVar

from timestep.net.json_parts import mapping
from timestep.testing import http
from timestep.testing.answers import Answer, Said, StatusAnswer, Ticks
from timestep.testing.errors import (
    FakeServerError,
    InvalidRequest,
    RefusedError,
    UnconsumedReplies,
    UnexpectedRequest,
)
from timestep.testing.http import Request, Response
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
        is_model = self.model is None or mapping(request.json).get("model") == self.model
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


def describe(answer: Answer) -> str:
    """Return *answer* in a few words."""
    match answer:
        case Said():
            return f"reply {answer.text!r}"
        case StatusAnswer():
            return f"status {answer.status}"
        case Recording():
            return f"recording {answer.name!r}"
        case _:
            return f"{answer}"


Route: TypeAlias = Callable[[Request], Response]
_T = TypeVar("_T")


class Routes:
    """Answers requests from the script, or for the server itself."""

    name: ClassVar[str]  # of the server, for messages
    # The paths on which a model answers: a request is checked before its answer is taken from
    # the queue.
    answering: tuple[str, ...]
    routes: Mapping[str, Mapping[str, Route]]  # by path and method

    def __init__(self) -> None:
        self.key: str | None = None  # that every request must carry
        self.script = Script()  # where the answers come from, and where problems go
        self._ticks = Ticks()

    def respond(self, request: Request) -> Response:
        """Return the response to *request*; never fails."""
        if self.key is not None and request.headers.get("authorization") != f"Bearer {self.key}":
            return self._unauthorized(request)
        route = self.routes.get(request.path, {})
        try:
            if request.path not in self.answering and (response := self._scripted(request)):
                return response
            if request.method in route:
                return route[request.method](request)
        except RefusedError as refused:
            return self._refused(refused)
        self.script.blame(UnexpectedRequest(f"{request} came, which this server does not answer"))
        if not route:
            return self._not_found(request)
        allowed = ("Allow", ", ".join(route))
        return http.whole(405, http.TEXT_TYPE, b"405 method not allowed", allowed)

    def shaped(self, failure: StatusAnswer) -> StatusAnswer:
        """Return *failure* in the shape of this API."""
        return failure

    def _error(self, status: int, error: str) -> Response:
        raise NotImplementedError

    def _refused(self, refused: RefusedError) -> Response:
        return self._error(refused.status, refused.error)

    def _unauthorized(self, request: Request) -> Response:
        return self._error(401, "unauthorized")

    def _not_found(self, request: Request) -> Response:
        return http.whole(404, http.TEXT_TYPE, b"404 page not found")

    def _scripted(self, request: Request) -> Response | None:
        answer = self.script.take(request)
        if answer is None:
            return None
        try:
            return answer.respond(request, self._ticks)
        except Exception:  # noqa: BLE001 - a test's function may raise anything, and the test hears of it
            error = f"the answer to {request} could not be made:\n{traceback.format_exc()}"
            self.script.blame(FakeServerError(error))
            return self._error(500, f"{self.name}: {error}")

    def _unasked(self, request: Request, asked: str) -> Response:
        """The response to a request that put *asked* to a model when nothing was queued for it."""
        error = f"{request} came, but no answer is queued for {asked}"
        waiting = self.script.waiting()
        if waiting:
            error += f"; queued are: {', '.join(waiting)}"
        self.script.blame(UnexpectedRequest(error))
        return self._error(500, f"{self.name}: {error}")

    def _check(self, request: Request, check: Callable[[Any], _T], value: Any) -> _T:
        try:
            return check(value)
        except RefusedError as refused:
            self.script.blame(
                InvalidRequest(f"{request} is refused by a real server with {refused}")
            )
            raise


def summary(model: object, role: object, text: object) -> str:
    """Return a request to *model* in a few words: its last message said *text*."""
    said = text if isinstance(text, str) else ""
    shown = textwrap.shorten(said, width=60, placeholder="...")
    return f"model {model!r} (last message: {role} {shown!r})"
