"""From a name on the command line to the Ollama server that is meant."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.registry import MultiModelProvider


def ollama_providers(provider: "MultiModelProvider") -> "dict[str, OllamaModelProvider]":
    """Return the Ollama providers of *provider*, by prefix."""
    from timestep.ollama.provider import OllamaModelProvider

    mapping = provider.provider_map.get_mapping() if provider.provider_map else {}
    return {
        prefix: each for prefix, each in mapping.items() if isinstance(each, OllamaModelProvider)
    }


def find_ollama(
    name: str, settings: "Settings", provider: "MultiModelProvider"
) -> "tuple[str, OllamaModelProvider, str]":
    """Return the prefix, the provider and the provider's own name for the model *name*.

    *name* may be an alias, have a prefix, or be a plain Ollama name.

    Raises:
        UsageError: The model belongs to a provider that is not an Ollama.
    """
    from timestep.config.kinds import KINDS
    from timestep.routing import chain, split_prefix

    [resolved, *_] = chain(name, settings.aliases)
    prefix, rest = split_prefix(resolved)
    known = ollama_providers(provider)
    if prefix in known:
        return prefix, known[prefix], rest
    if prefix in {*KINDS, *settings.providers} or "ollama" not in known:
        raise click.UsageError(
            f"{resolved!r} is not an Ollama model; the prefixes of Ollama are {', '.join(known)}."
        )
    return "ollama", known["ollama"], resolved
