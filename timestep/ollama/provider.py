"""`OllamaModelProvider`: Ollama models by name, local and cloud side by side."""

from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Unpack

from agents import ModelProvider

from timestep.answer.default_settings import ModelDefaults
from timestep.errors import ConfigurationError
from timestep.net.forks import forget_in_children
from timestep.net.key_command import KeyCommand
from timestep.net.model_names import by_model, tagged
from timestep.net.reach import USUAL, Reach
from timestep.net.setting_values import check_concurrency
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.endpoint import Endpoint, build_endpoints, check_model_name
from timestep.ollama.given_client import chat_source
from timestep.ollama.model import OllamaModel
from timestep.ollama.model_options import (
    OllamaKeywords,
    OllamaModelOptions,
    check_model_options,
    refused,
)
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire


class OllamaModelProvider(ModelProvider):
    """Ollama models by name. Nothing is opened before the first request.

    Local names go to ``http://localhost:11434``; names of cloud models (``gpt-oss:120b-cloud``)
    to ``https://ollama.com``. A *base_url* is for both. One provider serves any number of event
    loops and threads, and is safe when it is never closed.

    Args:
        api_key: For *base_url*; for ollama.com alone when *base_url* is not given.
        base_url: The root of an Ollama server, for every model; several of them share the requests.
        ollama_client: A ready client instead; it takes neither a key nor a URL.
        model_options: More options by model name; they win over ``options``.
        allow_insecure: Let a key travel over plain http off this machine.
        headers: Extra headers for the server, such as a proxy's own key.
        local_url: Where local models are, when cloud names should still go to ollama.com.
        max_concurrency: How many chats a server gets at once from this provider; the others wait
            their turn. None for any number.
        reach: The proxy and the certificates, for every server.
        key_command: Prints the key, instead of *api_key*.
        defaults: Settings for what a call leaves out; they win over options.
        keywords: How the models are asked, such as ``options`` and ``timeout``; the attributes of
            `OllamaModelOptions` list them all.

    Raises:
        ConfigurationError: The arguments do not go together, or one cannot be used.
        UnsupportedInputError: Ollama would refuse an option or ``keep_alive``.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | Sequence[str] | None = None,
        ollama_client: object | None = None,
        *,
        model_options: Mapping[str, Mapping[str, Any]] | None = None,
        allow_insecure: bool = False,
        headers: Mapping[str, str] | None = None,
        local_url: str | None = None,
        max_concurrency: int | None = None,
        reach: Reach | None = None,
        key_command: KeyCommand | None = None,
        defaults: ModelDefaults | None = None,
        **keywords: Unpack[OllamaKeywords],
    ) -> None:
        given = (api_key, key_command, base_url, headers, local_url, max_concurrency, reach)
        if ollama_client is not None and any(given):
            raise ConfigurationError(
                "ollama_client brings its own address and key; leave out api_key, key_command, "
                "base_url, local_url, headers, max_concurrency and reach, or leave out the client."
            )
        self._options = OllamaModelOptions.of(**keywords)
        self._endpoints = build_endpoints(
            api_key=api_key,
            key_command=key_command,
            base_url=base_url,
            local_url=local_url,
            headers=headers,
            allow_insecure=allow_insecure,
            reach=reach or USUAL,
            timeouts=self._options.timeout,
        )
        with refused(ConfigurationError, "max_concurrency: "):
            self._max_concurrency = check_concurrency(max_concurrency)
        self._defaults = defaults or ModelDefaults()
        self._model_options = by_model(check_model_options(model_options or {}))
        # A client has timeouts of its own, which only given ones replace.
        limits = self._options.timeout
        self._given = None if ollama_client is None else chat_source(ollama_client, limits)
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = Lock()
        forget_in_children(self)
        self._models: dict[str, OllamaModel] = {}
        self._sources: dict[int, tuple[Wire | Pool, Catalogue]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Return the configuration alone: a copy opens its own connections."""
        opened = {"_lock", "_models", "_sources"}
        return {name: value for name, value in vars(self).items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Start with *state* and no connection."""
        vars(self).update(state)
        self._start_empty()

    def get_model(self, model_name: str | None) -> OllamaModel:
        """Return the model called *model_name*; the same object every time.

        Raises:
            UnknownModelError: The name is missing, empty or ends at its prefix.
        """
        name = check_model_name(model_name)
        with self._lock:
            if (model := self._models.get(name)) is None:
                model = self._models[name] = self._build(name)
            return model

    async def aclose(self) -> None:
        """Close the connections of the running event loop; others close with their own loops."""
        with self._lock:
            sources = list(self._sources.values())
        for source, _ in sources:
            await source.aclose()

    def wire(self, model_name: str | None = None) -> Wire:
        """Return the connection that *model_name* uses, the local one by default; for metadata.

        Of several servers it is the first; see `wires`.
        """
        return self.wires(model_name)[0]

    def wires(self, model_name: str | None = None) -> list[Wire]:
        """Return the connections that *model_name* may use, the local ones by default."""
        endpoint = self._endpoints.local
        if model_name is not None:
            endpoint, _ = self._endpoints.route(model_name)
        with self._lock:
            source, _ = self._connection(endpoint)
        return source.wires if isinstance(source, Pool) else [source]

    def forget_connections(self) -> None:
        """Start over in a forked process, where no thread may be left to release the lock."""
        self._lock = Lock()

    def _build(self, name: str) -> OllamaModel:
        keywords = self._options.with_options(self._model_options.get(tagged(name), {})).keywords()
        settings = self._defaults.settings_of(name)
        if self._given is not None:
            return OllamaModel(name, self._given, settings=settings, **keywords)
        endpoint, _ = self._endpoints.route(name)
        source, catalogue = self._connection(endpoint)
        return OllamaModel(name, source, settings=settings, catalogue=catalogue, **keywords)

    def _connection(self, endpoint: Endpoint) -> tuple[Wire | Pool, Catalogue]:
        entry = self._sources.get(id(endpoint))
        if entry is None:
            servers = self._endpoints.pool or [endpoint]
            wires = [
                Wire(each, timeouts=self._options.timeout, max_concurrency=self._max_concurrency)
                for each in servers
            ]
            source = Pool(wires) if len(wires) > 1 else wires[0]
            entry = self._sources[id(endpoint)] = (source, Catalogue(source))
        return entry
