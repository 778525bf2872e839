"""From a name on the command line to the Ollama server that is meant."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.registry import MultiModelProvider


def ollama_providers(provider: "MultiModelProvider") -> "dict[str, OllamaModelProvider]":
    """The Ollama providers of *provider*, by prefix."""
    from timestep.ollama.provider import OllamaModelProvider

    mapping = provider.provider_map.get_mapping() if provider.provider_map else {}
    return {
        prefix: each for prefix, each in mapping.items() if isinstance(each, OllamaModelProvider)
    }


def find_ollama(
    name: str, settings: "Settings", provider: "MultiModelProvider"
) -> "tuple[str, OllamaModelProvider, str]":
    """The prefix, the provider and its own name for the model *name*.

    *name* may be an alias, have a prefix, or be Ollama's own.

    Raises:
        UsageError: It is the model of a provider that is no Ollama.
    """
    from timestep.routing import resolve, split_prefix

    resolved = resolve(name, settings.aliases) or name
    prefix, rest = split_prefix(resolved)
    known = ollama_providers(provider)
    if prefix in known:
        return prefix, known[prefix], rest
    others = {"openai", "litellm", "any-llm", *settings.providers}
    if prefix in others or "ollama" not in known:
        raise click.UsageError(
            f"{resolved!r} is no Ollama model; the prefixes of Ollama are {', '.join(known)}."
        )
    return "ollama", known["ollama"], resolved
