"""``timestep pull``: download a model to an Ollama server."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from timestep.cli.completion import complete_model
from timestep.cli.context import Context, configuration_options
from timestep.cli.figures import file_size
from timestep.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from ollama import ProgressResponse

    from timestep.config.settings import Settings
    from timestep.ollama.provider import OllamaModelProvider
    from timestep.ollama.wire import Wire
    from timestep.registry import MultiModelProvider

_SILENCE = 600.0
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
    from timestep.ollama.endpoint import check_model_name

    try:
        wires = ollama.wires(check_model_name(model))
        for wire in wires:
            if not wire.endpoint.is_cloud:
                asyncio.run(_pull(wire, model))
    except TimestepError as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        click.echo("\nStopped. The same command continues from here.", err=True)
        raise
    servers = ", ".join(wire.endpoint.base_url for wire in wires)
    if as_json:
        print_json({"model": f"{prefix}/{model}", "server": servers})
    elif wires[0].endpoint.is_cloud:
        click.echo(f"{clean(model)} runs at {servers}; there is nothing to pull.")
    else:
        click.echo(f"{prefix}/{clean(model)} is ready on {servers}")


def _find_ollama(
    name: str, settings: "Settings", provider: "MultiModelProvider"
) -> "tuple[str, OllamaModelProvider, str]":
    """Return the prefix, the provider and the provider's own name for the model *name*."""
    from timestep.cli.inventory import ollama_providers
    from timestep.config.kinds import KINDS
    from timestep.routing import split_prefix

    [resolved, *_] = settings.models_of(name)
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
    from timestep.errors import OllamaStreamError

    async with aclosing(_steps(wire, model)) as steps:
        last = await (_draw(steps) if sys.stderr.isatty() else _list(steps))
    if last != "success":
        origin = wire.origin(model)
        raise OllamaStreamError(
            f"{origin.host} ended the pull of {model!r} early, at {origin.clean(last)!r}. Pull "
            "again: what is loaded is kept.",
            **origin.where(),
        )


async def _steps(wire: "Wire", model: str) -> "AsyncGenerator[ProgressResponse]":
    """Have the server pull *model*. Layers interleave; closing the generator stops the server."""
    from timestep.errors import ModelNotFoundError, OllamaStatusError, OllamaStreamError
    from timestep.ollama.official_client import open_client, translated

    origin = wire.origin(model)
    try:
        with translated(origin):
            async with open_client(wire.endpoint, silence=_SILENCE) as client:
                async for step in await client.pull(model, stream=True):
                    yield step
    except (OllamaStatusError, OllamaStreamError) as exc:
        said = exc.server_message
        if said and "file does not exist" in said:
            raise ModelNotFoundError(
                f"No registry has {model!r}. https://ollama.com/search lists models; a tag such as "
                "':4b' belongs to its model.",
                status_code=404,
                server_message=said,
                **origin.where(),
            ) from exc
        if said and isinstance(exc, OllamaStreamError):
            raise OllamaStreamError(
                f"{origin.host} could not pull {model!r}: {said}. Pull again: what is loaded is "
                "kept. The server's log says more.",
                server_message=said,
                **origin.where(),
            ) from exc
        raise


async def _draw(progress: "AsyncGenerator[ProgressResponse]") -> str:
    """Show a progress bar for every layer, and return the last step."""
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
                if step.status not in {last, "success"}:  # the command says that itself
                    screen.console.print(clean(step.status or ""), markup=False, highlight=False)
            elif step.digest not in layers:
                layers[step.digest] = screen.add_task(
                    _layer(step), total=step.total or None, completed=step.completed or 0
                )
            else:
                screen.update(layers[step.digest], completed=step.completed or 0)
            last = step.status or ""
        return last


async def _list(progress: "AsyncGenerator[ProgressResponse]") -> str:
    """Print a line for every step and for every tenth of a layer; return the last step."""
    shown: set[str] = set()
    last = ""
    async for step in progress:
        last = step.status or ""
        line = clean(last)
        if step.digest is not None:
            done, total = step.completed or 0, step.total or 0
            tenth = 10 * (10 * done // total) if total else 0
            line = f"{_layer(step)} {tenth}% of {file_size(total)}"
        if line not in shown:
            click.echo(line, err=True)
        shown.add(line)
    return last


def _layer(step: "ProgressResponse") -> str:
    return clean(step.digest or "").removeprefix("sha256:")[:12]
