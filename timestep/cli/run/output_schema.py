"""An answer's type, as a JSON schema in a file says it."""

import json
from pathlib import Path
from typing import Any, cast

import click
from agents import AgentOutputSchemaBase, ModelBehaviorError
from jsonschema import exceptions, validators  # type: ignore[import-untyped,unused-ignore] # its types may be missing

_exceptions: Any = exceptions
_validators: Any = validators
"""Without types of their own."""


def read_output_schema(path: str) -> AgentOutputSchemaBase:
    """The schema in the file at *path*, as the type of an agent's answer.

    Raises:
        UsageError: The file holds no JSON schema.
    """
    try:
        schema: Any = json.loads(Path(path).read_bytes())
    except OSError as exc:
        raise click.UsageError(f"{path} cannot be read: {exc.strerror}.") from exc
    except ValueError as exc:
        raise click.UsageError(f"{path} is no JSON: {exc}.") from exc
    if not isinstance(schema, dict):
        raise click.UsageError(f"{path} is no JSON schema: it is no object.")
    validator: Any = _validators.validator_for(cast("dict[str, Any]", schema))
    try:
        validator.check_schema(schema)
    except _exceptions.SchemaError as exc:
        raise click.UsageError(f"{path} is no JSON schema: {exc.message}.") from exc
    return _Answer(Path(path).name, cast("dict[str, Any]", schema), validator(schema))


class _Answer(AgentOutputSchemaBase):
    def __init__(self, name: str, schema: dict[str, Any], validator: Any) -> None:
        self._name = name
        self._schema = schema
        self._validator = validator

    def is_plain_text(self) -> bool:
        return False

    def name(self) -> str:
        return self._name

    def json_schema(self) -> dict[str, Any]:
        return self._schema

    def is_strict_json_schema(self) -> bool:
        return False  # strict schemas are a dialect of OpenAI's, and this one is sent as it is

    def validate_json(self, json_str: str) -> Any:
        """The value that *json_str* is.

        Raises:
            ModelBehaviorError: It is no JSON, or does not match the schema.
        """
        try:
            value: Any = json.loads(json_str)
        except ValueError as exc:
            raise ModelBehaviorError(f"The answer is no JSON: {exc}.") from exc
        error = _exceptions.best_match(self._validator.iter_errors(value))
        if error is not None:
            raise ModelBehaviorError(
                f"The answer does not match the schema at {error.json_path}: {error.message}."
            )
        return value
