"""One record for each kind of provider. Everything that lists kinds reads them. Pure.

A new kind is its table in `timestep.config.schema`, its record here, and its builder in
`timestep.factory.providers`. The built-in prefixes, the starter file, the reference, ``doctor`` and
the inventory need no edit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Discriminator, Tag

from timestep.config.schema import (
    AnyLLMProviderSettings,
    LiteLLMProviderSettings,
    OllamaProviderSettings,
    OpenAIProviderSettings,
    PluginProviderSettings,
    ProviderSettings,
)
from timestep.net.json_parts import mapping

PROVIDER_PLUGINS = "timestep.providers"
"""The entry-point group for more provider kinds.

The entry point's name is the kind. It names a callable that takes the provider's table as a
mapping (without ``kind``, secrets revealed) and returns an ``agents.ModelProvider``.
"""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of provider."""

    name: str  # the value of `kind` in a table
    table: type[ProviderSettings]
    builder: str  # the function in `timestep.factory.providers` that makes a provider of its table
    example: str  # a prefix for the starter file
    # The package that it needs, or None. The extra of the kind's name installs it.
    package: str | None = None
    lists_models: bool = True  # True when a server of this kind can be asked for its models

    @property
    def is_built_in(self) -> bool:
        """True when the kind needs no table: its name is a prefix that always works."""
        required = {name for name, field in self.table.model_fields.items() if field.is_required()}
        return required == {"kind"}


KINDS: Mapping[str, Kind] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            Kind("openai", OpenAIProviderSettings, "build_openai", "groq"),
            Kind("ollama", OllamaProviderSettings, "build_ollama", "workstation"),
            Kind(
                "litellm",
                LiteLLMProviderSettings,
                "build_gateway",
                "claude",
                package="litellm",
                lists_models=False,
            ),
            Kind(
                "any-llm",
                AnyLLMProviderSettings,
                "build_gateway",
                "mistral",
                package="any_llm",
                lists_models=False,
            ),
        )
    }
)


def lists_models(kind: str) -> bool:
    """Return True if a server of *kind* can be asked for its models; a plug-in's cannot."""
    return kind in KINDS and KINDS[kind].lists_models


def plugin_kinds() -> set[str]:
    """Return the kinds that installed plug-ins bring; no plug-in is imported."""
    return {point.name for point in entry_points(group=PROVIDER_PLUGINS)}


def _tag_of_provider(table: object) -> str | None:
    kind = mapping(table).get("kind", getattr(table, "kind", None))
    if not isinstance(kind, str):
        return None
    return ":plugin" if kind not in KINDS and kind in plugin_kinds() else f":{kind}"


if TYPE_CHECKING:
    ProviderTable: TypeAlias = ProviderSettings
else:
    from functools import reduce
    from operator import or_

    # The list of kinds is known at run time only, so type checkers see what all tables share.
    _tables = {
        **{name: kind.table for name, kind in KINDS.items()},
        "plugin": PluginProviderSettings,
    }
    _arms = [Annotated[table, Tag(f":{name}")] for name, table in _tables.items()]
    ProviderTable = Annotated[reduce(or_, _arms), Discriminator(_tag_of_provider)]
