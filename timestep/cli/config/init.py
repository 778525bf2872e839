"""``timestep config init``: a configuration file to begin with."""

from pathlib import Path

import click

from timestep.cli.config.schema import schema_text


@click.command()
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
        _write(directory / SCHEMA_FILE, schema_text())
    except click.ClickException as exc:
        click.echo(f"{exc.message}", err=True)


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as exc:
        raise click.ClickException(f"{path} exists and was not changed.") from exc
    except OSError as exc:
        raise click.ClickException(f"{path} cannot be written ({exc.strerror}).") from exc
    click.echo(f"Wrote {path}", err=True)
