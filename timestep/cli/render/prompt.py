"""Renders a prompt: runs an agent up to its first model call and keeps what it would send."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import click
from agents import Agent, Model, RunConfig, Runner
from agents.items import ModelResponse, TResponseStreamEvent

from timestep.cli.agent.setup import prepare
from timestep.cli.context import Context
from timestep.cli.errors import explain
from timestep.cli.streams import foreign_code
from timestep.ollama.model import OllamaModel
from timestep.ollama.render import RenderedPrompt
from timestep.registry import MultiModelProvider
from timestep.traces.sdk_processors import use_only


def render_prompt(
    context: Context,
    prompt: str,
    reference: str | None,
    model: str | None,
    instructions: str | None,
) -> tuple[str, RenderedPrompt]:
    """Return the name of the model and the prompt that it would read.

    The Runner prepares the request as in a real run: instructions, tools, handoffs, output type.
    Input guardrails do not run.
    """
    use_only([])
    setup = prepare(
        context,
        name="timestep render",
        reference=reference,
        model=model,
        instructions=instructions,
    )
    agent = setup.agent.clone(input_guardrails=[])
    try:
        found = _ollama_model(model or agent.model, setup.provider)
        with foreign_code():
            return found.model, asyncio.run(_render(agent, prompt, found, setup.provider))
    except click.ClickException:
        raise
    except Exception as exc:  # the agent's own code raises anything
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


class _Shown(Exception):  # noqa: N818 - not an error: it ends the run
    def __init__(self, prompt: RenderedPrompt) -> None:
        super().__init__()
        self.prompt = prompt


class _Show(Model):
    """Stands in for *model*; every call ends in `_Shown`."""

    def __init__(self, model: OllamaModel) -> None:
        self._model = model

    async def get_response(self, *args: Any, **keywords: Any) -> ModelResponse:
        """Stop the run."""
        raise _Shown(await self._model.render(*args, **keywords))

    def stream_response(self, *args: Any, **keywords: Any) -> AsyncIterator[TResponseStreamEvent]:
        """Not used: the run does not stream."""
        raise NotImplementedError
