"""Every model by its name: providers by prefix, aliases and a default.

Settings and adapters are imported on first use, so that an application without them does not wait
for them.
"""

import asyncio
import inspect
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from copy import copy
from functools import reduce
from typing import TYPE_CHECKING, Any, Self, cast

from agents import (
    Model,
    ModelProvider,
    ModelSettings,
    MultiProvider,
    OpenAIAgentRegistrationConfig,
    OpenAIProvider,
    OpenAIResponsesWebSocketOptions,
)
from agents.models import get_default_model_settings
from agents.models.multi_provider import (
    MultiProviderMap,
    MultiProviderOpenAIPrefixMode,
    MultiProviderUnknownPrefixMode,
)
from openai import AsyncOpenAI, OpenAIError

from timestep.answer.call import WireModel
from timestep.errors import ConfigurationError, TimestepError, UnknownModelError
from timestep.net.fallback_rules import FallbackRules
from timestep.net.forks import forget_in_children
from timestep.net.nearest import nearest
from timestep.net.unpicklable import Unpicklable
from timestep.registry.aliases import (
    alias_settings,
    checked_aliases,
    checked_default,
    checked_fallback,
)
from timestep.registry.provider_map import MultiModelProviderMap, checked_map, checked_provider
from timestep.routing import Aliases, routes, split_prefix

if TYPE_CHECKING:
    from timestep.config.settings import Settings

__all__ = ["MultiModelProvider", "MultiModelProviderMap", "build_provider"]


class MultiModelProvider(Unpicklable, MultiProvider):
    """Every model an application is configured for, by name.

    ``PREFIX/NAME`` is split at the first slash. It asks the provider of the prefix for ``NAME``: an
    entry of *provider_map*, else ``openai``, ``ollama``, ``litellm`` or ``any-llm``. A name without
    a slash belongs to OpenAI. Construction opens nothing and needs no key. Closing is optional.

    Args:
        provider_map: More providers; an entry wins over a built-in prefix.
        default_model: The name that stands for None, or a list of them; case is kept.
        aliases: Names that stand for other names. An alias is compared with the whole name; a
            list becomes a `timestep.FallbackModel`. A dict with ``model`` may have ``settings``
            for it, as `agents.ModelSettings` has them; those of a call win, one by one.
        fallback: When such a list goes on to its next model.
        clock: Counts the seconds of a cool-down.
        openai_provider: The provider for OpenAI's names. The ``openai_*`` arguments below build one
            when it is not given; they mean what they mean to `agents.MultiProvider`. It is the SDK's
            own, whose client belongs to one event loop; that of `from_env` serves them all.
        openai_api_key: OpenAI's key; the SDK's default key when unset, then ``OPENAI_API_KEY``.
        openai_base_url: Where OpenAI's API is; ``OPENAI_BASE_URL`` when unset.
        openai_client: A ready client instead of a key and a base URL.
        openai_organization: The organization sent with every request.
        openai_project: The project sent with every request.
        openai_use_responses: True for the Responses API, False for Chat Completions; the choice of
            `agents.set_default_openai_api` when unset.
        openai_use_responses_websocket: Send Responses requests over a websocket.
        openai_strict_feature_validation: Make Chat Completions models refuse what only the
            Responses API can do.
        openai_websocket_base_url: Where the websocket is; ``OPENAI_WEBSOCKET_BASE_URL`` when unset.
        openai_prefix_mode: ``"alias"`` cuts ``openai/`` off a name, ``"model_id"`` keeps it.
        unknown_prefix_mode: ``"error"`` refuses an unknown prefix, ``"model_id"`` gives the whole
            name to OpenAI's provider.
        openai_agent_registration: The SDK's registration of agents.
        openai_responses_websocket_options: How the websocket is kept alive.
        openai_buffer_streamed_tool_calls: Make streamed Chat Completions hold tool calls back until
            the stream ends.

    Raises:
        ConfigurationError: *default_model* or an alias is empty, *aliases* form a ring, or an argument is
            of a wrong type.
    """

    def __init__(
        self,
        *,
        provider_map: MultiProviderMap | None = None,
        openai_api_key: str | None = None,
        openai_base_url: str | None = None,
        openai_client: AsyncOpenAI | None = None,
        openai_organization: str | None = None,
        openai_project: str | None = None,
        openai_use_responses: bool | None = None,
        openai_use_responses_websocket: bool | None = None,
        openai_strict_feature_validation: bool = False,
        openai_websocket_base_url: str | None = None,
        openai_prefix_mode: MultiProviderOpenAIPrefixMode = "alias",
        unknown_prefix_mode: MultiProviderUnknownPrefixMode = "error",
        openai_agent_registration: OpenAIAgentRegistrationConfig | dict[str, Any] | None = None,
        openai_responses_websocket_options: OpenAIResponsesWebSocketOptions | None = None,
        openai_buffer_streamed_tool_calls: bool = False,
        openai_provider: OpenAIProvider | None = None,
        default_model: str | Sequence[str] | None = None,
        aliases: Aliases | None = None,
        fallback: FallbackRules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._map = checked_map(provider_map)
        super().__init__(
            provider_map=self._map,
            openai_api_key=openai_api_key,
            openai_base_url=openai_base_url,
            openai_client=openai_client,
            openai_organization=openai_organization,
            openai_project=openai_project,
            openai_use_responses=openai_use_responses,
            openai_use_responses_websocket=openai_use_responses_websocket,
            openai_strict_feature_validation=openai_strict_feature_validation,
            openai_websocket_base_url=openai_websocket_base_url,
            openai_prefix_mode=openai_prefix_mode,
            unknown_prefix_mode=unknown_prefix_mode,
            openai_agent_registration=openai_agent_registration,
            openai_responses_websocket_options=openai_responses_websocket_options,
            openai_buffer_streamed_tool_calls=openai_buffer_streamed_tool_calls,
        )
        if openai_provider is not None:
            checked_provider(openai_provider, "openai_provider")
            self.openai_provider = openai_provider
        self._default_model = None if default_model is None else checked_default(default_model)
        given: Aliases = {} if aliases is None else aliases
        self._aliases = checked_aliases(given)
        self._alias_settings = alias_settings(given)
        self._fallback = checked_fallback(fallback)
        self._clock = clock
        self._rested: dict[str, float] = {}  # by model, when its cool-down ends
        self._takes_unknown_prefixes = unknown_prefix_mode == "model_id"
        self._built_in: dict[str, ModelProvider] = {}
        self._lock = threading.Lock()
        forget_in_children(self)

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the lock, so that a provider can be copied deeply."""
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Continue with *state* and a new lock."""
        vars(self).update(state)
        self._lock = threading.Lock()
        forget_in_children(self)

    def forget_connections(self) -> None:
        """Start over in a forked process, where no thread may be left to release the lock."""
        self._lock = threading.Lock()

    @classmethod
    def from_env(
        cls,
        *,
        env_file: str | os.PathLike[str] | None = ".env",
        config_file: str | os.PathLike[str] | None = None,
        check: bool = False,
        **overrides: Any,
    ) -> Self:
        """Return the provider that the environment, ``.env`` and the TOML file describe.

        It stands in for ``agents.MultiProvider()``: what the application told the SDK in code, as
        with `agents.set_default_openai_client`, wins over the variables that the SDK reads too.

        Args:
            env_file: The ``.env`` file; None reads no such file.
            config_file: The TOML file, instead of the one that is searched for.
            check: Refuse what has no effect or cannot work as well: variables that nothing reads,
                unknown options, a model without its key or package. No request is made.
            overrides: Settings that win over all sources, such as ``default_model="ollama/…"``, and
                keyword arguments of this class, such as ``openai_client``.

        Raises:
            ConfigurationError: The configuration cannot be used, the default model or an alias leads
                to an unknown prefix, or a Temporal workflow asks.
        """
        _refuse_in_workflow()
        from timestep.config.checks import find_doubts  # noqa: PLC0415 - see above
        from timestep.config.settings import Settings, load_settings  # noqa: PLC0415 - see above

        own = _KEYWORDS - Settings.model_fields.keys()
        for_settings = {name: overrides.pop(name) for name in overrides.keys() - own}
        try:
            settings = load_settings(env_file=env_file, config_file=config_file, **for_settings)
            provider = cls.from_settings(settings, **overrides)
        finally:  # they may hold a key, and a traceback can show the variables of a frame
            del overrides, for_settings
        wrong = provider._wrong_models(settings, is_key_needed=check)  # noqa: SLF001 - our own
        if check:
            wrong += [doubt.text for doubt in find_doubts(settings, env_file=env_file)]
        if wrong:
            del settings  # as above: an option may be a key that was written in the wrong place
            raise ConfigurationError("\n".join(wrong))
        return provider

    def _wrong_models(self, settings: "Settings", *, is_key_needed: bool) -> list[str]:
        """Return what is wrong with the models that *settings* name; nothing is asked."""
        wrong: list[str] = []
        for path, name in settings.named_models():
            try:
                self._refuse_unknown(name)
                if is_key_needed:
                    self._named(name)
            except TimestepError as exc:
                wrong.append(settings.told(path, str(exc)))
        return wrong

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **overrides: Any) -> Self:
        """Return the provider that the TOML file at *path* describes; the environment wins over it.

        Args:
            path: The file.
            overrides: As for `from_env`.

        Raises:
            ConfigurationError: The configuration cannot be used.
        """
        return cls.from_env(config_file=path, **overrides)

    @classmethod
    def from_settings(cls, settings: "Settings", **keywords: Any) -> Self:
        """Return the provider that *settings* describe.

        Args:
            settings: Such as `load_settings` returns.
            keywords: Keyword arguments of this class; they win over *settings*. The entries of
                ``provider_map`` win over the providers of the same prefix.

        Raises:
            ConfigurationError: A table or a plug-in cannot be used.
        """
        from timestep.factory.providers import (  # noqa: PLC0415 - see above
            build_aliases,
            build_all,
            build_default_openai,
            name_places,
        )

        openai: Any = {name: keywords[name] for name in keywords.keys() & _OPENAI_KEYWORDS}
        provider_map = MultiModelProviderMap()
        with name_places(settings):
            provider_map.set_mapping(build_all(settings))
            aliases = build_aliases(settings)
            openai_provider = build_default_openai(settings, openai)
        if (given := keywords.pop("provider_map", None)) is not None:
            provider_map.set_mapping({**provider_map.get_mapping(), **given.get_mapping()})
        provider_map.spell_alike(settings.spellings("providers"))
        configured: dict[str, Any] = {
            "default_model": settings.default_model,
            "aliases": aliases,
            "fallback": settings.fallback,
            "openai_prefix_mode": settings.openai.prefix_mode,
            "unknown_prefix_mode": settings.openai.unknown_prefix_mode,
            "openai_provider": openai_provider,
        }
        try:
            return cls(provider_map=provider_map, **{**configured, **keywords})
        finally:
            del keywords, openai

    def get_model(self, model_name: str | None) -> Model:
        """Return the model that *model_name* leads to; the configured default for None.

        Raises:
            UnknownModelError: A name is empty, or its prefix is unknown.
            ConfigurationError: A name belongs to OpenAI, and there is no key. In a chain the error
                names the chain, even if an earlier model of it could answer.
        """
        if not isinstance(cast("object", model_name), str | None):
            raise UnknownModelError(
                f"A model's name is text, not {type(model_name).__name__}; write one such as 'gpt-4.1' "
                "or 'ollama/llama3.2'."
            )
        ways = routes(model_name, self._aliases, self._default_model)
        if not ways:
            return self._from_sdk(None)
        if len(ways) == 1:
            [(name, way)] = ways.items()
            model = self._with_settings(self._named(name), way)
            return _as_default(model, name) if model_name is None else model
        from timestep.fallback.model import FallbackModel  # noqa: PLC0415 - few want it

        chain_name = "default_model" if model_name is None else repr(model_name)
        models = {
            name: self._with_settings(self._link(name, chain_name), way)
            for name, way in ways.items()
        }
        if model_name is None:
            models = {name: _as_default(model, name) for name, model in models.items()}
        return FallbackModel(models, self._fallback, rested=self._rested, clock=self._clock)

    def _link(self, name: str, chain_name: str) -> Model:
        """Return the model *name* of a chain, so that a wrong name is an error before it is needed."""
        where = f"The chain {chain_name} cannot ask {name!r}"
        try:
            return self._named(name)
        except UnknownModelError as exc:
            raise UnknownModelError(f"{where}: {exc}", prefix=exc.prefix, known=exc.known) from exc
        except ConfigurationError as exc:
            raise ConfigurationError(f"{where}: {exc}") from exc

    def _with_settings(self, model: Model, aliases: Sequence[str]) -> Model:
        """Return *model*, asked with the settings of *aliases*; an earlier one wins."""
        found = [self._alias_settings[name] for name in aliases if name in self._alias_settings]
        if not found:
            return model
        from timestep.answer.defaulted_model import DefaultedModel  # noqa: PLC0415 - few want it

        return DefaultedModel(model, reduce(lambda outer, inner: inner.resolve(outer), found))

    def _refuse_unknown(self, name: str) -> None:
        prefix, rest = split_prefix(name)
        if not rest.strip():
            raise UnknownModelError(
                f"No model in {name!r}; write one such as 'gpt-4.1' or 'ollama/llama3.2'.",
                prefix=prefix,
                known=self._known_prefixes(),
            )
        if prefix is None or prefix == "openai" or self._takes_unknown_prefixes:
            return
        if self._map.has_prefix(prefix):
            return
        from timestep.config.kinds import KINDS  # noqa: PLC0415 - see above

        if prefix not in KINDS or not KINDS[prefix].is_built_in:
            raise UnknownModelError.for_prefix(prefix, self._known_prefixes())

    def _named(self, name: str) -> Model:
        self._refuse_unknown(name)
        prefix, rest = split_prefix(name)
        if prefix is not None and (provider := self._map.get_provider(prefix)) is not None:
            return _traced(_whole(provider.get_model(rest)), name)
        if prefix is None or prefix == "openai":
            return self._from_sdk(name)
        if (built_in := self._built_in_provider(prefix)) is not None:
            return _traced(built_in.get_model(rest), name)
        return self._from_sdk(name)

    async def aclose(self) -> None:
        """Close every provider once; an error does not keep the others from being closed.

        Raises:
            CancelledError: A provider was cancelled.
            Exception: The first error that a provider raised.
        """
        with self._lock:
            built_in = list(self._built_in.values())
        providers = [self.openai_provider, *self._map.get_mapping().values(), *built_in]
        unique = {id(provider): provider for provider in providers if provider is not self}
        outcomes = await asyncio.gather(
            *(provider.aclose() for provider in unique.values()), return_exceptions=True
        )
        failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failures:
            # A cancellation or an interrupt wins over other failures.
            raise min(failures, key=lambda failure: isinstance(failure, Exception))

    def _from_sdk(self, name: str | None) -> Model:
        try:
            model = _whole(super().get_model(name))
        except OpenAIError as exc:
            if name is None:
                raise ConfigurationError(
                    "An agent names no model, and no default model is set; set "
                    "TIMESTEP_DEFAULT_MODEL, or default_model in timestep.toml, as in "
                    "'ollama/llama3.2'. For the SDK's own default, a model of OpenAI, set OPENAI_API_KEY."
                ) from exc
            near = nearest(name, self._aliases)
            hint = f" Did you mean your alias {near!r}?" if near else ""
            raise ConfigurationError(
                f"{name!r} is a model of OpenAI, and its key is missing; "
                "set OPENAI_API_KEY, or api_key in [openai]. A local model has a prefix, as "
                f"in 'ollama/llama3.2'.{hint}"
            ) from exc
        return model if name is None else _traced(model, name)

    def _built_in_provider(self, prefix: str) -> ModelProvider | None:
        from timestep.factory.providers import build_unconfigured  # noqa: PLC0415 - see above

        with self._lock:
            if prefix not in self._built_in:
                provider = build_unconfigured(prefix)
                if provider is None:
                    return None
                self._built_in[prefix] = provider
            return self._built_in[prefix]

    def _known_prefixes(self) -> set[str]:
        from timestep.config.kinds import KINDS  # noqa: PLC0415 - see above

        return {*KINDS, *self._map.get_mapping()}


_KEYWORDS = inspect.signature(MultiModelProvider.__init__).parameters.keys() - {"self"}
_OPENAI_KEYWORDS = {name for name in _KEYWORDS if name.startswith("openai_")} - {
    "openai_provider",
    "openai_prefix_mode",
}


def _whole(model: Model) -> Model:
    """Return *model*, which runs no half call, even when it is the SDK's own."""
    if not type(model).__module__.startswith("agents."):
        return model
    from timestep.openai.whole_calls import with_whole_calls  # noqa: PLC0415 - see above

    return with_whole_calls(model)


def build_provider(settings: "Settings") -> MultiModelProvider:
    """Return the provider that *settings* describe.

    Raises:
        ConfigurationError: A table or a plug-in cannot be used.
    """
    return MultiModelProvider.from_settings(settings)


def _refuse_in_workflow() -> None:
    """Refuse to read the environment in a Temporal workflow, which must replay alike anywhere."""
    temporal = sys.modules.get("temporalio.workflow")
    if temporal is not None and temporal.in_workflow():
        raise ConfigurationError(
            "from_env() was called in a Temporal workflow, which must not read the environment. Call "
            "it in the worker and pass the provider to OpenAIAgentsPlugin(model_provider=...). In "
            "the workflow name the model, as in Agent(model='ollama/llama3.2')."
        )


def _as_default(model: Model, name: str) -> Model:
    """Return *model*, named *name*, as the one for agents that name none.

    The SDK gives such an agent the settings of OpenAI's default model. They are replaced by those that
    it gives for *name*; models of other makers get none.
    """
    if getattr(model, "knows_implicit_settings", False):
        return model
    from timestep.answer.defaulted_model import DefaultedModel  # noqa: PLC0415 - few want it

    implicit = get_default_model_settings(name.removeprefix("openai/"))
    return DefaultedModel(model, ModelSettings(), implicit=implicit)


def _traced(model: Model, name: str) -> Model:
    """Return *model*, which traces call *name*, unless it is an application's own.

    A model of ours is copied, because its provider gives the same one for other names.
    """
    from timestep.answer.defaulted_model import DefaultedModel  # noqa: PLC0415 - few want it

    if isinstance(model, DefaultedModel):
        if (asked := _traced(model.asked, name)) is not model.asked:
            model = copy(model)
            model.asked = asked
        return model
    if isinstance(model, WireModel):
        model = copy(cast("Model", model))
    if hasattr(model, "traced_as"):
        vars(model)["traced_as"] = name
    return model
