"""The model names that the shells complete, found quickly and without error messages."""

import asyncio
from collections.abc import Iterator

from timestep.cli.event_loop import run_without_waiting
from timestep.config.schema import OllamaProviderSettings, OllamaSettings
from timestep.config.settings import Settings
from timestep.net.names import untagged
from timestep.ollama.official import open_client
from timestep.routing import targets

_PATIENCE = 0.5
"""Seconds that all servers have together: a key press should not take longer."""


def model_names(settings: Settings) -> list[str]:
    """Return the default, the aliases, and the models of every Ollama server that answers at once.

    No key is sent, and nothing of the SDK is imported.
    """
    names = targets(settings.default_model) if settings.default_model else []
    served = run_without_waiting(_served(list(_servers(settings))))
    return list(dict.fromkeys([*names, *settings.aliases, *served]))


def _servers(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yield the prefix and the URL of every Ollama server."""
    tables: list[tuple[str, OllamaSettings]] = [("ollama", settings.ollama)]
    tables += [
        (prefix, table)
        for prefix, table in settings.providers.items()
        if isinstance(table, OllamaProviderSettings)
    ]
    for prefix, table in tables:
        for url in table.servers:
            yield prefix, url


async def _served(servers: list[tuple[str, str]]) -> list[str]:
    asking = [asyncio.ensure_future(_names(prefix, url)) for prefix, url in servers]
    answered, silent = await asyncio.wait(asking, timeout=_PATIENCE)
    for task in silent:
        task.cancel()
    return sorted({name for task in answered for name in task.result()})


async def _names(prefix: str, url: str) -> list[str]:
    try:
        async with open_client(url, {}) as client:
            listed = await client.list()
    except Exception:  # noqa: BLE001 - completion shows no errors
        return []
    return [f"{prefix}/{untagged(entry.model)}" for entry in listed.models if entry.model]
