"""The options and the steps that lead commands to a configured provider."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.registry import MultiModelProvider

_Command = TypeVar("_Command", bound=Callable[..., Any])


class ConfigurationProblem(click.ClickException):
    """The configuration cannot be used; like wrong options, it ends a command with 2."""

    exit_code = 2


def configuration_options(command: _Command) -> _Command:
    """*command* with ``--config`` and ``--env-file``."""
    env_file = click.option(
        "--env-file",
        metavar="FILE",
        type=click.Path(),
        default=".env",
        show_default=True,
        help="Read variables from FILE too.",
    )
    config_file = click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(),
        help="Read this TOML file instead of the one that is searched for.",
    )
    return config_file(env_file(command))


def load(*, config_file: str | None, env_file: str) -> "Settings":
    """The settings of this directory and environment; imports no SDK.

    Raises:
        ConfigurationProblem: They cannot be used.
    """
    from timestep.config.settings import load_settings

    try:
        return load_settings(env_file=env_file, config_file=config_file)
    except Exception as exc:
        # The class itself takes a second to import, and only a failure pays for it.
        from timestep.errors import ConfigurationError

        if isinstance(exc, ConfigurationError):
            raise ConfigurationProblem(str(exc)) from exc
        raise


def configure(*, config_file: str | None, env_file: str) -> tuple["Settings", "MultiModelProvider"]:
    """The settings of this directory and environment, and the provider they describe.

    Raises:
        ConfigurationProblem: They cannot be used.
    """
    from timestep.errors import ConfigurationError
    from timestep.registry import build_provider

    settings = load(config_file=config_file, env_file=env_file)
    try:
        return settings, build_provider(settings)
    except ConfigurationError as exc:
        raise ConfigurationProblem(str(exc)) from exc
