"""``timestep batch``: many prompts from a file, answers into a file."""

import csv
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import (
    AbstractContextManager,
    aclosing,
    contextmanager,
    nullcontext,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from timestep.cli.batch.summary import Summary
from timestep.cli.completion import complete_file, complete_model
from timestep.cli.context import ConfigurationProblem, Context, configuration_options
from timestep.cli.event_loop import impatient_runner
from timestep.cli.output import json_option, print_json

if TYPE_CHECKING:
    from agents import Agent, AgentOutputSchemaBase

    from timestep.batch import Line, Output, Result
    from timestep.batch.lines import Defaults
    from timestep.batch.rate import Rate
    from timestep.registry import MultiModelProvider

_SHOWN = 10
"""How many bad lines are named."""


def _check_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Refuse what is a file: an option takes the next argument for its value."""
    if value and value not in {"auto", "local"} and ":" not in value:
        raise click.BadParameter(f"{value!r} is not HOST:PORT; write --ray behind IN and OUT")
    return value


@click.command()
@click.argument("source", metavar="IN", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-m",
    "--model",
    shell_complete=complete_model,
    metavar="NAME",
    help="The model or alias for lines that name none.",
)
@click.option("-i", "--instructions", metavar="TEXT", help="The system message of short lines.")
@click.option(
    "--output-schema",
    metavar="FILE",
    type=click.Path(),
    help="Short lines are answered in JSON that matches the JSON schema in FILE.",
)
@click.option(
    "-a",
    "--agent",
    "reference",
    shell_complete=complete_file,
    metavar="MODULE:ATTRIBUTE",
    help="Run this agent, tools and all, for every line.",
)
@click.option(
    "--column",
    default="prompt",
    show_default=True,
    metavar="NAME",
    help="The CSV column, or the key of a short line, that holds the prompt.",
)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    show_default="what the servers take, or 16 for each",
    help="How many lines to ask at once.",
)
@click.option(
    "--rate",
    "rates",
    metavar="[PREFIX=]N",
    multiple=True,
    help="At most N requests a minute, for one prefix or for each; may be repeated.",
)
@click.option(
    "--token-rate",
    "token_rates",
    metavar="[PREFIX=]N",
    multiple=True,
    help="At most N tokens a minute, for one prefix or for each; may be repeated.",
)
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How often to try again after a failure that may pass.",
)
@click.option(
    "--retry-errors", is_flag=True, help="Ask the lines that failed in an earlier run again."
)
@click.option(
    "--max-errors", type=click.IntRange(1), metavar="N", help="Stop after N failed lines."
)
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000_000), metavar="N", help="Ask at most N lines."
)
@click.option(
    "--ray",
    "cluster",
    is_flag=False,
    flag_value="",
    metavar="[ADDRESS]",
    callback=_check_address,
    help="Share the work with a Ray cluster: this one, or a new one on this machine.",
)
@json_option
@configuration_options
def batch(
    context: Context,
    *,
    source: Path,
    target: Path,
    model: str | None,
    instructions: str | None,
    output_schema: str | None,
    reference: str | None,
    column: str,
    rates: tuple[str, ...],
    token_rates: tuple[str, ...],
    concurrency: int | None,
    retries: int,
    retry_errors: bool,
    max_errors: int | None,
    limit: int | None,
    cluster: str | None,
    as_json: bool,
) -> None:
    """Ask every line of IN, and write the answers to OUT.

    IN holds OpenAI's batch lines, or short lines such as {"id": "a", "prompt": "Hi"}, or is a CSV
    file with a header; "-" is standard input. OUT gets OpenAI's output lines as the answers come,
    and failures go to a file beside it that ends in .errors.jsonl. The same command again goes on
    where the last one stopped.
    """
    from timestep.batch import Defaults
    from timestep.errors import ConfigurationError

    limits = _rates(rates, token_rates)
    prepare = _Prepare(replace(context), reference, Path.cwd())
    defaults = Defaults(model, instructions, _schema(output_schema), column)
    with _readable(source) as path:
        count, names = _check(path, defaults)
        with _output(target, retry_errors=retry_errors) as output:
            _refuse_changed(path, defaults, output)
            done_before = output.done_before + output.failed_before
            is_alone = reference is None
            summary = Summary(count, done_before, context.settings if is_alone else None)
            results = _results(
                _waiting(path, defaults, output, limit),
                prepare,
                cluster,
                concurrency=concurrency or prepare.concurrency(names),
                retries=retries,
                rates=limits,
            )
            try:
                with (
                    _own_output(cluster),
                    impatient_runner() as loop,
                    _progress(summary) as advance,
                ):
                    loop.run(_write(results, output, summary, advance, max_errors))
            except ConfigurationError as exc:
                raise ConfigurationProblem(str(exc)) from exc
            finally:
                if as_json:
                    print_json(summary.as_json())
                else:
                    click.echo(str(summary), err=True)
    if summary.failed:
        raise click.exceptions.Exit(1)


def _own_output(cluster: str | None) -> AbstractContextManager[object]:
    """Keep what Ray prints about its workers out of standard output."""
    return nullcontext() if cluster is None else redirect_stdout(sys.stderr)


@dataclass(frozen=True)
class _Prepare:
    """What answers the lines. It can be sent to a worker, which reads its own settings."""

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


def _results(
    lines: "Iterator[Line]", prepare: _Prepare, cluster: str | None, **keywords: Any
) -> "AsyncGenerator[Result]":
    """The results of *lines*, from this process or from a *cluster*."""
    if cluster is None:
        from timestep.batch import run

        provider, agent = prepare()
        return run(lines, provider, agent=agent, **keywords)
    from timestep.batch.cluster import run_on_ray

    return run_on_ray(lines, prepare, address=cluster or None, **keywords)


async def _write(
    results: "AsyncGenerator[Result]",
    output: "Output",
    summary: Summary,
    advance: Callable[[], None],
    max_errors: int | None,
) -> None:
    async with aclosing(results):
        async for result in results:
            output.write(result.row, failed=result.error is not None)
            summary.add(result)
            advance()
            if max_errors is not None and summary.failed >= max_errors:
                return


def _check(path: Path, defaults: "Defaults") -> "tuple[int, set[str | None]]":
    """How many lines the input has, and the models they name, when all of them can be asked.

    Raises:
        UsageError: Some cannot; names them.
    """
    from timestep.batch import BadLine, read_file

    count = 0
    names: set[str | None] = set()
    bad: list[BadLine] = []
    for line in _read(read_file(path, defaults), path):
        count += 1
        if isinstance(line, BadLine):
            bad.append(line)
        else:
            names.add(line.question.model)
    if bad:
        shown = [f"line {line.number}: {line.reason}" for line in bad[:_SHOWN]]
        if len(bad) > _SHOWN:
            shown.append(f"and {len(bad) - _SHOWN:,} more")
        raise click.UsageError("\n".join(["Nothing was sent, because of", *shown]))
    return count, names


def _read(lines: Iterator[Any], path: Path) -> Iterator[Any]:
    """*lines*, with the errors of reading the file at *path* in words."""
    try:
        yield from lines
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        if "field limit" in str(exc):
            most = f"{csv.field_size_limit():,}"
            raise click.UsageError(
                f"{path} has a field of more than {most} characters, which CSV cannot hold here. "
                "Write it as JSON lines."
            ) from exc
        raise click.UsageError(f"{path} is not CSV in UTF-8: {exc}.") from exc


def _waiting(
    path: Path, defaults: "Defaults", output: "Output", limit: int | None
) -> Iterator["Line"]:
    """The lines that have no row yet, *limit* at the most."""
    from timestep.batch import Line, read_file

    waiting = (
        line
        for line in read_file(path, defaults)
        if isinstance(line, Line) and not output.has(line)
    )
    return islice(waiting, limit)


def _refuse_changed(path: Path, defaults: "Defaults", output: "Output") -> None:
    from timestep.batch import Line, read_file

    if not output.done_before + output.failed_before:
        return
    changed = [
        line.number
        for line in read_file(path, defaults)
        if isinstance(line, Line) and output.has_changed(line)
    ]
    if changed:
        numbers = ", ".join(map(str, changed[:_SHOWN])) + (" …" if changed[_SHOWN:] else "")
        raise click.UsageError(
            f"Lines that have a row in {output.path} ask something else now: {numbers}. Give OUT "
            "another name, or delete those rows."
        )


def _output(target: Path, *, retry_errors: bool) -> "Output":
    from timestep.batch import Output, OutputError

    try:
        return Output(target, retry_errors=retry_errors)
    except OutputError as exc:
        raise click.ClickException(str(exc)) from exc


@contextmanager
def _readable(source: Path) -> Generator[Path]:
    """A file that can be read twice: *source*, or a copy of standard input."""
    if str(source) != "-":
        yield source
        return
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.flush()
        yield Path(copy.name)


@contextmanager
def _progress(summary: Summary) -> Generator[Callable[[], None]]:
    """What to call after each line; shows a bar on a terminal and nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        left = summary.lines - summary.done_before
        task = bar.add_task("", total=left, rate="")

        def advance() -> None:
            bar.update(task, advance=1, rate=summary.progress())

        yield advance


def _rates(requests: tuple[str, ...], tokens: tuple[str, ...]) -> dict[str, "Rate"]:
    from timestep.batch.rate import Rate

    found: dict[str, Rate] = {}
    for text in requests:
        prefix, number = _rate(text, "--rate")
        found[prefix] = Rate(requests=number)
    for text in tokens:
        prefix, number = _rate(text, "--token-rate")
        found.setdefault(prefix, Rate()).tokens = number
    return found


def _rate(text: str, option: str) -> tuple[str, float]:
    prefix, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise click.BadParameter("write a number above 0, or PREFIX=N", param_hint=option)
    return prefix, value


def _schema(path: str | None) -> "AgentOutputSchemaBase | None":
    if path is None:
        return None
    from timestep.cli.run.output_schema import read_output_schema

    return read_output_schema(path)
