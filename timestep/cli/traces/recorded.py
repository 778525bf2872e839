"""Models that serve the stored answers of a run again, byte for byte."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from urllib.parse import urlsplit

import click
from agents import Model, ModelProvider

from timestep.ollama.provider import OllamaModelProvider
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.testing import FakeOllama, FakeOpenAI, Recording, Request
from timestep.traces import Span, TraceStore

_OLLAMA_PATH = "/api/chat"


def recorded_models(stack: ExitStack, store: TraceStore, calls: list[Span]) -> ModelProvider:
    """Return models that serve the stored answers, byte for byte and in order."""
    ollama = stack.enter_context(FakeOllama(strict=False))
    chat = stack.enter_context(FakeOpenAI(strict=False))
    for call in calls:
        _serve(chat if _is_chat(call) else ollama, store, call)
    endpoint = OpenAIEndpoint(f"{chat.url}/v1", max_retries=0)
    return _RecordedModels(
        OllamaModelProvider(base_url=ollama.url),
        OpenAICompatibleProvider(endpoint, use_responses=False),
        {call.model: (_is_chat(call), _asked(store, call)) for call in calls},
    )


class _RecordedModels(ModelProvider):
    """The models of a record, each on the wire that it was recorded on."""

    def __init__(
        self,
        ollama: ModelProvider,
        chat: ModelProvider,
        models: Mapping[str | None, tuple[bool, str]],
    ) -> None:
        self._ollama = ollama
        self._chat = chat
        self._models = models

    def get_model(self, model_name: str | None) -> Model:
        """Return the model *model_name* on its wire."""
        is_chat, name = self._models.get(model_name, (False, model_name))
        return (self._chat if is_chat else self._ollama).get_model(name)


def _is_chat(call: Span) -> bool:
    return any(_path_of(exchange.url) != _OLLAMA_PATH for exchange in call.exchanges)


def _asked(store: TraceStore, call: Span) -> str:
    """The name by which the server knew the model of *call*."""
    if not call.exchanges:
        return call.model or ""
    return str(json.loads(store.body(call.exchanges[0].request))["model"])


def _path_of(url: str) -> str:
    path = urlsplit(url).path
    return "/v1/chat/completions" if path.endswith("/chat/completions") else _OLLAMA_PATH


def _serve(fake: FakeOllama | FakeOpenAI, store: TraceStore, call: Span) -> None:

    if not call.exchanges:
        raise click.ClickException(
            f"The answer of {call.name} is not stored byte for byte, so it cannot be served again. "
            "Name a model to ask instead: --model NAME"
        )
    for exchange in call.exchanges:
        request = store.body(exchange.request)
        body = store.body(exchange.response)
        status = exchange.status or 500
        path = _path_of(exchange.url)
        streamed = "application/x-ndjson" if path == _OLLAMA_PATH else "text/event-stream"
        kind = streamed if status < 400 else "application/json"  # noqa: PLR2004 - errors begin at 400
        fake.replay(
            Recording(
                name=call.span_id,
                request=Request("POST", path, {}, request),
                status=status,
                headers={"Content-Type": kind, "Transfer-Encoding": "chunked"},
                body=body,
                chunks=body.splitlines(keepends=True) or [b""],
            ),
            model=json.loads(request)["model"],
        )
