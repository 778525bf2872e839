"""The settings: validated, frozen, and the only reader of the environment.

The first source that sets a key wins: arguments, environment, ``.env``, secrets directory, one TOML
file, defaults. Tables merge key by key. Importing this module imports neither ``agents`` nor
``openai`` nor ``ollama``.
"""

import os
from collections.abc import Mapping
from typing import Any

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from timestep.config.frozen import Frozen, freeze
from timestep.config.kinds import KINDS, ProviderTable, plugin_kinds
from timestep.config.problems import Places, explain, message_of, refusal
from timestep.config.provenance import DEFAULT, KeyOrigin, KeyPath, trace_origins
from timestep.config.schema import (
    Fallback,
    OllamaSettings,
    OpenAISettings,
    TracesSettings,
    check_transport,
)
from timestep.config.sources.arguments import ArgumentsSource
from timestep.config.sources.base import (
    CONFIG_VARIABLE,
    SECRETS_VARIABLE,
    entries_of,
    named_path,
    tables_of,
    texts_of,
)
from timestep.config.sources.dotenv import DotenvSource
from timestep.config.sources.foreign import observed
from timestep.config.sources.secrets import SecretsSource
from timestep.config.sources.toml import TomlSource
from timestep.config.sources.variables import VariablesSource, environment_variables, spell_alike
from timestep.config.types import Alias, AliasName, ProviderName
from timestep.net.chains import FallbackRules
from timestep.net.urls import is_ollama_cloud
from timestep.routing import describe_ring, find_ring, targets


class Settings(Frozen, BaseSettings):
    """Everything that configures timestep.

    ``Settings()`` reads the environment, ``.env`` and the TOML file of the working directory.
    Keyword arguments win over all of them. `load_settings` does the same and raises
    `ConfigurationError` only. A subclass may add or reorder sources in
    ``settings_customise_sources``, and set ``env_file`` and ``secrets_dir`` in its ``model_config``.

    Args:
        _env_file: The ``.env`` file; None for none; empty for ``env_file`` of ``model_config``,
            which is ``.env``. Only ``.env`` itself may be missing.
        _secrets_dir: A directory of secret files that are named like the variables; unset, the
            variable ``TIMESTEP_SECRETS_DIR``.
        _config_file: The TOML file; unset, the variable ``TIMESTEP_CONFIG``, ``timestep.toml``,
            ``[tool.timestep]`` in ``pyproject.toml``, the user's configuration directory.
        _environment: The variables to read instead of the process's own.

    Raises:
        ValidationError: A key is unknown or its value is wrong. The message names the key, the
            place and the fix, and repeats no value.
        SettingsError: A file or a variable cannot be read.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        title="timestep settings",
        env_file=".env",
        env_nested_delimiter="__",  # for sources of the library, which a subclass may add
    )

    openai: OpenAISettings = OpenAISettings()
    """OpenAI, or the server that stands in for it."""
    ollama: OllamaSettings = OllamaSettings()
    """Ollama, local and cloud."""
    providers: dict[ProviderName, ProviderTable] = Field(default_factory=dict)
    """More providers; the name is the prefix of their models."""
    aliases: dict[AliasName, Alias] = Field(
        default_factory=dict, examples=[{"fast": "ollama/qwen3:4b"}]
    )
    """Names for models; of a list, the next model is asked when one cannot answer."""
    default_model: Alias | None = Field(default=None, examples=["ollama/llama3.2"])
    """The model for agents without one: a name with its prefix, an alias, or a list of them."""
    fallback: Fallback = FallbackRules()
    """When a list of models goes on to its next one."""
    traces: TracesSettings = TracesSettings()
    """The record of what agents did."""

    _frozen = field_validator("*")(freeze)
    _origins: dict[str, KeyOrigin] = PrivateAttr(default_factory=dict)

    def __init__(
        self,
        *,
        _env_file: str | os.PathLike[str] | None = "",
        _secrets_dir: str | os.PathLike[str] | None = None,
        _config_file: str | os.PathLike[str] | None = None,
        _environment: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        cls = type(self)
        configured = cls.model_config
        env_file = configured.get("env_file") if _env_file == "" else _env_file
        variables = environment_variables(os.environ if _environment is None else _environment)
        arguments = ArgumentsSource(cls, values, config_file=_config_file, secrets_dir=_secrets_dir)
        environment = VariablesSource(cls, variables)
        dotenv = DotenvSource(cls, env_file)
        secrets_dir = named_path(SECRETS_VARIABLE, (arguments, environment, dotenv))
        sources = cls.settings_customise_sources(
            cls,
            init_settings=arguments,
            env_settings=environment,
            dotenv_settings=dotenv,
            file_secret_settings=SecretsSource(cls, secrets_dir or configured.get("secrets_dir")),
        )
        spell_alike(sources)
        sources = tuple(observed(cls, sources))
        try:
            super().__init__(_build_sources=(sources, {}))
        except ValidationError as exc:
            places = Places(trace_origins(entries_of(sources)), tables_of(sources))
            raise explain(exc, cls, {*KINDS, *plugin_kinds()}, places) from None
        self._origins = trace_origins(entries_of(sources))
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
        """Return the sources, strongest first. A subclass may add to them and reorder them.

        The arguments are the sources of ``timestep.config.sources``; the TOML file is the last one
        of the result.
        """
        named = (init_settings, env_settings, dotenv_settings)
        toml = TomlSource(settings_cls, named_path(CONFIG_VARIABLE, named), texts_of(named))
        return (init_settings, env_settings, dotenv_settings, file_secret_settings, toml)

    @property
    def origins(self) -> Mapping[str, KeyOrigin]:
        """The origin of every key that a source sets, by dotted key. See `origin_of` for defaults."""
        return dict(self._origins)

    def origin_of(self, key: str) -> KeyOrigin:
        """Return where the value of the dotted *key* came from; ``"default"`` when nothing sets it."""
        return self._origins.get(key, KeyOrigin(key, DEFAULT))

    @property
    def ollama_key_is_for_cloud_only(self) -> bool:
        """True when the key of `ollama` is the plain ``OLLAMA_API_KEY``, which is for ollama.com.

        A key from TOML, ``TIMESTEP_OLLAMA__API_KEY`` or an argument was written for this
        configuration, and so for its base_url.
        """
        return self.origin_of("ollama.api_key").winner.variable == "OLLAMA_API_KEY"

    def _refusal(self, path: KeyPath, reason: str) -> ValidationError:
        return refusal(path, reason, Places(self._origins), type(self))

    def _check_aliases(self) -> None:
        if ring := find_ring(self.aliases):
            raise self._refusal(("aliases", ring[0]), describe_ring(ring))

    def _check_ollama_transport(self) -> None:
        ollama = self.ollama
        urls = targets(ollama.base_url) if ollama.base_url is not None else []
        if self.ollama_key_is_for_cloud_only and not all(map(is_ollama_cloud, urls)):
            ollama = ollama.model_copy(update={"api_key": None})  # it will not be sent there
        try:
            check_transport(ollama)
        except ValueError as exc:
            key = "host" if ollama.base_url is None else "base_url"
            raise self._refusal(("ollama", key), str(exc)) from None


def load_settings(
    *,
    env_file: str | os.PathLike[str] | None = ".env",
    config_file: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
    **overrides: Any,
) -> Settings:
    """Return the settings, with *overrides* as the strongest source.

    Args:
        env_file: The ``.env`` file; None for none.
        config_file: The TOML file, instead of the one that is searched for.
        environment: The variables to read instead of the process's own.
        overrides: Settings that win over all sources.

    Raises:
        ConfigurationError: The configuration cannot be used. The message says what is wrong, where,
            and what to write instead.
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

        raise ConfigurationError(message_of(exc)) from exc


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    for name in overrides.keys() & {"_env_file", "_config_file", "_environment"}:
        raise SettingsError(f"{name} (argument): unknown setting. Did you mean {name[1:]}?")
