"""What each way to use Ollama from the SDK sends, and makes of answers: ``python -m bench.adapters``.

Prints the table of docs/comparison.md. Every cell is observed here: requests as a server on loopback
received them, answers as they were recorded from Ollama v0.33.0-rc2 (``tests/wire``,
``bench/wire``) or scripted in its format. Nothing leaves this machine.
"""

import asyncio
import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from agents import (
    Agent,
    Model,
    ModelSettings,
    OpenAIChatCompletionsModel,
    RunConfig,
    Runner,
    function_tool,
)
from openai import AsyncOpenAI
from openai.types.shared import Reasoning
from pydantic import BaseModel

from timestep import MultiModelProvider, OllamaModelProvider
from timestep.testing import FakeOllama

_HERE = Path(__file__).parent
_RECORDED = _HERE.parent / "tests" / "wire"
_V1 = "/v1/chat/completions"
_KEYS = {"OLLAMA_API_KEY": "sk-ollama", "OPENAI_API_KEY": "sk-openai"}


class Place(BaseModel):
    """A type inside the arguments of a tool."""

    city: str


class Forecast(BaseModel):
    """The type of an answer."""

    city: str


@function_tool
def get_weather(place: Place) -> str:
    """Get the weather."""
    return f"sun in {place.city}"


_CALL = ("get_weather", {"place": {"city": "Oslo"}})


@dataclass
class Adapter:
    """One way from the SDK to Ollama.

    Attributes:
        title: The column's head.
        package: Has to be installed.
        model: Makes the model "m" of the server at a URL.
        is_v1: True when requests go to Ollama's OpenAI endpoint.
    """

    title: str
    package: str
    model: Callable[[str], Model]
    is_v1: bool = False

    def reply(
        self, server: FakeOllama, text: str = "", *, calls: int = 0, thinking: str = ""
    ) -> None:
        """Let *server* answer once, in the format of the endpoint."""
        if not self.is_v1:
            server.reply(text, thinking=thinking, tool_calls=[_CALL] * calls)
            return
        message: dict[str, Any] = {"role": "assistant", "content": text}
        if thinking:
            message["reasoning"] = thinking
        if calls:
            function = {"name": _CALL[0], "arguments": json.dumps(_CALL[1])}
            message["tool_calls"] = [
                {"id": f"call_{index}", "index": index, "type": "function", "function": function}
                for index in range(calls)
            ]
        choice = {
            "index": 0,
            "message": message,
            "finish_reason": "tool_calls" if calls else "stop",
        }
        completion = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
        body = json.dumps({**completion, "choices": [choice]})
        server.fail(200, body=body, headers={"Content-Type": "application/json"}, path=_V1)

    def replay(self, server: FakeOllama, v1: str, native: str) -> None:
        """Let *server* answer as recorded."""
        server.replay(_HERE / "wire" / f"{v1}.json" if self.is_v1 else _RECORDED / f"{native}.json")

    def ask(
        self, server: FakeOllama, prompt: Any = "Hi", *, stream: bool = False, **agent: Any
    ) -> Any:
        """The outcome of one run of an agent: its result, or the error."""
        return asyncio.run(_run(self.model(server.url), prompt, stream=stream, **agent))


async def _run(model: Model, prompt: Any, *, stream: bool, **agent: Any) -> Any:
    config = RunConfig(tracing_disabled=True)
    subject = Agent(name="a", model=model, **agent)
    try:
        if not stream:
            return await Runner.run(subject, prompt, run_config=config, max_turns=3)
        result = Runner.run_streamed(subject, prompt, run_config=config, max_turns=3)
        async for _ in result.stream_events():
            pass
    except Exception as exc:  # noqa: BLE001 - whatever an adapter raises is the observation
        return exc
    return result


def _litellm(url: str) -> Model:
    from agents.extensions.models.litellm_model import LitellmModel  # noqa: PLC0415 - optional

    return LitellmModel("ollama_chat/m", base_url=url)


def _any_llm(url: str) -> Model:
    from agents.extensions.models.any_llm_model import AnyLLMModel  # noqa: PLC0415 - optional

    return AnyLLMModel("ollama/m", base_url=url)


def _v1(url: str) -> Model:
    client = AsyncOpenAI(base_url=f"{url}/v1", api_key="ollama", max_retries=0)
    return OpenAIChatCompletionsModel("m", client)


def _timestep(url: str) -> Model:
    return OllamaModelProvider(base_url=url).get_model("m")


ADAPTERS = [
    Adapter("timestep", "timestep", _timestep),
    Adapter("`OpenAIChatCompletionsModel` on `/v1`", "openai", _v1, is_v1=True),
    Adapter("`LitellmModel`", "litellm", _litellm),
    Adapter("`AnyLLMModel`", "any_llm", _any_llm),
]


def _bodies(server: FakeOllama) -> list[Any]:
    return [r.json for r in server.requests if r.path in {"/api/chat", _V1}]


def _failed(outcome: Any) -> bool:
    return isinstance(outcome, Exception)


def thinking_in_the_tool_loop(adapter: Adapter, server: FakeOllama) -> str:
    """Thinking goes back with the calls it led to."""
    adapter.reply(server, calls=1, thinking="Hm.")
    adapter.reply(server, "ok")
    adapter.ask(server, tools=[get_weather])
    return "yes" if "Hm." in json.dumps(_bodies(server)[1]) else "no"


def tool_results(adapter: Adapter, server: FakeOllama) -> str:
    """Tool results carry."""
    adapter.reply(server, calls=2)
    adapter.reply(server, "ok")
    adapter.ask(server, tools=[get_weather])
    result = _bodies(server)[1]["messages"][-1]
    return ", ".join(name for name in ("tool_call_id", "tool_name") if name in result)


def nested_tool_schema(adapter: Adapter, server: FakeOllama) -> str:
    """A nested type in a tool's schema is sent as."""
    adapter.reply(server, "ok")
    adapter.ask(server, tools=[get_weather])
    place = _bodies(server)[0]["tools"][0]["function"]["parameters"]["properties"]["place"]
    if "$ref" in place:
        return "`$ref`, which Ollama drops"
    return "itself, inlined" if place.get("properties") else f"`{json.dumps(place)}`"


def choice_none(adapter: Adapter, server: FakeOllama) -> str:
    """`tool_choice="none"`."""
    adapter.reply(server, "ok")
    adapter.ask(server, tools=[get_weather], model_settings=ModelSettings(tool_choice="none"))
    return "tools sent all the same" if _bodies(server)[0].get("tools") else "no tools sent"


def choice_required(adapter: Adapter, server: FakeOllama) -> str:
    """`tool_choice="required"`, the model answers with text."""
    adapter.reply(server, "No.")
    if not adapter.is_v1:
        server.reply(json.dumps({"name": _CALL[0], "arguments": _CALL[1]}))
        server.reply("ok")
    adapter.ask(server, tools=[get_weather], model_settings=ModelSettings(tool_choice="required"))
    called = any(m["role"] == "tool" for body in _bodies(server) for m in body["messages"])
    return "asked again for a call, by schema" if called else "the text is the answer"


def output_with_tools(adapter: Adapter, server: FakeOllama) -> str:
    """`output_type` and tools together."""
    adapter.reply(server, calls=1)
    adapter.reply(server, '{"city": "Oslo"}')
    adapter.ask(server, tools=[get_weather], output_type=Forecast)
    first = _bodies(server)[0]
    both = first.get("tools") and ("format" in first or "response_format" in first)
    return "`format` beside the tools" if both else "tools first, the answer validated"


def num_ctx(adapter: Adapter, server: FakeOllama) -> str:
    """`num_ctx`."""
    ways = {"extra_body": {"options": {"num_ctx": 8192}}, "extra_args": {"num_ctx": 8192}}
    works: list[str] = []
    for name, value in ways.items():
        adapter.reply(server, "ok")
        seen = len(_bodies(server))
        adapter.ask(server, model_settings=ModelSettings(**{name: value}))
        sent = _bodies(server)[seen:]
        # /v1 has no place for options. Source: ollama openai/openai.go, ChatCompletionRequest.
        if sent and not adapter.is_v1 and sent[0].get("options", {}).get("num_ctx"):
            works.append(f"`{name}`")
    return ", ".join(works) or "not per request"


def long_prompt(adapter: Adapter, server: FakeOllama) -> str:
    """A prompt longer than the window."""
    adapter.replay(server, "v1-ctx-too-long-truncated", "ctx-text-one-long-truncate-false")
    outcome = adapter.ask(server, "word " * 15000)
    if _bodies(server)[0].get("truncate") is not False:
        return "the server's choice: cut without a word, or an error"
    return f"`{type(outcome).__name__}`"


def broken_off(adapter: Adapter, server: FakeOllama) -> str:
    """An error in the middle of a stream."""
    adapter.replay(server, "fail-v1-runner-killed-midstream", "fail-runner-killed-midstream")
    outcome = adapter.ask(server, stream=True)
    return "an error" if _failed(outcome) else "taken for the whole answer"


def no_end(adapter: Adapter, server: FakeOllama) -> str:
    """A stream that ends without its last line."""
    adapter.replay(server, "v1-repeat-guard-stream", "plain-tiny-repeat-stream")
    outcome = adapter.ask(server, stream=True)
    return "an error" if _failed(outcome) else "taken for the whole answer"


def effort(adapter: Adapter, server: FakeOllama) -> str:
    """`reasoning.effort="high"`, and `"xhigh"`."""
    sent: list[str] = []
    for level in ("high", "xhigh"):
        adapter.reply(server, "ok")
        settings = ModelSettings(reasoning=Reasoning(effort=level))
        adapter.ask(server, model_settings=settings)
        body = _bodies(server)[-1]
        name = "reasoning_effort" if adapter.is_v1 else "think"
        sent.append(f"`{json.dumps(body.get(name))}`")
    return f"`{name}`: {', '.join(sent)}"


def remote_image(adapter: Adapter, server: FakeOllama) -> str:
    """An image by URL."""
    adapter.reply(server, "ok")
    image = {"type": "input_image", "image_url": "http://127.0.0.1:9/x.png", "detail": "auto"}
    outcome = adapter.ask(server, [{"role": "user", "content": [image]}])
    bodies = json.dumps(_bodies(server))
    if "x.png" in bodies:
        return "the URL sent, which Ollama refuses"
    return (
        f"`{type(outcome).__name__}` with the way out" if _failed(outcome) else "dropped silently"
    )


def foreign_key(adapter: Adapter, server: FakeOllama) -> str:
    """Keys of the environment, sent to another host."""
    os.environ.update(_KEYS, OLLAMA_BASE_URL=server.url)
    adapter.reply(server, "ok")
    if adapter.title == "timestep":
        model = MultiModelProvider.from_env(env_file=None).get_model("ollama/m")
    elif adapter.is_v1:
        model = OpenAIChatCompletionsModel("m", AsyncOpenAI(base_url=f"{server.url}/v1"))
    else:
        model = adapter.model(server.url)
    asyncio.run(_run(model, "Hi", stream=False))
    for name in (*_KEYS, "OLLAMA_BASE_URL"):
        del os.environ[name]
    sent = {request.headers.get("authorization", "") for request in server.requests}
    leaked = [name for name, key in _KEYS.items() if f"Bearer {key}" in sent]
    return ", ".join(f"`{name}`" for name in leaked) or "none"


def stream_usage(adapter: Adapter, server: FakeOllama) -> str:
    """Usage of a stream, unless `include_usage` is set."""
    if adapter.is_v1:
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        text = {
            "index": 0,
            "delta": {"role": "assistant", "content": "ok"},
            "finish_reason": "stop",
        }
        body = f"data: {json.dumps({**chunk, 'choices': [text]})}\n\ndata: [DONE]\n\n"
        server.fail(200, body=body, headers={"Content-Type": "text/event-stream"}, path=_V1)
    else:
        server.reply("ok")
    usage = adapter.ask(server, stream=True).context_wrapper.usage
    return "counted" if usage.input_tokens else "0"


def second_loop(adapter: Adapter, server: FakeOllama) -> str:
    """One model in two `asyncio.run`."""
    model = adapter.model(server.url)
    outcomes: list[Any] = []
    for _ in range(2):
        adapter.reply(server, "ok")
        outcomes.append(asyncio.run(_run(model, "Hi", stream=False)))
    return f"`{outcomes[1]}`" if _failed(outcomes[1]) else "works"


ROWS = [
    thinking_in_the_tool_loop,
    tool_results,
    nested_tool_schema,
    choice_none,
    choice_required,
    output_with_tools,
    num_ctx,
    long_prompt,
    broken_off,
    no_end,
    effort,
    remote_image,
    foreign_key,
    stream_usage,
    second_loop,
]


def table(adapters: Sequence[Adapter]) -> str:
    """What was observed, as a markdown table."""
    lines = [["", *(adapter.title for adapter in adapters)], ["---"] * (len(adapters) + 1)]
    for row in ROWS:
        cells = [str(row.__doc__).rstrip(".")]
        for adapter in adapters:
            with FakeOllama(strict=False) as server:
                cells.append(row(adapter, server))
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Print the table, and the versions it holds for."""
    # LiteLLM fetches a price list when it is imported, unless it is told not to.
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")  # the peers' own
    stdout, sys.stdout = sys.stdout, sys.stderr  # LiteLLM prints where it likes
    present = [adapter for adapter in ADAPTERS if find_spec(adapter.package)]
    shown = table(present)
    names = [
        "openai-agents",
        "openai",
        *(a.package.replace("any_llm", "any-llm-sdk") for a in present[2:]),
    ]
    print(shown, "", ", ".join(f"{name} {version(name)}" for name in names), sep="\n", file=stdout)


if __name__ == "__main__":
    main()
