"""Who asks the lines: this process, or the workers of a Ray cluster."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timestep.cli.context import Context

if TYPE_CHECKING:
    from agents import Agent

    from timestep.batch import Line, Result
    from timestep.registry import MultiModelProvider


@dataclass(frozen=True)
class Prepare:
    """Builds the provider and the agent. Workers get a copy and read their machine's settings."""

    context: Context
    reference: str | None
    folder: Path

    def __call__(self) -> "tuple[MultiModelProvider, Agent[Any] | None]":
        """Return the provider, and the agent that ``--agent`` names."""
        with suppress(OSError):  # the worker's machine may not have it
            os.chdir(self.folder)
        return self.context.build_provider(), self.agent()

    def agent(self) -> "Agent[Any] | None":
        """Return the agent that ``--agent`` names."""
        if self.reference is None:
            return None
        from timestep.cli.agent.load import load_agent

        return load_agent(self.reference)

    def concurrency(self, names: "set[str | None]") -> int:
        """Return how many lines the servers of the models called *names* take at once."""
        from timestep.batch.concurrency import concurrency_for

        agent = self.agent()
        own = None if agent is None or not isinstance(agent.model, str) else agent.model
        return concurrency_for([name or own for name in names], self.context.settings)


def ask(
    lines: "Iterator[Line]", prepare: Prepare, cluster: str | None, **keywords: Any
) -> "AsyncGenerator[Result]":
    """Return the results of *lines*, which this process or a *cluster* asks."""
    if cluster is None:
        from timestep.batch import run

        provider, agent = prepare()
        return run(lines, provider, agent=agent, **keywords)
    from timestep.batch.cluster import run_on_ray

    return run_on_ray(lines, prepare, address=cluster or None, **keywords)
