"""The bodies of OpenAI's two APIs: read as a question, and written as an answer. Pure.

Source: openai 3.57 ``types/chat/completion_create_params.py`` and ``types/chat/chat_completion.py``;
``types/responses/response_create_params.py`` and ``types/responses/response.py``.
"""

from collections.abc import Iterator

from agents import ModelResponse, ModelSettings
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseReasoningItem,
)

from timestep.answer.chunks import INCOMPLETE
from timestep.batch.question import (
    BadLineError,
    Json,
    Question,
    named,
    objects,
    output_of,
    read_tool_choice,
    read_tools,
    settings_of,
    text_or_none,
)
from timestep.net.json_parts import mapping

_CHAT_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "max_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "top_logprobs": "top_logprobs",
    "metadata": "metadata",
    "store": "store",
    "verbosity": "verbosity",
    "prompt_cache_retention": "prompt_cache_retention",
    "tool_choice": "tool_choice",
    "reasoning_effort": "reasoning",
    **dict.fromkeys(
        (
            "logit_bias",
            "prompt_cache_key",
            "safety_identifier",
            "seed",
            "service_tier",
            "stop",
            "user",
        ),
        "extra_args",
    ),
}
"""Fields of a body and the `ModelSettings` that mean the same."""
_CHAT_READ = frozenset({"model", "messages", "tools", "response_format", "logprobs", "stream", "n"})


def read_chat(body: Json) -> Question:
    """The question that *body* asks."""
    _refuse_stream(body)
    if body.get("n") not in (None, 1):
        raise BadLineError("body.n: a line gets one answer; write a line for each")
    messages = objects(body.get("messages"), "body.messages")
    where, response_format = "body.response_format", mapping(body.get("response_format"))
    if not messages:
        raise BadLineError("body.messages is empty")
    return Question(
        model=text_or_none(body.get("model"), "body.model"),
        instructions=None,
        input=[item for at, message in enumerate(messages) for item in _items(message, at)],
        settings=_settings(body),
        tools=read_tools(body, nested=True),
        output=output_of(response_format.get("type"), response_format.get("json_schema"), where),
    )


def write_chat(
    response: ModelResponse, question: Question, *, answer_id: str, created: int
) -> Json:
    """Return the *response* to *question* as OpenAI's chat completion."""
    texts: list[str] = []
    thinking: list[str] = []
    calls: list[Json] = []
    logprobs: list[Json] = []
    cut = _cut_by(response)
    refusal: str | None = None
    for item in response.output:
        match item:
            case ResponseOutputMessage():
                for part in item.content:
                    if part.type == "output_text":
                        texts.append(part.text)
                        logprobs += [each.model_dump() for each in part.logprobs or []]
                    else:
                        refusal = part.refusal
            case ResponseFunctionToolCall():
                function = {"name": item.name, "arguments": item.arguments}
                calls.append({"id": item.call_id, "type": "function", "function": function})
            case ResponseReasoningItem():
                thinking += [part.text for part in item.content or []]
            case _:
                pass
    message: Json = {
        "role": "assistant",
        "content": "\n".join(texts) if texts or not calls else None,
        "refusal": refusal,
    }
    if thinking:
        message["reasoning"] = "\n".join(thinking)
    if calls:
        message["tool_calls"] = calls
    reason = cut or ("tool_calls" if calls else "stop")
    return {
        "id": answer_id,
        "object": "chat.completion",
        "created": created,
        "model": question.model or "",
        "choices": [
            {
                "index": 0,
                "message": message,
                "logprobs": {"content": logprobs, "refusal": None} if logprobs else None,
                "finish_reason": reason,
            }
        ],
        "usage": {
            "prompt_tokens": response.usage.input_tokens,
            "completion_tokens": response.usage.output_tokens,
            "total_tokens": response.usage.total_tokens,
            "prompt_tokens_details": response.usage.input_tokens_details.model_dump(),
            "completion_tokens_details": response.usage.output_tokens_details.model_dump(),
        },
    }


def _cut_by(response: ModelResponse) -> str:
    """What cut the answer, in the words of chat completions; empty if nothing did."""
    for item in response.output:
        if isinstance(item, ResponseOutputMessage) and item.status == "incomplete":
            said = mapping(getattr(item, "provider_data", None)).get("finish_reason")
            return said if said in INCOMPLETE else "length"
    return ""


def _refuse_stream(body: Json) -> None:
    if body.get("stream"):
        raise BadLineError("body.stream: a batch does not stream; leave it out")


def _items(message: Json, at: int) -> Iterator[Json]:
    """Yield the input items for message number *at*."""
    where = f"body.messages[{at}]"
    content = message.get("content")
    match message.get("role"):
        case "system" | "developer" as role:
            yield {"role": role, "content": _text(content, where)}
        case "user":
            yield {"role": "user", "content": _parts(content, where)}
        case "assistant":
            if content:
                text: Json = {
                    "type": "output_text",
                    "text": _text(content, where),
                    "annotations": [],
                }
                yield {
                    "id": f"msg_{at}",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [text],
                }
            for call in objects(message.get("tool_calls") or [], f"{where}.tool_calls"):
                function = named(call.get("function"), f"{where}.tool_calls.function")
                yield {
                    "type": "function_call",
                    "call_id": text_or_none(call.get("id"), f"{where}.tool_calls.id") or "",
                    "name": function["name"],
                    "arguments": function.get("arguments") or "{}",
                }
        case "tool":
            yield {
                "type": "function_call_output",
                "call_id": text_or_none(message.get("tool_call_id"), f"{where}.tool_call_id") or "",
                "output": _text(content, where),
            }
        case role:
            raise BadLineError(f"{where}.role: {role!r} is not a role of a chat")


def _text(content: object, where: str) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(
        text_or_none(part.get("text"), f"{where}.content") or ""
        for part in objects(content or [], f"{where}.content")
    )


def _parts(content: object, where: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    return [_part(part, where) for part in objects(content, f"{where}.content")]


def _part(part: Json, where: str) -> Json:
    kind = part.get("type")
    match kind:
        case "text":
            return {"type": "input_text", "text": part.get("text") or ""}
        case "image_url":
            image = mapping(part.get("image_url"))
            return {
                "type": "input_image",
                "image_url": image.get("url"),
                "detail": image.get("detail") or "auto",
            }
        case "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        case "file":
            return {"type": "input_file", **mapping(part.get("file"))}
        case _:
            raise BadLineError(f"{where}.content: parts are text, image_url, input_audio or file")


def _settings(body: Json) -> ModelSettings:
    effort = body.get("reasoning_effort")
    given: Json = {
        **body,
        "tool_choice": read_tool_choice(body),
        "reasoning_effort": {"effort": effort} if effort else None,
        "top_logprobs": body.get("top_logprobs", 0 if body.get("logprobs") else None),
    }
    return settings_of(given, _CHAT_SETTINGS, _CHAT_READ)


_RESPONSES_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "max_output_tokens": "max_tokens",
    "parallel_tool_calls": "parallel_tool_calls",
    "top_logprobs": "top_logprobs",
    "metadata": "metadata",
    "store": "store",
    "reasoning": "reasoning",
    "truncation": "truncation",
    "include": "response_include",
    "tool_choice": "tool_choice",
    "verbosity": "verbosity",
}
"""Fields of a body and the `ModelSettings` that mean the same."""
_RESPONSES_READ = frozenset({"model", "input", "instructions", "tools", "text", "stream"})
_CHOICES = ("auto", "required", "none")
_STATEFUL = ("previous_response_id", "conversation", "prompt", "background")


def read_responses(body: Json) -> Question:
    """The question that *body* asks."""
    _refuse_stream(body)
    for name in _STATEFUL:
        if body.get(name) is not None:
            raise BadLineError(f"body.{name}: only OpenAI keeps this; write the whole input")
    asked = body.get("input")
    if not asked:
        raise BadLineError("body.input is empty")
    text = mapping(body.get("text"))
    text_format = mapping(text.get("format"))
    return Question(
        model=text_or_none(body.get("model"), "body.model"),
        instructions=text_or_none(body.get("instructions"), "body.instructions"),
        input=asked if isinstance(asked, str) else objects(asked, "body.input"),
        settings=settings_of(
            {**body, "tool_choice": read_tool_choice(body), "verbosity": text.get("verbosity")},
            _RESPONSES_SETTINGS,
            _RESPONSES_READ,
        ),
        tools=read_tools(body, nested=False),
        output=output_of(text_format.get("type"), text_format, "body.text.format"),
    )


def write_responses(
    response: ModelResponse, question: Question, *, answer_id: str, created: int
) -> Json:
    """Return the *response* to *question* as OpenAI's object."""
    cut = _cut_by(response)
    choice = question.settings.tool_choice or "auto"
    return {
        "id": answer_id,
        "object": "response",
        "created_at": created,
        "model": question.model or "",
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": INCOMPLETE[cut]} if cut else None,
        "output": [item.model_dump(mode="json", exclude_unset=True) for item in response.output],
        "parallel_tool_calls": question.settings.parallel_tool_calls is not False,
        "tool_choice": choice if choice in _CHOICES else {"type": "function", "name": choice},
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.params_json_schema,
                "strict": tool.strict_json_schema,
            }
            for tool in question.tools
        ],
        "usage": {
            "input_tokens": response.usage.input_tokens,
            "input_tokens_details": response.usage.input_tokens_details.model_dump(),
            "output_tokens": response.usage.output_tokens,
            "output_tokens_details": response.usage.output_tokens_details.model_dump(),
            "total_tokens": response.usage.total_tokens,
        },
    }
