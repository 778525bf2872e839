"""The models that the default model and the aliases lead to."""

from collections.abc import Collection
from dataclasses import dataclass

from timestep.config.settings import Settings
from timestep.net.names import tagged
from timestep.routing import split_prefix


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


def same_model(one: str, other: str, ollama: Collection[str]) -> bool:
    """Return whether two names lead to the same model. *ollama* are the prefixes of Ollama."""
    return _canonical(one, ollama) == _canonical(other, ollama)


def _canonical(name: str, ollama: Collection[str]) -> str:
    prefix, rest = split_prefix(name)
    if prefix == "openai" and prefix not in ollama:
        return rest
    if prefix not in ollama:
        return name
    return f"{prefix}/{tagged(rest)}"
