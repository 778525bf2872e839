"""Lists the models of every configured provider, all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import openai

from timestep.cli.errors import explain
from timestep.config.schema import OpenAIProviderSettings, OpenAISettings
from timestep.config.settings import Settings
from timestep.errors import OllamaError, TimestepError
from timestep.factory import openai_endpoint
from timestep.ollama.names import untagged
from timestep.ollama.provider import OllamaModelProvider
from timestep.ollama.wire import Wire
from timestep.openai.provider import list_models
from timestep.registry import MultiModelProvider

_AT_ONCE = 8
_CONTEXT_KEYS = ("context_window", "context_length", "max_context_length", "max_model_len")


@dataclass(frozen=True, slots=True)
class Offer:
    """One model.

    Attributes:
        name: The name that agents use, with its prefix.
        capabilities: For example ``"tools"``; None if the server does not say.
        context_length: The most tokens it takes, if known.
        size: Its size in bytes, if known.
        loaded: The tokens of context allocated for it now; None if it is not loaded.
    """

    name: str
    capabilities: tuple[str, ...] | None = None
    context_length: int | None = None
    size: int | None = None
    loaded: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """The models of one server.

    Attributes:
        prefix: The prefix of its models' names; empty for OpenAI.
        kind: The kind of provider, as in the configuration.
        url: Its base URL, if the provider has one server.
        offers: Its models, sorted by name.
        problem: Why its models are unknown, and the next step.
    """

    prefix: str
    kind: str
    url: str | None = None
    offers: Sequence[Offer] = field(default=())
    problem: str | None = None


def ollama_providers(provider: MultiModelProvider) -> dict[str, OllamaModelProvider]:
    """Return the Ollama providers of *provider*, by prefix."""
    mapping = provider.provider_map.get_mapping() if provider.provider_map else {}
    return {
        prefix: each for prefix, each in mapping.items() if isinstance(each, OllamaModelProvider)
    }


async def take_inventory(
    settings: Settings, provider: MultiModelProvider, *, patience: float
) -> list[Inventory]:
    """List the models of each server. Waits at most *patience* seconds for each."""
    asked: list[Awaitable[Inventory]] = [_openai("", settings.openai, patience)]
    for prefix, ollama in ollama_providers(provider).items():
        asked += [_ollama(prefix, wire, patience) for wire in ollama.wires()]
        cloud = ollama.wire(":cloud")
        if cloud is not ollama.wire() and "authorization" in cloud.endpoint.headers:
            asked.append(_ollama(prefix, cloud, patience, rename=cloud_name))
    for prefix, table in settings.providers.items():
        if isinstance(table, OpenAIProviderSettings):
            asked.append(_openai(prefix, table, patience))
        elif table.kind != "ollama":
            asked.append(_unlisted(prefix, table.kind))
    return await asyncio.gather(*asked)


def cloud_name(name: str) -> str:
    """Return the name that leads to *name* at ollama.com, such as ``gpt-oss:120b-cloud``."""
    return f"{name}{'-' if ':' in name else ':'}cloud"


async def _ollama(
    prefix: str, wire: Wire, patience: float, rename: Callable[[str], str] = str
) -> Inventory:
    url = wire.endpoint.base_url
    try:
        async with asyncio.timeout(patience):
            tags, loaded = await asyncio.gather(_models(wire, "/api/tags"), _loaded(wire))
            gate = asyncio.Semaphore(_AT_ONCE)
            shown = await asyncio.gather(*(_described(wire, entry, gate) for entry in tags))
    except (TimeoutError, OllamaError) as exc:
        return Inventory(prefix, "ollama", url, problem=_problem(exc, url, patience))
    offers = [
        Offer(
            f"{prefix}/{rename(untagged(str(entry.get('name'))))}",
            _strings(entry.get("capabilities")),
            _number(_table(entry.get("details")).get("context_length")),
            _number(entry.get("size")),
            loaded.get(str(entry.get("name"))),
        )
        for entry in shown
    ]
    return Inventory(prefix, "ollama", url, sorted(offers, key=lambda offer: offer.name))


async def _loaded(wire: Wire) -> dict[str, int]:
    """Return the tokens of context allocated for each loaded model."""
    if wire.endpoint.is_cloud:
        return {}
    running = await _models(wire, "/api/ps")
    return {str(entry.get("name")): _number(entry.get("context_length")) or 0 for entry in running}


async def _described(
    wire: Wire, entry: Mapping[str, Any], gate: asyncio.Semaphore
) -> Mapping[str, Any]:
    """Return *entry* with what servers before 0.30 say only in ``/api/show``."""
    if "capabilities" in entry:
        return entry
    async with gate:
        try:
            shown = _table(await wire.post("/api/show", {"model": entry.get("name")}))
        except OllamaError:
            return entry  # the model exists all the same
    facts = _table(shown.get("model_info"))
    context = facts.get(f"{facts.get('general.architecture')}.context_length")
    details = {**_table(entry.get("details")), "context_length": context}
    return {**entry, "capabilities": shown.get("capabilities"), "details": details}


async def _models(wire: Wire, path: str) -> list[Mapping[str, Any]]:
    listed = _table(await wire.get(path)).get("models")
    return [_table(entry) for entry in cast("list[Any]", listed or [])]


async def _openai(
    prefix: str, table: OpenAISettings | OpenAIProviderSettings, patience: float
) -> Inventory:
    endpoint = openai_endpoint(table)
    url = endpoint.base_url
    if not prefix and table.base_url is None and table.api_key is None:
        problem = "No key for OpenAI. Set OPENAI_API_KEY, or api_key in [openai]."
        return Inventory(prefix, "openai", url, problem=problem)
    try:
        async with asyncio.timeout(patience):
            listed = await list_models(endpoint)
    except (TimeoutError, openai.OpenAIError, ValueError) as exc:
        return Inventory(prefix, "openai", url, problem=_problem(exc, url, patience))
    offers = [
        Offer(
            f"{prefix}/{entry['id']}" if prefix else entry["id"],
            context_length=next(filter(None, map(_number, map(entry.get, _CONTEXT_KEYS))), None),
        )
        for entry in listed
    ]
    return Inventory(prefix, "openai", url, sorted(offers, key=lambda offer: offer.name))


async def _unlisted(prefix: str, kind: str) -> Inventory:
    problem = f"Models of kind {kind} cannot be listed; their names follow {prefix}/."
    return Inventory(prefix, kind, problem=problem)


def _problem(error: Exception, url: str, patience: float) -> str:
    match error:
        case TimestepError() | openai.OpenAIError():
            return explain(error)
        case TimeoutError():
            return f"No answer from {url} within {patience:g} s. Is it the right address?"
        case _:
            return f"{error}. Check the base URL: it ends where the paths of the API begin."


def _table(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _strings(value: Any) -> tuple[str, ...] | None:
    return tuple(map(str, cast("list[Any]", value))) if isinstance(value, list) else None


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
