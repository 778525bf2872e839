"""The context that commands share: the options that name the configuration, and the settings."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from timestep.config.files import SourceFile
    from timestep.config.settings import Settings
    from timestep.registry import MultiModelProvider


class ConfigurationProblem(click.ClickException):
    """The configuration cannot be used. Exits with 2, as wrong options do."""

    exit_code = 2


@dataclass(frozen=True)
class Context:
    """The options shared by commands. Wrong settings are a `ConfigurationProblem`."""

    config_file: str | None = None
    env_file: str = ""  # the class of the settings says which files it reads
    settings_reference: str | None = None
    trace_file: Path | None = None

    @cached_property
    def settings(self) -> "Settings":
        """The settings of this directory and environment, loaded without importing the SDK."""
        with self._reading():
            _check_file("--config", self.config_file)
            _check_file("--env-file", self.env_file)
            return self.settings_class(_config_file=self.config_file, _env_file=self.env_file)

    def source_files(self) -> "list[SourceFile]":
        """Return the files that the settings are looked for in, strongest first."""
        from timestep.config.files import source_files

        with self._reading():
            _check_file("--env-file", self.env_file)
            return source_files(
                self.settings_class, env_file=self.env_file, config_file=self.config_file
            )

    @contextmanager
    def _reading(self) -> Generator[None]:
        from pydantic import ValidationError
        from pydantic_settings import SettingsError

        from timestep.config.problems import message_of

        name = self.settings_class.__name__
        try:
            yield
        except (ValidationError, SettingsError) as exc:
            raise ConfigurationProblem(message_of(exc)) from exc
        except Exception as exc:  # a source of the application raises anything
            raise ConfigurationProblem(
                f"A source of {name} raised {type(exc).__name__}; call {name}() in Python to see why."
            ) from exc

    @cached_property
    def settings_class(self) -> "type[Settings]":
        """The class that ``--settings`` names, or ours."""
        from timestep.config.settings import Settings

        if self.settings_reference is None:
            return Settings
        from timestep.cli.load import load_reference

        found = load_reference(self.settings_reference, "a settings class")
        if isinstance(found, type) and issubclass(found, Settings):
            return found
        raise click.UsageError(
            f"{self.settings_reference!r} does not name a subclass of timestep.Settings."
        )

    @cached_property
    def needs_sdk(self) -> bool:
        """Whether only building the provider checks the settings, as some names are the SDK's."""
        from timestep.config.schema import AliasSettings, AnyOpenAISettings, OllamaSettings

        def has_model_settings(table: object) -> bool:
            if isinstance(table, OllamaSettings):
                return bool(table.settings) or any(table.settings_by_model.values())
            return not isinstance(table, AnyOpenAISettings) or bool(table.settings or table.models)

        settings = self.settings
        tables = (settings.ollama, settings.openai, *settings.providers.values())
        aliases = settings.aliases.values()
        return any(map(has_model_settings, tables)) or any(
            isinstance(alias, AliasSettings) for alias in aliases
        )

    def check_endpoints(self) -> None:
        """Check the addresses and keys of the servers."""
        from timestep.factory.endpoints import check_endpoints

        try:
            check_endpoints(self.settings)
        except Exception:  # naming its class imports the SDK
            self.build_provider()  # raises the same, with its place
            raise

    def build_provider(self) -> "MultiModelProvider":
        """Return a new provider for the settings."""
        from timestep.errors import ConfigurationError
        from timestep.registry import build_provider

        try:
            return build_provider(self.settings)
        except ConfigurationError as exc:
            raise ConfigurationProblem(str(exc)) from exc


def _check_file(option: str, path: str | None) -> None:
    """Refuse a file that cannot be read by its *option*; the settings know it as an argument."""
    from timestep.config.sources.base import expanded, read_text

    if path:
        read_text(expanded(path), option)


pass_context = click.make_pass_decorator(Context, ensure=True)
"""Give a command the `Context` as its first argument."""


def keep_option(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """Keep the value of an option in the field of its name: an option's ``callback``."""
    if value is not None:
        ctx.obj = replace(ctx.ensure_object(Context), **{str(param.name): value})


def configuration_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--config``, ``--env-file`` and ``--settings`` to *command*; give it the `Context`."""
    kept = partial(click.option, expose_value=False, callback=keep_option)
    settings = kept(
        "--settings",
        "settings_reference",
        metavar="REF",
        help="Read settings with this subclass of Settings: module:Class or file.py:Class.",
    )
    kept_file = partial(kept, metavar="FILE", type=click.Path())
    env_file = kept_file("--env-file", help="Also read variables from FILE.  [default: .env]")
    config_file = kept_file(
        "--config", "config_file", help="Read this TOML file instead of searching for one."
    )
    return config_file(env_file(settings(pass_context(command))))
