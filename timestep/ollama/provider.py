"""`OllamaModelProvider`: Ollama models by name, local and cloud side by side."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from threading import Lock
from typing import Any, Literal, cast

from agents import ModelProvider

from timestep.errors import ConfigurationError, UnsupportedInputError
from timestep.net.forks import forget_in_children
from timestep.net.timeouts import Timeouts
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.endpoint import Endpoint, build_endpoints, check_model_name
from timestep.ollama.foreign import chat_source
from timestep.ollama.model import OllamaModel
from timestep.ollama.pool import Pool
from timestep.ollama.request.options import check_keep_alive, check_options
from timestep.ollama.wire import Wire


class OllamaModelProvider(ModelProvider):
    """Ollama models by name. Nothing is opened before the first request.

    Local names go to ``http://localhost:11434``; names of cloud models (``gpt-oss:120b-cloud``)
    to ``https://ollama.com``. A *base_url* is for both. One provider serves any number of event
    loops and threads, and is safe when it is never closed.

    Args:
        api_key: For *base_url*, or for ollama.com alone when there is none.
        base_url: The root of an Ollama server, for every model; several of them share the requests.
        ollama_client: A ready client instead; it goes with neither a key nor a URL.
        options: Ollama options for every model, such as ``{"num_ctx": 16384}``.
        model_options: More options by model name; they win over *options*.
        keep_alive: How long a model stays loaded: seconds or a Go duration.
        timeout: Seconds of silence: a number, or ``connect``, ``first_byte`` and ``idle``.
        on_context_overflow: ``"error"`` or ``"truncate"``; see `OllamaModel`.
        strict_feature_validation: Raise for what would be ignored with a warning.
        tool_emulation: Describe tools in the prompt to models without tool support.
        allow_remote_images: Fetch http(s) images from public addresses.
        allow_insecure: Let a key travel over plain http off this machine.
        headers: Extra headers for the server, such as a proxy's own key.
        local_url: Where local models are, when cloud names should still go to ollama.com.

    Raises:
        ConfigurationError: The arguments do not go together, or one cannot be used.
    """

    def __init__(
        self,
        api_key: str | None = None,
        base_url: str | Sequence[str] | None = None,
        ollama_client: object | None = None,
        *,
        options: Mapping[str, Any] | None = None,
        model_options: Mapping[str, Mapping[str, Any]] | None = None,
        keep_alive: float | str | None = None,
        timeout: float | Mapping[str, float | None] | None = None,
        on_context_overflow: Literal["error", "truncate"] = "error",
        strict_feature_validation: bool = False,
        tool_emulation: bool = False,
        allow_remote_images: bool = False,
        allow_insecure: bool = False,
        headers: Mapping[str, str] | None = None,
        local_url: str | None = None,
    ) -> None:
        if on_context_overflow not in {"error", "truncate"}:
            raise ConfigurationError(
                f"on_context_overflow is {on_context_overflow!r}; write 'error' or 'truncate'."
            )
        if ollama_client is not None and any((api_key, base_url, headers, local_url)):
            raise ConfigurationError(
                "ollama_client brings its own address and key; leave out api_key, base_url, "
                "local_url and headers, or leave out the client."
            )
        self._endpoints = build_endpoints(
            api_key=api_key,
            base_url=base_url,
            local_url=local_url,
            headers=headers,
            allow_insecure=allow_insecure,
        )
        self._timeouts = Timeouts.of(timeout)
        # A client has timeouts of its own, which only given ones replace.
        limits = None if timeout is None else self._timeouts
        self._given = None if ollama_client is None else chat_source(ollama_client, limits)
        # Copied, so that whoever changes a table later changes nothing here.
        self._options = deepcopy(check_options(options or {}))
        self._model_options = deepcopy(_check_model_options(model_options or {}))
        self._settings: dict[str, Any] = {
            "keep_alive": None if keep_alive is None else check_keep_alive(keep_alive),
            "on_context_overflow": on_context_overflow,
            "strict_feature_validation": strict_feature_validation,
            "tool_emulation": tool_emulation,
            "allow_remote_images": allow_remote_images,
        }
        self._start_empty()

    def _start_empty(self) -> None:
        self._lock = Lock()
        forget_in_children(self)
        self._models: dict[str, OllamaModel] = {}
        self._sources: dict[int, tuple[Wire | Pool, Catalogue]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """The configuration alone: a copy opens connections of its own."""
        opened = {"_lock", "_models", "_sources"}
        return {name: value for name, value in vars(self).items() if name not in opened}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin with *state* and no connection."""
        vars(self).update(state)
        self._start_empty()

    def get_model(self, model_name: str | None) -> OllamaModel:
        """The model called *model_name*; the same object every time.

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
        """The connection that *model_name* uses, the local one by default; for metadata.

        Of several servers the first; see `wires`.
        """
        return self.wires(model_name)[0]

    def wires(self, model_name: str | None = None) -> list[Wire]:
        """The connections to all servers that *model_name* may use, the local ones by default."""
        endpoint = self._endpoints.local
        if model_name is not None:
            endpoint, _ = self._endpoints.route(model_name)
        with self._lock:
            source, _ = self._connection(endpoint)
        return source.wires if isinstance(source, Pool) else [source]

    def forget_connections(self) -> None:
        """Begin anew in a forked process, where the lock may be held by nobody."""
        self._lock = Lock()

    def _build(self, name: str) -> OllamaModel:
        options = {**self._options, **self._model_options.get(name, {})}
        if self._given is not None:
            return OllamaModel(name, self._given, options=options, **self._settings)
        endpoint, _ = self._endpoints.route(name)
        source, catalogue = self._connection(endpoint)
        return OllamaModel(name, source, options=options, catalogue=catalogue, **self._settings)

    def _connection(self, endpoint: Endpoint) -> tuple[Wire | Pool, Catalogue]:
        entry = self._sources.get(id(endpoint))
        if entry is None:
            wires = [
                Wire(each, timeouts=self._timeouts) for each in self._endpoints.pool or [endpoint]
            ]
            source = Pool(wires) if len(wires) > 1 else wires[0]
            entry = self._sources[id(endpoint)] = (source, Catalogue(source))
        return entry


def _check_model_options(options: object) -> dict[str, dict[str, Any]]:
    """*options*, when they are options by model name."""
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"model_options are {type(options).__name__}; pass a dict of options by model name."
        )
    checked: dict[str, dict[str, Any]] = {}
    for name, own in cast("Mapping[str, Mapping[str, Any]]", options).items():
        try:
            checked[name] = check_options(own)
        except UnsupportedInputError as exc:
            raise UnsupportedInputError(f"Options of the model {name!r}: {exc}") from exc
    return checked
