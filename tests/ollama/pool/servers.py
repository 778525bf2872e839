"""Four servers used as one, and what they were asked."""

import asyncio

import httpx
from agents import (
    Agent,
    RunConfig,
    Runner,
)

from timestep import (
    OllamaModelProvider,
)
from timestep.ollama.model import OllamaModel
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire

QUIET = RunConfig(tracing_disabled=True)


def model_on(servers, clock):
    urls = [server.url for server in servers]
    endpoints = OllamaModelProvider(base_url=urls)._endpoints.pool
    return OllamaModel("m", Pool([Wire(each) for each in endpoints], clock=clock, first=0))


async def ask(model, asked="hi", **keywords):
    result = await Runner.run(Agent("a", model=model, **keywords), asked, run_config=QUIET)
    return result.final_output


def chats(servers):
    """How many chats each of the servers was asked for."""
    return [len(server.chats) for server in servers]


def looks(servers):
    """How often each was asked for its loaded models."""
    return [sum(r.path == "/api/ps" for r in server.requests) for server in servers]


def answer_all(servers, *args, **keywords):
    for server in servers:
        server.reply(*args, times=None, **keywords)


def load(server, name="m"):
    httpx.post(f"{server.url}/api/chat", json={"model": name, "messages": []})


def unload(server, name="m"):
    httpx.post(f"{server.url}/api/chat", json={"model": name, "messages": [], "keep_alive": 0})


async def ask_together(model, servers, stall, shares):
    """Ask new questions, and release *stall* when each of *servers* has its share of them."""
    asked = chats(servers)

    def release():
        for server, before, share in zip(servers, asked, shares, strict=False):
            server.wait_until(lambda server=server, now=before + share: len(server.chats) >= now)
        stall.release()

    asking = (ask(model, f"question {sum(asked) + number}") for number in range(sum(shares)))
    await asyncio.gather(asyncio.to_thread(release), *asking)
    assert [now - before for now, before in zip(chats(servers), asked, strict=True)] == shares
