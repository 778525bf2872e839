"""Refuses requests that a server of OpenAI's API refuses before a model sees them.

Fields that OpenAI does not know are accepted, because vLLM, llama.cpp, OpenRouter and others have
fields of their own.

Source: the answers of api.openai.com; openai 3.57 ``types/chat/completion_create_params.py`` and
``types/responses/response_create_params.py``.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, TypeAlias, cast

from timestep.net.json_parts import entries, mapping
from timestep.testing.errors import RefusedError

Json: TypeAlias = Mapping[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_PARTS = {"text", "image_url", "input_audio", "file", "refusal"}
_FORMATS = {"text", "json_object", "json_schema"}
_NULL = "null"
_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): _NULL,
}
_FIELDS = {
    **dict.fromkeys(("model", "user", "service_tier"), "a string"),
    **dict.fromkeys(("prompt_cache_key", "safety_identifier"), "a string"),
    **dict.fromkeys(("stream", "store", "parallel_tool_calls"), "a boolean"),
    **dict.fromkeys(("temperature", "top_p"), "a decimal"),
    "top_logprobs": "an integer",
    "metadata": "an object",
    "tools": "an array",
}
_CHAT_FIELDS = {
    **_FIELDS,
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), "a decimal"),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "n", "seed"), "an integer"),
    **dict.fromkeys(("logit_bias", "stream_options", "response_format"), "an object"),
    **dict.fromkeys(("reasoning_effort", "verbosity"), "a string"),
    "logprobs": "a boolean",
    "modalities": "an array",
}
_RESPONSE_FIELDS = {
    **_FIELDS,
    **dict.fromkeys(("instructions", "previous_response_id", "truncation"), "a string"),
    **dict.fromkeys(("reasoning", "text"), "an object"),
    "max_output_tokens": "an integer",
    "include": "an array",
}
_RANGES = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "frequency_penalty": (-2, 2),
    "presence_penalty": (-2, 2),
    "top_logprobs": (0, 20),
}


class InvalidField(RefusedError):  # noqa: N818 - it says which field
    """A request that OpenAI's server refuses because of the field *param*."""

    def __init__(
        self, error: str, param: str | None = None, code: str | None = None, *, status: int = 400
    ) -> None:
        super().__init__(status, error)
        self.param = param
        self.code = code


def check_chat(body: bytes) -> Json:
    """Return *body*, of ``/chat/completions``, parsed and checked."""
    chat = _parsed(body, _CHAT_FIELDS, "messages")
    _expect("messages", chat["messages"], "a non-empty array")
    for index, message in enumerate(chat["messages"]):
        _check_message(f"messages[{index}]", message)
    _check_results(chat["messages"])
    _check_tools(chat, lambda tool: tool.get("function"))
    _check_format(chat)
    for name, needed in (("stream_options", "stream"), ("top_logprobs", "logprobs")):
        if chat.get(name) is not None and not chat.get(needed):
            raise InvalidField(
                f"The '{name}' parameter is only allowed when '{needed}' is enabled.", name
            )
    return chat


def check_response(body: bytes) -> Json:
    """Return *body*, of ``/responses``, parsed and checked."""
    request = _parsed(body, _RESPONSE_FIELDS, "input")
    given = request["input"]
    _expect("input", given, "a string", "an array")
    if isinstance(given, list):
        items = cast("list[Json]", given)
        for index, item in enumerate(items):
            _expect(f"input[{index}]", item, "an object")
        if not request.get("previous_response_id") and not request.get("conversation"):
            _check_outputs(items)
    _check_tools(request, lambda tool: tool)
    return request


def _parsed(body: bytes, fields: Mapping[str, str], required: str) -> Json:
    try:
        parsed: object = json.loads(body)
    except ValueError:
        parsed = None
    if not isinstance(parsed, dict):
        raise InvalidField(
            "We could not parse the JSON body of your request. (HINT: This likely means you aren't "
            "using your HTTP library correctly. The OpenAI API expects a JSON payload, but what was "
            "sent was not valid JSON.)"
        )
    request = cast("dict[str, Any]", parsed)
    for name, kind in fields.items():
        _expect(name, request.get(name), kind, _NULL)
    for name, (least, most) in _RANGES.items():
        if request.get(name) is not None and not least <= request[name] <= most:
            raise InvalidField(
                f"Invalid '{name}': expected a value between {least} and {most}, but got "
                f"{request[name]} instead.",
                name,
            )
    if not request.get("model"):
        raise InvalidField("you must provide a model parameter")
    if request.get(required) is None:
        raise _missing(required)
    return request


def _expect(where: str, value: object, *kinds: str) -> None:
    """Raise unless *value*, which stands at *where*, is of one of *kinds*."""
    found = _WORDS[type(value)]
    also = {"an integer": "a decimal", "an array": "a non-empty array" if value else found}
    if found not in kinds and also.get(found) not in kinds:
        expected = " or ".join(kind for kind in kinds if kind != _NULL)
        shown = "an empty array" if value == [] else found
        raise InvalidField(
            f"Invalid type for '{where}': expected {expected}, but got {shown} instead.",
            where,
            "invalid_type",
        )


def _missing(param: str) -> InvalidField:
    return InvalidField(
        f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
    )


def _expect_one_of(where: str, value: object, allowed: Collection[str]) -> None:
    if value not in allowed:
        names = ", ".join(map(repr, sorted(allowed)))
        raise InvalidField(
            f"Invalid value: {value!r}. Supported values are: {names}.", where, "invalid_value"
        )


def _check_message(where: str, message: Any) -> None:
    _expect(where, message, "an object")
    role, calls, content = (message.get(name) for name in ("role", "tool_calls", "content"))
    _expect_one_of(f"{where}.role", role, _ROLES)
    _expect(f"{where}.tool_calls", calls, "a non-empty array", _NULL)
    for index, call in enumerate(calls or ()):
        _check_call(f"{where}.tool_calls[{index}]", call)
    spoken = ("tool_calls", "refusal", "function_call")
    speaks = role == "assistant" and any(message.get(name) for name in spoken)
    kinds = ("a string", "a non-empty array", *([_NULL] if speaks else []))
    _expect(f"{where}.content", content, *kinds)
    for index, part in enumerate(entries(content)):
        _expect_one_of(f"{where}.content[{index}].type", mapping(part).get("type"), _PARTS)
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise _missing(f"{where}.tool_call_id")


def _check_call(where: str, call: object) -> None:
    fields = mapping(call)
    function = mapping(fields.get("function"))
    _expect(f"{where}.id", fields.get("id"), "a string")
    for name in ("name", "arguments"):
        _expect(f"{where}.function.{name}", function.get(name), "a string")


def _check_results(messages: Sequence[Json]) -> None:
    """Check that each call is followed by its result, and each result follows its call."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                raise InvalidField(
                    "Invalid parameter: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'.",
                    f"messages[{index}].role",
                )
            waiting.remove(message["tool_call_id"])
            continue
        _refuse_waiting(waiting, index)
        waiting = [call["id"] for call in message.get("tool_calls") or ()]
    _refuse_waiting(waiting, len(messages))


def _refuse_waiting(waiting: Sequence[str], index: int) -> None:
    if waiting:
        raise InvalidField(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to "
            "each 'tool_call_id'. The following tool_call_ids did not have response messages: "
            f"{', '.join(waiting)}",
            f"messages[{index}].role",
        )


def _check_outputs(items: Sequence[Json]) -> None:
    calls, outputs = (
        [item.get("call_id") for item in items if item.get("type") == kind]
        for kind in ("function_call", "function_call_output")
    )
    for call_id in outputs:
        if call_id not in calls:
            raise InvalidField(
                f"No tool call found for function call output with call_id {call_id}.", "input"
            )
    for call_id in calls:
        if call_id not in outputs:
            raise InvalidField(f"No tool output found for function call {call_id}.", "input")


def _check_tools(request: Json, function_of: Callable[[Json], object]) -> None:
    tools = entries(request.get("tools"))
    for name in ("tool_choice", "parallel_tool_calls"):
        if not tools and request.get(name) not in (None, "none", "auto"):
            raise InvalidField(f"'{name}' is only allowed when 'tools' are specified.", name)
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        _expect(where, tool, "an object")
        _expect(f"{where}.type", tool.get("type"), "a string")
        if tool["type"] == "function":
            _check_function(f"{where}.function", function_of(tool))


def _check_function(where: str, function: Any) -> None:
    _expect(where, function, "an object")
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidField(
            f"Invalid '{where}.name': string does not match pattern. Expected a string that matches "
            "the pattern '^[a-zA-Z0-9_-]+$'.",
            f"{where}.name",
            "invalid_value",
        )
    if parameters is not None and mapping(parameters).get("type") != "object":
        raise InvalidField(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: "
            '"object"\'.',
            f"{where}.parameters",
            "invalid_function_parameters",
        )


def _check_format(chat: Json) -> None:
    asked = mapping(chat.get("response_format"))
    kind = asked.get("type")
    if asked:
        _expect_one_of("response_format.type", kind, _FORMATS)
    if kind == "json_object" and "json" not in json.dumps(chat["messages"]).lower():
        raise InvalidField(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            "messages",
        )
    if kind == "json_schema" and not isinstance(mapping(asked.get("json_schema")).get("name"), str):
        raise _missing("response_format.json_schema.name")
