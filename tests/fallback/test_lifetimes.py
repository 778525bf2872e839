"""Closing, copying, and many calls at once."""

import asyncio
import copy

import pytest
from agents.testing import ScriptedModel

from tests.fallback.chains import (
    agent,
    requests_of,
)
from timestep import (
    FallbackModel,
)


class Closing(ScriptedModel):
    def __init__(self, error=None):
        super().__init__([])
        self.closed = 0
        self.error = error

    async def close(self):
        self.closed += 1
        if self.error:
            raise self.error


async def test_closing_closes_every_model():
    models = {"a": Closing(), "b": Closing(RuntimeError("b")), "c": Closing()}

    with pytest.raises(RuntimeError, match="b"):
        await FallbackModel(models).close()

    assert [model.closed for model in models.values()] == [1, 1, 1]


def test_a_provider_with_a_chain_is_copied(provider):
    assert isinstance(copy.deepcopy(provider).get_model(None), FallbackModel)


async def test_a_hundred_calls_at_once_ask_the_broken_model_at_most_once_each(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy", times=None)
    second.reply("from b", times=None)
    shared = agent(provider)

    results = await asyncio.gather(*(run(shared) for _ in range(100)))

    assert {result.final_output for result in results} == {"from b"}
    assert requests_of(second) == 100
    assert requests_of(fake_ollama) <= 100
