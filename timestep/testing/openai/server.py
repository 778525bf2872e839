"""FakeOpenAI: a server that speaks OpenAI's API as a test scripts it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from timestep.net.json_parts import entries, mapping
from timestep.testing import http
from timestep.testing.answers import StatusAnswer
from timestep.testing.errors import RefusedError
from timestep.testing.http import Request, Response
from timestep.testing.openai import checks
from timestep.testing.openai.replies import CREATED, ChatReply, dumps, error_of
from timestep.testing.routes import Routes, summary
from timestep.testing.scripted import ScriptedServer


class OpenAIEndpoints(Routes):
    """Answers requests from the script, or for the server itself, at paths that begin with *path*."""

    name = "FakeOpenAI"

    def __init__(self, path: str) -> None:
        super().__init__()
        self.models: list[str] = []  # while it is empty, every name is a model
        chat, response = f"{path}/chat/completions", f"{path}/responses"
        self.answering = (chat, response)
        self.routes = {
            f"{path}/models": {"GET": self._models},
            chat: {"POST": partial(self._answer, checks.check_chat)},
            response: {"POST": partial(self._answer, checks.check_response)},
        }

    def shaped(self, failure: StatusAnswer) -> StatusAnswer:
        """Return *failure* with ``{"error": {"message": error, ...}}``."""
        error = failure.error
        if isinstance(error, str):
            error = error_of(failure.status, error, **failure.fields)["error"]
        return replace(failure, error=error, fields={})

    def _error(self, status: int, error: str, **fields: Any) -> Response:
        return http.whole(status, http.JSON_TYPE, dumps(error_of(status, error, **fields)))

    def _refused(self, refused: RefusedError) -> Response:
        more: dict[str, Any] = {}
        if isinstance(refused, checks.InvalidField):
            more = {"param": refused.param, "code": refused.code}
        return self._error(refused.status, refused.error, **more)

    def _unauthorized(self, request: Request) -> Response:
        is_wrong = "authorization" in request.headers
        said = "Incorrect API key provided." if is_wrong else "You didn't provide an API key."
        return self._error(401, said)

    def _not_found(self, request: Request) -> Response:
        return self._error(404, f"Invalid URL ({request})")

    def _models(self, request: Request) -> Response:
        data = [
            {"id": name, "object": "model", "created": CREATED, "owned_by": "test"}
            for name in self.models
        ]
        return http.whole(200, http.JSON_TYPE, dumps({"object": "list", "data": data}))

    def _answer(self, check: Callable[[bytes], Mapping[str, Any]], request: Request) -> Response:
        asked = self._check(request, check, request.body)
        name = asked["model"]
        if self.models and name not in self.models:
            raise checks.InvalidField(
                f"The model `{name}` does not exist or you do not have access to it.",
                code="model_not_found",
                status=404,
            )
        given = asked.get("messages") or asked.get("input")
        said = {"role": "user", "content": given}
        last = mapping([said, *entries(given)][-1])
        role, text = last.get("role") or last.get("type"), last.get("content") or last.get("output")
        return self._scripted(request) or self._unasked(request, summary(name, role, text))


class FakeOpenAI(ScriptedServer):
    """A real HTTP server on loopback that speaks OpenAI's API as a test scripts it.

    It answers ``/chat/completions`` and ``/responses``, streamed and whole, and ``/models``. Use it
    as a context manager, plain or async. Replies are queued and served in order.

        with FakeOpenAI() as fake:
            fake.reply("Hello!")
            ...  # point a client at fake.base_url
            assert fake.chats[0]["messages"][-1]["content"] == "Hi"

    Args:
        strict: Whether leaving the context raises what `verify` finds.
        recordings: The directory in which `replay` looks names up.
        path: Where the API begins, such as ``/v1``, ``/api/v1`` or an empty text.
    """

    _kind = ChatReply

    def __init__(
        self, *, strict: bool = True, recordings: Path | str | None = None, path: str = "/v1"
    ) -> None:
        self._path = path
        self._endpoints = OpenAIEndpoints(path)
        super().__init__(self._endpoints, strict=strict, recordings=recordings)

    @property
    def base_url(self) -> str:
        """What clients of OpenAI call ``base_url``."""
        return f"{self.url}{self._path}"

    def add_model(self, name: str) -> None:
        """Have a model called *name*; from the first one on, only added ones exist.

        Before, every name is a model, and ``/models`` lists none.
        """
        self._endpoints.models.append(name)
