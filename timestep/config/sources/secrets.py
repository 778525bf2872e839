"""The secrets directory: one file for each variable, as Docker and Kubernetes mount them."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsError
from pydantic_settings.sources import PathType

from timestep.config.provenance import Origin
from timestep.config.sources.base import SECRETS_VARIABLE, expanded, read_text
from timestep.config.sources.variables import Variable, VariablesSource, variable_path


class SecretsSource(VariablesSource):
    """The variables that files hold. Only files with a name of ours are opened.

    Args:
        directory: The directory of the files, or a list in which the last one wins; None for none.

    Raises:
        SettingsError: The directory or a file in it cannot be read, or a file is not a regular one.
    """

    def __init__(self, settings_cls: type[BaseSettings], directory: PathType | None) -> None:
        named = [directory] if isinstance(directory, str | Path) else directory or []
        files = [file for path in reversed(named) for file in _files(expanded(path))]
        super().__init__(
            settings_cls,
            [
                Variable(
                    path.name,
                    _text(path),
                    Origin("secrets", f"secrets file {path}", path.name.upper()),
                )
                for path in files
                if variable_path(path.name) is not None
            ],
        )


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except (OSError, ValueError) as exc:  # ValueError: a path with a null byte
        reason = getattr(exc, "strerror", exc)
        raise SettingsError(
            f"the secrets directory {str(directory)!r} cannot be read ({reason}); correct "
            f"{SECRETS_VARIABLE} (or _secrets_dir), or unset it"
        ) from exc


def _text(path: Path) -> str:
    if path.exists() and not path.is_file():  # reading a pipe would wait for a writer
        raise SettingsError(
            f"{path} is not a regular file; put the secret into a text file of that name"
        )
    return read_text(path, SECRETS_VARIABLE).strip()
