"""Refuses requests that a server of OpenAI's API refuses before a model sees them.

Fields that OpenAI does not know are let pass, as vLLM, llama.cpp, OpenRouter and others do, which
have fields of their own.

Source: the answers of api.openai.com; openai 3.57 ``types/chat/completion_create_params.py`` and
``types/responses/response_create_params.py``.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, cast

from timestep.testing.errors import RefusedError

Json: TypeAlias = Mapping[str, Any]

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
_PARTS = {"text", "image_url", "input_audio", "file", "refusal"}
_FORMATS = {"text", "json_object", "json_schema"}
_WORDS: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    list: "an array",
    dict: "an object",
    type(None): "null",
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
    chat = _parsed(body, _CHAT_FIELDS)
    messages = _required(chat, "messages")
    if not _is_filled(messages):
        raise _wrong_type("messages", "a non-empty array", messages)
    for index, message in enumerate(cast("list[object]", messages)):
        _check_message(f"messages[{index}]", message)
    _check_results(cast("list[Json]", messages))
    _check_tools(chat, lambda tool: tool.get("function"))
    _check_format(chat, cast("list[Json]", messages))
    for name, needed in (("stream_options", "stream"), ("top_logprobs", "logprobs")):
        if chat.get(name) is not None and not chat.get(needed):
            raise InvalidField(
                f"The '{name}' parameter is only allowed when '{needed}' is enabled.", name
            )
    return chat


def check_response(body: bytes) -> Json:
    """Return *body*, of ``/responses``, parsed and checked."""
    request = _parsed(body, _RESPONSE_FIELDS)
    given = _required(request, "input")
    if isinstance(given, list):
        items = cast("list[object]", given)
        for index, item in enumerate(items):
            if not isinstance(item, dict):
                raise _wrong_type(f"input[{index}]", "an object", item)
        if not request.get("previous_response_id") and not request.get("conversation"):
            _check_outputs(cast("list[Json]", items))
    elif not isinstance(given, str):
        raise _wrong_type("input", "a string or an array", given)
    _check_tools(request, lambda tool: tool)
    return request


def _parsed(body: bytes, fields: Mapping[str, str]) -> Json:
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
        found = _WORDS[type(request.get(name))]
        is_whole = found == "an integer" and kind == "a decimal"
        if found not in {kind, "null"} and not is_whole:
            raise _wrong_type(name, kind, request[name])
    for name, (least, most) in _RANGES.items():
        if request.get(name) is not None and not least <= request[name] <= most:
            raise InvalidField(
                f"Invalid '{name}': expected a value between {least} and {most}, but got "
                f"{request[name]} instead.",
                name,
            )
    if not request.get("model"):
        raise InvalidField("you must provide a model parameter")
    return request


def _is_filled(value: object) -> bool:
    return isinstance(value, list) and value != []


def _required(request: Json, name: str) -> object:
    if request.get(name) is None:
        raise _missing(name)
    return request[name]


def _missing(param: str) -> InvalidField:
    return InvalidField(
        f"Missing required parameter: '{param}'.", param, "missing_required_parameter"
    )


def _unsupported(param: str, value: object, allowed: Iterable[str]) -> InvalidField:
    names = ", ".join(map(repr, sorted(allowed)))
    return InvalidField(
        f"Invalid value: {value!r}. Supported values are: {names}.", param, "invalid_value"
    )


def _wrong_type(param: str, expected: str, value: object) -> InvalidField:
    found = "an empty array" if value == [] else _WORDS[type(value)]
    return InvalidField(
        f"Invalid type for '{param}': expected {expected}, but got {found} instead.",
        param,
        "invalid_type",
    )


def _check_message(where: str, message: object) -> None:
    if not isinstance(message, dict):
        raise _wrong_type(where, "an object", message)
    said = cast("dict[str, Any]", message)
    role: object = said.get("role")
    if role not in _ROLES:
        raise _unsupported(f"{where}.role", role, _ROLES)
    calls: object = said.get("tool_calls")
    if calls is not None and (role != "assistant" or not _is_filled(calls)):
        raise _wrong_type(f"{where}.tool_calls", "a non-empty array of an assistant", calls)
    for index, call in enumerate(cast("list[object]", calls or [])):
        _check_call(f"{where}.tool_calls[{index}]", call)
    spoken = ("tool_calls", "refusal", "function_call")
    speaks = role == "assistant" and any(said.get(name) for name in spoken)
    content: object = said.get("content")
    if content is None and not speaks:
        raise _wrong_type(f"{where}.content", "a string or an array", content)
    _check_content(f"{where}.content", content)
    if role == "tool" and not isinstance(said.get("tool_call_id"), str):
        raise _missing(f"{where}.tool_call_id")


def _check_content(where: str, content: object) -> None:
    if content is None or isinstance(content, str):
        return
    if not _is_filled(content):
        raise _wrong_type(where, "a string or a non-empty array", content)
    for index, part in enumerate(cast("list[object]", content)):
        kind: object = cast("Json", part).get("type") if isinstance(part, dict) else None
        if kind not in _PARTS:
            raise _unsupported(f"{where}[{index}].type", kind, _PARTS)


def _check_call(where: str, call: object) -> None:
    fields: Json = cast("Json", call) if isinstance(call, dict) else {}
    function: object = fields.get("function")
    inner: Json = cast("Json", function) if isinstance(function, dict) else {}
    for name, value in (
        ("id", fields.get("id")),
        ("function.name", inner.get("name")),
        ("function.arguments", inner.get("arguments")),
    ):
        if not isinstance(value, str):
            raise _wrong_type(f"{where}.{name}", "a string", value)


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
    calls = list(_ids(items, "function_call"))
    outputs = list(_ids(items, "function_call_output"))
    for call_id in outputs:
        if call_id not in calls:
            raise InvalidField(
                f"No tool call found for function call output with call_id {call_id}.", "input"
            )
    for call_id in calls:
        if call_id not in outputs:
            raise InvalidField(f"No tool output found for function call {call_id}.", "input")


def _ids(items: Sequence[Json], kind: str) -> Iterator[object]:
    return (item.get("call_id") for item in items if item.get("type") == kind)


def _check_tools(request: Json, function_of: Callable[[Json], object]) -> None:
    tools = cast("list[object]", request.get("tools") or [])
    for name in ("tool_choice", "parallel_tool_calls"):
        if not tools and request.get(name) not in (None, "none", "auto"):
            raise InvalidField(f"'{name}' is only allowed when 'tools' are specified.", name)
    for index, tool in enumerate(tools):
        where = f"tools[{index}]"
        if not isinstance(tool, dict):
            raise _wrong_type(where, "an object", tool)
        fields = cast("dict[str, Any]", tool)
        if not isinstance(fields.get("type"), str):
            raise _wrong_type(f"{where}.type", "a string", fields.get("type"))
        if fields["type"] == "function":
            _check_function(where, function_of(fields))


def _check_function(where: str, function: object) -> None:
    if not isinstance(function, dict):
        raise _wrong_type(f"{where}.function", "an object", function)
    fields = cast("dict[str, Any]", function)
    name: object = fields.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidField(
            f"Invalid '{where}.function.name': string does not match pattern. Expected a string "
            "that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            f"{where}.function.name",
            "invalid_value",
        )
    parameters: object = fields.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict) or cast("Json", parameters).get("type") != "object":
        raise InvalidField(
            f"Invalid schema for function '{name}': schema must be a JSON Schema of 'type: "
            '"object"\'.',
            f"{where}.function.parameters",
            "invalid_function_parameters",
        )


def _check_format(chat: Json, messages: Sequence[Json]) -> None:
    asked: Json = chat.get("response_format") or {}
    kind = asked.get("type")
    if asked and kind not in _FORMATS:
        raise _unsupported("response_format.type", kind, _FORMATS)
    if kind == "json_object" and "json" not in json.dumps(messages).lower():
        raise InvalidField(
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
            "'json_object'.",
            "messages",
        )
    if kind == "json_schema":
        schema: object = asked.get("json_schema")
        name: object = cast("Json", schema).get("name") if isinstance(schema, dict) else None
        if not isinstance(name, str):
            raise _missing("response_format.json_schema.name")
