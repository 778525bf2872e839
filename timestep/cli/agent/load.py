"""Loads an agent by reference: ``module:attribute`` or ``file.py:attribute``."""

from typing import Any, cast

import click
from agents import Agent

from timestep.cli.references import load_reference


def load_agent(reference: str) -> Agent[Any]:
    """Return the agent that *reference* names.

    Raises:
        UsageError: The reference does not name an agent.
        ClickException: The module fails when it is imported.
    """
    found = load_reference(reference, "an agent")
    if not isinstance(found, Agent):
        kind = "nothing" if found is None else f"of type {type(found).__name__}"
        place, _, attribute = reference.rpartition(":")
        raise click.UsageError(f"{attribute!r} in {place} is {kind}, not an Agent.")
    return cast("Agent[Any]", found)
