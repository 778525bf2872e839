"""``timestep config init``, ``schema`` and ``path``: the files."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.context import ConfigurationProblem, Context, configuration_options
from timestep.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from timestep.config.files import SourceFile


@click.command()
@click.argument(
    "directory", type=click.Path(path_type=Path, exists=True, file_okay=False), default="."
)
def init(*, directory: Path) -> None:
    """Write a timestep.toml to begin with, every setting in it as a comment.

    The schema goes beside it, for completion in editors. Existing files are left alone.
    """
    from timestep.config.starter import SCHEMA_FILE, settings_template

    _write(directory / "timestep.toml", settings_template())
    try:
        _write(directory / SCHEMA_FILE, _schema())
    except click.ClickException as exc:
        click.echo(f"{exc.message}", err=True)


@click.command()
def schema() -> None:
    """Print the JSON schema of timestep.toml."""
    click.echo(_schema(), nl=False)


@click.command()
@json_option
@configuration_options
def path(context: Context, *, as_json: bool) -> None:
    """Show the files that settings are read from, strongest first, and which exist."""
    from pydantic_settings import SettingsError

    from timestep.config.files import source_files

    try:
        files = source_files(env_file=context.env_file, config_file=context.config_file)
    except SettingsError as exc:
        raise ConfigurationProblem(str(exc)) from exc
    if as_json:
        print_json([{"path": str(file.path.absolute()), "state": _state(file)} for file in files])
        return
    for file in files:
        table = f" [{'.'.join(file.table)}]" if file.table else ""
        click.echo(f"{_state(file):<9}{clean(str(file.path))}{table}")


def _state(file: "SourceFile") -> str:
    if file.is_read:
        return "read"
    return "not read" if file.path.exists() else "missing"


def _schema() -> str:
    from timestep.config.settings import Settings

    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise click.ClickException(f"{path} exists, and is left as it is.") from exc
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written ({exc.strerror}).") from exc
    click.echo(f"Wrote {path}", err=True)
