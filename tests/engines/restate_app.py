"""An agent on Restate that can be killed: ``python -m tests.engines.restate_app PORT``."""

import asyncio
import sys
from datetime import timedelta

import restate
from agents import Agent, Runner, set_tracing_disabled
from hypercorn.asyncio import serve
from hypercorn.config import Config
from restate.ext.openai import durable_function_tool, restate_context

from tests.engines.tools import write
from timestep import MultiModelProvider
from timestep.engines.restate import run_config

provider = MultiModelProvider.from_env()
worker = restate.Service("worker")
SOON = restate.RunOptions(initial_retry_interval=timedelta(milliseconds=200), max_attempts=3)
HOUR = timedelta(hours=1)
LATE = restate.RunOptions(initial_retry_interval=HOUR, max_retry_interval=HOUR, max_attempts=3)


@durable_function_tool
async def note(step: int) -> str:
    """Write down that a step was done; the first steps take longest."""
    await asyncio.sleep(0.3 / step)
    return await restate_context().run_typed("note", write, step=step)


@worker.handler()
async def work(ctx: restate.Context, model: str) -> str:
    return await answer(model, SOON)


@worker.handler()
async def wait(ctx: restate.Context, model: str) -> str:
    return await answer(model, LATE)


async def answer(model, options):
    agent = Agent("worker", model=model, tools=[note])
    config = run_config(provider, options=options)
    return (await Runner.run(agent, "work", max_turns=20, run_config=config)).final_output


def main(port):
    set_tracing_disabled(True)
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    asyncio.run(serve(restate.app([worker]), config))


if __name__ == "__main__":
    main(*sys.argv[1:])
