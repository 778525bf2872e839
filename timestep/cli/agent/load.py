"""Loads an agent by reference: ``file.py``, ``file.py:attribute`` or ``module:attribute``."""

from typing import Any, cast

import click
from agents import Agent

from timestep.cli.references import load_module, load_reference


def load_agent(reference: str) -> Agent[Any]:
    """Return the agent that *reference* names. Without an attribute it is the only one there."""
    place, colon, attribute = reference.rpartition(":")
    if not colon:
        return _only_agent(reference)
    found = load_reference(reference, "an agent")
    if isinstance(found, Agent):
        return cast("Agent[Any]", found)
    if found is None:
        raise click.UsageError(f"There is no {attribute!r} in {place}. {_told(place)}")
    kind = type(found).__name__
    raise click.UsageError(
        f"{attribute!r} in {place} is of type {kind}, not an Agent. {_told(place)}"
    )


def _only_agent(place: str) -> Agent[Any]:
    agents = _agents(place)
    if len({id(agent) for agent in agents.values()}) != 1:
        raise click.UsageError(f"{place!r} does not name one agent. {_told(place)}")
    return next(iter(agents.values()))


def _agents(place: str) -> dict[str, Agent[Any]]:
    """Return the agents in the module *place*, by their names there."""
    found = vars(load_module(place))
    return {name: value for name, value in found.items() if isinstance(value, Agent)}


def _told(place: str) -> str:
    references = [f"{place}:{name}" for name in _agents(place)]
    if not references:
        return f"There is no Agent in {place}."
    return f"The agents there: {', '.join(references)}."
