"""``timestep config``: what is configured, where it came from, and how to begin."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.commands import Group
from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, json_option, print_json, print_rows, write_file

if TYPE_CHECKING:
    from timestep.config.files import SourceFile


@click.group(cls=Group)
def config() -> None:
    """Show the configuration, or begin one. No secret is ever printed."""


@config.command()
@click.option("-a", "--all", "everything", is_flag=True, help="Show defaults too.")
@json_option
@configuration_options
def show(context: Context, *, everything: bool, as_json: bool) -> None:
    """Show the current settings as TOML, and where each came from.

    With --json all of them, defaults too, as one object.
    """
    settings = context.settings
    if as_json:
        print_json(settings.model_dump(mode="json"))
        return
    from timestep.cli.config.leaves import read_leaves

    leaves = [leaf for leaf in read_leaves(settings) if leaf.is_set or everything]
    if not leaves:
        click.echo(
            "Nothing is configured, all settings are defaults (--all shows them). "
            "'timestep config init' writes a file to begin with.",
            err=True,
        )
        return
    print_rows([[leaf.line, f"# {leaf.origin.winner}"] for leaf in leaves])


@config.command()
@click.argument("key")
@json_option
@configuration_options
def explain(context: Context, *, key: str, as_json: bool) -> None:
    """Show the value of KEY, the place that set it, and the places it won over.

    KEY is a key as TOML writes it (ollama.base_url), a table (ollama), or a variable
    (OLLAMA_HOST). With --json one array.
    """
    settings = context.settings
    from timestep.cli.config.leaves import find_leaves

    found = find_leaves(settings, key)
    if as_json:
        print_json([leaf.as_json() for leaf in found])
    elif found:
        click.echo("\n\n".join(map(str, found)))
    else:
        click.echo(f"Nothing sets a key of [{clean(key)}]; all are defaults.", err=True)


@config.command()
@click.argument(
    "directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default="."
)
def init(*, directory: Path) -> None:
    """Write a first timestep.toml. Every setting in it is a comment.

    The schema goes beside it, for completion in editors. Existing files are left alone.
    """
    from timestep.config.starter import SCHEMA_FILE, settings_template

    _write(directory / "timestep.toml", settings_template())
    try:
        _write(directory / SCHEMA_FILE, _schema_text())
    except click.ClickException as exc:
        click.echo(f"{exc.message}", err=True)


@config.command()
def schema() -> None:
    """Print the JSON schema of timestep.toml."""
    click.echo(_schema_text(), nl=False)


@config.command()
@json_option
@configuration_options
def path(context: Context, *, as_json: bool) -> None:
    """Show the files that settings are read from, strongest first, and which exist."""
    files = context.source_files()
    if as_json:
        print_json([{"path": str(file.path.absolute()), "state": _state(file)} for file in files])
        return
    for file in files:
        table = f" [{'.'.join(file.table)}]" if file.table else ""
        click.echo(f"{_state(file):<9}{clean(str(file.path))}{table}")


def _write(path: Path, text: str) -> None:
    write_file(path, text, is_new=True)
    click.echo(f"Wrote {path}", err=True)


def _schema_text() -> str:
    from timestep.config.settings import Settings

    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def _state(file: "SourceFile") -> str:
    if file.is_read:
        return "read"
    return "not read" if file.path.exists() else "missing"
