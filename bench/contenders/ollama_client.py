"""The bare ``ollama`` client without any Agents SDK: what every ratio refers to."""

from collections.abc import AsyncGenerator
from typing import Any

from bench.asks import Ask, tool_result

TITLE = "ollama.AsyncClient"
IMPORT = "import ollama"
NEEDS = ("ollama",)


class BareClient:
    """Asks through ``AsyncClient.chat``."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def stream(self, ask: Ask) -> AsyncGenerator[str]:
        """Each piece of text as it arrives, and each call's name."""
        parts = await self._client.chat(
            ask.model, ask.messages, tools=ask.functions or None, stream=True
        )
        async for part in parts:
            message = part.message
            if message.content:
                yield message.content
            for call in message.tool_calls or ():
                yield call.function.name

    async def whole(self, ask: Ask) -> str:
        """The whole answer: its text, and each call's name."""
        message = await self._message(ask, ask.messages)
        calls = "".join(call.function.name for call in message.tool_calls or ())
        return (message.content or "") + calls

    async def agent(self, ask: Ask, turns: int) -> str:
        """The final text of an agent that calls its tool on every turn but the last."""
        messages: list[Any] = [*ask.messages]
        for _ in range(turns):
            message = await self._message(ask, messages)
            if not message.tool_calls:
                return message.content or ""
            messages.append(message)
            messages += [tool_result(call.function.name) for call in message.tool_calls]
        raise RuntimeError(f"{turns} turns were too few")

    async def _message(self, ask: Ask, messages: list[Any]) -> Any:
        answer = await self._client.chat(ask.model, messages, tools=ask.functions or None)
        return answer.message


def connect(base_url: str) -> BareClient:
    """A client of the server at *base_url*."""
    from ollama import AsyncClient  # noqa: PLC0415 - imported when it is measured

    return BareClient(AsyncClient(base_url))
