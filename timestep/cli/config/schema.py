"""``timestep config schema``: the JSON schema of the configuration file."""

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of timestep.toml."""
    click.echo(schema_text(), nl=False)


def schema_text() -> str:
    """Return the schema as the text of a file."""
    from timestep.config.settings import Settings

    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Settings.model_json_schema(),
    }
    return json.dumps(schema, indent=2) + "\n"
