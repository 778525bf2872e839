"""A model of the Agents SDK as a `Client`; what the contenders with such a model share."""

from collections.abc import AsyncGenerator, Callable
from functools import cache
from typing import Any

from agents import Agent, Model, ModelSettings, ModelTracing, RunConfig, Runner

from bench.asks import Ask

_SETTINGS = ModelSettings()
_OFF = ModelTracing.DISABLED


class SdkClient:
    """Asks models of the Agents SDK directly, and agents through the Runner.

    Args:
        model: The model for a name of `bench.answers`.
    """

    def __init__(self, model: Callable[[str], Model]) -> None:
        self._model = cache(model)

    async def stream(self, ask: Ask) -> AsyncGenerator[str]:
        """Each piece of text as it arrives, and each call's name."""
        stream = self._model(ask.model).stream_response(*self._arguments(ask), **_NO_STATE)
        async for event in stream:
            if event.type == "response.output_text.delta":
                yield event.delta
            elif event.type == "response.output_item.done" and event.item.type == "function_call":
                yield event.item.name

    async def whole(self, ask: Ask) -> str:
        """The whole answer: its text, and each call's name."""
        answered = await self._model(ask.model).get_response(*self._arguments(ask), **_NO_STATE)
        texts: list[str] = []
        for item in answered.output:
            if item.type == "message":
                texts += [part.text for part in item.content if part.type == "output_text"]
            elif item.type == "function_call":
                texts.append(item.name)
        return "".join(texts)

    async def agent(self, ask: Ask, turns: int) -> str:
        """The final text of an agent that calls its tool on every turn but the last."""
        agent = Agent(name="bench", model=self._model(ask.model), tools=[*ask.sdk_tools])
        config = RunConfig(tracing_disabled=True)
        result = await Runner.run(agent, ask.sdk_items, max_turns=turns, run_config=config)
        return str(result.final_output)

    def _arguments(self, ask: Ask) -> tuple[Any, ...]:
        return (None, ask.sdk_items, _SETTINGS, ask.sdk_tools, None, [], _OFF)


_NO_STATE: Any = {"previous_response_id": None, "conversation_id": None, "prompt": None}
