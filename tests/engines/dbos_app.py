"""An agent on DBOS that can be killed: ``python -m tests.engines.dbos_app RECORDS ID MODEL``."""

import asyncio
import sys

from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    function_tool,
    set_tracing_disabled,
)
from dbos import DBOS, SetWorkflowID
from dbos_openai_agents import DBOSRunner

from tests.engines.tools import write
from timestep import MultiModelProvider, TimestepError
from timestep.engines.dbos import retry_policy

provider = MultiModelProvider.from_env()


@function_tool
@DBOS.step()
async def note(step: int) -> str:
    """Write down that a step was done."""
    return write(step)


@DBOS.workflow()
async def work(model: str) -> str:
    agent = Agent(
        "worker",
        model=provider.get_model(model),
        tools=[note],
        model_settings=ModelSettings(retry=ModelRetrySettings(max_retries=2, policy=retry_policy)),
    )
    return (await DBOSRunner.run(agent, "work", max_turns=20)).final_output


async def main(records, workflow_id, model):
    set_tracing_disabled(True)
    DBOS(
        config={
            "name": "timestep-tests",
            "system_database_url": records,
            "run_admin_server": False,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()  # a workflow that was cut short goes on here
    try:
        if await DBOS.get_workflow_status_async(workflow_id) is None:
            with SetWorkflowID(workflow_id):
                handle = await DBOS.start_workflow_async(work, model)
        else:
            handle = await DBOS.retrieve_workflow_async(workflow_id)
        told = await handle.get_result()
    except TimestepError as error:
        told = f"{type(error).__name__}: {error}"
    print(told)  # noqa: T201 - the test reads it
    DBOS.destroy()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
