"""A run that stops before its first model call, and shows what the model would have read."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import click
from agents import Agent, Model, RunConfig, Runner, set_trace_processors
from agents.items import ModelResponse, TResponseStreamEvent

from timestep.cli.agent.load import load_agent
from timestep.cli.context import Context
from timestep.cli.errors import explain
from timestep.cli.streams import foreign_code
from timestep.ollama.model import OllamaModel
from timestep.ollama.render import RenderedPrompt
from timestep.registry import MultiModelProvider


def render_prompt(
    context: Context,
    prompt: str,
    *,
    reference: str | None,
    model: str | None,
    instructions: str | None,
) -> tuple[str, RenderedPrompt]:
    """The name of the model, and what it would read.

    The Runner prepares everything as in a real run: instructions, tools, handoffs, output type.
    Input guardrails do not run.

    Args:
        context: The configuration.
        prompt: The user's input.
        reference: Of an agent; None for a plain one.
        model: Instead of the agent's own.
        instructions: Instead of the agent's own.

    Raises:
        ClickException: There is no prompt; says why, and the next step.
    """
    settings, provider = context.settings, context.build_provider()
    set_trace_processors([])
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
    agent: Agent[Any] = load_agent(reference) if reference else Agent(name="timestep render")
    agent = agent.clone(input_guardrails=[])
    if instructions is not None:
        agent.instructions = instructions
    chosen = model or agent.model
    if chosen is None and settings.default_model is None:
        raise click.ClickException(
            "No model: name one with --model, as in --model ollama/llama3.2, or set "
            "TIMESTEP_DEFAULT_MODEL (default_model in timestep.toml)."
        )
    try:
        found = _ollama_model(chosen, provider)
        with foreign_code():
            return found.model, asyncio.run(_render(agent, prompt, found, provider))
    except click.ClickException:
        raise
    except Exception as exc:  # the agent's own code raises what it likes
        raise click.ClickException(explain(exc)) from exc


def _ollama_model(chosen: str | Model | None, provider: MultiModelProvider) -> OllamaModel:
    found = chosen if isinstance(chosen, Model) else provider.get_model(chosen)
    if isinstance(found, OllamaModel):
        return found
    raise click.ClickException(
        f"{type(found).__name__} does not show its prompts; only Ollama servers do. Name one of "
        "their models with --model ollama/NAME."
    )


async def _render(
    agent: Agent[Any], prompt: str, model: OllamaModel, provider: MultiModelProvider
) -> RenderedPrompt:
    show = _Show(model)
    try:
        await Runner.run(agent, prompt, run_config=RunConfig(model=show, tracing_disabled=True))
    except _Shown as shown:
        return shown.prompt
    finally:
        await provider.aclose()
    raise click.ClickException("The agent ended its run without asking the model.")


class _Shown(Exception):  # noqa: N818 - no error: the way out of a run
    def __init__(self, prompt: RenderedPrompt) -> None:
        super().__init__()
        self.prompt = prompt


class _Show(Model):
    """Stands in for *model*; every call ends in `_Shown`."""

    def __init__(self, model: OllamaModel) -> None:
        self._model = model

    async def get_response(self, *args: Any, **keywords: Any) -> ModelResponse:
        """Never a response.

        Raises:
            _Shown: With the prompt.
        """
        raise _Shown(await self._model.render(*args, **keywords))

    def stream_response(self, *args: Any, **keywords: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Refused: the run does not stream."""
        raise NotImplementedError
