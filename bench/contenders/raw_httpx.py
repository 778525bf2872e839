"""httpx's lines and json.loads: what the wire costs without any client."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from bench.asks import Ask, tool_result

TITLE = "httpx + json"
IMPORT = "import httpx"
NEEDS = ("httpx",)


class RawClient:
    """Asks with an ``httpx.AsyncClient``."""

    def __init__(self, http: Any) -> None:
        self._http = http

    async def stream(self, ask: Ask) -> AsyncGenerator[str]:
        """Each piece of text as it arrives, and each call's name."""
        body = _body(ask, ask.messages, stream=True)
        async with self._http.stream("POST", "/api/chat", content=body) as response:
            async for line in response.aiter_lines():
                message = json.loads(line)["message"]
                if message["content"]:
                    yield message["content"]
                for call in message.get("tool_calls", ()):
                    yield call["function"]["name"]

    async def whole(self, ask: Ask) -> str:
        """The whole answer: its text, and each call's name."""
        message = await self._message(ask, ask.messages)
        calls = "".join(call["function"]["name"] for call in message.get("tool_calls", ()))
        return str(message["content"]) + calls

    async def agent(self, ask: Ask, turns: int) -> str:
        """The final text of an agent that calls its tool on every turn but the last."""
        messages = [*ask.messages]
        for _ in range(turns):
            message = await self._message(ask, messages)
            if "tool_calls" not in message:
                return str(message["content"])
            messages.append(message)
            messages += [tool_result(call["function"]["name"]) for call in message["tool_calls"]]
        raise RuntimeError(f"{turns} turns were too few")

    async def _message(self, ask: Ask, messages: list[dict[str, Any]]) -> dict[str, Any]:
        body = _body(ask, messages, stream=False)
        response = await self._http.post("/api/chat", content=body)
        message: dict[str, Any] = json.loads(response.content)["message"]
        return message


def _body(ask: Ask, messages: list[dict[str, Any]], *, stream: bool) -> bytes:
    body: dict[str, Any] = {"model": ask.model, "messages": messages, "stream": stream}
    if ask.functions:
        body["tools"] = ask.functions
    return json.dumps(body).encode()


def connect(base_url: str) -> RawClient:
    """A client of the server at *base_url*."""
    import httpx  # noqa: PLC0415 - imported when it is measured

    return RawClient(httpx.AsyncClient(base_url=base_url, timeout=None))
