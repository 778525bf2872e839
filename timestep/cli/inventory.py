"""The models that the configuration names, and those of every provider, asked all at once.

Nothing of the SDK is imported unless a server cannot be asked: then its error says why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import httpx

from timestep.cli.event_loop import run_without_waiting
from timestep.config.kinds import lists_models
from timestep.config.schema import AnyOpenAISettings
from timestep.config.settings import Settings
from timestep.factory.endpoints import ollama_endpoints, openai_endpoint
from timestep.net.connection import CHECK_PROXY
from timestep.net.failure_words import httpx_error
from timestep.net.model_names import tagged, untagged, with_cloud_suffix
from timestep.net.proxies import ProxyError
from timestep.net.reach import CertificateError
from timestep.net.urls import authority, is_ollama_cloud
from timestep.ollama.endpoint import Endpoint, unreached
from timestep.ollama.server_info import connect, list_entries, post
from timestep.ollama.shown import Listed, count, read_shown
from timestep.openai.listing import list_models
from timestep.routing import split_prefix, targets

if TYPE_CHECKING:
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.registry import MultiModelProvider

_AT_ONCE = 8
_NO_SUCH_PATH = {404, 405, 501}
_CONTEXT_KEYS = ("context_window", "context_length", "max_context_length", "max_model_len")


@dataclass(frozen=True, slots=True)
class Offer:
    """One model."""

    name: str  # the name that agents use, with its prefix
    # For example `"tools"`; None if the server does not say.
    capabilities: tuple[str, ...] | None = None
    context_length: int | None = None  # the most tokens it takes, if known
    size: int | None = None  # in bytes, if known
    # The tokens of context allocated for it now; None if it is not loaded, 0 if the server does not
    # say how many, as before Ollama 0.10.
    loaded: int | None = None


@dataclass(frozen=True, slots=True)
class Inventory:
    """The models of one server."""

    prefix: str  # the prefix of its models' names; empty for OpenAI
    kind: str
    url: str | None = None  # its base URL, if the provider has one server
    offers: Sequence[Offer] = field(default=())  # its models, sorted by name
    problem: str | None = None  # why its models are unknown, and the next step
    is_unlisted: bool = False  # True when the server answers, and has no list of its models
    endpoint: Endpoint | None = None  # that of an Ollama server

    @property
    def is_cloud(self) -> bool:
        """True for ollama.com."""
        return is_ollama_cloud(self.url or "")


def ollama_providers(provider: "MultiModelProvider") -> "dict[str, OllamaModelProvider]":
    """Return the Ollama providers of *provider*, by prefix."""
    from timestep.ollama.provider import OllamaModelProvider

    mapping = provider.provider_map.get_mapping() if provider.provider_map else {}
    return {
        prefix: each for prefix, each in mapping.items() if isinstance(each, OllamaModelProvider)
    }


async def take_inventory(settings: Settings, *, patience: float) -> list[Inventory]:
    """List the models of each server, of ollama.com if there is a key. *patience* is for each."""
    asked: list[Awaitable[Inventory]] = [list_openai("", settings.openai, patience)]
    for prefix, endpoints in ollama_endpoints(settings).items():
        local, cloud = endpoints.pool or [endpoints.local], endpoints.cloud
        asked += [_ollama(prefix, each, patience) for each in local]
        has_key = "authorization" in cloud.headers or cloud.key_command is not None
        if has_key and cloud is not endpoints.local:
            asked.append(_ollama(prefix, cloud, patience, rename=with_cloud_suffix))
    for prefix, table in settings.providers.items():
        if isinstance(table, AnyOpenAISettings):
            asked.append(list_openai(prefix, table, patience))
    found = await asyncio.gather(*asked)
    return found + [
        Inventory(
            prefix,
            table.kind,
            problem=f"Models of kind {table.kind} cannot be listed; their names follow {prefix}/.",
        )
        for prefix, table in settings.providers.items()
        if not lists_models(table.kind)
    ]


async def _ollama(
    prefix: str, endpoint: Endpoint, patience: float, rename: Callable[[str], str] = str
) -> Inventory:
    url = endpoint.base_url
    try:
        async with asyncio.timeout(patience):
            offers = await look(endpoint)
    except Exception as exc:  # noqa: BLE001 - the client raises much; all of it is translated
        problem = _problem(exc, url, patience, endpoint)
        return Inventory(prefix, "ollama", url, problem=problem)
    named = [replace(each, name=f"{prefix}/{rename(untagged(each.name))}") for each in offers]
    offers = sorted(named, key=lambda offer: offer.name)
    return Inventory(prefix, "ollama", url, offers, endpoint=endpoint)


async def look(endpoint: Endpoint, *names: str) -> list[Offer]:
    """Return the models of an Ollama server, or only those called *names*, by Ollama's names."""
    async with connect(endpoint) as client:
        listed = [Listed(name) for name in names] or await list_entries(client, "/api/tags")
        loaded: dict[str, int] = {}
        with suppress(httpx.HTTPStatusError, ValueError):  # a proxy without this path
            for each in [] if endpoint.is_cloud else await list_entries(client, "/api/ps"):
                loaded[tagged(each.name)] = each.context_length or 0
        gate = asyncio.Semaphore(_AT_ONCE)
        return await asyncio.gather(*(_offer(client, entry, gate, loaded) for entry in listed))


async def _offer(
    client: httpx.AsyncClient,
    entry: Listed,
    gate: asyncio.Semaphore,
    loaded: Mapping[str, int],
) -> Offer:
    """Return one model, with what the server says about it."""
    offer = Offer(entry.name, size=entry.size, loaded=loaded.get(tagged(entry.name)))
    try:
        async with gate:
            shown = read_shown(await post(client, "/api/show", {"model": entry.name}))
    except (httpx.HTTPError, ValueError):
        return offer
    return replace(offer, capabilities=shown.capabilities, context_length=shown.context_length)


async def list_openai(prefix: str, table: AnyOpenAISettings, patience: float) -> Inventory:
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
    except Exception as exc:  # noqa: BLE001 - naming its classes imports the SDK
        if (status := getattr(exc, "status_code", None)) in _NO_SUCH_PATH:
            problem = f"It has no list of models ({status} for {url}/models)."
            return Inventory(prefix, "openai", url, problem=problem, is_unlisted=True)
        return Inventory(prefix, "openai", url, problem=_problem(exc, url, patience))
    offers = [
        Offer(
            f"{prefix}/{entry['id']}" if prefix else entry["id"],
            context_length=next(filter(None, map(count, map(entry.get, _CONTEXT_KEYS))), None),
        )
        for entry in listed
    ]
    return Inventory(prefix, "openai", url, sorted(offers, key=lambda offer: offer.name))


def _problem(error: Exception, url: str, patience: float, ollama: Endpoint | None = None) -> str:
    match error:
        case TimeoutError():
            return f"No answer from {url} within {patience:g} s. Is it the right address?"
        case ProxyError() | CertificateError():  # it names the variable or the file already
            return str(error)
        case _ if ollama is not None:
            return _ollama_problem(error, ollama)
        case ValueError():
            return f"{error}. Check the base URL; most end in /v1."
        case httpx.TransportError():
            found = httpx_error(error, httpx)
            step = CHECK_PROXY if found.through else "Check the network and the base URL."
            what = "Cannot reach" if found.phase == "reach" else "Cannot read the models of"
            why = f"it {found}" if found.phase == "length" else found
            return f"{what} {authority(url)}: {why}. {step}"
        case _:
            from timestep.cli.errors import explain

            return explain(error)


def _ollama_problem(error: Exception, endpoint: Endpoint) -> str:
    origin = endpoint.origin(None)
    # The usual failure, no connection, does not wait for the SDK.
    if isinstance(error, httpx.ConnectError | httpx.ProxyError):
        found = httpx_error(error, httpx)
        return unreached(origin.host, origin.clean(str(found)), is_proxied=bool(found.through))
    from timestep.cli.errors import explain
    from timestep.errors import TimestepError
    from timestep.ollama.official_client import translated

    try:
        with translated(origin):
            raise error
    except TimestepError as exc:
        return explain(exc)


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model that the configuration names."""

    alias: str | None  # the alias that leads to it; None for the default model
    model: str  # its name with the prefix, aliases resolved

    @property
    def prefix(self) -> str:
        """The prefix that the model's server has; empty for OpenAI."""
        prefix = split_prefix(self.model)[0] or ""
        return "" if prefix == "openai" else prefix

    @property
    def label(self) -> str:
        """The alias, or ``"default"``."""
        return self.alias or "default"


def configured_models(settings: Settings) -> list[ConfiguredModel]:
    """Return the default model, then the aliases in their order. A chain gives several."""
    return [
        ConfiguredModel(alias[0] if alias else None, model)
        for (_, *alias), model in settings.named_models()
    ]


def same_model(one: str, other: str) -> bool:
    """Return whether two names lead to the same model."""
    return tagged(one.removeprefix("openai/")) == tagged(other.removeprefix("openai/"))


_KEY_PRESS = 0.5
"""Seconds that all servers have together to complete a name."""


def model_names(settings: Settings) -> list[str]:
    """Return the default, the aliases, and the models of each Ollama server that answers at once."""
    names = targets(settings.default_model) if settings.default_model else []
    return list(dict.fromkeys([*names, *settings.aliases, *run_without_waiting(_served(settings))]))


async def _served(settings: Settings) -> list[str]:
    async def names(prefix: str, url: str) -> list[str]:
        with suppress(Exception):  # completion shows no errors
            async with asyncio.timeout(_KEY_PRESS), connect(Endpoint(url)) as client:
                listed = await list_entries(client, "/api/tags")
                return [f"{prefix}/{untagged(model.name)}" for model in listed]
        return []

    asked = [
        names(prefix, url)
        for prefix, table in settings.ollama_tables.items()
        for url in table.servers
    ]
    return sorted({name for found in await asyncio.gather(*asked) for name in found})
