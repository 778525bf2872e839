"""Which processors the Agents SDK hands its spans to."""

from agents import TracingProcessor, set_trace_processors, set_trace_provider
from agents.tracing.provider import DefaultTraceProvider


def use_only(processors: list[TracingProcessor]) -> None:
    """Have the SDK hand its spans to *processors* alone, and send them nowhere else.

    The SDK builds its exporter to OpenAI before it takes other processors. A proxy variable that
    cannot be used makes that fail, although the exporter would be replaced at once.
    """
    try:
        set_trace_processors(processors)
    except Exception:  # noqa: BLE001 - whatever the SDK's HTTP library says of a proxy
        set_trace_provider(DefaultTraceProvider())
        set_trace_processors(processors)
