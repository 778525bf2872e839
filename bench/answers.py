"""What the benchmark's server answers, rendered in advance. A model's name says what it answers.

`text-1000` is a thousand pieces of text, `think-1000` half thinking and half text, `calls-4` four
tool calls, `agent-20` nineteen single calls and then a text; `…-every-2ms` sends one piece each two
milliseconds, otherwise all are sent at once.

Source: recordings of Ollama v0.33.0 in ``tests/wire``; openai ``types/chat`` (3.52).
"""

import json
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

TOOL = "get_weather"
ARGUMENTS = {"city": "Paris", "days": 3, "unit": "celsius"}

_WORDS = ("The", " quick", " brown", " fox", " jumps", " over", " the", " lazy", " dog", ".\n")
_NAME = re.compile(r"(?P<kind>text|think|calls|agent)-(?P<count>\d+)(?:-every-(?P<ms>\d+)ms)?")
_CREATED = "2026-11-20T15:29:03.945659867Z"
_SPENT = {
    "total_duration": 11619891,
    "load_duration": 6975584,
    "prompt_eval_count": 28,
    "prompt_eval_duration": 434000,
    "eval_count": 18,
    "eval_duration": 2707000,
}
_USAGE = {"prompt_tokens": 28, "completion_tokens": 18, "total_tokens": 46}


@dataclass(frozen=True)
class Answer:
    """What one model call is answered with.

    Attributes:
        thinking: Pieces of thinking, sent first.
        text: Pieces of text.
        calls: How many tool calls follow.
        every: Seconds from one piece to the next; 0 sends all at once.
    """

    thinking: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    calls: int = 0
    every: float = 0.0


def answer(model: str, turn: int = 0) -> Answer:
    """What *model* answers when the history holds *turn* tool results."""
    match = _NAME.fullmatch(model)
    if match is None:
        raise ValueError(f"The benchmark's server has no model {model!r}.")
    count = int(match["count"])
    match match["kind"]:
        case "think":
            made = Answer(thinking=_words(count // 2), text=_words(count - count // 2))
        case "calls":
            made = Answer(calls=count)
        case "agent":
            made = Answer(calls=1) if turn < count - 1 else Answer(text=_words(10))
        case _:
            made = Answer(text=_words(count))
    return replace(made, every=int(match["ms"] or 0) / 1000)


@cache  # what is compared costs no contender anything
def shown(model: str, turn: int = 0) -> str:
    """The text a client must see: the pieces, then each call's name."""
    made = answer(model, turn)
    return "".join(made.text) + TOOL * made.calls


@cache
def ollama_lines(model: str, turn: int, *, stream: bool) -> list[bytes]:
    """The answer as Ollama sends it: lines of JSON, or one object."""
    made = answer(model, turn)
    parts: list[dict[str, Any]] = [{"content": "", "thinking": piece} for piece in made.thinking]
    parts += [{"content": piece} for piece in made.text]
    if made.calls:
        parts.append({"content": "", "tool_calls": [_call(n, turn) for n in range(made.calls)]})
    if not stream:
        whole: dict[str, Any] = {"content": "".join(made.text)}
        if made.thinking:
            whole["thinking"] = "".join(made.thinking)
        if made.calls:
            whole["tool_calls"] = [_call(number, turn) for number in range(made.calls)]
        return [_ollama(model, whole, done=True)]
    lines = [_ollama(model, part, done=False) for part in parts]
    return [*lines, _ollama(model, {"content": ""}, done=True)]


@cache
def openai_events(model: str, turn: int, *, stream: bool) -> list[bytes]:
    """The answer as Ollama's ``/v1/chat/completions`` sends it: server-sent events, or one object."""
    made = answer(model, turn)
    calls = [_openai_call(number, turn) for number in range(made.calls)]
    reason = "tool_calls" if calls else "stop"
    if not stream:
        message: dict[str, Any] = {"role": "assistant", "content": "".join(made.text)}
        if made.thinking:
            message["reasoning"] = "".join(made.thinking)
        if calls:
            message["tool_calls"] = calls
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return [_openai(model, "chat.completion", [choice], usage=_USAGE)]
    deltas: list[dict[str, Any]] = [{"content": "", "reasoning": text} for text in made.thinking]
    deltas += [{"content": text} for text in made.text]
    if calls:
        deltas.append({"content": "", "tool_calls": calls})
    choices: list[list[dict[str, Any]]] = [
        [{"index": 0, "delta": {"role": "assistant", **delta}, "finish_reason": None}]
        for delta in deltas
    ]
    ended = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": reason}
    documents = [_openai(model, "chat.completion.chunk", choice) for choice in [*choices, [ended]]]
    documents.append(_openai(model, "chat.completion.chunk", [], usage=_USAGE))
    return [b"data: " + document.rstrip() + b"\n\n" for document in [*documents, b"[DONE]"]]


def _words(count: int) -> tuple[str, ...]:
    return tuple(_WORDS[number % len(_WORDS)] for number in range(count))


def _call(number: int, turn: int) -> dict[str, Any]:
    function = {"index": number, "name": TOOL, "arguments": ARGUMENTS}
    return {"id": f"call_{turn:04}{number:04}", "function": function}


def _openai_call(number: int, turn: int) -> dict[str, Any]:
    function = {"name": TOOL, "arguments": json.dumps(ARGUMENTS)}
    call_id = f"call_{turn:04}{number:04}"
    return {"id": call_id, "index": number, "type": "function", "function": function}


def _ollama(model: str, message: dict[str, Any], *, done: bool) -> bytes:
    document = {
        "model": model,
        "created_at": _CREATED,
        "message": {"role": "assistant", **message},
        "done": done,
        **({"done_reason": "stop", **_SPENT} if done else {}),
    }
    return _json(document)


def _openai(model: str, kind: str, choices: list[Any], **more: Any) -> bytes:
    document = {
        "id": "chatcmpl-718",
        "object": kind,
        "created": 1795188543,
        "model": model,
        "system_fingerprint": "fp_ollama",
        "choices": choices,
        **more,
    }
    return _json(document)


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"
