"""A worker of Temporal that can be killed: ``python -m tests.engines.temporal_worker ADDRESS QUEUE``."""

import asyncio
import sys
from datetime import timedelta

from temporalio.client import Client
from temporalio.openai_agents import ModelActivityParameters, OpenAIAgentsPlugin
from temporalio.worker import Worker

from tests.engines.workflows import ACTIVITIES, ROOM, WORKFLOWS
from timestep import MultiModelProvider
from timestep.engines.temporal import TimestepPlugin


async def connect(address, provider):
    params = ModelActivityParameters(
        start_to_close_timeout=ROOM,
        heartbeat_timeout=timedelta(seconds=4),
        streaming_topic="events",
    )
    plugins = [
        OpenAIAgentsPlugin(model_provider=provider, model_params=params),
        TimestepPlugin(),
    ]
    return await Client.connect(address, plugins=plugins)


def worker(client, queue):
    return Worker(client, task_queue=queue, workflows=WORKFLOWS, activities=ACTIVITIES)


async def main(address, queue):
    await worker(await connect(address, MultiModelProvider.from_env()), queue).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
