"""Whatever goes wrong, wherever, a run ends in the documented class or a complete answer."""

import asyncio
from dataclasses import dataclass

import pytest
from agents import (
    Agent,
    ModelBehaviorError,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    Runner,
    retry_policies,
    set_trace_processors,
)

from tests.ollama.faults import CASES, SILENCE_SECONDS, TEXT, Case, Point
from tests.spans import Spans
from timestep import OllamaModelProvider, OllamaTimeoutError
from timestep.testing import FakeOllama


@dataclass(frozen=True)
class Mode:
    is_streamed: bool
    retries: bool

    def __str__(self):
        return f"{'streamed' if self.is_streamed else 'whole'}{', repeated' * self.retries}"


MODES = [Mode(is_streamed, retries) for is_streamed in (False, True) for retries in (False, True)]


class Recorder(Spans):
    """The generation spans of every run, by the run's name."""

    def __init__(self):
        self.names, self.spans, self.open = {}, {}, set()

    def on_trace_start(self, trace):
        self.names[trace.trace_id] = trace.name

    def on_span_start(self, span):
        self.open.add(span.span_id)

    def on_span_end(self, span):
        self.open.discard(span.span_id)
        if span.span_data.type == "generation":
            self.spans.setdefault(self.names[span.trace_id], []).append(span.export())


@pytest.fixture
def recorder():
    recorder = Recorder()
    set_trace_processors([recorder])
    yield recorder
    set_trace_processors([])


@dataclass
class Ended:
    """How a run ended, and what it showed before."""

    usage: object = None
    output: str | None = None
    error: Exception | None = None
    shown: str = ""
    failed: object = None


async def run(agent, mode, config):
    ended = Ended()
    try:
        if mode.is_streamed:
            result = Runner.run_streamed(agent, "hi", run_config=config)
            async for event in result.stream_events():
                if event.type == "raw_response_event":
                    if event.data.type == "response.output_text.delta":
                        ended.shown += event.data.delta
                    elif event.data.type == "response.failed":
                        ended.failed = event.data.response
        else:
            result = await Runner.run(agent, "hi", run_config=config)
        ended.output, ended.usage = result.final_output, result.context_wrapper.usage
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is looked at
        ended.error, ended.usage = exc, exc.run_data.context_wrapper.usage
    return ended


def retrying(fake, case):
    suggested = retry_policies.provider_suggested()

    async def policy(context):
        if case.is_down:
            await asyncio.to_thread(fake.accept)
        return suggested(context)

    backoff = {"initial_delay": 0.0, "max_delay": 0.0, "jitter": False}
    return ModelSettings(retry=ModelRetrySettings(max_retries=1, policy=policy, backoff=backoff))


async def check(case: Case, mode: Mode, recorder: Recorder):
    silence = SILENCE_SECONDS if case.error is OllamaTimeoutError else 60.0
    first_byte = silence if case.point is Point.HEADERS else 60.0
    with FakeOllama() as fake:
        case.play(fake)
        fake.reply(TEXT, times=None, eval_count=7)
        provider = OllamaModelProvider(
            base_url=fake.url, timeout={"first_byte": first_byte, "idle": silence}
        )
        settings = retrying(fake, case) if mode.retries else ModelSettings()
        agent = Agent("a", model="m", model_settings=settings)
        config = RunConfig(model_provider=provider, workflow_name=str(mode))
        ended = await run(agent, mode, config)

        wanted = case.ends_in(is_streamed=mode.is_streamed, retries=mode.retries)
        requests = 2 if wanted is None else 1
        assert type(ended.error) is (wanted or type(None))
        assert len(fake.chats) == requests - (case.is_down)
        if case.leaves:
            await fake.disconnected()  # while the provider is open: the run did not close it
        if not ended.error:
            assert ended.output == TEXT
            assert (ended.usage.input_tokens, ended.usage.output_tokens) == (26, 7)
            assert ended.usage.requests == requests
        else:
            assert ended.usage.output_tokens == 0
        if wanted is ModelBehaviorError:
            assert ended.shown == case.shown
            assert ended.failed.output[0].content[0].text == case.shown
            assert ended.failed.error.message
        elif mode.is_streamed:
            assert ended.shown == (ended.output or "")
        await provider.aclose()
        await asyncio.to_thread(fake.wait_until, lambda: not fake.open_connections)
        check_spans(recorder.spans[str(mode)], case, ended)


def check_spans(spans, case, ended):
    """One span for every attempt: with its error, or with its answer."""
    *failed, last = spans if not ended.error else [*spans, None]
    assert failed
    for span in failed:
        assert case.error.__name__ in span["error"]["data"]["error"]
        assert span["ended_at"]
    if last is not None:
        assert last["error"] is None
        assert last["span_data"]["usage"]["output_tokens"] == 7
    if isinstance(ended.error, ModelBehaviorError) and case.shown and ended.failed:
        assert failed[-1]["span_data"]["output"][0]["content"][0]["text"] == case.shown


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_a_run_ends_as_documented(case, recorder):
    async with asyncio.TaskGroup() as modes:
        for mode in MODES:
            modes.create_task(check(case, mode, recorder), name=str(mode))

    assert not recorder.open
