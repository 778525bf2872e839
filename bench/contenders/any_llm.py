"""The SDK's ``AnyLLMModel`` on Ollama's own wire."""

from bench.contenders.sdk import SdkClient

TITLE = "AnyLLMModel ollama/"
IMPORT = "from agents.extensions.models.any_llm_model import AnyLLMModel"
NEEDS = ("any_llm",)


def connect(base_url: str) -> SdkClient:
    """A client of any-llm's Ollama models."""
    from agents.extensions.models.any_llm_model import AnyLLMModel  # noqa: PLC0415 - as it says

    return SdkClient(lambda name: AnyLLMModel(f"ollama/{name}", base_url=base_url))
