"""The options of a command, made into an agent and the configuration of its runs."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import click
from agents import Agent, AgentOutputSchemaBase, Model, ModelSettings, RunConfig

from timestep.cli.agent.costs import Costs
from timestep.cli.agent.load import load_agent
from timestep.cli.agent.model_settings import parse_settings
from timestep.cli.agent.options import AgentOptions
from timestep.cli.context import Context
from timestep.cli.sessions import LAST
from timestep.config.settings import Settings
from timestep.registry import MultiModelProvider
from timestep.routing import split_prefix


@dataclass(frozen=True)
class RunSetup:
    """An agent and everything its runs need."""

    agent: Agent[Any]
    # The SDK's configuration of every run. Its model is None to use the agents' own.
    config: RunConfig
    max_turns: int
    settings: Settings
    provider: MultiModelProvider
    session: str | None  # the name of the conversation to continue; None for a new one

    def with_model(self, name: str) -> "RunSetup":
        """Return a copy in which every agent uses the model *name*.

        Raises:
            UnknownModelError: No provider has the prefix of *name*.
        """
        self.provider.get_model(name)
        return replace(self, config=replace(self.config, model=name))

    def price(self, costs: Costs, used: Collection[str]) -> None:
        """Look up what the calls of the models *used* cost, if it is one model of a known server."""
        name = self.model_of(self.agent)
        if set(used) == {split_prefix(name)[1]}:
            costs.price(name, self.settings)

    def model_of(self, agent: Agent[Any]) -> str:
        """Return the name of the model that answers for *agent*, with aliases resolved."""
        model = self.config.model or agent.model
        if isinstance(model, Model):
            return str(getattr(model, "model", type(model).__name__))
        names = self.settings.models_of(model)
        return names[0] if names else ""


def prepare(
    options: AgentOptions,
    context: Context,
    *,
    name: str,
    output: AgentOutputSchemaBase | None = None,
) -> RunSetup:
    """Return what *options* describe.

    *name* is that of the command, and of the agent if no agent is named.
    """
    settings, provider = context.settings, context.build_provider()
    agent: Agent[Any] = load_agent(options.reference) if options.reference else Agent(name=name)
    if options.instructions is not None:
        agent = agent.clone(instructions=options.instructions)
    if output is not None:
        agent = agent.clone(output_type=output)
    if options.model is None and agent.model is None and settings.default_model is None:
        raise click.ClickException(
            "No model: name one with --model, as in --model ollama/llama3.2, or set "
            "TIMESTEP_DEFAULT_MODEL (default_model in timestep.toml)."
        )
    # Raw usage holds the server's own durations.
    model_settings = ModelSettings(preserve_raw_usage=True).resolve(
        parse_settings(options.settings)
    )
    config = RunConfig(
        model=options.model,
        model_provider=provider,
        model_settings=model_settings,
        workflow_name=name,
        # Conversations without a name take turns at one session, so that is no group.
        group_id=None if options.conversation == LAST else options.conversation,
    )
    return RunSetup(agent, config, options.max_turns, settings, provider, options.conversation)
