"""The words by which a search finds a step."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from agents.tracing import SpanData

from timestep.traces.conversation import unanswered

_MOST_DEPTH = 30


def search_text(data: SpanData, name: str, content: Mapping[str, Any], error: Any) -> str:
    """Return the text that a search looks through: what is new in a step.

    Earlier messages are left out, so a conversation is indexed once.
    """
    texts: list[str] = []
    if data.type in {"generation", "response", "function", "custom", "guardrail", "handoff"}:
        texts += _texts(unanswered(getattr(data, "input", None)))
        texts += _texts(content.get("output"))
    if data.type in {"function", "custom", "guardrail", "handoff"}:
        texts.append(name)
    if data.type == "custom":
        texts += _texts(content.get("data"))
    if error is not None:
        texts += _texts(dict(error))
    return "\n".join(texts)


_NOT_TEXT = frozenset(
    {"id", "call_id", "tool_call_id", "type", "role", "status", "images", "logprobs", "object"}
)


def _texts(value: Any, depth: int = 0) -> list[str]:
    """Return all texts in *value* but ids, types and images, down to `_MOST_DEPTH`."""
    if isinstance(value, str):
        return [value] if value else []
    if not isinstance(value, dict | list | tuple):
        dump = getattr(value, "model_dump", None)
        value = dump(exclude_unset=True) if callable(dump) else value
    inner: Sequence[Any]
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        inner = [member for name, member in named.items() if name not in _NOT_TEXT]
    elif isinstance(value, list | tuple):
        inner = cast("Sequence[Any]", value)
    else:
        return []
    if depth == _MOST_DEPTH:
        return []
    return [text for item in inner for text in _texts(item, depth + 1)]
