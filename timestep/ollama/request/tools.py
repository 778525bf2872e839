"""The SDK's tools and handoffs as Ollama's function tools, and calls as schemas. Pure.

Source: ollama ``api/types.go`` (``Tool``), v0.33.0.
"""

import json
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import agents
from agents import Handoff, Tool, UserError
from agents.models.chatcmpl_converter import Converter

from timestep.errors import UnsupportedInputError
from timestep.ollama.request.grammar import Format, FormatWriter
from timestep.ollama.request.parameters import narrow_parameters
from timestep.ollama.request.refs import Inliner, Schema

_LONGEST_REF = 100


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """One function the model may call."""

    name: str  # what the model calls it
    description: str  # with what the schema cannot say to Ollama added in words
    source: Mapping[str, Any]  # the schema as the agent declared it
    wire: Schema  # the tool as it goes into the request
    note: str  # what the server does not enforce of the schema, for the span
    ignored: tuple[str, ...] = ()  # left out of the schema, and worth a warning

    def call_schema(self) -> Schema:
        """Return the schema of a call to this tool, written as one JSON object."""
        return self._call(Inliner(self.source).expand(self.source))

    def call_format(self, writer: FormatWriter) -> Schema:
        """Return the same, as a part of the format that *writer* writes."""
        return self._call(writer.add(self.source, self.name))

    def _call(self, arguments: Schema) -> Schema:
        return {
            "type": "object",
            "properties": {"name": {"const": self.name}, "arguments": arguments},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }


class ToolConversion:
    """Converts tools, each one once, because agents offer the same objects on every turn."""

    def __init__(self) -> None:
        self._known: dict[int, _Known] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy converts for itself."""
        return ToolConversion, ()

    def convert(
        self, tools: Sequence[Tool], handoffs: Sequence[Handoff[Any, Any]]
    ) -> list[FunctionTool]:
        """Return *tools*, then *handoffs*, converted, in their order."""
        return [self._one(tool) for tool in (*tools, *handoffs)]

    def _one(self, tool: Any) -> FunctionTool:
        key = id(tool)
        state = _state(tool)
        known = self._known.get(key)
        if known is None or known.state != state:
            converted = _convert(tool)
            # An id is free again when its object has gone, and its entry goes with it.
            ref = weakref.ref(tool, lambda _: self._known.pop(key, None))
            known = self._known[key] = _Known(ref, state, converted)
        return known.converted


@dataclass(frozen=True, slots=True)
class _Known:
    """A converted tool: the tool, its state at that time, and the result."""

    tool: weakref.ref[Any]
    state: tuple[Any, ...]
    converted: FunctionTool


def calls_schema(tools: Sequence[FunctionTool]) -> Schema:
    """Return the schema of a call to any one of *tools*, for the model to read."""
    return any_of([tool.call_schema() for tool in tools])


def calls_format(tools: Sequence[FunctionTool]) -> Format:
    """Return the format of a call to any one of *tools*."""
    writer = FormatWriter()
    return writer.finish(any_of([tool.call_format(writer) for tool in tools]))


def any_of(schemas: list[Schema]) -> Schema:
    """Return the schema that any of *schemas* satisfies."""
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def describe_tools(tools: Sequence[FunctionTool]) -> str:
    """Return *tools* in words, for a model without tool support."""
    lines = [
        f"- {tool.name}: {tool.description or 'no description'}\n"
        f"  arguments: {json.dumps(tool.wire['function']['parameters'], ensure_ascii=False)}"
        for tool in tools
    ]
    return "\n".join(lines)


def _state(tool: Any) -> tuple[Any, ...]:
    """Return what the conversion of *tool* depends on; a changed tool is converted again."""
    if isinstance(tool, Handoff):
        return (tool.tool_name, tool.tool_description, id(tool.input_json_schema))
    return (
        getattr(tool, "name", None),
        getattr(tool, "description", None),
        id(getattr(tool, "params_json_schema", None)),
    )


def _convert(tool: Any) -> FunctionTool:
    function = _function(tool)
    source: Mapping[str, Any] = function.get("parameters") or {}
    narrowed = narrow_parameters(source)
    said = str(function.get("description") or "")
    description = "\n".join(text for text in (said, narrowed.notes) if text)
    wire = {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": description,
            "parameters": narrowed.schema,
        },
    }
    name, losses = function["name"], "; ".join(narrowed.losses)
    note = f"tool {name!r}: the server does not enforce {losses}" if losses else ""
    ignored = tuple(
        f"the reference {ref[:_LONGEST_REF]!r} in the schema of the tool {name!r} (its target is not "
        "in that schema)"
        for ref in narrowed.foreign
    )
    return FunctionTool(name, description, source, wire, note, ignored)


def _function(tool: Any) -> Mapping[str, Any]:
    if isinstance(tool, Handoff):
        return Converter.convert_handoff_tool(cast("Handoff[Any, Any]", tool))["function"]
    refusal = (
        f"The tool {getattr(tool, 'name', None)!r} ({type(tool).__name__}) cannot run with Ollama"
    )
    if not isinstance(tool, agents.FunctionTool):
        # Not left to the SDK: its error shows the whole tool, which may hold a key.
        raise UnsupportedInputError(
            f"{refusal}: it needs OpenAI's Responses API. Give the agent a function tool or an MCP server instead."
        )
    try:
        return Converter.tool_to_openai(tool)["function"]
    except UserError as exc:
        raise UnsupportedInputError(f"{refusal}: {exc}") from exc
