"""One native answer as an OpenAI chat completion. Pure, except for the new ids."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from openai.types.chat import ChatCompletion
from pydantic import ValidationError

from timestep.answer import ids
from timestep.answer.logprobs import read_logprobs
from timestep.answer.reply import text_of_arguments
from timestep.errors import OllamaStreamError
from timestep.net.origin import Origin
from timestep.ollama.lines import check_is_answer, is_end, read_usage
from timestep.ollama.server_errors import line_error


def to_chat_completion(response: object, *, model: str | None = None) -> ChatCompletion:
    """Return the native answer *response* in OpenAI's chat.completion format.

    Args:
        response: A mapping, or a pydantic model such as ``ollama.ChatResponse``: one whole answer.
        model: The name to report; by default the answer's own.

    Returns:
        A completion whose id is ``chatcmpl-`` and 29 letters and digits. Thinking is kept as
        ``message.reasoning``, calls without a valid id get ``call_`` and 24 letters and digits,
        arguments are JSON text, ``finish_reason`` is ``length``, ``tool_calls`` or ``stop``.

    Raises:
        OllamaError: The answer is an error.
        OllamaStreamError: It is not an answer, or says itself that it is not done.

    Source: openai ``types/chat/chat_completion.py`` (3.52); ollama ``openai/openai.go``
    (``ToChatCompletion``) v0.33.0.
    """
    answer = _mapping(response)
    name = model if model is not None else answer.get("model")
    origin = Origin(name if isinstance(name, str) else None, "Ollama")
    if answer.get("error"):
        raise line_error(answer, origin)
    check_is_answer(answer, origin)
    if answer.get("done") is False and not is_end(answer):
        raise OllamaStreamError(
            "The answer says done: false, so it is not complete; pass a whole answer.",
            **origin.where(),
        )
    try:
        return ChatCompletion.model_validate(
            {
                "id": ids.new_completion_id(),
                "object": "chat.completion",
                "created": _created(answer.get("created_at")),
                "model": name or "",
                "choices": [_choice(answer)],
                "usage": _usage(answer),
            }
        )
    except ValueError as exc:
        what = exc.errors()[0]["loc"] if isinstance(exc, ValidationError) else (exc,)
        raise OllamaStreamError(
            f"This is not an Ollama answer ({'.'.join(map(str, what))} is wrong); pass the object that "
            "/api/chat sent.",
            **origin.where(),
        ) from exc


def _choice(answer: Mapping[str, Any]) -> dict[str, Any]:
    sent = _mapping(answer.get("message") or {})
    message: dict[str, Any] = {"role": "assistant", "content": sent.get("content") or ""}
    if thinking := sent.get("thinking"):
        message["reasoning"] = thinking
    if calls := sent.get("tool_calls"):
        message["tool_calls"] = _calls(calls)
    logprobs = answer.get("logprobs")
    return {
        "index": 0,
        "finish_reason": _finish_reason(answer, has_calls=bool(calls)),
        "message": message,
        "logprobs": {"content": read_logprobs(logprobs)} if logprobs else None,
    }


def _calls(calls: Any) -> list[dict[str, Any]]:
    if not isinstance(calls, list):
        raise ValueError("tool_calls")
    used: set[str] = set()
    converted: list[dict[str, Any]] = []
    for call in cast("list[Any]", calls):
        sent = _mapping(call)
        function = _mapping(sent.get("function"))
        converted.append(
            {
                "id": ids.Ids().claim(sent.get("id"), used),
                "type": "function",
                "function": {
                    "name": function.get("name"),
                    "arguments": text_of_arguments(function.get("arguments")),
                },
            }
        )
    return converted


def _finish_reason(answer: Mapping[str, Any], *, has_calls: bool) -> str:
    if answer.get("done_reason") == "length":
        return "length"
    return "tool_calls" if has_calls else "stop"


def _usage(answer: Mapping[str, Any]) -> dict[str, Any]:
    counted = read_usage(answer)
    usage: dict[str, Any] = {
        "prompt_tokens": counted.input_tokens,
        "completion_tokens": counted.output_tokens,
        "total_tokens": counted.total_tokens,
    }
    if counted.cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": counted.cached_tokens}
    return usage


def _created(stamp: Any) -> int:
    """Return Unix seconds; 0 when the server gave no usable time."""
    if isinstance(stamp, str):
        try:
            stamp = datetime.fromisoformat(stamp)
        except ValueError:
            return 0
    if not isinstance(stamp, datetime):
        return 0
    moment = stamp if stamp.tzinfo is not None else stamp.replace(tzinfo=UTC)
    return max(int(moment.timestamp()), 0)


def _mapping(value: object) -> Mapping[str, Any]:
    dump = getattr(value, "model_dump", None)
    found: Any = dump() if callable(dump) else value
    if not isinstance(found, Mapping):
        raise OllamaStreamError(
            f"{type(found).__name__} is not an Ollama answer; pass the object that /api/chat sent."
        )
    return cast("Mapping[str, Any]", found)
