"""One streamed answer: its text on stdout, the thinking before it dimmed on stderr."""

import asyncio
import logging

import click
from agents import Agent, RunConfig, Runner
from agents.items import TResponseStreamEvent
from openai.types.responses import (
    Response,
    ResponseFailedEvent,
    ResponseIncompleteEvent,
    ResponseReasoningSummaryTextDeltaEvent,
    ResponseReasoningTextDeltaEvent,
    ResponseRefusalDeltaEvent,
    ResponseTextDeltaEvent,
)

from timestep.cli.failures import explain
from timestep.cli.terminal import write_answer, write_aside
from timestep.registry import MultiModelProvider


def print_answer(
    prompt: str, provider: MultiModelProvider, *, model: str | None, instructions: str | None
) -> None:
    """Print the answer to *prompt* as it arrives.

    Args:
        prompt: What is asked.
        provider: Of the model; closed afterwards.
        model: Its name; None for the provider's default.
        instructions: What the model is told to be.

    Raises:
        ClickException: There is no answer; says why, and the next step.
    """
    # The SDK would log what is reported below.
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
    agent = Agent(name="timestep run", instructions=instructions, model=model)
    answer = _Answer()
    try:
        asyncio.run(_stream(agent, prompt, provider, answer))
        answer.end()
    except BrokenPipeError:
        raise  # whoever read the answer has enough
    except Exception as exc:  # providers of other packages raise what they like
        answer.end()
        raise click.ClickException(answer.problem or explain(exc)) from exc


class _Answer:
    """Prints what events add, and ends the lines it begins.

    Attributes:
        problem: Why the answer ended early, when it did.
    """

    def __init__(self) -> None:
        self.problem = ""
        self._thinks = False
        self._last = ""

    def show(self, event: TResponseStreamEvent) -> None:
        """Print what *event* adds to the text or the thinking."""
        match event:
            case ResponseTextDeltaEvent() | ResponseRefusalDeltaEvent():
                self._end_thinking()
                write_answer(event.delta)
                self._last = event.delta or self._last
            case ResponseReasoningTextDeltaEvent() | ResponseReasoningSummaryTextDeltaEvent():
                write_aside(event.delta)
                self._thinks = True
            case ResponseIncompleteEvent():
                self.problem = _why_cut(event.response)
            case ResponseFailedEvent():
                self.problem = event.response.error.message if event.response.error else ""
            case _:
                pass  # announces or repeats what the others bring

    def end(self) -> None:
        """End the line that was begun."""
        self._end_thinking()
        if self._last and not self._last.endswith("\n"):
            write_answer("\n")
        self._last = ""

    def _end_thinking(self) -> None:
        if self._thinks:
            write_aside("\n\n")
        self._thinks = False


def _why_cut(response: Response) -> str:
    details = response.incomplete_details
    if details is None or details.reason != "max_output_tokens":
        return f"The answer is not complete: {details.reason if details else 'no reason given'}."
    return (
        "The answer is not complete: the model came to its limit of tokens. For an Ollama model "
        "raise num_predict or num_ctx under [ollama.options]."
    )


async def _stream(agent: Agent, prompt: str, provider: MultiModelProvider, answer: _Answer) -> None:
    config = RunConfig(model_provider=provider, workflow_name="timestep run")
    result = Runner.run_streamed(agent, prompt, run_config=config)
    try:
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                answer.show(event.data)
    finally:
        result.cancel()
        await provider.aclose()
