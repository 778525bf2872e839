"""The secrets directory: one file for each variable, as Docker and Kubernetes mount them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic_settings import BaseSettings, SettingsError

from timestep.config.provenance import Origin
from timestep.config.sources.base import (
    SECRETS_VARIABLE,
    NamedPath,
    expanded,
    named_path,
    read_text,
)
from timestep.config.sources.variables import Variable, VariablesSource, variable_path


class SecretsSource(VariablesSource):
    """The secrets directory: one file for each variable, as Docker and Kubernetes mount them.

    Of several *directories* the last one wins.
    """

    def __init__(self, settings_cls: type[BaseSettings], directories: Sequence[NamedPath]) -> None:
        files = [file for path in reversed(directories) for file in _secret_files(path)]
        super().__init__(
            settings_cls,
            [
                Variable(
                    path.name,
                    _secret_text(path),
                    Origin("secrets", f"secrets file {path}", path.name.upper()),
                )
                for path in files
                if variable_path(path.name) is not None
            ],
        )


def secrets_directories(
    settings_cls: type[BaseSettings], naming: Iterable[object]
) -> list[NamedPath]:
    """Return the secrets directories: that of the *naming* sources, or those of *settings_cls*."""
    if named := named_path(SECRETS_VARIABLE, naming):
        return [named]
    given = settings_cls.model_config.get("secrets_dir") or []
    paths = [given] if isinstance(given, str | Path) else given
    return [NamedPath(expanded(path), "secrets_dir of the model_config") for path in paths]


def _secret_files(directory: NamedPath) -> list[Path]:
    try:
        return sorted(directory.path.iterdir())
    except (OSError, ValueError) as exc:  # ValueError: a path with a null byte
        reason = getattr(exc, "strerror", exc)
        raise SettingsError(
            f"the secrets directory {str(directory.path)!r} cannot be read ({reason}); correct "
            f"{directory.setting}, or leave it out"
        ) from exc


def _secret_text(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
        raise SettingsError(
            f"{path} is not a regular file; put the secret into a text file of that name"
        )
    return read_text(path, SECRETS_VARIABLE).strip()
