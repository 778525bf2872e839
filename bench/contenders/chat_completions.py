"""The SDK's own ``OpenAIChatCompletionsModel`` on Ollama's ``/v1``."""

from bench.contenders.sdk import SdkClient

TITLE = "OpenAIChatCompletionsModel on /v1"
IMPORT = "from agents import OpenAIChatCompletionsModel"
NEEDS = ("agents",)


def connect(base_url: str) -> SdkClient:
    """A client of the SDK's chat completions model."""
    from agents import OpenAIChatCompletionsModel  # noqa: PLC0415 - imported when it is measured
    from openai import AsyncOpenAI  # noqa: PLC0415 - as above

    client = AsyncOpenAI(base_url=f"{base_url}/v1", api_key="none")
    return SdkClient(lambda name: OpenAIChatCompletionsModel(name, client))
