"""Lists the models of every configured provider, all at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import ollama
import openai

from timestep.cli.errors import explain
from timestep.config.kinds import lists_models
from timestep.config.schema import OpenAIProviderSettings, OpenAISettings
from timestep.config.settings import Settings
from timestep.errors import OllamaError, TimestepError
from timestep.factory import openai_endpoint
from timestep.net.names import untagged
from timestep.net.origin import Origin
from timestep.ollama.foreign_errors import Translated
from timestep.ollama.official import open_client
from timestep.ollama.provider import OllamaModelProvider
from timestep.ollama.wire import Wire
from timestep.openai.provider import list_models
from timestep.registry import MultiModelProvider

_AT_ONCE = 8
_NO_SUCH_PATH = {404, 405, 501}
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
        is_unlisted: True when the server answers, and has no list of its models.
    """

    prefix: str
    kind: str
    url: str | None = None
    offers: Sequence[Offer] = field(default=())
    problem: str | None = None
    is_unlisted: bool = False


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
    asked: list[Awaitable[Inventory]] = [list_openai("", settings.openai, patience)]
    for prefix, each in ollama_providers(provider).items():
        asked += [_ollama(prefix, wire, patience) for wire in each.wires()]
        cloud = each.wire(":cloud")
        if cloud is not each.wire() and "authorization" in cloud.endpoint.headers:
            asked.append(_ollama(prefix, cloud, patience, rename=cloud_name))
    for prefix, table in settings.providers.items():
        if isinstance(table, OpenAIProviderSettings):
            asked.append(list_openai(prefix, table, patience))
        elif not lists_models(table.kind):
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
            offers, loaded = await _look(wire)
    except (TimeoutError, TimestepError) as exc:
        return Inventory(prefix, "ollama", url, problem=_problem(exc, url, patience))
    named = [
        replace(
            offer, name=f"{prefix}/{rename(untagged(offer.name))}", loaded=loaded.get(offer.name)
        )
        for offer in offers
    ]
    return Inventory(prefix, "ollama", url, sorted(named, key=lambda offer: offer.name))


async def _look(wire: Wire) -> tuple[list[Offer], dict[str, int]]:
    """Return the models of a server by Ollama's names, and the context of those it has loaded."""
    with Translated(wire.origin(None)):
        endpoint = wire.endpoint
        async with open_client(
            endpoint.base_url,
            endpoint.headers,
            reach=endpoint.reach,
            key_command=endpoint.key_command,
        ) as client:
            listed, loaded = await asyncio.gather(client.list(), _loaded(client, wire))
            gate = asyncio.Semaphore(_AT_ONCE)
            offers = await asyncio.gather(
                *(_offer(client, entry, gate, wire.origin(entry.model)) for entry in listed.models)
            )
    return offers, loaded


async def _loaded(client: ollama.AsyncClient, wire: Wire) -> dict[str, int]:
    """Return the tokens of context that are allocated, by model."""
    if wire.endpoint.is_cloud:
        return {}
    running = await client.ps()
    return {entry.model or "": entry.context_length or 0 for entry in running.models}


async def _offer(
    client: ollama.AsyncClient,
    entry: ollama.ListResponse.Model,
    gate: asyncio.Semaphore,
    origin: Origin,
) -> Offer:
    """Return what the server tells of one model, which it lists whether it tells or not."""
    name = entry.model or ""
    try:
        with Translated(origin):
            async with gate:
                shown = await client.show(name)
    except OllamaError:
        return Offer(name, size=entry.size)
    facts = shown.modelinfo or {}
    context = facts.get(f"{facts.get('general.architecture')}.context_length")
    able = None if shown.capabilities is None else tuple(shown.capabilities)
    return Offer(name, able, _number(context), entry.size)


async def list_openai(
    prefix: str, table: OpenAISettings | OpenAIProviderSettings, patience: float
) -> Inventory:
    """List the models of a server that speaks OpenAI's API."""
    endpoint = openai_endpoint(table)
    url = endpoint.base_url
    has_key = table.api_key is not None or table.api_key_command is not None
    if not prefix and table.base_url is None and not has_key:
        problem = "No key for OpenAI. Set OPENAI_API_KEY, or api_key in [openai]."
        return Inventory(prefix, "openai", url, problem=problem)
    try:
        async with asyncio.timeout(patience):
            listed = await list_models(endpoint)
    except (TimeoutError, openai.OpenAIError, TimestepError, ValueError) as exc:
        if isinstance(exc, openai.APIStatusError) and exc.status_code in _NO_SUCH_PATH:
            problem = f"It has no list of models ({exc.status_code} for {url}/models)."
            return Inventory(prefix, "openai", url, problem=problem, is_unlisted=True)
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


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
