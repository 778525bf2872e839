"""The capabilities and windows of a model, as its servers list them."""

from typing import Any

from timestep.cli.check.results import ModelResult
from timestep.cli.inventory import list_openai, ollama_providers
from timestep.config.schema import OllamaSettings, OpenAIProviderSettings
from timestep.config.settings import Settings
from timestep.errors import OllamaError
from timestep.net.foreign import entries, mapping
from timestep.net.names import strip_cloud_suffix, tagged
from timestep.ollama.capabilities import Catalogue
from timestep.ollama.provider import OllamaModelProvider
from timestep.registry import MultiModelProvider
from timestep.routing import chain, split_prefix

_PATIENCE = 10.0


async def note_claims(
    result: ModelResult, settings: Settings, provider: MultiModelProvider
) -> None:
    """Put the server's facts about a model into *result*. For a chain, about its first model."""
    result.leads_to = chain(result.model, settings.targets, settings.default_model)
    prefix, name = split_prefix(result.leads_to[0])
    ollama = ollama_providers(provider).get(prefix or "")
    if ollama is not None:
        result.window_configured = _num_ctx(prefix or "", name, settings)
        await _note_abilities(result, ollama, name)
    elif isinstance(table := settings.tables.get(prefix or ""), OpenAIProviderSettings):
        # OpenAI's own list has no windows.
        inventory = await list_openai(prefix or "", table, _PATIENCE)
        lengths = {offer.name: offer.context_length for offer in inventory.offers}
        result.context_length = lengths.get(result.leads_to[0])


async def note_real_window(result: ModelResult, provider: MultiModelProvider) -> None:
    """Put the window that an Ollama server has allocated for a model into *result*."""
    prefix, name = split_prefix(result.leads_to[0])
    ollama = ollama_providers(provider).get(prefix or "")
    for wire in ollama.wires(name) if ollama else ():
        if wire.endpoint.is_cloud:
            continue
        try:
            running, _ = await wire.ask("/api/ps")
        except OllamaError:
            continue  # a proxy without this path
        result.window_real = result.window_real or _allocated(running, name)


async def _note_abilities(result: ModelResult, ollama: OllamaModelProvider, name: str) -> None:
    wire = ollama.wire(name)
    served_as = strip_cloud_suffix(name) if wire.endpoint.is_cloud else name
    abilities = await Catalogue(wire).abilities(served_as, ask=True)
    if abilities.capabilities is not None:
        result.claimed = sorted(abilities.capabilities)
    result.context_length = abilities.context_length


def _num_ctx(prefix: str, name: str, settings: Settings) -> int | None:
    table = settings.tables.get(prefix)
    own = table if isinstance(table, OllamaSettings) else settings.ollama
    asked = own.options_of(name, prefix).get("num_ctx")
    return asked if isinstance(asked, int) else None


def _allocated(running: Any, name: str) -> int | None:
    for entry in map(mapping, entries(mapping(running).get("models"))):
        length = entry.get("context_length")
        if tagged(str(entry.get("name"))) == tagged(name) and isinstance(length, int):
            return length or None
    return None
