"""The SDK's ``LitellmModel`` on Ollama's own wire."""

from bench.contenders.sdk import SdkClient

TITLE = "LitellmModel ollama_chat/"
IMPORT = "from agents.extensions.models.litellm_model import LitellmModel"
NEEDS = ("litellm",)


def connect(base_url: str) -> SdkClient:
    """A client of LiteLLM's Ollama models."""
    from agents.extensions.models.litellm_model import LitellmModel  # noqa: PLC0415 - as it says

    return SdkClient(lambda name: LitellmModel(f"ollama_chat/{name}", base_url=base_url))
