"""The providers by prefix."""

from collections.abc import Mapping
from typing import cast

from agents import ModelProvider
from agents.models.multi_provider import MultiProviderMap

from timestep.errors import ConfigurationError
from timestep.routing import check_prefix


class MultiModelProviderMap(MultiProviderMap):
    """Providers by prefix; it starts empty.

    A prefix is the part of a model name before the first slash.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the SDK leaves it without types
        self._spellings: dict[str, str] = {}

    def spell_alike(self, spellings: Mapping[str, str]) -> None:
        """Answer to more prefixes. *spellings* maps another spelling to the prefix in the map."""
        self._spellings = dict(spellings)

    def has_prefix(self, prefix: str) -> bool:
        """Return True if a provider has *prefix*, in any of its spellings."""
        return self.get_provider(prefix) is not None

    def get_provider(self, prefix: str) -> ModelProvider | None:
        """Return the provider of *prefix*, in any of its spellings; None without one."""
        found = super().get_provider(prefix)
        return found or super().get_provider(self._spellings.get(prefix, prefix))

    def add_provider(self, prefix: str, provider: ModelProvider) -> None:
        """Give *prefix* to *provider*, instead of the one that had it.

        Raises:
            ConfigurationError: *prefix* is empty, or has a slash or a space; or *provider* is something
                else.
        """
        prefix = _checked(prefix)
        super().add_provider(prefix, checked_provider(provider, f"The provider of {prefix!r}"))

    def set_mapping(self, mapping: dict[str, ModelProvider]) -> None:
        """Replace all entries by a copy of *mapping*.

        Raises:
            ConfigurationError: A prefix is empty, or has a slash or a space; or *mapping*, or a provider
                in it, is something else.
        """
        if not isinstance(mapping, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - callers may have no types
            raise ConfigurationError(
                f"The mapping is {type(mapping).__name__}; pass a dict of providers by prefix."
            )
        checked = {
            _checked(prefix): checked_provider(provider, f"The provider of {prefix!r}")
            for prefix, provider in mapping.items()
        }
        super().set_mapping(checked)


def _checked(prefix: str) -> str:
    try:
        return check_prefix(prefix)
    except ValueError as exc:
        raise ConfigurationError(f"{exc}.") from exc


def checked_map(given: object) -> MultiProviderMap:
    """Return the map of providers *given*; an empty one for None."""
    if not isinstance(given, MultiProviderMap | None):
        raise ConfigurationError(
            f"provider_map is {type(given).__name__}; pass a MultiModelProviderMap, whose "
            "add_provider(prefix, provider) fills it."
        )
    return MultiModelProviderMap() if given is None else given


def checked_provider(given: object, what: str) -> ModelProvider:
    """Return the provider *given*; *what* begins the error for something else."""
    if not callable(getattr(given, "get_model", None)):
        raise ConfigurationError(
            f"{what} is {type(given).__name__}, which has no get_model(); pass an agents.ModelProvider."
        )
    return cast("ModelProvider", given)
