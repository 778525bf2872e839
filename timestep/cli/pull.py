"""``timestep pull``: download a model to an Ollama server."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_model
from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, file_size, json_option, print_json

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.ollama.pull import Progress
    from timestep.ollama.wire import Wire
    from timestep.registry import MultiModelProvider

_PATIENCE = 600.0
"""Seconds of silence; the server is silent for minutes while it checks a large model."""


@click.command()
@click.argument("name", shell_complete=complete_model)
@json_option
@configuration_options
def pull(context: Context, *, name: str, as_json: bool) -> None:
    """Download the model NAME to its Ollama server.

    NAME is an Ollama name (llama3.2, hf.co/user/repository), has a prefix (ollama/llama3.2), or
    is an alias. A pull that was stopped continues where it ended. If base_url lists several
    servers, each of them gets the model.
    """
    prefix, ollama, model = _find_ollama(name, context.settings, context.build_provider())
    from timestep.errors import TimestepError
    from timestep.net.timeouts import Timeouts
    from timestep.ollama.endpoint import check_model_name
    from timestep.ollama.wire import Wire

    try:
        endpoints = [wire.endpoint for wire in ollama.wires(check_model_name(model))]
        for endpoint in endpoints:
            if not endpoint.is_cloud:
                wire = Wire(endpoint, timeouts=Timeouts(first_byte=_PATIENCE, idle=_PATIENCE))
                asyncio.run(_pull(wire, model))
    except TimestepError as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        click.echo("\nStopped. The same command continues from here.", err=True)
        raise
    servers = ", ".join(endpoint.base_url for endpoint in endpoints)
    if as_json:
        print_json({"model": f"{prefix}/{model}", "server": servers})
    elif endpoints[0].is_cloud:
        click.echo(f"{clean(model)} runs at {servers}; there is nothing to pull.")
    else:
        click.echo(f"{prefix}/{clean(model)} is ready on {servers}")


def _find_ollama(
    name: str, settings: "Settings", provider: "MultiModelProvider"
) -> "tuple[str, OllamaModelProvider, str]":
    """Return the prefix, the provider and the provider's own name for the model *name*.

    *name* may be an alias, have a prefix, or be a plain Ollama name.

    Raises:
        UsageError: The model belongs to a provider that is not Ollama.
    """
    from timestep.cli.inventory import ollama_providers
    from timestep.config.kinds import KINDS
    from timestep.routing import chain, split_prefix

    [resolved, *_] = chain(name, settings.aliases)
    prefix, rest = split_prefix(resolved)
    known = ollama_providers(provider)
    if prefix in known:
        return prefix, known[prefix], rest
    if prefix in {*KINDS, *settings.providers} or "ollama" not in known:
        raise click.UsageError(
            f"{resolved!r} is not an Ollama model; the prefixes of Ollama are {', '.join(known)}."
        )
    return "ollama", known["ollama"], resolved


async def _pull(wire: "Wire", model: str) -> None:
    from timestep.ollama.pull import pull as pull_model

    progress = pull_model(wire, model)
    try:
        if sys.stderr.isatty():
            await _draw(progress)
        else:
            await _list(progress)
    finally:
        await progress.aclose()
        await wire.aclose()


async def _draw(progress: "AsyncIterator[Progress]") -> None:
    """Show a progress bar for every layer."""
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(bar_width=None),
        bars.DownloadColumn(),
        bars.TransferSpeedColumn(),
        bars.TimeRemainingColumn(compact=True),
    )
    with bars.Progress(*columns, console=Console(stderr=True), expand=True) as screen:
        layers: dict[str, bars.TaskID] = {}
        last = ""
        async for step in progress:
            if step.digest is None:
                if step.status not in {last, "success"}:  # the answer says that itself
                    screen.console.print(clean(step.status), markup=False, highlight=False)
            elif step.digest not in layers:
                layers[step.digest] = screen.add_task(
                    _layer(step), total=step.total or None, completed=step.completed
                )
            else:
                screen.update(layers[step.digest], completed=step.completed)
            last = step.status


async def _list(progress: "AsyncIterator[Progress]") -> None:
    """Print a line for every step and for every tenth of a layer."""
    shown: set[str] = set()
    async for step in progress:
        line = clean(step.status)
        if step.digest is not None:
            tenth = 10 * (10 * step.completed // step.total) if step.total else 0
            line = f"{_layer(step)} {tenth}% of {file_size(step.total)}"
        if line not in shown:
            click.echo(line, err=True)
        shown.add(line)


def _layer(step: "Progress") -> str:
    return clean(step.digest or "").removeprefix("sha256:")[:12]
