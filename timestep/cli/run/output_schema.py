"""Reads the type of an answer from a JSON schema in a file."""

import json
from pathlib import Path
from typing import Any, cast

import click
from agents import AgentOutputSchemaBase
from jsonschema import exceptions, validators  # type: ignore[import-untyped,unused-ignore] # its types may be missing

from timestep.batch.question import JsonSchema

_exceptions: Any = exceptions
_validators: Any = validators
"""The package has no types of its own."""


def read_output_schema(path: str) -> AgentOutputSchemaBase:
    """Return the schema in the file at *path* as an output type for an agent.

    Raises:
        UsageError: The file cannot be read, or is not a JSON schema.
    """
    try:
        schema: Any = json.loads(Path(path).read_bytes())
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise click.UsageError(f"{path} is not JSON: {exc}.") from exc
    if not isinstance(schema, dict):
        raise click.UsageError(f"{path} is not a JSON schema: it is not an object.")
    validator: Any = _validators.validator_for(cast("dict[str, Any]", schema))
    try:
        validator.check_schema(schema)
    except _exceptions.SchemaError as exc:
        raise click.UsageError(f"{path} is not a JSON schema: {exc.message}.") from exc
    return JsonSchema(Path(path).name, cast("dict[str, Any]", schema), strict=False)
