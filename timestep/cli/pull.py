"""``timestep pull``: download a model to an Ollama server."""

import asyncio

import click

from timestep.cli.completion import complete_model
from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, json_option, print_json


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
    from timestep.cli.pulling import find_ollama, pull_model
    from timestep.errors import TimestepError
    from timestep.ollama.endpoint import check_model_name

    prefix, ollama, model = find_ollama(name, context.settings, context.build_provider())
    try:
        wires = ollama.wires(check_model_name(model))
        for wire in wires:
            if not wire.endpoint.is_cloud:
                asyncio.run(pull_model(wire, model))
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
