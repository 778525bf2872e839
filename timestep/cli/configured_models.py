"""Which models the default and the aliases stand for."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from timestep.config.settings import Settings
from timestep.ollama.names import tagged
from timestep.routing import chain, split_prefix


@dataclass(frozen=True, slots=True)
class Mark:
    """A name of the configuration, and a model it leads to.

    Attributes:
        alias: None for the default.
        model: With its prefix, aliases followed.
    """

    alias: str | None
    model: str

    @property
    def label(self) -> str:
        """The alias, or ``"default"``."""
        return self.alias or "default"


def read_marks(settings: Settings) -> list[Mark]:
    """The default, then the aliases, as the configuration has them."""
    return list(_read(settings))


def _read(settings: Settings) -> Iterator[Mark]:
    for model in chain(None, settings.aliases, settings.default_model):
        yield Mark(None, model)
    for alias in settings.aliases:
        for model in chain(alias, settings.aliases):
            yield Mark(alias, model)


def same_model(one: str, other: str, ollama: Collection[str]) -> bool:
    """True when two names lead to one model; *ollama* are the prefixes of Ollama."""
    return _canonical(one, ollama) == _canonical(other, ollama)


def _canonical(name: str, ollama: Collection[str]) -> str:
    prefix, rest = split_prefix(name)
    if prefix == "openai" and prefix not in ollama:
        return rest
    if prefix not in ollama:
        return name
    return f"{prefix}/{tagged(rest)}"
