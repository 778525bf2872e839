"""timestep, as it is installed."""

from bench.contenders.sdk import SdkClient

TITLE = "timestep"
IMPORT = "from timestep import OllamaModelProvider"
NEEDS = ("timestep",)


def connect(base_url: str) -> SdkClient:
    """Return a client of timestep's Ollama models."""
    from timestep import OllamaModelProvider  # noqa: PLC0415 - imported when it is measured

    return SdkClient(OllamaModelProvider(base_url=base_url).get_model)
