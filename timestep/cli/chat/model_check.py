"""Asks a server whether it has a model, before a chat switches to it."""

import asyncio
import difflib

from timestep.cli.agent.setup import RunSetup
from timestep.cli.inventory import list_openai, ollama_providers
from timestep.cli.output import print_aside
from timestep.config.schema import AnyOpenAISettings
from timestep.net.names import is_cloud_name
from timestep.ollama.provider import OllamaModelProvider
from timestep.routing import split_prefix

_PATIENCE = 10.0


async def check_model(setup: RunSetup) -> None:
    """Ask for the model of *setup*. Says so if a server of OpenAI's API does not list it.

    Raises:
        OllamaError: Its Ollama server does not have it, or cannot be reached.
    """
    name = setup.model_of(setup.agent)
    prefix, rest = split_prefix(name)
    ollama = ollama_providers(setup.provider).get(prefix or "")
    table = setup.settings.tables.get(prefix or "openai")
    if ollama is not None:
        await _check_ollama(ollama, rest)
    elif isinstance(table, AnyOpenAISettings):
        await _check_openai(name, "" if prefix == "openai" else prefix or "", table)


async def _check_ollama(provider: OllamaModelProvider, name: str) -> None:
    if is_cloud_name(name):
        return  # a server knows those that were used there before
    wire = provider.wire(name)
    try:
        async with asyncio.timeout(_PATIENCE):
            await wire.ask("/api/show", {"model": name})
    except TimeoutError:
        print_aside(
            f"{wire.endpoint.base_url} did not say within {_PATIENCE:g} s if it has {name}."
        )


async def _check_openai(name: str, prefix: str, table: AnyOpenAISettings) -> None:
    offered = [offer.name for offer in (await list_openai(prefix, table, _PATIENCE)).offers]
    plain = name.removeprefix("openai/")
    if not offered or plain in offered:
        return
    near = difflib.get_close_matches(plain, offered, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    # A list may be incomplete: some servers take names that they do not list.
    print_aside(f"The server does not list {name}.{hint}")
