"""Turns settings into providers. Opens nothing."""

import logging
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypedDict, cast, get_type_hints

from agents import ModelProvider, OpenAIProvider
from pydantic import SecretStr

from timestep.answer.default_settings import ModelDefaults, SettingError, read_settings
from timestep.config.kinds import KINDS, PROVIDER_PLUGINS
from timestep.config.provenance import KeyPath, dotted
from timestep.config.schema import (
    AliasSettings,
    AnyOpenAISettings,
    EndpointSettings,
    GatewaySettings,
    LiteLLMProviderSettings,
    OllamaProviderSettings,
    OllamaSettings,
    OpenAIProviderSettings,
    OpenAISettings,
    PluginProviderSettings,
    ProviderSettings,
    ServerSettings,
)
from timestep.errors import ConfigurationError, TimestepError
from timestep.factory.endpoints import (
    key_command,
    ollama_key,
    ollama_place,
    openai_endpoint,
    reveal,
)
from timestep.net.model_names import with_short_names
from timestep.ollama.model_options import OllamaKeywords
from timestep.ollama.provider import OllamaModelProvider
from timestep.openai.default_provider import DefaultOpenAIProvider, OpenAIChoices
from timestep.openai.gateways import GatewayProvider
from timestep.openai.model_options import ChatModelOptions
from timestep.openai.provider import OpenAICompatibleProvider
from timestep.routing import Aliases, AliasTable

if TYPE_CHECKING:
    from timestep.config.settings import Settings

logger = logging.getLogger("timestep")


@contextmanager
def name_places(settings: "Settings") -> Generator[None]:
    """Add to the error for a default setting the place where the user wrote it."""
    try:
        yield
    except SettingError as exc:
        here = (
            each.winner
            for key, each in settings.origins.items()
            if key == exc.key or key.startswith(f"{exc.key}.")
        )
        origin = next(here, None)
        if origin is None:
            raise
        told = str(exc).replace(exc.key, f"{exc.key} ({origin})", 1)
        raise ConfigurationError(told) from None


def build_all(settings: "Settings") -> dict[str, ModelProvider]:
    """Return the providers that *settings* describe, by prefix."""
    from timestep.config.settings import Settings  # noqa: PLC0415 - a built-in prefix needs none

    if not isinstance(cast("object", settings), Settings):
        raise ConfigurationError(
            f"The settings are {type(settings).__name__}; pass Settings, as load_settings() returns."
        )
    return {
        "ollama": _ollama(("ollama",), settings.ollama, ollama_key(settings)),
        **{name: build(name, table) for name, table in settings.providers.items()},
    }


def build_aliases(settings: "Settings") -> Aliases:
    """Return the aliases of *settings*, with both spellings of those that variables name."""
    return {
        **settings.targets,
        **{
            name: AliasTable(
                model=alias.model,
                settings=read_settings(f"{dotted(['aliases', name])}.settings", alias.settings),
            )
            for name, alias in settings.aliases.items()
            if isinstance(alias, AliasSettings)
        },
    }


def build(name: str, table: ProviderSettings) -> ModelProvider:
    """Return the provider that ``[providers.NAME]`` describes."""
    kind = KINDS.get(table.kind)
    builder: Callable[..., ModelProvider] = (
        build_plugin if kind is None else globals()[kind.builder]
    )
    return builder(name, table)


def build_unconfigured(prefix: str) -> ModelProvider | None:
    """Return the provider for *prefix* if it is a kind that needs no table, or None."""
    kind = KINDS.get(prefix)
    if kind is None or not kind.is_built_in:
        return None
    return build(prefix, kind.table(kind=kind.name))


def build_default_openai(settings: "Settings", keywords: Mapping[str, Any]) -> OpenAIProvider:
    """Return the provider for names without a prefix: ``[openai]``, and *keywords* over it.

    The keywords are those of `MultiModelProvider` that begin with ``openai_``.
    """
    table = settings.openai
    given: dict[str, Any] = {
        name.removeprefix("openai_"): value for name, value in keywords.items() if value is not None
    }
    written = {*given, *_written(settings, "openai", OpenAISettings.model_fields)}
    where = {name: given.pop(name) for name in _WHERE if name in given}
    if "api_key" in where:
        where["key_command"] = None
    # When no API was chosen, agents.set_default_openai_api() decides.
    chosen = table.api == "responses" if "api" in table.model_fields_set else None
    configured = OpenAIChoices(websocket_base_url=table.websocket_base_url, use_responses=chosen)
    choices = replace(
        configured, **{_CHOICES.get(name, name): value for name, value in given.items()}
    )
    strict = choices.strict_feature_validation
    return DefaultOpenAIProvider(
        replace(openai_endpoint(table), **where),
        written=written,
        written_headers=_written(settings, "openai.headers", table.headers),
        choices=choices,
        options=_chat_options(table, "openai", strict=strict),
        defaults=_defaults(("openai",), table),
    )


_WHERE = ("api_key", "base_url", "organization", "project")
_CHOICES = {
    "use_responses_websocket": "use_websocket",
    "responses_websocket_options": "websocket_options",
}


def _written(settings: "Settings", section: str, keys: Iterable[str]) -> set[str]:
    """Return those of *keys* in *section* that were written for timestep."""
    return {key for key in keys if settings.is_written_for_timestep(f"{section}.{dotted([key])}")}


def build_openai(name: str, table: OpenAIProviderSettings) -> OpenAICompatibleProvider:
    """Return the provider for the API that *table* describes."""
    return OpenAICompatibleProvider(
        openai_endpoint(table),
        use_responses=table.api == "responses",
        options=_chat_options(table, name),
        defaults=_defaults(("providers", name), table),
    )


def _defaults(where: KeyPath, table: EndpointSettings) -> ModelDefaults:
    """Return the default settings of the models of *table*, which is at *where*."""
    models, below = table.models, list[str]()
    if isinstance(table, OllamaSettings):  # its models have options too
        models, below = table.settings_by_model, ["settings"]
    return ModelDefaults(
        read_settings(dotted([*where, "settings"]), table.settings),
        with_short_names(
            {
                name: read_settings(dotted([*where, "models", name, *below]), settings)
                for name, settings in models.items()
            },
            where[-1],
        ),
        table.extra_body if isinstance(table, AnyOpenAISettings) else {},
    )


class _ForModels(TypedDict):
    text_calls: bool | Sequence[str]
    think_tags: bool | Sequence[str]


def _chat_options(
    table: AnyOpenAISettings, prefix: str, *, strict: bool = False
) -> ChatModelOptions | None:
    if table.adapter == "sdk":
        return None
    return ChatModelOptions(
        structured_output=table.structured_output,
        include_usage=table.include_usage,
        strict_feature_validation=strict,
        **_for_models(table, prefix),
        repairs=table.repairs,
        max_retries=table.max_retries,
        extra_body=table.extra_body,
    )


def _for_models(table: ServerSettings, prefix: str) -> _ForModels:
    """Return the keys of *table* that may list models, with every name that *prefix* takes."""

    def names(given: bool | Sequence[str]) -> bool | Sequence[str]:
        return (
            given if isinstance(given, bool) else [*with_short_names(dict.fromkeys(given), prefix)]
        )

    return _ForModels(text_calls=names(table.text_calls), think_tags=names(table.think_tags))


def build_ollama(name: str, table: OllamaProviderSettings) -> OllamaModelProvider:
    """Return the provider for the Ollama that ``[providers.NAME]`` describes."""
    return _ollama(("providers", name), table, table.api_key)


def build_gateway(name: str, table: GatewaySettings) -> GatewayProvider:
    """Return the provider for the gateway that *table* describes."""
    defaults = _defaults(("providers", name), table)
    command = key_command(table)
    return GatewayProvider(
        table.kind,
        None if command else reveal(table.api_key),
        table.base_url,
        defaults,
        headers=table.headers,
        api_version=table.api_version if isinstance(table, LiteLLMProviderSettings) else None,
        key_command=command,
    )


def _ollama(
    where: KeyPath, table: OllamaSettings, api_key: SecretStr | None
) -> OllamaModelProvider:
    """Return the provider for the Ollama that *table* describes, with *api_key* as its key."""
    defaults = _defaults(where, table)
    try:
        return OllamaModelProvider(
            model_options=with_short_names(table.options_by_model, where[-1]),
            max_concurrency=table.max_concurrency,
            defaults=defaults,
            **ollama_place(table, api_key),
            **ollama_keywords(table, where[-1]),
        )
    except TimestepError as exc:
        raise ConfigurationError(f"[{dotted(where)}]: {exc}") from exc


def ollama_keywords(table: OllamaSettings, prefix: str) -> OllamaKeywords:
    """Return the keys of *table* that are keywords of a model."""
    keywords = {name: getattr(table, name) for name in get_type_hints(OllamaKeywords)}
    keywords |= _for_models(table, prefix)
    return cast("OllamaKeywords", keywords)


def build_plugin(name: str, table: PluginProviderSettings) -> ModelProvider:
    """Return the provider that a plug-in makes of ``[providers.NAME]``."""
    where = f"[providers.{name}], kind {table.kind!r}"
    try:
        make = next(iter(entry_points(group=PROVIDER_PLUGINS, name=table.kind))).load()
    except (ImportError, AttributeError) as exc:
        raise ConfigurationError(f"{where}: the plug-in cannot be imported: {exc}") from exc
    try:
        provider = make({k: v.get_secret_value() for k, v in table.keys_of_plugin.items()})
    except (TypeError, ValueError, LookupError) as exc:
        raise ConfigurationError(
            f"{where}: the plug-in refuses the table with {type(exc).__name__}; see its "
            "documentation for the keys it takes"
        ) from exc
    if not isinstance(provider, ModelProvider):
        raise ConfigurationError(
            f"{where}: the plug-in returned {type(provider).__name__}, not an agents.ModelProvider"
        )
    return provider
