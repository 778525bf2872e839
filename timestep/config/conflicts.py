"""Finds settings that are valid one by one but not together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pydantic import ValidationError

from timestep.config.kinds import ProviderTable
from timestep.config.problems import KeyPlaces, refusal
from timestep.config.provenance import Entry, KeyPath, Origin, dotted, quoted
from timestep.config.schema import (
    EndpointSettings,
    OllamaSettings,
    OpenAISettings,
    check_transport,
)
from timestep.config.sources.variables import variable_name
from timestep.net.model_names import twins
from timestep.routing import describe_ring, find_ring


class Checked(Protocol):
    """Settings that are valid one by one."""

    openai: OpenAISettings
    ollama: OllamaSettings
    providers: dict[str, ProviderTable]

    @property
    def targets(self) -> Mapping[str, str | Sequence[str]]:
        """The models that each alias stands for."""
        ...

    @property
    def why_ollama_key_is_withheld(self) -> str:
        """Why the key of `ollama` is not sent to its base URL; empty if it is."""
        ...

    def place_of(self, path: KeyPath) -> Origin | None:
        """Return where the key or the table at *path* is written."""
        ...

    def told(self, path: KeyPath, reason: str) -> str:
        """Return *reason* with the key at *path* and its place."""
        ...


def find_conflict(settings: Checked) -> ValidationError | None:
    """Return the error for the first thing that is wrong with *settings*, or None."""
    for rule in (_ring, _key_in_the_clear, _model_twice):
        if (found := rule(settings)) is not None:
            path, reason = found
            return refusal(path, settings.told(path, reason))
    return None


def _ring(settings: Checked) -> tuple[KeyPath, str] | None:
    ring = find_ring(settings.targets)
    return (("aliases", ring[0]), describe_ring(ring)) if ring else None


def _key_in_the_clear(settings: Checked) -> tuple[KeyPath, str] | None:
    ollama = settings.ollama
    if settings.why_ollama_key_is_withheld:
        ollama = ollama.model_copy(update={"api_key": None})
    try:
        check_transport(ollama)
    except ValueError as exc:
        return ("ollama", "host" if ollama.base_url is None else "base_url"), str(exc)
    return None


def _model_twice(settings: Checked) -> tuple[KeyPath, str] | None:
    for path, tables in models_tables(settings):
        if same := twins(tables, path[-2]):
            first, second = ((*path, name) for name in same)
            place = settings.place_of(first)
            return second, f"is the same model as {dotted(first)} ({place}); keep one of the two"
    return None


def models_tables(settings: Checked) -> Iterator[tuple[KeyPath, Mapping[str, object]]]:
    """Yield the tables of *settings* that are by model name."""
    yield ("openai", "models"), settings.openai.models
    yield ("ollama", "models"), settings.ollama.models
    for name, provider in settings.providers.items():
        if isinstance(provider, EndpointSettings):
            yield ("providers", name, "models"), provider.models


def find_split_name(entries: Sequence[Entry], places: KeyPlaces) -> ValidationError | None:
    """Return the error for a name without quotes that TOML split at its dot, or None.

    ``gpt-4.1`` without quotes is the key ``1`` in the table ``gpt-4``.
    """
    kinds = {entry.path[1] for entry in entries if entry.path[::2] == ("providers", "kind")}
    for path, entry in ((entry.path, entry) for entry in entries):
        start = _start_of_name(path)
        end = next((i for i in range(start + 1, len(path)) if not path[i][:1].isdigit()), len(path))
        if path[::3] == ("providers", "kind") and path[1] not in kinds:
            start, end = 1, 3  # as in [providers.my.lab]
        if 0 < start < end - 1:
            table, name = path[:start], ".".join(path[start:end])
            place = places.of(path[:end]) or entry.origin
            how = _how_to_quote((*table, name), entry.origin, is_header=place != entry.origin)
            return refusal((*table, name), f"{dotted(table)}.{name} ({place}): {how}")
    return None


def _start_of_name(path: KeyPath) -> int:
    """Return the index in *path* where the name of an alias or a model begins; 0 without one."""
    match path:
        case ("aliases", *_):
            return 1
        case ("openai" | "ollama", "models", *_):
            return 2
        case ("providers", _, "models", *_):
            return 3
        case _:
            return 0


def _how_to_quote(path: KeyPath, origin: Origin, *, is_header: bool) -> str:
    """Return how to write the name at the end of *path* in the form of *origin*."""
    *table, name = path
    if origin.variable is not None:
        return (
            "a variable cannot spell a name with a dot; write the table as JSON, as in "
            f"{variable_name(table)}={{{quoted(name)}: …}}"
        )
    form = f"[{dotted(table)}.{quoted(name)}]" if is_header else quoted(name)
    return f"a name with a dot needs quotes; write {form}"
