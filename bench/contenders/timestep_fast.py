"""timestep with its extra ``fast``: requests travel over aiohttp."""

from bench.contenders.sdk import SdkClient

TITLE = "timestep[fast]"
IMPORT = "from timestep import OllamaModelProvider"
NEEDS = ("timestep", "aiohttp")


def connect(base_url: str) -> SdkClient:
    """A client of timestep's Ollama models."""
    from timestep import OllamaModelProvider  # noqa: PLC0415 - imported when it is measured

    return SdkClient(OllamaModelProvider(base_url=base_url).get_model)
