"""The model names that the shells complete, found quickly and without error messages."""

import asyncio

from timestep.cli.event_loop import run_without_waiting
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.net.names import untagged
from timestep.ollama.about import connect, list_entries
from timestep.ollama.endpoint import Endpoint
from timestep.routing import targets

_PATIENCE = 0.5
"""Seconds that all servers have together: a key press should not take longer."""


def model_names(settings: Settings) -> list[str]:
    """Return the default, the aliases, and the models of each Ollama server that answers at once."""
    names = targets(settings.default_model) if settings.default_model else []
    servers = [
        (prefix, url)
        for prefix, table in settings.tables.items()
        if isinstance(table, OllamaSettings)
        for url in table.servers
    ]
    served = run_without_waiting(_served(servers))
    return list(dict.fromkeys([*names, *settings.aliases, *served]))


async def _served(servers: list[tuple[str, str]]) -> list[str]:
    found = await asyncio.gather(*(_names(prefix, url) for prefix, url in servers))
    return sorted({name for names in found for name in names})


async def _names(prefix: str, url: str) -> list[str]:
    try:
        async with asyncio.timeout(_PATIENCE), connect(Endpoint(url)) as client:
            listed = await list_entries(client, "/api/tags")
    except Exception:  # noqa: BLE001 - completion shows no errors
        return []
    return [f"{prefix}/{untagged(str(entry['name']))}" for entry in listed if entry.get("name")]
