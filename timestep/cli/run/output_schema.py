"""Reads the type of an answer from a JSON schema in a file."""

import json
from pathlib import Path
from typing import Any, cast

import click
from agents import AgentOutputSchemaBase

from timestep.cli.input import read_file


def read_output_schema(path: str | None) -> AgentOutputSchemaBase | None:
    """Return the schema in the file at *path*, if there is one, as an output type for an agent."""
    if path is None:
        return None
    from timestep.batch.question import BadLineError, json_schema

    try:
        schema: Any = json.loads(read_file(path))
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise click.UsageError(f"{path} is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise click.UsageError(f"{path} is nested too deeply.") from exc
    if not isinstance(schema, dict):
        raise click.UsageError(f"{path} is not a JSON schema: it is not an object.")
    try:
        return json_schema(Path(path).name, cast("dict[str, Any]", schema), strict=False)
    except BadLineError as exc:
        raise click.UsageError(f"{path}: {exc}.") from exc
