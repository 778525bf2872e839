"""Who is asked, and how: the options, made into an agent and the configuration of its runs."""

from dataclasses import dataclass, replace
from typing import Any

import click
from agents import Agent, AgentOutputSchemaBase, Model, ModelSettings, RunConfig

from timestep.cli.agent.load import load_agent
from timestep.cli.agent.model_settings import parse_settings
from timestep.cli.agent.options import AgentOptions
from timestep.cli.context import Context
from timestep.config.settings import Settings
from timestep.registry import MultiModelProvider
from timestep.routing import chain


@dataclass(frozen=True)
class Asking:
    """An agent and the configuration of its runs.

    Attributes:
        agent: Who is asked.
        config: Of every run; its model is None for the agents' own.
        max_turns: How often the model may be asked for one answer.
        settings: Of the names of models.
        provider: Of the models.
    """

    agent: Agent[Any]
    config: RunConfig
    max_turns: int
    settings: Settings
    provider: MultiModelProvider

    def with_model(self, name: str) -> "Asking":
        """The same with the model *name* for every agent.

        Raises:
            UnknownModelError: Nobody knows it.
        """
        self.provider.get_model(name)
        return replace(self, config=replace(self.config, model=name))

    def model_of(self, agent: Agent[Any]) -> str:
        """The name of the model that answers for *agent*, aliases followed."""
        model = self.config.model or agent.model
        if isinstance(model, Model):
            return str(getattr(model, "model", type(model).__name__))
        names = chain(model, self.settings.aliases, self.settings.default_model)
        return names[0] if names else ""


def prepare(
    options: AgentOptions,
    context: Context,
    *,
    name: str,
    output: AgentOutputSchemaBase | None = None,
) -> Asking:
    """What *options* ask for.

    Args:
        options: What the command line says.
        context: The configuration.
        name: Of the command; also of an agent that has no other.
        output: The type of the answer, instead of the agent's own.

    Raises:
        ClickException: There is no such agent, model or setting; says the next step.
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
    # The server's own durations come with the usage where they are asked for.
    model_settings = ModelSettings(preserve_raw_usage=True).resolve(
        parse_settings(options.settings)
    )
    config = RunConfig(
        model=options.model,
        model_provider=provider,
        model_settings=model_settings,
        workflow_name=name,
        group_id=options.session,
    )
    return Asking(agent, config, options.max_turns, settings, provider)
