"""Ollama alone, without prefixes and without configuration files."""

import asyncio
import os

from agents import Agent, RunConfig, Runner
from openai.types.responses import ResponseTextDeltaEvent

from timestep import OllamaModelProvider

# Without arguments: localhost:11434, and https://ollama.com for names such as gpt-oss:120b-cloud,
# which need the key.
provider = OllamaModelProvider(
    api_key=os.environ.get("OLLAMA_API_KEY"),
    base_url=os.environ.get("OLLAMA_BASE_URL"),
    options={"num_ctx": 8192},
)
run_config = RunConfig(model_provider=provider, tracing_disabled=True)


async def main() -> None:
    agent = Agent(name="Poet", model=os.environ.get("OLLAMA_MODEL", "llama3.2"))
    result = Runner.run_streamed(agent, "Write a haiku about clocks.", run_config=run_config)
    async for event in result.stream_events():
        if event.type == "raw_response_event" and isinstance(event.data, ResponseTextDeltaEvent):
            print(event.data.delta, end="", flush=True)
    print()


asyncio.run(main())
