"""What every command shares: the options that name the configuration, and what they lead to."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.registry import MultiModelProvider


class ConfigurationProblem(click.ClickException):
    """The configuration cannot be used. Exits with 2, as wrong options do."""

    exit_code = 2


@dataclass(frozen=True)
class Context:
    """The options shared by commands. Nothing is read until it is needed.

    Attributes:
        config_file: The value of ``--config``.
        env_file: The value of ``--env-file``.
        trace_file: The value of ``traces --file``.
    """

    config_file: str | None = None
    env_file: str = ".env"
    trace_file: Path | None = None

    @cached_property
    def settings(self) -> "Settings":
        """The settings of this directory and environment, loaded without importing the SDK.

        Raises:
            ConfigurationProblem: The settings are wrong.
        """
        from timestep.config.settings import load_settings

        try:
            return load_settings(env_file=self.env_file, config_file=self.config_file)
        except Exception as exc:
            # The class takes a second to import; only a failure pays for it.
            from timestep.errors import ConfigurationError

            if isinstance(exc, ConfigurationError):
                raise ConfigurationProblem(str(exc)) from exc
            raise

    def build_provider(self) -> "MultiModelProvider":
        """Return a new provider for the settings.

        Raises:
            ConfigurationProblem: The settings are wrong.
        """
        from timestep.errors import ConfigurationError
        from timestep.registry import build_provider

        try:
            return build_provider(self.settings)
        except ConfigurationError as exc:
            raise ConfigurationProblem(str(exc)) from exc


pass_context = click.make_pass_decorator(Context, ensure=True)
"""Give a command the `Context` as its first argument."""


def find_context(ctx: click.Context) -> Context:
    """Return the `Context` of *ctx*, or one with the defaults."""
    return ctx.find_object(Context) or Context()


def keep_option(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the value of an option in the field of its name: an option's ``callback``."""
    if value is not None:
        ctx.obj = replace(find_context(ctx), **{str(param.name): value})


def configuration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config`` and ``--env-file`` to *command* and give it the `Context`."""
    env_file = click.option(
        "--env-file",
        metavar="FILE",
        type=click.Path(),
        default=".env",
        show_default=True,
        expose_value=False,
        callback=keep_option,
        help="Also read variables from FILE.",
    )
    config_file = click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(),
        expose_value=False,
        callback=keep_option,
        help="Read this TOML file instead of searching for one.",
    )
    return config_file(env_file(pass_context(command)))
