"""Prefixes and aliases in code instead of in a configuration."""

import asyncio
import os

from agents import Agent, RunConfig, Runner

from timestep import MultiModelProvider, MultiModelProviderMap, OllamaModelProvider

provider_map = MultiModelProviderMap()
provider_map.add_provider("ollama", OllamaModelProvider(base_url=os.environ.get("OLLAMA_BASE_URL")))

provider = MultiModelProvider(
    provider_map=provider_map,
    openai_api_key=os.environ.get("OPENAI_API_KEY"),  # for names without a prefix
    aliases={"fast": "ollama/llama3.2"},
    default_model="fast",
)
run_config = RunConfig(model_provider=provider, tracing_disabled=True)


async def main() -> None:
    for model in ("fast", "ollama/qwen3:4b", None):
        agent = Agent(name="Greeter", model=model)
        result = await Runner.run(agent, "Say hello.", run_config=run_config)
        print(f"{model or 'default'}: {result.final_output}")
    await provider.aclose()


asyncio.run(main())
