"""Clients that the application made: ``ollama.AsyncClient``, or anything with its ``chat``.

A real ``AsyncClient`` lends its HTTP connection, so that chats run byte-exactly: its own
``chat()`` drops tool call ids, most of a tool's schema and several fields of the answer.
Anything else gets ``chat(**kwargs)``, and what that method cannot carry is lost.

Source: ollama-python ``ollama/_client.py``, 0.6.3.
"""

import base64
import inspect
import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from timestep.errors import ConfigurationError, TimestepError
from timestep.net.connection import Translated
from timestep.net.logs import masked_logs
from timestep.net.origin import Origin
from timestep.net.secrets import masker, secrets_in
from timestep.net.timeouts import Timeouts
from timestep.net.urls import why_withheld
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.source import Chat, ChatSource
from timestep.ollama.wire import Wire

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger("timestep")

WITHHELD = ("authorization",)

# What AsyncClient.chat() takes; a stand-in takes no more unless its signature names it.
_CHAT_ARGUMENTS = frozenset(
    {
        "model",
        "messages",
        "tools",
        "stream",
        "think",
        "logprobs",
        "top_logprobs",
        "format",
        "options",
        "keep_alive",
    }
)  # fmt: skip - a table reads better in rows


_NOTHING = object()
_CUTS = ("truncate", True)  # the one field that may be lost: servers truncate by default


def chat_source(client: object, timeouts: Timeouts | None = None) -> ChatSource:
    """Return the chat source for *client*.

    Args:
        client: A `ChatSource`, an ``ollama.AsyncClient``, or an object with an
            async ``chat``.
        timeouts: For an ``AsyncClient``; None keeps its own.
    """
    if isinstance(client, ChatSource):
        return client
    http = _connection_of(client)
    if http is not None:
        base_url = str(http.base_url).rstrip("/")
        sent = http.headers.get("authorization")
        if sent and (why := _why_withheld(sent, base_url)):
            logger.warning(
                "%s, although the ollama_client picked it up; to send a key there, use "
                "OllamaModelProvider(api_key=…, base_url=…) instead of a client.",
                why,
            )
            return Wire(Endpoint(base_url), timeouts=timeouts, client=http, withheld=WITHHELD)
        endpoint = Endpoint(base_url, {"authorization": sent} if sent else {})
        return Wire(endpoint, timeouts=timeouts, client=http)
    if not callable(getattr(client, "chat", None)):
        raise ConfigurationError(
            f"ollama_client is {type(client).__name__}, which has no chat(). Pass an "
            "ollama.AsyncClient, an object with its async chat(**kwargs), or nothing."
        )
    ollama = sys.modules.get("ollama")
    if ollama is not None and isinstance(client, ollama.Client):
        raise ConfigurationError(
            "ollama_client is the synchronous ollama.Client, which would block the event loop; "
            "pass ollama.AsyncClient(…)."
        )
    return StandIn(client)


def _why_withheld(authorization: str, base_url: str) -> str:
    """Return why *authorization* is not sent, when ollama's client took it from the environment."""
    # Read only to recognise the key: the client takes it without being asked.
    key = os.environ.get("OLLAMA_API_KEY", "").strip()
    return why_withheld(base_url) if key and authorization == f"Bearer {key}" else ""


class StandIn(ChatSource):
    """A foreign object whose ``chat(**kwargs)`` answers like ``AsyncClient``'s."""

    can_ask = False

    def __init__(self, client: Any) -> None:
        self._client = client
        self._secrets = _secrets_of(client)
        self.endpoint = Endpoint("http://ollama-client.invalid")

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return who is asked, for error texts."""
        return Origin(model, "ollama_client", (*self._secrets, *secrets_in(headers)))

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "_Answer":
        """Return one call of the object's ``chat``, always streamed."""
        names = _names(self._client)
        arguments = {name: value for name, value in body.items() if name in names}
        # Text in "images" could be taken for a path and read; bytes cannot.
        arguments["messages"] = [_with_image_bytes(message) for message in body["messages"]]
        origin = self.origin(model, headers)
        return _Answer(_chunks(self._client, arguments, origin), origin)

    def losses(self, body: Mapping[str, Any], headers: Mapping[str, str]) -> list[str]:
        """Return what the object's ``chat`` does not take, a phrase each."""
        known = _names(self._client)
        lost = [name for name in body if name not in known and (name, body[name]) != _CUTS]
        if headers:
            lost.append("extra_headers")
        return [f"{name} (ollama_client.chat() does not take it)" for name in lost]


class _Answer(Chat):
    """The chunks of a foreign ``chat``, whether it streams or answers at once."""

    def __init__(self, pieces: AsyncGenerator[list[Any]], origin: Origin) -> None:
        super().__init__(origin)
        self._pieces = pieces

    def __aiter__(self) -> AsyncIterator[list[Any]]:
        return self._pieces

    async def aclose(self, *, finished: bool = False) -> None:
        """Close the foreign stream."""
        await self._pieces.aclose()


async def _chunks(
    client: Any, arguments: dict[str, Any], origin: Origin
) -> AsyncGenerator[list[Any]]:
    with Translated(partial(_error_of, origin=origin)):
        async with aclosing(_foreign_chunks(client, arguments, origin)) as chunks:
            async for chunk in chunks:
                yield chunk


def _error_of(exc: Exception, origin: Origin) -> TimestepError | None:
    """Return the error of the tree for *exc*, which the client raised; None when it has a bug."""
    from timestep.ollama.official_client import OF_A_SERVER, error_of  # noqa: PLC0415 - it imports ollama

    return error_of(exc, origin) if isinstance(exc, OF_A_SERVER) else None


def _secrets_of(client: object) -> tuple[str, ...]:
    """Return what no error may repeat, as far as the headers of *client* can be seen."""
    headers = getattr(getattr(client, "_client", None), "headers", None)
    return secrets_in(cast("Mapping[str, str]", headers)) if isinstance(headers, Mapping) else ()


async def _foreign_chunks(
    client: Any, arguments: dict[str, Any], origin: Origin
) -> AsyncGenerator[list[Any]]:
    mask = masker(origin.secrets)
    with masked_logs(mask):
        answer = client.chat(**arguments)
        if inspect.isawaitable(answer):
            answer = await answer
    if not hasattr(answer, "__aiter__"):
        yield [_plain(answer)]
        return
    chunks = aiter(answer)
    try:
        while True:
            with masked_logs(mask):  # not while the caller has its turn
                chunk = await anext(chunks, _NOTHING)
            if chunk is _NOTHING:
                break
            yield [_plain(chunk)]
    finally:
        close = getattr(answer, "aclose", None)
        if callable(close):
            await cast("Any", close())


def _connection_of(client: object) -> "httpx.AsyncClient | None":
    """The HTTP client inside a real ``ollama.AsyncClient`` whose ``chat`` is its own."""
    ollama = sys.modules.get("ollama")
    if ollama is None or not isinstance(client, ollama.AsyncClient):
        return None
    if getattr(getattr(client, "chat", None), "__func__", None) is not ollama.AsyncClient.chat:
        return None
    httpx = sys.modules["httpx"]  # ollama's own import
    http = getattr(client, "_client", None)
    return http if isinstance(http, httpx.AsyncClient) else None


def _names(client: Any) -> frozenset[str]:
    """The keywords that the client's ``chat`` takes."""
    try:
        return _CHAT_ARGUMENTS.union(inspect.signature(client.chat).parameters)
    except (TypeError, ValueError):
        return _CHAT_ARGUMENTS


def _with_image_bytes(message: Mapping[str, Any]) -> dict[str, Any]:
    images = message.get("images")
    if not images:
        return dict(message)
    return {**message, "images": [base64.b64decode(image) for image in images]}


def _plain(answer: Any) -> Any:
    dump = getattr(answer, "model_dump", None)
    if callable(dump):
        return dump(exclude_none=True)
    return dict(cast("Mapping[str, Any]", answer)) if isinstance(answer, Mapping) else answer
