"""aiohttp's bytes and json.loads: the least that Python pays for the wire."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from bench.asks import Ask, tool_result

TITLE = "aiohttp + json"
IMPORT = "import aiohttp"
NEEDS = ("aiohttp",)


class RawClient:
    """Asks with an ``aiohttp.ClientSession``, made with the first question."""

    def __init__(self, base_url: str) -> None:
        self._url = f"{base_url}/api/chat"
        self._session: Any = None

    async def stream(self, ask: Ask) -> AsyncGenerator[str]:
        """Yield each piece of text as it arrives, and each call's name."""
        rest = b""
        async with self._post(ask, ask.messages, stream=True) as response:
            async for data in response.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message = json.loads(line)["message"]
                    if message["content"]:
                        yield message["content"]
                    for call in message.get("tool_calls", ()):
                        yield call["function"]["name"]

    async def whole(self, ask: Ask) -> str:
        """Return the whole answer: its text, and each call's name."""
        message = await self._message(ask, ask.messages)
        calls = "".join(call["function"]["name"] for call in message.get("tool_calls", ()))
        return str(message["content"]) + calls

    async def agent(self, ask: Ask, turns: int) -> str:
        """Return the final text of an agent that calls its tool on every turn but the last."""
        messages = [*ask.messages]
        for _ in range(turns):
            message = await self._message(ask, messages)
            if "tool_calls" not in message:
                return str(message["content"])
            messages.append(message)
            messages += [tool_result(call["function"]["name"]) for call in message["tool_calls"]]
        raise RuntimeError(f"{turns} turns were too few")

    async def _message(self, ask: Ask, messages: list[dict[str, Any]]) -> dict[str, Any]:
        async with self._post(ask, messages, stream=False) as response:
            message: dict[str, Any] = json.loads(await response.read())["message"]
        return message

    def _post(self, ask: Ask, messages: list[dict[str, Any]], *, stream: bool) -> Any:
        import aiohttp  # noqa: PLC0415 - imported when it is measured

        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0)
            timeout = aiohttp.ClientTimeout()
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        body: dict[str, Any] = {"model": ask.model, "messages": messages, "stream": stream}
        if ask.functions:
            body["tools"] = ask.functions
        return self._session.post(self._url, data=json.dumps(body).encode())


def connect(base_url: str) -> RawClient:
    """Return a client of the server at *base_url*."""
    return RawClient(base_url)
