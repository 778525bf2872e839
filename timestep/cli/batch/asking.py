"""Asks the lines, by this process or by the workers of a Ray cluster, and counts the results."""

import os
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from agents import Agent

from timestep.batch import Line, Output, OutputError, Result, run
from timestep.cli.agent.costs import price_of
from timestep.cli.context import ConfigurationProblem, Context
from timestep.cli.load import load_agent
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.registry import MultiModelProvider
from timestep.traces.summary import dollars


@dataclass(slots=True)
class Summary:
    """The results of a batch so far."""

    lines: int  # how many the input has
    done_before: int  # lines that an earlier run answered
    failed_before: int  # lines that an earlier run gave up
    # Where the models of the lines are, to look up prices; None for agents, which may ask any
    # model.
    settings: Settings | None = None
    answered: int = 0
    # Lines that this run gave up, by class of error.
    failures: Counter[str] = field(default_factory=Counter[str])
    requests: int = 0
    # By model name: those of the prompts, the cached ones among them, and those of the answers.
    tokens: dict[str | None, list[int]] = field(
        default_factory=lambda: defaultdict(lambda: [0] * 3)
    )
    _started: float = field(default_factory=time.monotonic)

    def add(self, result: Result) -> None:
        """Count *result*."""
        if result.error is None:
            self.answered += 1
        else:
            self.failures[result.row["error"]["code"]] += 1
        usage = result.usage
        self.requests += max(usage.requests, result.attempts)
        tokens = self.tokens[result.line.question.model]
        tokens[0] += usage.input_tokens
        tokens[1] += usage.input_tokens_details.cached_tokens
        tokens[2] += usage.output_tokens

    @property
    def failed(self) -> int:
        """How many lines this run gave up."""
        return self.failures.total()

    @property
    def input_tokens(self) -> int:
        """The tokens of all prompts."""
        return sum(tokens[0] for tokens in self.tokens.values())

    @property
    def output_tokens(self) -> int:
        """The tokens of all answers."""
        return sum(tokens[2] for tokens in self.tokens.values())

    def cost(self) -> float | None:
        """The cost in US dollars, of the models whose prices are known; None if none is known."""
        known: list[float] = []
        for name, tokens in self.tokens.items():
            names = self.settings.models_of(name) if self.settings else []
            if self.settings and len(names) == 1:  # any model of a chain may have answered
                cost = price_of(names[0], self.settings, *tokens)
                known += [] if cost is None else [cost]
        return sum(known) if known else None

    def progress(self) -> str:
        """Lines and tokens a second, the cost and the failures so far."""
        seconds = max(time.monotonic() - self._started, 1e-9)
        lines = (self.answered + self.failed) / seconds
        speed = f"{lines:,.1f} lines/s, {self.output_tokens / seconds:,.0f} tokens/s"
        return ", ".join(filter(None, [speed, dollars(self.cost()), self._failures()]))

    def _failures(self) -> str:
        classes = ", ".join(f"{name} {count:,}" for name, count in self.failures.most_common())
        return f"{self.failed:,} failed ({classes})" if classes else ""

    def as_json(self) -> dict[str, Any]:
        """The summary for programs."""
        return {
            "lines": self.lines,
            "done_before": self.done_before,
            "failed_before": self.failed_before,
            "answered": self.answered,
            "failed": self.failed,
            "failures": dict(self.failures),
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "cost": self.cost(),
            "seconds": round(time.monotonic() - self._started, 3),
        }

    def __str__(self) -> str:
        """The summary for people."""
        done, failed = self.done_before, self.failed_before
        parts = [
            f"{self.answered:,} answered",
            f"{done:,} done before" if done else "",
            f"{failed:,} failed before (--retry-errors asks them again)" if failed else "",
            self._failures(),
            f"{self.input_tokens:,} tokens in, {self.output_tokens:,} out",
            dollars(self.cost()),
        ]
        return "; ".join(filter(None, parts))


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
                    f"Nothing was sent. This line is wrong:\nline {number}: {exc}"
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
