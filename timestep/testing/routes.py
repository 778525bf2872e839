"""Handles a request to a test server: the key, the script, the path. No sockets."""

import textwrap
import traceback
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeAlias, TypeVar

from timestep.testing import http
from timestep.testing.answers import Failure, Ticks
from timestep.testing.errors import FakeServerError, InvalidRequest, RefusedError, UnexpectedRequest
from timestep.testing.http import Request, Response
from timestep.testing.script import Script

Route: TypeAlias = Callable[[Request], Response]
_T = TypeVar("_T")


class Routes:
    """Answers requests from the script, or for the server itself.

    Attributes:
        script: Where the answers come from, and where problems go.
        key: The key that every request must carry; ``None`` for none.
    """

    name: ClassVar[str]  # of the server, for messages
    # The paths on which a model answers: a request is checked before its answer is taken from
    # the queue.
    answering: tuple[str, ...]
    routes: Mapping[str, Mapping[str, Route]]  # by path and method

    def __init__(self) -> None:
        self.key: str | None = None
        self.script = Script()
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
        return self._not_allowed(route) if route else self._not_found(request)

    def shaped(self, failure: Failure) -> Failure:
        """Return *failure* in the shape of this API."""
        return failure

    def _error(self, status: int, error: str) -> Response:
        raise NotImplementedError

    def _refused(self, refused: RefusedError) -> Response:
        return self._error(refused.status, refused.error)

    def _unauthorized(self, request: Request) -> Response:
        return self._error(401, "unauthorized")

    def _not_allowed(self, route: Mapping[str, Route]) -> Response:
        allowed = ("Allow", ", ".join(route))
        return http.whole(405, http.TEXT_TYPE, b"405 method not allowed", allowed)

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
