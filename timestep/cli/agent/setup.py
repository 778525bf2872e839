"""The options of a command, made into an agent and the configuration of its runs."""

import json
import logging
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import click
from agents import Agent, AgentOutputSchemaBase, Model, ModelSettings, RunConfig

from timestep.answer.model_settings import WrongSettingError, read_model_settings
from timestep.cli.agent.costs import Costs, price_of
from timestep.cli.context import Context
from timestep.cli.load import load_agent
from timestep.cli.sessions import LAST, last_session
from timestep.config.settings import Settings
from timestep.net.secrets import configured_keys
from timestep.registry import MultiModelProvider
from timestep.routing import split_prefix
from timestep.traces import install, uninstall
from timestep.traces.sdk_processors import use_only


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

    def price(self, costs: Costs, used: set[str]) -> None:
        """Look up what the calls of the models *used* cost, if it is one model of a known server."""
        name, read = self.model_of(self.agent), costs.input_tokens
        if costs.cost is None and read is not None and used == {split_prefix(name)[1]}:
            written = costs.output_tokens or 0
            costs.cost = price_of(name, self.settings, read, costs.cached_tokens, written)

    def model_of(self, agent: Agent[Any]) -> str:
        """Return the name of the model that answers for *agent*, with aliases resolved."""
        model = self.config.model or agent.model
        if isinstance(model, Model):
            return str(getattr(model, "model", type(model).__name__))
        names = self.settings.models_of(model)
        return names[0] if names else ""


def prepare(
    context: Context,
    *,
    name: str,
    reference: str | None,
    model: str | None,
    instructions: str | None,
    settings: Iterable[str] = (),
    session: str | None = None,
    goes_on: bool = False,
    max_turns: int = 10,
    output: AgentOutputSchemaBase | None = None,
) -> RunSetup:
    """Return what the options say. *name* is that of the command, and of an agent without one."""
    # The command reports itself what the SDK would log.
    logging.getLogger("openai.agents").setLevel(logging.CRITICAL)
    provider = context.build_provider()
    agent: Agent[Any] = load_agent(reference) if reference else Agent(name=name)
    if instructions is not None:
        agent = agent.clone(instructions=instructions)
    if output is not None:
        agent = agent.clone(output_type=output)
    if model is None and agent.model is None and context.settings.default_model is None:
        raise click.ClickException(
            "No model: name one with --model, as in --model ollama/llama3.2, or set "
            "TIMESTEP_DEFAULT_MODEL (default_model in timestep.toml)."
        )
    if goes_on and session is not None:
        raise click.UsageError("Choose --continue or --session, not both.")
    session = last_session() if goes_on else session
    config = RunConfig(
        model=model,
        model_provider=provider,
        # Raw usage holds the server's own durations.
        model_settings=ModelSettings(preserve_raw_usage=True).resolve(parse_settings(settings)),
        workflow_name=name,
        # Conversations without a name share one session, one after the other: their runs do not belong together.
        group_id=None if session == LAST else session,
    )
    return RunSetup(agent, config, max_turns, context.settings, provider, session)


@contextmanager
def recorded(settings: Settings) -> Generator[None]:
    """Record the runs of the block, if ``[traces]`` says so.

    The SDK's exporter, which sends traces to OpenAI if it finds a key, is removed either way.
    """
    traces = settings.traces
    if not traces.enabled:
        use_only([])
        yield
        return
    install(
        traces.file,
        retention_days=traces.retention or None,
        redact=traces.redact,
        secrets=configured_keys(settings),
        otlp=traces.otlp,
    )
    try:
        yield
    finally:
        uninstall()


def parse_settings(pairs: Iterable[str]) -> ModelSettings:
    """Return the settings in *pairs* of ``NAME=VALUE``; dots lead into a setting."""
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--set {pair}: write NAME=VALUE, as in temperature=0.2.")
        _put(given, name.strip(), text)
    # One by one: a value stays text only if its setting takes no other type.
    return ModelSettings(**{name: _typed(name, value) for name, value in given.items()})


def _put(given: dict[str, Any], name: str, text: str) -> None:
    first, *below = name.split(".")
    table, key = given, first
    for step in below:
        inner = table.setdefault(key, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"--set {name}: {key} is set to a value already.")
        table, key = cast("dict[str, Any]", inner), step
    table[key] = text


def _typed(name: str, value: Any) -> Any:
    try:
        settings = read_model_settings({name: _from_json(value)})
    except WrongSettingError:
        try:
            settings = read_model_settings({name: value})
        except WrongSettingError as exc:
            raise click.UsageError(f"--set {exc.path}: {exc}") from exc
    return getattr(settings, name)


def _from_json(value: Any) -> Any:
    """Return *value* with every string that is JSON parsed: numbers, true, lists, objects."""
    if isinstance(value, dict):
        return {key: _from_json(below) for key, below in cast("dict[str, Any]", value).items()}
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
