"""A chat in the terminal, streamed.

python examples/chat.py
"""

import asyncio
import sys

from agents import Agent, Runner
from openai.types.responses import ResponseTextDeltaEvent
from providers import MODEL, run_config


async def main() -> None:
    agent = Agent(name="Assistant", instructions="Answer in one sentence.", model=MODEL)
    conversation = []
    for line in sys.stdin:
        conversation.append({"role": "user", "content": line})
        result = Runner.run_streamed(agent, conversation, run_config=run_config)
        async for event in result.stream_events():
            if event.type == "raw_response_event" and isinstance(
                event.data, ResponseTextDeltaEvent
            ):
                print(event.data.delta, end="", flush=True)
        print()
        conversation = result.to_input_list()


asyncio.run(main())
