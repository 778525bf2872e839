"""Servers that die and come back under load."""

import asyncio
import random

import pytest
from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    Runner,
    function_tool,
    retry_policies,
)

from tests.ollama.pool.servers import (
    QUIET,
    answer_all,
    chats,
)
from timestep import (
    OllamaModelProvider,
)
from timestep.testing import Reply


class Bank:
    """A tool with an effect: it must be called once for each agent and step."""

    def __init__(self):
        self.paid = []

    def tool(self, owner):
        @function_tool(name_override="pay")
        def pay(step: int) -> str:
            """Pay a bill."""
            self.paid.append((owner, step))
            return f"paid {step}"

        return pay


STEPS = 3


def cashier(request):
    """Calls `pay` for every step that is not paid yet, then says who was served."""
    messages = request.json["messages"]
    done = sum(message["role"] == "tool" for message in messages)
    if done < STEPS:
        return Reply(tool_calls=[("pay", {"step": done})], delay=0.01)
    name = next(m["content"] for m in messages if m["role"] == "user")
    pieces = ["served ", name, " well"]
    return Reply("".join(pieces), pieces=pieces, delay=0.01, interval=0.005)


@pytest.mark.parametrize("seed", [1, 2])
async def test_servers_that_die_and_come_back_lose_nothing_and_do_nothing_twice(servers, seed):
    """64 agents with tools; at any time at least one of four servers is up."""
    answer_all(servers, cashier)
    provider = OllamaModelProvider(base_url=[server.url for server in servers])
    bank, chance, agents = Bank(), random.Random(seed), 64
    retry = ModelRetrySettings(
        max_retries=50,  # an answer that broke off in the middle is asked for again by the SDK
        policy=retry_policies.provider_suggested(),
        backoff={"initial_delay": 0.001, "max_delay": 0.01, "jitter": False},
    )

    async def work(number):
        name = f"agent {number}"
        agent = Agent(
            name,
            model=provider.get_model("m"),
            tools=[bank.tool(name)],
            model_settings=ModelSettings(retry=retry),
        )
        return await Runner.run(agent, name, run_config=QUIET)

    async def strike(working):
        down = []
        strikes = 0
        while not all(task.done() for task in working):
            strikes += 1
            if down and (len(down) == 3 or chance.random() < 0.5):
                await asyncio.to_thread(down.pop(chance.randrange(len(down))).accept)
            else:
                victim = chance.choice([s for s in servers if s not in down])
                await asyncio.to_thread(victim.refuse)
                down.append(victim)
            await asyncio.wait(working, timeout=0.01)
        for server in down:
            await asyncio.to_thread(server.accept)
        return strikes

    working = [asyncio.create_task(work(number)) for number in range(agents)]
    strikes = await strike(working)
    results = await asyncio.gather(*working)

    assert strikes > 5
    assert sum(chats(servers)) > agents * (STEPS + 1)  # some were struck in the middle
    assert [result.final_output for result in results] == [
        f"served agent {number} well" for number in range(agents)
    ]
    assert {len(result.raw_responses) for result in results} == {STEPS + 1}
    assert sorted(bank.paid) == sorted(
        (f"agent {number}", step) for number in range(agents) for step in range(STEPS)
    )
    hosts = provider.get_model("m")._source._hosts
    assert [host.in_flight for host in hosts] == [0, 0, 0, 0]
    assert sum(chat > agents // 8 for chat in chats(servers)) >= 2  # the work was shared
    await provider.aclose()
