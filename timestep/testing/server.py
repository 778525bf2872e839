"""FakeOllama: an Ollama server as a test scripts it. Each request becomes a response.

Source: server/routes.go (GenerateRoutes, ChatHandler) at v0.33.0-rc2.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from timestep.testing import catalog, checks, gojson, http
from timestep.testing.catalog import Catalog, Model, ModelFields
from timestep.testing.http import Request, Response
from timestep.testing.replies import Reply
from timestep.testing.routes import Routes, summary
from timestep.testing.scripted import ScriptedServer

VERSION = "0.33.0"
_CLOUD = {"disabled": False, "source": "none"}


class Endpoints(Routes):
    """Answers requests from the script, or for the server itself."""

    name = "FakeOllama"
    answering = ("/api/chat",)

    def __init__(self) -> None:
        super().__init__()
        self.catalog = Catalog()
        self.routes = {
            "/": dict.fromkeys(("HEAD", "GET"), self._root),
            "/api/version": dict.fromkeys(("HEAD", "GET"), lambda _: _json({"version": VERSION})),
            "/api/status": {"GET": lambda _: _json({"cloud": _CLOUD})},
            "/api/tags": dict.fromkeys(("HEAD", "GET"), lambda _: _json(self.catalog.tags())),
            "/api/ps": {"GET": lambda _: _json(self.catalog.ps())},
            "/api/show": {"POST": self._show},
            "/api/pull": {"POST": self._pull},
            "/api/me": {"POST": self._me},
            "/api/chat": {"POST": self._chat},
        }

    def _error(self, status: int, error: str) -> Response:
        return _json({"error": error}, status)

    def _root(self, request: Request) -> Response:
        return http.whole(200, "text/plain; charset=utf-8", b"Ollama is running")

    def _me(self, request: Request) -> Response:
        if self.key is None:  # not signed in to Cloud
            url = "https://ollama.com/connect?name=test&key=dGVzdA"
            return _json({"error": "unauthorized", "signin_url": url}, 401)
        return _json({"id": "1", "email": "test@example.com", "name": "test", "plan": "free"})

    def _show(self, request: Request) -> Response:
        name = self._check(request, checks.check_show, request.body)
        return _json(self.catalog.find(name, shown=catalog.shortest(name)).show())

    def _pull(self, request: Request) -> Response:
        progress = self.catalog.pull(self._check(request, checks.check_pull, request.body))
        if request.json.get("stream") is False:
            return _json(list(progress)[-1])
        headers = (("Content-Type", http.NDJSON_TYPE),)
        return Response(200, headers, map(gojson.line, progress))

    def _chat(self, request: Request) -> Response:
        chat = self._check(request, checks.check_chat, request.body)
        model = self.catalog.find(chat["model"])
        messages: list[Any] = [message or {} for message in chat.get("messages") or ()]
        if not messages and chat.get("keep_alive") in (0, "0", "0s", "0m", "0h"):
            self.catalog.unload(model)
            return self._no_answer(chat, "unload")
        catalog.check_capabilities(model, chat)
        options: Mapping[str, Any] = chat.get("options") or {}
        self._check(request, checks.check_options, options)
        num_ctx = options.get("num_ctx")
        window = self.catalog.load(model, None if num_ctx is None else int(num_ctx))
        if not messages:
            return self._no_answer(chat, "load")
        chat = {**chat, "messages": messages}
        catalog.check_template(model, chat)
        if chat.get("_debug_render_only"):
            return self._rendered(model, chat, window)
        catalog.check_images(model, messages)
        self._check(request, checks.check_format, chat.get("format"))
        self._check(request, checks.check_schema, chat.get("format"))
        words = summary(chat["model"], messages[-1].get("role"), messages[-1].get("content"))
        return self._scripted(request) or self._unasked(request, words)

    def _no_answer(self, chat: Mapping[str, Any], done_reason: str) -> Response:
        message = {"role": "assistant", "content": ""}
        return _json({**self._head(chat, message), "done": True, "done_reason": done_reason})

    def _rendered(self, model: Model, chat: Mapping[str, Any], window: int) -> Response:
        if chat.get("truncate") is not False:
            chat = cut(chat, window)
        chat = {**chat, "messages": catalog.rendered_messages(model, chat["messages"])}
        images = catalog.count_images(chat["messages"])
        info = {"rendered_template": render(chat), **({"image_count": images} if images else {})}
        head = self._head(chat, {"role": "", "content": ""})
        return _json({**head, "done": False, "_debug_info": info})

    def _head(self, chat: Mapping[str, Any], message: Mapping[str, Any]) -> dict[str, Any]:
        return {"model": chat["model"], "created_at": self._ticks.now(), "message": message}


def cut(chat: Mapping[str, Any], window: int) -> Mapping[str, Any]:
    """Return *chat* without the oldest messages that do not fit into *window* tokens.

    System messages and the last message stay. A token is a word here. Source: server/prompt.go.
    """
    messages: list[Mapping[str, Any]] = list(chat["messages"])
    while len(render({**chat, "messages": messages}).split()) > window:
        oldest = [i for i, message in enumerate(messages[:-1]) if message.get("role") != "system"]
        if not oldest:
            break
        del messages[oldest[0]]
    return {**chat, "messages": messages}


def render(chat: Mapping[str, Any]) -> str:
    """Return the prompt that a simple template makes of *chat*."""
    tools: Sequence[Any] = chat.get("tools") or ()
    messages: Sequence[Mapping[str, Any]] = chat["messages"]
    blocks = [("tools", json.dumps(tools))] if tools else []
    blocks += [(each.get("role", "").lower(), each.get("content") or "") for each in messages]
    text = "".join(f"<|im_start|>{role}\n{content}<|im_end|>\n" for role, content in blocks)
    return f"{text}<|im_start|>assistant\n"


def _json(value: Any, status: int = 200) -> Response:
    return http.whole(status, http.JSON_TYPE, gojson.dumps(value))


class FakeOllama(ScriptedServer):
    """A real HTTP server on loopback that plays an Ollama server as a test scripts it.

    Use it as a context manager, plain or async. It listens on a port of its own, answers in a
    thread of its own, and sends what a real server sends, down to the headers, the order of
    keys and the format of numbers. Replies are queued and served in order.

        with FakeOllama() as fake:
            fake.reply("Hello!")
            ...  # point a client at fake.url
            assert fake.chats[0]["messages"][-1]["content"] == "Hi"

    Args:
        strict: Whether leaving the context raises what `verify` finds.
        recordings: The directory in which `replay` looks names up.
    """

    _kind = Reply

    def __init__(self, *, strict: bool = True, recordings: Path | str | None = None) -> None:
        self._endpoints = Endpoints()
        super().__init__(self._endpoints, strict=strict, recordings=recordings)

    @property
    def base_url(self) -> str:
        """The same as `url`."""
        return self.url

    def add_model(self, name: str, **fields: Unpack[ModelFields]) -> None:
        """Have a model called *name*; from the first one on, only added and pulled ones exist.

        Before, every name is a model with the capabilities completion, tools, thinking and
        vision, and ``/api/tags`` lists none.

        Args:
            name: As in ``ollama list``; without a tag it is ``:latest``.
            **fields: The other fields of `Model`, such as ``capabilities`` and
                ``context_length``.
        """
        self._endpoints.catalog.add(Model(name, **fields))
