"""A JSON schema as the type of an answer. Pure: a reference to elsewhere is never fetched."""

import json
from functools import cached_property
from typing import Any

from agents import AgentOutputSchemaBase, ModelBehaviorError
from jsonschema import exceptions, validators  # type: ignore[import-untyped,unused-ignore] # its types may be missing
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from timestep.net.json_parts import mapping

_exceptions: Any = exceptions
_validators: Any = validators
"""Without types of their own."""

_NOTHING: Registry[Any] = Registry()


class JsonSchema(AgentOutputSchemaBase):
    """The type of an answer, as a JSON schema says it."""

    def __init__(self, name: str, schema: dict[str, Any], *, strict: bool = False) -> None:
        self._name = name
        self._schema = schema
        self._strict = strict

    @cached_property
    def _validator(self) -> Any:
        """Made where it is used, because it cannot be sent to another process."""
        return _validators.validator_for(self._schema)(self._schema, registry=_NOTHING)

    def is_plain_text(self) -> bool:
        """False: the answer is JSON."""
        return False

    def name(self) -> str:
        """The name of the schema."""
        return self._name

    def json_schema(self) -> dict[str, Any]:
        """The schema."""
        return self._schema

    def is_strict_json_schema(self) -> bool:
        """True when the schema keeps to OpenAI's strict dialect."""
        return self._strict

    def validate_json(self, json_str: str) -> Any:
        """The value that *json_str* holds."""
        try:
            value: Any = json.loads(json_str)
        except (ValueError, RecursionError) as exc:
            raise ModelBehaviorError(f"The answer is not JSON: {exc}.") from exc
        try:
            error = _exceptions.best_match(self._validator.iter_errors(value))
        except Exception as exc:  # what the package meets in a schema that was not checked
            raise ModelBehaviorError(
                f"The answer cannot be compared with the schema {self._name!r}."
            ) from exc
        if error is not None:
            raise ModelBehaviorError(
                f"The answer does not match the schema at {error.json_path}: {error.message}."
            )
        return value


def check_json_schema(name: str, schema: dict[str, Any]) -> None:
    """Raise ValueError if *schema* is not a JSON schema, or a ``$ref`` in it cannot be followed."""
    try:
        missing = _missing_reference(schema)
    except _exceptions.SchemaError as exc:
        raise ValueError(f"the schema {name!r} is not a JSON schema: {exc.message}") from exc
    except Exception as exc:  # a circle is a RecursionError; the packages raise others
        raise ValueError(f"the schema {name!r} cannot be followed") from exc
    if missing is not None:
        raise ValueError(f"the schema {name!r} has the $ref {missing!r}, which leads nowhere")


def _missing_reference(schema: dict[str, Any]) -> str | None:
    kind = _validators.validator_for(schema)
    kind.check_schema(schema)
    root: Resource[Any] = specification_with(kind.ID_OF(kind.META_SCHEMA)).create_resource(schema)
    base = root.id() or ""
    parts = [(root, _NOTHING.with_resource(base, root).crawl().resolver(base))]
    for part, resolver in parts:
        parts += [(below, resolver.in_subresource(below)) for below in part.subresources()]
        ref = mapping(part.contents).get("$ref")
        try:
            _ = ref is None or resolver.lookup(ref)
        except (Unresolvable, TypeError, ValueError):  # a number has no fields, a list no names
            return str(ref)
    validator = kind(schema, registry=_NOTHING)
    for part, resolver in parts:  # a circle shows with any value
        _exceptions.best_match(validator.descend(None, part.contents, resolver=resolver))
    return None
