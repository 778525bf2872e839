"""The models that the configuration names, and the names that the shells complete."""

import asyncio
from dataclasses import dataclass

from timestep.cli.event_loop import run_without_waiting
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.net.names import tagged, untagged
from timestep.ollama.about import connect, list_entries
from timestep.ollama.endpoint import Endpoint
from timestep.routing import split_prefix, targets


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


_PATIENCE = 0.5
"""Seconds that all servers have together: a key press should not take longer."""


def model_names(settings: Settings) -> list[str]:
    """Return the default, the aliases, and the models of each Ollama server that answers at once."""
    names = targets(settings.default_model) if settings.default_model else []
    return list(dict.fromkeys([*names, *settings.aliases, *run_without_waiting(_served(settings))]))


async def _served(settings: Settings) -> list[str]:
    asked = [
        _names(prefix, url)
        for prefix, table in settings.tables.items()
        if isinstance(table, OllamaSettings)
        for url in table.servers
    ]
    return sorted({name for names in await asyncio.gather(*asked) for name in names})


async def _names(prefix: str, url: str) -> list[str]:
    try:
        async with asyncio.timeout(_PATIENCE), connect(Endpoint(url)) as client:
            listed = await list_entries(client, "/api/tags")
    except Exception:  # noqa: BLE001 - completion shows no errors
        return []
    return [f"{prefix}/{untagged(str(entry['name']))}" for entry in listed if entry.get("name")]
