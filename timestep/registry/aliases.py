"""The rules for the default model, the aliases and the chains that a provider is given."""

from collections.abc import Mapping
from typing import Any, cast

from agents import ModelSettings

from timestep.errors import ConfigurationError
from timestep.net.fallback_rules import FallbackRules, check_rules
from timestep.routing import (
    Aliases,
    check_alias,
    check_alias_target,
    check_target,
    describe_ring,
    find_ring,
    targets,
)


def checked_default(given: object) -> list[str]:
    """Return the names of models that *given*, the default model, lists."""
    try:
        return targets(check_target(given))
    except ValueError as exc:
        raise ConfigurationError(f"default_model: {exc}; or leave it out.") from exc


def checked_fallback(given: object) -> FallbackRules:
    """Return the rules *given* for chains; those by default for None."""
    try:
        return check_rules(given)
    except ValueError as exc:
        raise ConfigurationError(f"fallback: {exc}.") from exc


def checked_aliases(aliases: object) -> dict[str, list[str]]:
    """Return the names that each of *aliases* stands for."""
    if not isinstance(aliases, Mapping):
        raise ConfigurationError(
            f"aliases are {type(aliases).__name__}; pass a dict of model names by alias."
        )
    checked: dict[str, list[str]] = {}
    for alias, target in cast("Mapping[str, object]", aliases).items():
        try:
            checked[check_alias(alias)] = targets(check_alias_target(target))
        except ValueError as exc:
            raise ConfigurationError(f"The alias {alias!r}: {exc}.") from exc
    if ring := find_ring(checked):
        raise ConfigurationError(describe_ring(ring))
    return checked


def alias_settings(aliases: Aliases) -> dict[str, ModelSettings]:
    """Return the settings of *aliases*, each already checked, by alias."""
    found: dict[str, ModelSettings] = {}
    for alias, table in aliases.items():
        if not isinstance(table, Mapping) or (settings := table.get("settings")) is None:
            continue
        from timestep.answer.default_settings import read_settings  # noqa: PLC0415 - few want it

        if isinstance(settings, ModelSettings):
            found[alias] = settings
        elif isinstance(settings, Mapping):
            found[alias] = read_settings(
                f"The alias {alias!r}: settings", cast("Mapping[str, Any]", settings)
            )
        else:
            raise ConfigurationError(
                f"The alias {alias!r}: settings are {type(settings).__name__}; pass "
                "agents.ModelSettings."
            )
    return found
