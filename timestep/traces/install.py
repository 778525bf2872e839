"""Turns recording on and off for this process."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from agents import TracingProcessor

from timestep.errors import ConfigurationError
from timestep.net.extras import install_hint
from timestep.traces.processor import TraceProcessor
from timestep.traces.sdk_processors import use_only
from timestep.traces.store import TraceStore


def install(
    path: Path | str,
    *,
    retention_days: float | None = None,
    redact: Sequence[str] = (),
    secrets: Iterable[str] = (),
    otlp: str | None = None,
) -> TraceStore:
    """Record every run of this process in the file at *path*, and send it nowhere else.

    This replaces the SDK's processors, among them the one that exports to OpenAI: the prompts
    of local models stay on this machine. Installing again replaces what was installed before.

    No configuration is read. Keys of known services are recognised by their shape; to keep other
    configured keys out, pass ``secrets=timestep.configured_keys(settings)``.

    Args:
        path: The SQLite file.
        retention_days: Older runs are deleted; None keeps all.
        redact: Regular expressions; what they match is neither stored nor sent.
        secrets: Exact texts that are neither stored nor sent, such as keys.
        otlp: The base URL of an OTLP/HTTP receiver that gets every span too, such as
            ``http://localhost:4318``; needs the extra ``otel``.

    Returns:
        The store that is written.

    Raises:
        ValueError: A pattern in *redact* is not a regular expression.
        ConfigurationError: *otlp* is given and OpenTelemetry is not installed.
    """
    global _installed  # noqa: PLW0603 - the SDK's processors are global, too
    # A package may be missing; find out before anything is switched on.
    exporters = [] if otlp is None else [_otlp_processor(otlp, redact, secrets)]
    store = TraceStore(path, retention_days=retention_days, redact=redact, secrets=secrets)
    processors: list[TracingProcessor] = [TraceProcessor(store), *exporters]
    uninstall()
    use_only(processors)
    _installed = processors
    return store


def uninstall() -> None:
    """Write what waits and stop recording. The SDK's exporter does not come back."""
    global _installed  # noqa: PLW0603 - the SDK's processors are global, too
    if _installed:
        use_only([])
    for processor in _installed:
        processor.shutdown()
    _installed = []


_installed: list[TracingProcessor] = []


def _otlp_processor(url: str, redact: Sequence[str], secrets: Iterable[str]) -> TracingProcessor:
    try:
        from timestep.traces.live_otlp import OtlpProcessor  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise ConfigurationError(
            f"Sending spans to {url} needs the package {exc.name}. Leave traces.otlp out, or add "
            f"the package. {install_hint('otel')}"
        ) from exc
    return OtlpProcessor(url, redact=redact, secrets=secrets)
