"""The columns of a step, which lists, searches and statistics read. Pure.

A step is copied as JSON when it ends, while the run waits. What its JSON says is read later, by the
thread that writes.
"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from jiter import from_json

from timestep.net.json_parts import entries, mapping
from timestep.net.json_text import encodable
from timestep.traces.conversation import question, read_messages, unanswered
from timestep.traces.prices import price
from timestep.traces.records import Copied, Event, SpanBegun, SpanCopied, SpanEnded, SpanStarted

_JSON = json.JSONDecoder(parse_constant=str)
_NANOSECONDS = 1e9
_TOO_LARGE = 2**63
_MOST_DEPTH = 30
_OF_MODELS = frozenset({"generation", "response"})
_WITH_WORDS = _OF_MODELS | {"function", "custom", "guardrail", "handoff"}
"""The kinds of steps that have an input or an output to search."""
_NOT_TEXT = frozenset(
    {"id", "call_id", "tool_call_id", "type", "role", "status", "images", "logprobs", "object"}
)


def read(event: Event | Copied) -> Event:
    """Return *event* as it is stored: what was copied from the SDK is read only now."""
    if isinstance(event, SpanBegun):
        span_id, trace_id, parent, kind, name, started_at, words = event
        return SpanStarted(
            encodable(span_id),
            encodable(trace_id),
            None if parent is None else encodable(parent),
            kind,
            encodable(name),
            _unix(started_at),
            None if words is None else encodable(words),
        )
    return with_columns(event) if isinstance(event, SpanCopied) else event


def with_columns(copied: SpanCopied) -> SpanEnded:
    """Return the end of the step *copied*, with the columns that its JSON tells."""
    ended_at = _unix(copied.ended_at)
    columns: dict[str, Any] = {"outcome": copied.outcome}
    if copied.kind in _WITH_WORDS or copied.error is not None:
        columns |= _columns(copied)
    return SpanEnded(
        encodable(copied.span_id),
        encodable(copied.trace_id),
        copied.kind,
        encodable(copied.name),
        ended_at,
        copied.error,
        copied.data,
        total_seconds=ended_at - _unix(copied.started_at),
        exchanges=copied.exchanges,
        **columns,
    )


def _unix(iso: str | None) -> float:
    return datetime.fromisoformat(iso).timestamp() if iso else time.time()


def _columns(copied: SpanCopied) -> dict[str, Any]:
    content = mapping(parsed(copied.data))
    given = content.get("input")
    if "input" not in content and copied.exchanges:
        given = messages_of(copied.exchanges[-1].request)
    columns: dict[str, Any] = {"text": _search_text(copied, content, given)}
    if copied.kind in _OF_MODELS:
        columns |= _numbers(copied.kind, content)
        columns["outcome"] = copied.outcome or ("cut" if _is_cut(content) else None)
        columns["question"] = encodable(question(given)) or None
        columns["answer"] = _answer(content.get("output"))
    return columns


def parsed(text: str | bytes) -> Any:
    """Return the value of the JSON *text*, or None. NaN is a text, for no other reader takes it."""
    try:
        return from_json(text if isinstance(text, bytes) else text.encode(), allow_inf_nan=False)
    except ValueError:  # half a surrogate pair, bytes that are not text, NaN, or not JSON
        pass
    try:
        return _JSON.decode(text if isinstance(text, str) else text.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None


def messages_of(request: bytes | None) -> Any:
    """Return the messages in the body of a *request*: the input of its step is not stored twice."""
    return mapping(parsed(request or b"")).get("messages")


def _answer(output: object) -> str | None:
    """Return the text of an answer without calls."""
    answer = read_messages(output, role="assistant")
    if any(message.calls for message in answer):
        return None
    return encodable("".join(message.text for message in answer))


def _is_cut(content: Mapping[str, Any]) -> bool:
    """Return whether the token limit cut the answer of a model call."""
    items = (content, *entries(content.get("output")))
    return any(mapping(item).get("status") == "incomplete" for item in items)


def _search_text(copied: SpanCopied, content: Mapping[str, Any], given: object) -> str:
    """Return what is new in a step. Earlier messages are left out, so a conversation is indexed once."""
    texts: list[str] = []
    if copied.kind in _WITH_WORDS:
        texts += _texts(unanswered(given))
        texts += _texts(content.get("output"))
    if copied.kind in _WITH_WORDS - _OF_MODELS:
        texts.append(copied.name)
    if copied.kind == "custom":
        texts += _texts(content.get("data"))
    if copied.error is not None:
        texts += _texts(parsed(copied.error))
    return encodable("\n".join(texts))


def _texts(value: object, depth: int = _MOST_DEPTH) -> Iterator[str]:
    """Yield all texts in *value* but ids, types and images, down to *depth*."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, dict):
        for name, member in cast("dict[str, object]", value).items() if depth else ():
            if name not in _NOT_TEXT:
                yield from _texts(member, depth - 1)
    elif isinstance(value, list):
        for member in cast("list[object]", value) if depth else ():
            yield from _texts(member, depth - 1)


def _numbers(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts, times and cost of a model call."""
    config, usage = mapping(content.get("model_config")), mapping(content.get("usage"))
    durations = mapping(config.get("durations_ns"))
    model = content.get("model")
    return {
        "model": encodable(model or kind) if model or kind == "response" else None,
        **{name: _count(usage.get(name)) for name in ("input_tokens", "output_tokens")},
        "cost": _cost(model, usage, config),
        "first_token_seconds": _number(config.get("first_token_seconds")),
        **timings(durations),
        "context_length": _count(config.get("context_length")),
    }


def _cost(model: object, usage: Mapping[str, Any], config: Mapping[str, Any]) -> float | None:
    """Return what a call cost: as the server says, else as the prices say."""
    reported = config.get("cost")
    if isinstance(reported, float):
        return reported
    if not model or not usage:
        return None
    cached = mapping(usage.get("input_tokens_details")).get("cached_tokens")
    host = config.get("base_url")
    return price(
        str(config.get("model_name") or model),
        None if host is None else str(host),
        input_tokens=_count(usage.get("input_tokens")) or 0,
        output_tokens=_count(usage.get("output_tokens")) or 0,
        cached_tokens=_count(cached) or 0,
    )


def _count(value: object) -> int | None:
    """Return *value* if a column can hold it as a count: a server may send anything."""
    return value if type(value) is int and abs(value) < _TOO_LARGE else None


def _number(value: object) -> float | None:
    count = _count(value)
    return value if type(value) is float else None if count is None else float(count)


_TIMINGS = {
    "load_seconds": "load_duration",
    "prompt_seconds": "prompt_eval_duration",
    "output_seconds": "eval_duration",
}
"""Our names of timings, and Ollama's, which are in nanoseconds."""


def timings(durations: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the seconds that Ollama's *durations* say, by our names; None for what they do not say."""
    counts = {name: _count(durations.get(theirs)) for name, theirs in _TIMINGS.items()}
    return {name: None if count is None else count / _NANOSECONDS for name, count in counts.items()}
