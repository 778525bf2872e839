"""The configuration: validated, frozen, and the only reader of the environment.

Precedence, first wins: arguments, environment, ``.env``, secrets directory, one TOML file,
defaults. Tables merge deeply, so an override touches only the key it names. Importing this module
imports neither ``agents`` nor ``openai`` nor ``ollama``.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from timestep.config import sources
from timestep.config.fields import arms_at, is_table
from timestep.config.frozen import Frozen, freeze
from timestep.config.problems import explain, refusal
from timestep.config.provenance import DEFAULT, KeyOrigin, KeyPath, merge, to_tree
from timestep.config.schema import (
    KINDS,
    FallbackSettings,
    OllamaSettings,
    OpenAISettings,
    ProviderSettings,
    TracesSettings,
    plugin_kinds,
)
from timestep.config.types import (
    Alias,
    AliasName,
    ProviderName,
)
from timestep.net.urls import check_key_transport, is_ollama_cloud
from timestep.routing import describe_ring, find_ring, targets


class Settings(Frozen, BaseSettings):
    """Everything timestep can be told.

    ``Settings()`` reads the environment, ``.env`` and the TOML file of the working directory;
    keyword arguments win over all of them. `load_settings` does the same and raises
    `ConfigurationError` only.

    Args:
        _env_file: The ``.env`` file; None for none. Only the default may be missing.
        _secrets_dir: A directory of secret files named like the variables; unset, the variable
            ``TIMESTEP_SECRETS_DIR``.
        _config_file: The TOML file; unset, the variable ``TIMESTEP_CONFIG``, ``timestep.toml``,
            ``[tool.timestep]`` in ``pyproject.toml``, the user's configuration directory.
        _environment: The variables to read instead of the process's own.

    Raises:
        ValidationError: A key is unknown or its value is wrong; names the key, the place and the
            fix, and holds no value.
        SettingsError: A file or a variable cannot be read.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        title="timestep settings",
    )

    openai: OpenAISettings = OpenAISettings()
    """OpenAI, or the server that stands in for it."""
    ollama: OllamaSettings = OllamaSettings()
    """Ollama, local and cloud."""
    providers: dict[ProviderName, ProviderSettings] = Field(default_factory=dict)
    """More providers; the name is the prefix of their models."""
    aliases: dict[AliasName, Alias] = Field(
        default_factory=dict, examples=[{"fast": "ollama/qwen3:4b"}]
    )
    """Names for models; of a list the next is asked when one cannot answer."""
    default_model: Alias | None = Field(default=None, examples=["ollama/llama3.2"])
    """The model for agents that name none: any name with its prefix, an alias, or a list of them."""
    fallback: FallbackSettings = FallbackSettings()
    """When a list of models goes on to its next one."""
    traces: TracesSettings = TracesSettings()
    """The record of what agents did."""

    _frozen = field_validator("*")(freeze)
    _origins: dict[str, KeyOrigin] = PrivateAttr(default_factory=dict)

    def __init__(
        self,
        *,
        _env_file: str | os.PathLike[str] | None = ".env",
        _secrets_dir: str | os.PathLike[str] | None = None,
        _config_file: str | os.PathLike[str] | None = None,
        _environment: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        tree, origins = _read(
            values,
            os.environ if _environment is None else _environment,
            env_file=_env_file,
            secrets_dir=_secrets_dir,
            config_file=_config_file,
        )
        try:
            super().__init__(**tree)
        except ValidationError as exc:
            raise explain(exc, Settings, {*KINDS, *plugin_kinds()}, origins) from None
        self._origins = origins
        self._check_aliases()
        self._check_ollama_transport()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The one source: what ``__init__`` merged from all of them."""
        return (init_settings,)

    @property
    def origins(self) -> Mapping[str, KeyOrigin]:
        """Where every key that is set came from, by dotted key; see `origin_of` for the rest."""
        return dict(self._origins)

    def origin_of(self, key: str) -> KeyOrigin:
        """Where the value of the dotted *key* came from; ``"default"`` when nothing sets it."""
        return self._origins.get(key, KeyOrigin(key, DEFAULT))

    @property
    def ollama_key_is_for_cloud_only(self) -> bool:
        """True when the key of `ollama` is the plain ``OLLAMA_API_KEY``: meant for ollama.com.

        A key from TOML, ``TIMESTEP_OLLAMA__API_KEY`` or an argument was written for this
        configuration, and so for its base_url.
        """
        return self.origin_of("ollama.api_key").winner.variable == "OLLAMA_API_KEY"

    def _check_aliases(self) -> None:
        if ring := find_ring(self.aliases):
            raise refusal(("aliases", ring[0]), describe_ring(ring), self._origins)

    def _check_ollama_transport(self) -> None:
        ollama = self.ollama
        if ollama.api_key is None or ollama.base_url is None or ollama.allow_insecure:
            return
        urls = targets(ollama.base_url)
        if self.ollama_key_is_for_cloud_only and not all(map(is_ollama_cloud, urls)):
            return  # the key will not be sent there
        try:
            for url in urls:
                check_key_transport(url)
        except ValueError as exc:
            raise refusal(("ollama", "base_url"), str(exc), self._origins) from None


def load_settings(
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    config_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Settings:
    """The settings, with *overrides* as the strongest source.

    Args:
        env_file: The ``.env`` file; None for none.
        config_file: The TOML file, instead of the one that is searched for.
        environment: The variables to read instead of the process's own.
        overrides: Settings that win over all sources.

    Raises:
        ConfigurationError: Anything is wrong; says what, where, and what to write instead.
    """
    try:
        _check_overrides(overrides)
        return Settings(
            _env_file=env_file,
            _config_file=config_file,
            _environment=environment,
            **overrides,
        )
    except (ValidationError, SettingsError) as exc:
        # The error tree imports agents, which takes a second: only a failure pays for it.
        from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

        lines = (
            [error["msg"] for error in exc.errors()]
            if isinstance(exc, ValidationError)
            else exc.args
        )
        raise ConfigurationError("\n".join(lines)) from exc


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    for name in overrides.keys() & {"_env_file", "_config_file", "_environment"}:
        raise SettingsError(f"{name} (argument): unknown setting. Did you mean {name[1:]}?")


def source_files(
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    config_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[sources.SourceFile]:
    """The files that `load_settings` with these arguments looks for, strongest first.

    Raises:
        SettingsError: One that is needed to find the others cannot be read.
    """
    process = sources.environment_variables(os.environ if environment is None else environment)
    dotenv = _dotenv(env_file)
    secrets, config = _named_paths([*process, *dotenv], None, config_file)
    read = sources.find_toml(config)
    files: list[sources.SourceFile] = []
    if env_file is not None:
        path = Path(env_file)
        files.append(sources.SourceFile("dotenv", path, (), path.is_file()))
    if secrets is not None:
        files.append(sources.SourceFile("secrets", secrets, (), secrets.is_dir()))
    return files + [
        sources.SourceFile("toml", *place, place == read and place[0].is_file())
        for place in sources.toml_places(config)
    ]


def misspelled_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that nobody reads, by name, with the ones they were probably meant to be."""
    names = os.environ if environment is None else environment
    return {name: meant for name in names if (meant := sources.meant_variable(name))}


def _dotenv(env_file: str | os.PathLike[str] | None) -> list[sources.Variable]:
    if env_file is None:
        return []
    return sources.dotenv_variables(Path(env_file), required=Path(env_file) != Path(".env"))


def _named_paths(
    variables: list[sources.Variable],
    secrets_dir: str | os.PathLike[str] | None,
    config_file: str | os.PathLike[str] | None,
) -> tuple[Path | None, Path | None]:
    """The secrets directory and the TOML file that arguments or *variables* name."""
    secrets = secrets_dir or sources.control_text(sources.SECRETS_VARIABLE, variables)
    config = config_file or sources.control_text(sources.CONFIG_VARIABLE, variables)
    return (_home_path(secrets) if secrets else None, _home_path(config) if config else None)


def _home_path(path: str | os.PathLike[str]) -> Path:
    """*path* with the home directory in the place of ``~``; as it is where nobody has one."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # the error about a file that is not there says it better
        return Path(path)


def _read(
    values: Mapping[str, Any],
    process: Mapping[str, str],
    *,
    env_file: str | os.PathLike[str] | None,
    secrets_dir: str | os.PathLike[str] | None,
    config_file: str | os.PathLike[str] | None,
) -> tuple[dict[str, Any], dict[str, KeyOrigin]]:
    """The merged tree of all sources, and where each of its keys came from."""
    environment = sources.environment_variables(process)
    dotenv = _dotenv(env_file)
    secrets_path, config_path = _named_paths([*environment, *dotenv], secrets_dir, config_file)
    secrets = sources.secret_variables(secrets_path) if secrets_path else []
    toml = sources.find_toml(config_path)
    arguments = sources.argument_entries(values)
    written = sources.toml_entries(*toml) if toml else []
    named = [
        entry
        for variables in (environment, dotenv, secrets)
        for entry in sources.variable_entries(variables, _decode)
    ]
    winners, origins = merge(
        [*arguments, *sources.respelled(named, [*arguments, *written]), *written]
    )
    texts = {
        variable.name: variable.text
        for variable in [*dotenv, *environment]
        if variable.text.strip()
    }
    return to_tree(sources.follow_pointer(entry, texts, _decode) for entry in winners), origins


def _decode(path: KeyPath, text: str) -> Any:
    """*text* of a variable as what the key at *path* wants: JSON for tables, lists and options."""
    allowed = arms_at(Settings, path)
    tables = [arm for arm in allowed if is_table(arm)]
    may_be_json = (
        Any in allowed
        or bool(tables)
        or any(getattr(arm, "__origin__", None) is list for arm in allowed)
    )
    if may_be_json and (text[0] in "[{" or Any in allowed):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass  # not JSON after all: text, where text is allowed
    if tables and len(tables) == len(allowed):
        raise ValueError(
            "a table is written as a JSON object, or better key by key in variables such as "
            f"{sources.variable_name(path)}__NAME"
        )
    return text
