"""Temporal workflows and activities that the tests run. A sandbox imports this file once more."""

from datetime import timedelta

from agents import Agent, Runner
from temporalio import activity, workflow
from temporalio.contrib.workflow_streams import WorkflowStream
from temporalio.openai_agents.workflow import activity_as_tool

from tests.engines.tools import write
from timestep import MultiModelProvider, errors

ROOM = timedelta(seconds=60)


@activity.defn
async def note(step: int) -> str:
    """Write down that a step was done."""
    return write(step)


@activity.defn
async def fail_as(name: str) -> str:
    """Fail once with an error of timestep, as an activity that asks a model itself may."""
    if activity.info().attempt == 1:
        raise getattr(errors, name)("told")
    return "came back"


@workflow.defn
class Ask:
    @workflow.run
    async def run(self, model: str) -> str:
        return (await Runner.run(Agent("asked", model=model), "hi")).final_output


@workflow.defn
class Work:
    @workflow.run
    async def run(self, model: str) -> str:
        tool = activity_as_tool(note, start_to_close_timeout=ROOM)
        agent = Agent("worker", model=model, tools=[tool])
        return (await Runner.run(agent, "work", max_turns=20)).final_output


@workflow.defn
class Streamed:
    @workflow.init
    def __init__(self, model: str) -> None:
        self.stream = WorkflowStream()

    @workflow.run
    async def run(self, model: str) -> str:
        result = Runner.run_streamed(Agent("asked", model=model), "hi")
        text = ""
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type.endswith("text.delta"):
                text += f"<{event.data.delta}>"
        return f"{text} {result.final_output}"


@workflow.defn
class ReadsTheEnvironment:
    @workflow.run
    async def run(self) -> str:
        MultiModelProvider.from_env()
        return "unreachable"


@workflow.defn
class FailsAs:
    @workflow.run
    async def run(self, name: str) -> str:
        return await workflow.execute_activity(fail_as, name, start_to_close_timeout=ROOM)


@workflow.defn
class NeverEnds:
    @workflow.run
    async def run(self, model: str) -> str:
        tool = activity_as_tool(note, start_to_close_timeout=ROOM)
        agent = Agent("worker", model=model, tools=[tool])
        return (await Runner.run(agent, "work", max_turns=1)).final_output


WORKFLOWS = [Ask, Work, Streamed, ReadsTheEnvironment, FailsAs, NeverEnds]
ACTIVITIES = [note, fail_as]
