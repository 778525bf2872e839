"""Which server a line goes to, and how many lines to ask at once. Pure."""

from collections.abc import Collection

from timestep.batch.loop import CONCURRENCY
from timestep.config.settings import Settings
from timestep.routing import split_prefix


def concurrency_for(names: Collection[str | None], settings: Settings) -> int:
    """The places at all servers that the models called *names* are on.

    A server has as many places as its ``max_concurrency`` says, or 16 without it, because no server
    tells how many requests it works on at once. Of a chain the first model counts.
    """
    prefixes = {prefix_of(name, settings) for name in names}
    return sum(_places(prefix, settings) for prefix in prefixes) or CONCURRENCY


def prefix_of(name: str | None, settings: Settings) -> str:
    """The prefix of the model that *name* leads to, the first of a chain; None is the default model."""
    first = next(iter(settings.models_of(name)), "")
    return split_prefix(first)[0] or "openai"


def _places(prefix: str, settings: Settings) -> int:
    ollama = settings.ollama_tables.get(prefix)
    table = ollama or settings.openai_tables.get(prefix)
    places = (table and table.max_concurrency) or CONCURRENCY
    return places * len(ollama.servers) if ollama else places
