"""Who asks the lines: this process, or the workers of a Ray cluster."""

import os
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from agents import Agent

from timestep.batch import Line, Output, OutputError, Result, run
from timestep.cli.batch.summary import Summary
from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.references import load_agent
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.registry import MultiModelProvider


@dataclass(frozen=True)
class Prepare:
    """Builds the provider and the agent. Workers get a copy and read their machine's settings."""

    context: Context
    reference: str | None
    folder: Path

    def __call__(self) -> tuple[MultiModelProvider, Agent[Any] | None]:
        """Return the provider, and the agent that ``--agent`` names."""
        with suppress(OSError):  # the worker's machine may not have it
            os.chdir(self.folder)
        return self.context.build_provider(), self.agent()

    def agent(self) -> Agent[Any] | None:
        """Return the agent that ``--agent`` names."""
        return None if self.reference is None else load_agent(self.reference)

    def names(self, names: Iterable[str | None]) -> dict[str | None, str | None]:
        """Return what is asked under each of *names*: under None it is the agent's own model."""
        agent = self.agent()
        own = None if agent is None or not isinstance(agent.model, str) else agent.model
        return {name: name or own for name in names}


def ask(
    lines: Iterator[Line],
    models: Mapping[str | None, int],
    prepare: Prepare,
    cluster: str | None,
    **keywords: Any,
) -> AsyncGenerator[Result]:
    """Return the results of *lines*, which this process or a *cluster* asks."""
    if cluster is None:
        provider, agent = prepare()
        for name, number in models.items():
            if name is None and agent is not None:
                continue
            try:
                provider.get_model(name)
            except (ConfigurationError, UnknownModelError) as exc:
                raise click.UsageError(
                    f"Nothing was sent, because of\nline {number}: {exc}"
                ) from exc
        return run(lines, provider, agent=agent, **keywords)
    from timestep.batch.cluster import run_on_ray

    return run_on_ray(lines, prepare, address=cluster or None, **keywords)


async def write(
    results: AsyncGenerator[Result],
    output: Output,
    summary: Summary,
    advance: Callable[[Callable[[], str]], None],
    max_errors: int | None,
) -> None:
    """Write *results* to *output* as they come, until *max_errors* have failed."""
    async with aclosing(results):
        async for result in results:
            output.write(result.row, failed=result.error is not None)
            summary.add(result)
            advance(summary.progress)
            if max_errors is not None and summary.failed >= max_errors:
                return


@contextmanager
def explained() -> Generator[None]:
    """Turn the errors of the batch into those of a command."""
    try:
        yield
    except ConfigurationError as exc:
        raise ConfigurationProblem(str(exc)) from exc
    except OutputError as exc:
        raise click.ClickException(str(exc)) from exc
