"""timestep with its stock dependencies."""

import sys

from bench.contenders.sdk import SdkClient

TITLE = "timestep"
IMPORT = "from timestep import OllamaModelProvider"
NEEDS = ("timestep",)


def connect(base_url: str) -> SdkClient:
    """A client of timestep's Ollama models."""
    sys.modules["aiohttp"] = None  # type: ignore[assignment] # as if it was not installed
    from timestep import OllamaModelProvider  # noqa: PLC0415 - after the line above

    return SdkClient(OllamaModelProvider(base_url=base_url).get_model)
