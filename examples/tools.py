"""An agent with a tool, step by step.

python examples/tools.py "What is the weather in Oslo?"
"""

import asyncio
import sys

from agents import Agent, ItemHelpers, Runner, function_tool
from providers import MODEL, run_config


@function_tool
def get_weather(city: str) -> str:
    """Get the weather in a city."""
    return f"18 degrees and cloudy in {city}"


async def main() -> None:
    question = sys.argv[1] if len(sys.argv) > 1 else "What is the weather in Oslo and in Rome?"
    agent = Agent(name="Guide", model=MODEL, tools=[get_weather])
    result = Runner.run_streamed(agent, question, run_config=run_config)
    async for event in result.stream_events():
        if event.type != "run_item_stream_event":
            continue
        item = event.item
        if item.type == "tool_call_item":
            print(f"calls   {item.raw_item.name}({item.raw_item.arguments})")
        elif item.type == "tool_call_output_item":
            print(f"gets    {item.output}")
        elif item.type == "message_output_item":
            print(f"answers {ItemHelpers.text_message_output(item)}")


asyncio.run(main())
