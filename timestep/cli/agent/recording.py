"""Records the runs of a command on this machine and sends them nowhere."""

from collections.abc import Generator
from contextlib import contextmanager

from timestep.config.settings import Settings
from timestep.net.secrets import configured_keys
from timestep.traces import install, uninstall
from timestep.traces.sdk_processors import use_only


@contextmanager
def recorded(settings: Settings) -> Generator[None]:
    """Record the runs of the block, if ``[traces]`` says so.

    The SDK's exporter, which sends traces to OpenAI if it finds a key, is removed either way.
    """
    traces = settings.traces
    if not traces.enabled:
        use_only([])
        yield
        return
    install(
        traces.file,
        retention_days=traces.retention or None,
        redact=traces.redact,
        secrets=configured_keys(settings),
        otlp=traces.otlp,
    )
    try:
        yield
    finally:
        uninstall()
