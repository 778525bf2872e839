"""Where the record is, and how its troubles are told."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from timestep.cli.context import load

if TYPE_CHECKING:
    from timestep.config.settings import Settings
    from timestep.traces import TraceStore


@dataclass
class Place:
    """The record that the options and the configuration name; nothing is read before it is used.

    Attributes:
        file: What ``--file`` said.
        config_file: What ``--config`` said.
        env_file: What ``--env-file`` said.
    """

    file: Path | None
    config_file: str | None
    env_file: str

    @cached_property
    def settings(self) -> "Settings":
        """The configuration.

        Raises:
            ConfigurationProblem: It cannot be used.
        """
        return load(config_file=self.config_file, env_file=self.env_file)

    @property
    def path(self) -> Path:
        """The file of the record.

        Raises:
            ConfigurationProblem: The configuration would have to name it, and cannot be used.
        """
        return self.file or self.settings.traces.file

    @contextmanager
    def store(self) -> "Generator[TraceStore]":
        """The record, open; its troubles end the command with their words."""
        from timestep.traces import StoreError, TraceStore

        try:
            with TraceStore(self.path) as store:
                yield store
        except StoreError as exc:
            raise click.ClickException(str(exc)) from exc
