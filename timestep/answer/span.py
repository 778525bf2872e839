"""Writes a model call onto its generation span."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from agents import (
    GenerationSpanData,
    ModelSettings,
    ModelTracing,
    ResponseSpanData,
    Span,
    TResponseInputItem,
    generation_span,
)
from agents.tracing import SpanError, get_current_span

from timestep.answer.reply import Reply
from timestep.answer.wire_request import WireRequest
from timestep.net import wire_bytes
from timestep.net.wire_bytes import WireBytes

REDACTED = "Error details are redacted."

GenerationSpan = Span[GenerationSpanData]


_EXTRAS = ("extra_args", "extra_body", "extra_headers", "extra_query")


def open_span(
    model: str,  # the application's name for the model
    given: str | list[TResponseInputItem],  # the agent's input, until the request takes its place
    settings: ModelSettings,  # the settings of the call
    tracing: ModelTracing,  # says whether content may be kept
    *,
    name: str,  # the server's name for the model
    host: str,  # the scheme and authority of the server
    implementation: str,  # the package that sends the request
) -> GenerationSpan:
    """Return a generation span that has not started."""
    if tracing.is_disabled():
        return generation_span(disabled=True)
    # The SDK shows no extras, but version 0.22 turns them into JSON first, which may fail.
    if any(getattr(settings, name) is not None for name in _EXTRAS):
        settings = replace(settings, **dict.fromkeys(_EXTRAS))
    config: dict[str, Any] = settings.to_traceable_dict()
    if not tracing.include_data():
        config.pop("metadata", None)
    config |= {"base_url": host, "model_impl": implementation, "model_name": name}
    items = [{"role": "user", "content": given}] if isinstance(given, str) else given
    return generation_span(
        input=cast("list[dict[str, Any]]", items) if tracing.include_data() else None,
        model=model,
        model_config=config,
    )


def rename_span(name: str, served_as: str | None = None, host: str | None = None) -> None:
    """Give the span of this call, which a model of the SDK opened, the application's *name* for it.

    Args:
        name: The application's name for the model.
        served_as: The server's name for it.
        host: The scheme and authority of the server, if known.
    """
    span = get_current_span()
    data: object = None if span is None else span.span_data
    if isinstance(data, GenerationSpanData) and data.model != name:
        data.model_config = {**(data.model_config or {}), "model_name": data.model}
        data.model = name
    elif isinstance(data, ResponseSpanData):
        # The SDK's has only the name that the answer will say, and no server.
        config = {"model_name": served_as, "base_url": host}
        kept = {key: value for key, value in config.items() if value is not None}
        vars(data).update(model=name, model_config=kept)


class RecordedErrors:
    """Records an error that leaves a ``with`` block on *span*, and lets it pass."""

    def __init__(self, span: GenerationSpan, tracing: ModelTracing, message: str) -> None:
        self._span = span
        self._tracing = tracing
        self._message = message

    def __enter__(self) -> None:
        """Begin to watch."""

    def __exit__(self, kind: object, exc: BaseException | None, frames: object) -> None:
        """Record *exc*, if there is one."""
        match exc:
            case None:
                pass
            case asyncio.CancelledError():
                self._note("cancelled")
            case GeneratorExit():
                if self._span.span_data.usage is None:  # its reader may leave at the last event
                    self._note("abandoned")
            case Exception():
                record_error(self._span, self._tracing, self._message, exc)
            case _:
                pass

    def _note(self, how: str) -> None:
        self._span.set_error(SpanError(message=self._message, data={"error": how}))


def record_error(
    span: GenerationSpan, tracing: ModelTracing, message: str, error: Exception
) -> None:
    """Put the class of *error* on *span*, and its message if content may be kept."""
    name = type(error).__name__
    text = f"{name}: {error}" if tracing.include_data() else REDACTED
    span.set_error(SpanError(message=message, data={"type": name, "error": text}))


def record_request(span: GenerationSpan, tracing: ModelTracing, request: WireRequest) -> None:
    """Put the messages and the facts of *request* on *span*."""
    data = span.span_data
    if tracing.include_data():
        data.input = request.messages
    if data.model_config is not None:
        data.model_config = {**data.model_config, **request.traced}


def record_host(span: GenerationSpan, host: str | None) -> None:
    """Put the *host* that was asked on *span*, unless it is there already."""
    data = span.span_data
    if host is not None and data.model_config and data.model_config.get("base_url") != host:
        data.model_config = {**data.model_config, "base_url": host}


def keep_bytes(
    span: GenerationSpan, tracing: ModelTracing, keep: Callable[[WireBytes], None]
) -> None:
    """Have *keep* keep the bytes for *span*, if that was asked for and content may be kept."""
    if span.started_at is None or not tracing.include_data():
        return
    if (kept := wire_bytes.begin(span.span_id)) is not None:
        keep(kept)


def record_answer(
    span: GenerationSpan,
    tracing: ModelTracing,
    reply: Reply,
    *,
    first_token_seconds: float | None,
) -> None:
    """Put usage, timing and, if content may be kept, the output of *reply* on *span*."""
    if span.started_at is None:
        return  # this span is not recorded
    data, usage = span.span_data, reply.usage
    data.usage = {
        "requests": max(usage.requests, 1),
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }
    config = dict(data.model_config or {})
    config["durations_ns"] = {
        name: value for name, value in usage.figures.items() if name.endswith("_duration")
    }
    if usage.cost is not None:
        config["cost"] = usage.cost
    config["first_token_seconds"] = first_token_seconds
    if reply.dropped_calls:
        config["dropped_calls"] = reply.dropped_calls
    data.model_config = config
    if tracing.include_data():
        data.output = [item.model_dump(exclude_unset=True) for item in reply.output]
