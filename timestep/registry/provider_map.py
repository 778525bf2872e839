"""The providers by prefix."""

from collections.abc import Mapping

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
            ConfigurationError: *prefix* is empty, or has a slash or a space.
        """
        super().add_provider(_checked(prefix), provider)

    def set_mapping(self, mapping: dict[str, ModelProvider]) -> None:
        """Replace all entries by a copy of *mapping*.

        Raises:
            ConfigurationError: A prefix is empty, or has a slash or a space.
        """
        super().set_mapping({_checked(prefix): provider for prefix, provider in mapping.items()})


def _checked(prefix: str) -> str:
    try:
        return check_prefix(prefix)
    except ValueError as exc:
        raise ConfigurationError(f"{exc}.") from exc
