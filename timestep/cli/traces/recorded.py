"""Models that serve the stored answers of a run again, byte for byte.

Each model has a test server of its own. Messages name the recorded server.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from agents import Model, ModelProvider, ModelResponse
from agents.items import TResponseStreamEvent

from timestep.answer.call import WireModel
from timestep.ollama.provider import OllamaModelProvider
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.testing import FakeOllama, FakeOpenAI, Recording, Request, Reset
from timestep.traces import Span, TraceStore
from timestep.traces.columns import read
from timestep.traces.rebuilt_agents import read_request
from timestep.traces.records import Copied, Event, SpanEnded, StoredExchange
from timestep.traces.summary import error_type

_OLLAMA_PATH = "/api/chat"
_CHAT_PATH = "/v1/chat/completions"


class RecordedModels(ModelProvider):
    """The models of *calls*, which give the same answers again, in the same order."""

    def __init__(self, stack: ExitStack, store: TraceStore, calls: Sequence[Span]) -> None:
        self._stack = stack
        self._store = store
        self._models: dict[str | None, Model] = {}
        self._recorded_urls: dict[str, str] = {}
        for name in dict.fromkeys(call.model for call in calls):
            self._begin([call for call in calls if call.model == name])
        self._model = _InOrder(self._models[call.model] for call in calls)

    def get_model(self, model_name: str | None) -> Model:
        """Return a model that answers each call as the recorded one did, on its wire."""
        return self._model

    def as_recorded(self, text: str) -> str:
        """Return *text* with the URLs of the recorded servers instead of those of the test servers."""
        for url, recorded in self._recorded_urls.items():
            text = text.replace(url, recorded)
        return text

    def _begin(self, calls: Sequence[Span]) -> None:
        """Start a server that answers *calls*, which are of one model."""
        name, exchanges = calls[0].name, [each for call in calls for each in _answers(call)]
        if not all(call.exchanges for call in calls):
            raise click.ClickException(
                f"The answer of {name} is not stored byte for byte, so it cannot be served again. "
                "Name a model to ask instead: --model NAME"
            )
        url = exchanges[-1].url
        is_chat = urlsplit(url).path.endswith("/chat/completions")
        server: FakeOllama | FakeOpenAI = (FakeOpenAI if is_chat else FakeOllama)(strict=False)
        self._stack.enter_context(server)
        path = _CHAT_PATH if is_chat else _OLLAMA_PATH
        self._recorded_urls |= {
            f"{server.url}{path}": url,
            server.url: urlsplit(url)._replace(path="", query="").geturl(),
        }
        for call in calls:
            broke = error_type(call.error).endswith("ConnectionError")
            for exchange in _answers(call):
                is_last = exchange is call.exchanges[-1]
                self._serve(server, exchange, path, breaks=is_last and broke)
        if all(exchange.status is None for exchange in exchanges):
            server.refuse()
        provider: ModelProvider = (
            OpenAICompatibleProvider(
                OpenAIEndpoint(f"{server.url}/v1"),
                use_responses=False,
                options=ChatModelOptions(max_retries=0),
            )
            if is_chat
            else OllamaModelProvider(base_url=server.url)
        )
        request = json.loads(self._store.body(exchanges[0].request))
        model = self._models[calls[0].model] = provider.get_model(str(request["model"]))
        if isinstance(model, WireModel) and calls[0].model is not None:
            model.traced_as = calls[0].model

    def _serve(
        self, server: FakeOllama | FakeOpenAI, exchange: StoredExchange, path: str, *, breaks: bool
    ) -> None:
        request, body = self._store.body(exchange.request), self._store.body(exchange.response)
        status = exchange.status or 500
        streamed = "application/x-ndjson" if path == _OLLAMA_PATH else "text/event-stream"
        kind = streamed if status < 400 else "application/json"  # noqa: PLR2004 - errors begin at 400
        chunks = body.splitlines(keepends=True) or [b""]
        server.replay(
            Recording(
                name=exchange.request,
                request=Request("POST", path, {}, request),
                status=status,
                headers={"Content-Type": kind, "Transfer-Encoding": "chunked"},
                body=body,
                chunks=chunks,
            ),
            model=str(read_request(request).get("model")),
            fault=Reset(len(chunks) if exchange.status else 0)
            if breaks or exchange.status is None
            else (),
        )


class _InOrder(Model):
    """Asks the next of *models* each time: a chain may have asked several under one name."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = iter(models)

    async def get_response(self, *arguments: Any, **options: Any) -> ModelResponse:
        """Return the next model's answer."""
        return await next(self._models).get_response(*arguments, **options)

    def stream_response(
        self, *arguments: Any, **options: Any
    ) -> AsyncIterator[TResponseStreamEvent]:
        """Return the next model's answer as it arrives."""
        return next(self._models).stream_response(*arguments, **options)


class RecordedServersStore(TraceStore):
    """A store that records each text as *rename* returns it, with the recorded servers' URLs."""

    def __init__(
        self,
        path: Path,
        rename: Callable[[str], str],
        *,
        redact: Sequence[str],
        secrets: Iterable[str],
    ) -> None:
        super().__init__(path, redact=redact, secrets=secrets)
        self._rename = rename

    def record(self, event: Event | Copied) -> None:
        """Have *event* written soon, as if the recorded servers had answered."""
        event = read(event)
        if isinstance(event, SpanEnded):
            rename = self._rename
            event = event._replace(
                error=event.error and rename(event.error),
                data=rename(event.data),
                text=rename(event.text),
                exchanges=tuple(each._replace(url=rename(each.url)) for each in event.exchanges),
            )
        super().record(event)


def _answers(call: Span) -> list[StoredExchange]:
    """Return the exchanges of *call* without those whose request was sent again."""
    pairs = zip_longest(call.exchanges, call.exchanges[1:])
    return [each for each, then in pairs if then is None or then.request != each.request]
