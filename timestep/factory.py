"""From settings to providers: the only place that reveals secrets. Opens nothing."""

import logging
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any, assert_never, cast

from agents import ModelProvider
from pydantic import SecretStr

from timestep.config.schema import (
    OPENAI_URL,
    PROVIDER_PLUGINS,
    AnyLLMProviderSettings,
    LiteLLMProviderSettings,
    OllamaProviderSettings,
    OllamaSettings,
    OllamaTimeouts,
    OpenAIProviderSettings,
    OpenAISettings,
    PluginProviderSettings,
    ProviderSettings,
)
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError, TimestepError
from timestep.gateways import AnyLLMModelProvider, LiteLLMModelProvider
from timestep.net.urls import authority, is_ollama_cloud
from timestep.ollama.provider import OllamaModelProvider
from timestep.openai.provider import OpenAICompatibleProvider, OpenAIEndpoint
from timestep.routing import FallbackRules, targets

logger = logging.getLogger("timestep")


def provider_arguments(settings: Settings) -> dict[str, Any]:
    """The keyword arguments of `MultiModelProvider` that *settings* describe.

    ``provider_map`` is a plain mapping from prefix to provider.

    Raises:
        ConfigurationError: An Ollama option or a plug-in cannot be used.
    """
    if not isinstance(cast("object", settings), Settings):
        raise ConfigurationError(
            f"The settings are {type(settings).__name__}; pass Settings, such as load_settings() gives."
        )
    return {
        **openai_arguments(settings.openai),
        "provider_map": {
            "ollama": build_ollama("ollama", settings.ollama, _ollama_key(settings)),
            **{name: build(name, table) for name, table in settings.providers.items()},
        },
        "default_model": settings.default_model,
        "aliases": settings.aliases,
        "fallback": FallbackRules(**settings.fallback.model_dump()),
    }


def build(name: str, table: ProviderSettings) -> ModelProvider:
    """The provider that ``[providers.NAME]`` describes.

    Raises:
        ConfigurationError: An Ollama option or a plug-in cannot be used.
    """
    match table:
        case OpenAIProviderSettings():
            return build_openai(table, use_responses=table.api == "responses")
        case OllamaProviderSettings():
            return build_ollama(f"providers.{name}", table, table.api_key)
        case LiteLLMProviderSettings():
            return LiteLLMModelProvider(_reveal(table.api_key), table.base_url)
        case AnyLLMProviderSettings():
            return AnyLLMModelProvider(_reveal(table.api_key), table.base_url)
        case PluginProviderSettings():
            return build_plugin(name, table)
        case _:
            assert_never(table)


def openai_arguments(table: OpenAISettings) -> dict[str, Any]:
    """The keyword arguments of `MultiModelProvider` for names without a prefix.

    The SDK's own client serves OpenAI itself; what it has no keyword for gets ours.
    """
    # An API nobody chose is left to agents.set_default_openai_api().
    use_responses = table.api == "responses" if "api" in table.model_fields_set else None
    if table.base_url or table.headers or table.timeout:
        return {"openai_provider": build_openai(table, use_responses=use_responses)}
    return {
        "openai_api_key": _reveal(table.api_key),
        "openai_organization": table.organization,
        "openai_project": table.project,
        "openai_use_responses": use_responses,
    }


def build_openai(
    table: OpenAISettings | OpenAIProviderSettings, *, use_responses: bool | None
) -> OpenAICompatibleProvider:
    """The provider for the API that *table* describes."""
    return OpenAICompatibleProvider(openai_endpoint(table), use_responses=use_responses)


def openai_endpoint(table: OpenAISettings | OpenAIProviderSettings) -> OpenAIEndpoint:
    """Where the API that *table* describes is, with its key."""
    return OpenAIEndpoint(
        base_url=table.base_url or OPENAI_URL,
        api_key=_reveal(table.api_key),
        organization=table.organization,
        project=table.project,
        headers=table.headers,
        timeout=table.timeout,
    )


def build_ollama(key: str, table: OllamaSettings, api_key: SecretStr | None) -> OllamaModelProvider:
    """The provider for the Ollama that the *table* at *key* describes.

    Raises:
        ConfigurationError: Ollama knows no such option, or takes no such value for it.
    """
    try:
        return OllamaModelProvider(**ollama_arguments(table, api_key))
    except TimestepError as exc:
        raise ConfigurationError(f"[{key}]: {exc}") from exc


def ollama_arguments(table: OllamaSettings, api_key: SecretStr | None) -> dict[str, Any]:
    """The keyword arguments of `OllamaModelProvider` that *table* describes, with *api_key*."""
    limits = table.timeout
    return {
        "api_key": _reveal(api_key),
        "base_url": table.base_url,
        "local_url": table.host,
        "options": table.options,
        "model_options": table.models,
        "keep_alive": table.keep_alive,
        "timeout": limits.model_dump(exclude_none=True)
        if isinstance(limits, OllamaTimeouts)
        else limits,
        "on_context_overflow": table.on_context_overflow,
        "strict_feature_validation": table.strict_feature_validation,
        "tool_emulation": table.tool_emulation,
        "allow_remote_images": table.allow_remote_images,
        "allow_insecure": table.allow_insecure,
        "headers": table.headers,
    }


def build_plugin(name: str, table: PluginProviderSettings) -> ModelProvider:
    """The provider that the plug-in for the kind of ``[providers.NAME]`` makes of it.

    Raises:
        ConfigurationError: The plug-in cannot be imported, refuses the table, or returns
            something else.
    """
    where = f"[providers.{name}], kind {table.kind!r}"
    try:
        make = next(iter(entry_points(group=PROVIDER_PLUGINS, name=table.kind))).load()
    except (ImportError, AttributeError) as exc:
        raise ConfigurationError(f"{where}: the plug-in cannot be imported: {exc}") from exc
    try:
        provider = make(_plugin_values(table))
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


def _plugin_values(table: PluginProviderSettings) -> Mapping[str, Any]:
    return {name: value.get_secret_value() for name, value in table.keys_of_plugin.items()}


def _ollama_key(settings: Settings) -> SecretStr | None:
    """The key for ``[ollama]``: the environment's ``OLLAMA_API_KEY`` is for ollama.com alone."""
    base_url = settings.ollama.base_url
    if (
        settings.ollama.api_key is None
        or base_url is None
        or all(map(is_ollama_cloud, targets(base_url)))
        or not settings.ollama_key_is_for_cloud_only
    ):
        return settings.ollama.api_key
    logger.warning(
        "OLLAMA_API_KEY is for ollama.com and is not sent to %s; to send a key there, set "
        "TIMESTEP_OLLAMA__API_KEY, or api_key in [ollama]",
        ", ".join(map(authority, targets(base_url))),
    )
    return None


def _reveal(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
