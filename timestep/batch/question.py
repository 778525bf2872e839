"""The question in one line of a batch, in the SDK's types. Pure."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias, cast

from agents import AgentOutputSchemaBase, FunctionTool, ModelSettings

from timestep.answer.json_schema import JsonSchema, check_json_schema
from timestep.answer.model_settings import WrongSettingError, read_model_settings
from timestep.net.json_parts import entries, mapping

Json: TypeAlias = dict[str, Any]

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


def output_of(kind: object, described: object, where: str) -> JsonSchema | None:
    """The type of an answer in the format *kind*; *described* holds a schema and its name."""
    if kind is None or kind == "text":
        return None
    if kind == "json_object":
        return JsonSchema("answer", {"type": "object"})
    spec = mapping(described)
    given = spec.get("schema")
    if kind != "json_schema" or not isinstance(given, dict):
        raise BadLineError(f"{where}: write text, json_object, or json_schema with a schema")
    name, schema = str(spec.get("name", "answer")), cast("Json", given)
    try:
        check_json_schema(name, schema)
    except ValueError as exc:
        raise BadLineError(str(exc)) from exc
    return JsonSchema(name, schema, strict=bool(spec.get("strict")))


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
        return read_model_settings(given)
    except WrongSettingError as exc:
        first, _, below = exc.path.partition(".")
        wrong = next((name for name in body if names.get(name) == first), first)
        wrong = below if first in {"extra_args", "extra_body"} else wrong
        raise BadLineError(f"body.{wrong}: {exc}") from exc


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
