"""Asks a gateway's model for calls that may be half, and prints what became of each, as JSON.

A program of its own, because LiteLLM and any-llm change the process that imports them.
"""

import asyncio
import json
import sys

from agents import Agent, RunConfig, Runner, function_tool

from timestep import MultiModelProvider, Settings
from timestep.testing import FakeOpenAI

ENDS = {
    "empty, length": ("", "length"),
    "cut, length": ('{"amount": 5', "length"),
    "whole, length": ('{"amount": 5}', "length"),
    "empty, content_filter": ("", "content_filter"),
    "empty, error": ("", "error"),
    "cut, no end": ('{"amount": 5', None),
    "cut": ('{"amount": 5', "tool_calls"),
    "empty": ("", "tool_calls"),
    "whole": ('{"amount": 5}', "tool_calls"),
    "empty, no end": ("", None),
}


async def outcome(kind, model, arguments, reason, *, is_streamed):
    """Return the class of the error, or what the tool was run with."""
    paid = []

    @function_tool
    def pay(amount: int = 100) -> str:
        """Pay an amount."""
        paid.append(amount)
        return "paid"

    with FakeOpenAI(strict=False) as server:
        function = {"name": "pay", "arguments": arguments}
        call = {"id": "call_1", "type": "function", "function": function}
        server.reply(tool_calls=[call], finish_reason=reason)
        server.reply("done")
        table = {"kind": kind, "base_url": server.base_url, "api_key": "k"}
        provider = MultiModelProvider.from_settings(Settings(providers={"g": table}))
        agent = Agent(name="a", model=f"g/{model}", tools=[pay])
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        try:
            if is_streamed:
                run = Runner.run_streamed(agent, "pay", run_config=config)
                async for _ in run.stream_events():
                    pass
            else:
                await Runner.run(agent, "pay", run_config=config)
        except Exception as exc:  # noqa: BLE001 - every vendor's package has its own
            return " ".join([type(exc).__name__, *map(str, paid)])
        return f"paid {paid}"


async def main(kind, model, how):
    found = {
        name: await outcome(kind, model, *end, is_streamed=how == "streamed")
        for name, end in ENDS.items()
    }
    sys.stdout.write(json.dumps(found))


asyncio.run(main(*sys.argv[1:]))
