"""timestep's model for chat completions on Ollama's ``/v1``."""

from bench.contenders.sdk import SdkClient

TITLE = 'timestep, `kind = "openai"`'
IMPORT = "from timestep import MultiModelProvider"
NEEDS = ("timestep",)


def connect(base_url: str) -> SdkClient:
    """Return a client of timestep's models for chat completions."""
    from timestep import MultiModelProvider  # noqa: PLC0415 - imported when it is measured

    table = {"kind": "openai", "base_url": f"{base_url}/v1"}
    provider = MultiModelProvider.from_env(providers={"v1": table})
    return SdkClient(lambda name: provider.get_model(f"v1/{name}"))
