"""The question in one line of a batch, in the SDK's types. Pure."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn, TypeAlias, cast

from agents import AgentOutputSchemaBase, FunctionTool, ModelBehaviorError, ModelSettings
from jsonschema import exceptions, validators  # type: ignore[import-untyped,unused-ignore] # its types may be missing

from timestep.net.json_parts import entries, mapping
from timestep.ollama.request.refs import resolve

Json: TypeAlias = dict[str, Any]

_exceptions: Any = exceptions
_validators: Any = validators
"""Without types of their own."""

_PROBES: tuple[object, ...] = (None, True, 0, "", [], {})
"""One value of each type: a ``$ref`` that goes in a circle shows at the first."""

_DEFAULT_SETTINGS = ModelSettings()
"""One for all lines, because to make it takes longer than to read the line."""


class BadLineError(ValueError):
    """A line of the input cannot be asked; the message names the field and the fix."""


@dataclass(frozen=True, slots=True)
class Question:
    """One call of a model."""

    model: str | None  # a routable name or an alias; None for the default model
    instructions: str | None  # the system message; None for none
    input: str | list[Any]  # the history, oldest item first, or the user's words alone
    settings: ModelSettings = field(default_factory=lambda: _DEFAULT_SETTINGS)
    # What the model may call. A call is part of the answer; no tool runs.
    tools: tuple[FunctionTool, ...] = ()
    output: AgentOutputSchemaBase | None = None  # the schema of the answer; None for plain text


class JsonSchema(AgentOutputSchemaBase):
    """The type of an answer, as a JSON schema says it."""

    def __init__(self, name: str, schema: Json, *, strict: bool) -> None:
        self._name = name
        self._schema = schema
        self._strict = strict

    @cached_property
    def _validator(self) -> Any:
        """Made where it is used, because it cannot be sent to another process."""
        return _validators.validator_for(self._schema)(self._schema)

    def is_plain_text(self) -> bool:
        """False: the answer is JSON."""
        return False

    def name(self) -> str:
        """The name of the schema."""
        return self._name

    def json_schema(self) -> Json:
        """The schema."""
        return self._schema

    def is_strict_json_schema(self) -> bool:
        """True when the schema keeps to OpenAI's strict dialect."""
        return self._strict

    def validate_json(self, json_str: str) -> Any:
        """The value that *json_str* holds."""
        try:
            value: Any = json.loads(json_str)
        except ValueError as exc:
            raise ModelBehaviorError(f"The answer is not JSON: {exc}.") from exc
        error = _exceptions.best_match(self._validator.iter_errors(value))
        if error is not None:
            raise ModelBehaviorError(
                f"The answer does not match the schema at {error.json_path}: {error.message}."
            )
        return value


def output_of(kind: object, described: object, where: str) -> JsonSchema | None:
    """The type of an answer in the format *kind*; *described* holds a schema and its name."""
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        return JsonSchema("answer", {"type": "object"}, strict=False)
    spec = mapping(described)
    schema: Any = spec.get("schema")
    if kind != "json_schema" or not isinstance(schema, dict):
        raise BadLineError(f"{where}: write text, json_object, or json_schema with a schema")
    return json_schema(
        str(spec.get("name", "answer")), cast("Json", schema), strict=bool(spec.get("strict"))
    )


def json_schema(name: str, schema: Json, *, strict: bool) -> JsonSchema:
    """The type of an answer that has to match *schema*."""
    validator = _validators.validator_for(schema)
    try:
        validator.check_schema(schema)
    except _exceptions.SchemaError as exc:
        raise BadLineError(f"the schema {name!r} is not a JSON schema: {exc.message}") from exc
    if missing := _missing_reference(schema):
        raise BadLineError(f"the schema {name!r} has the $ref {missing!r}, which leads nowhere")
    try:
        for probe in _PROBES:
            _exceptions.best_match(validator(schema).iter_errors(probe))
    except Exception as exc:  # the package wraps the errors of another one
        raise BadLineError(f"the schema {name!r} has a $ref that cannot be followed") from exc
    return JsonSchema(name, schema, strict=strict)


def _missing_reference(schema: Json) -> str:
    """Return a ``$ref`` whose place is not in *schema*; empty without one. Nothing is fetched."""
    waiting: list[object] = [schema]
    while waiting:
        value = waiting.pop()
        fields = mapping(value)
        found: object = fields.get("$ref")
        if isinstance(found, str) and (
            "://" in found or (found.startswith("#/") and resolve(schema, found) is None)
        ):
            return found
        waiting += (*fields.values(), *entries(value))
    return ""


def read_tools(body: Json, *, nested: bool) -> tuple[FunctionTool, ...]:
    """The tools in *body*; *nested* ones stand in a field ``function``. They are offered and never run."""
    found: list[FunctionTool] = []
    for at, tool in enumerate(objects(body.get("tools") or [], "body.tools")):
        where = f"body.tools[{at}]"
        if tool.get("type") != "function":
            raise BadLineError(f"{where}.type: only functions can be offered")
        function = (
            named(tool.get("function"), f"{where}.function") if nested else named(tool, where)
        )
        parameters: Any = function.get("parameters") or {"type": "object", "properties": {}}
        if not isinstance(parameters, dict):
            raise BadLineError(f"{where}.parameters is not an object")
        found.append(
            FunctionTool(
                name=function["name"],
                description=str(function.get("description") or ""),
                params_json_schema=cast("Json", parameters),
                on_invoke_tool=_never,
                strict_json_schema=bool(function.get("strict")),
            )
        )
    return tuple(found)


async def _never(*_: object) -> NoReturn:
    raise RuntimeError("a batch of requests runs no tools")


def read_tool_choice(body: Json) -> str | None:
    """The ``tool_choice`` of *body*, as the SDK writes it."""
    match body.get("tool_choice"):
        case None | str() as choice:
            return choice
        case {"type": "function", "function": {"name": str(name)}}:
            return name
        case {"type": "function", "name": str(name)}:
            return name
        case _:
            raise BadLineError("body.tool_choice: write auto, required, none or a function")


def settings_of(body: Json, names: Mapping[str, str], read: Collection[str]) -> ModelSettings:
    """The settings in *body*: *names* says which `ModelSettings` a field means.

    Fields that are None, or in *read*, are left out. Other fields are sent as they are.
    """
    given: Json = {}
    for field_name, value in body.items():
        if value is None or field_name in read:
            continue
        setting = names.get(field_name, "extra_body")
        if setting in {"extra_args", "extra_body"}:
            given.setdefault(setting, {})[field_name] = value
        else:
            given[setting] = value
    try:
        return ModelSettings(**given)
    except (TypeError, ValueError) as exc:
        wrong = str(getattr(exc, "errors", lambda: [{"loc": ["?"]}])()[0]["loc"][0])
        shown = next((name for name in body if names.get(name) == wrong), wrong)
        raise BadLineError(f"body.{shown} has a value that the setting does not take") from exc


def objects(value: object, where: str) -> list[Json]:
    """Return *value* as a list of objects."""
    items = list(entries(value))
    if isinstance(value, list) and all(isinstance(item, dict) for item in items):
        return items
    raise BadLineError(f"{where} is not a list of objects")


def named(value: object, where: str) -> Mapping[str, Any]:
    """Return *value* as an object with a name."""
    fields = mapping(value)
    if isinstance(fields.get("name"), str):
        return fields
    raise BadLineError(f"{where} has no name")


def text_or_none(value: object, where: str) -> str | None:
    """Return *value*, which is text or None."""
    if value is None or isinstance(value, str):
        return value
    raise BadLineError(f"{where} is not text")
