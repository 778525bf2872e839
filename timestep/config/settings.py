"""The settings: validated, frozen, and the only reader of the environment.

The first source that sets a key wins: arguments, environment, ``.env``, secrets directory, one TOML
file, defaults. Tables merge key by key. Importing this module imports neither ``agents`` nor
``openai`` nor ``ollama``.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from timestep.config.conflicts import find_conflict, find_split_name
from timestep.config.kinds import KINDS, ProviderTable, plugin_kinds
from timestep.config.problems import KeyPlaces, explain, message_of, printable, told
from timestep.config.provenance import DEFAULT, KeyOrigin, KeyPath, Origin, trace_origins
from timestep.config.schema import (
    Alias,
    AliasSettings,
    AnyOpenAISettings,
    Fallback,
    OllamaSettings,
    OpenAISettings,
    TracesSettings,
)
from timestep.config.sources.arguments import ArgumentsSource
from timestep.config.sources.base import (
    CONFIG_VARIABLE,
    NamedPath,
    named_path,
    observed,
    ours,
)
from timestep.config.sources.dotenv import DotenvSource, EnvFile
from timestep.config.sources.secrets import SecretsSource, secrets_directories
from timestep.config.sources.toml import TomlSource
from timestep.config.sources.variables import (
    SHORT_NAMES,
    VariablesSource,
    environment_variables,
    spell_alike,
    texts_of,
)
from timestep.config.types import AliasName, Frozen, ProviderName, Target, freeze
from timestep.net.fallback_rules import FallbackRules
from timestep.net.urls import why_withheld
from timestep.routing import chain, split_prefix, targets


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
    """OpenAI, or another server in its place."""
    ollama: OllamaSettings = OllamaSettings()
    """Ollama, local and cloud."""
    providers: dict[ProviderName, ProviderTable] = Field(default_factory=dict)
    """More providers; the name is the prefix of their models."""
    aliases: dict[AliasName, Alias] = Field(
        default_factory=dict, examples=[{"fast": "ollama/qwen3:4b"}]
    )
    """Names for models. In a list, the next model is asked when one cannot answer. A table has model, and settings for it."""
    default_model: Target | None = Field(default=None, examples=["ollama/llama3.2"])
    """The model for agents that name none: a name with its prefix, an alias, or a list of them."""
    fallback: Fallback = FallbackRules()
    """The rules for when a chain asks its next model."""
    traces: TracesSettings = TracesSettings()
    """The record of what agents did."""

    _frozen = field_validator("*")(freeze)
    _places: KeyPlaces = PrivateAttr(default_factory=KeyPlaces)

    def __init__(
        self,
        *,
        _env_file: EnvFile = "",
        _secrets_dir: str | os.PathLike[str] | None = None,
        _config_file: str | os.PathLike[str] | None = None,
        _environment: Mapping[str, str] | None = None,
        **values: Any,
    ) -> None:
        error: ValidationError | SettingsError | None
        try:
            sources = self._sources(values, _environment, _env_file, _config_file, _secrets_dir)
            error = self._load(sources)
        except SettingsError as exc:
            error = SettingsError(printable(str(exc)))
        finally:
            del values, _environment  # a traceback can show the variables of a frame
        if error is not None:
            raise error  # here, because its traceback must show no frame that has read a key

    @classmethod
    def _sources(
        cls,
        values: Mapping[str, Any],
        environment: Mapping[str, str] | None,
        env_file: EnvFile,
        config_file: str | os.PathLike[str] | None,
        secrets_dir: str | os.PathLike[str] | None,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        naming = (
            ArgumentsSource(cls, values, config_file=config_file, secrets_dir=secrets_dir),
            VariablesSource(
                cls, environment_variables(os.environ if environment is None else environment)
            ),
            DotenvSource(cls, env_file),
        )
        sources = customised(cls, naming, secrets_directories(cls, naming))
        spell_alike(sources)
        return tuple(observed(cls, sources))

    def _load(
        self, sources: tuple[PydanticBaseSettingsSource, ...]
    ) -> ValidationError | SettingsError | None:
        """Take the values of *sources*; return what is wrong with them."""
        problem: ValidationError | None = None
        try:
            super().__init__(_build_sources=(sources, {}))
        except ValidationError as exc:
            problem = exc
        entries = [entry for source in ours(sources) for entry in source.entries]
        tables = {path: place for each in ours(sources) for path, place in each.tables.items()}
        places = KeyPlaces(trace_origins(entries), tables)
        if split := find_split_name(entries, places):
            return split
        if problem is not None:
            return explain(problem, type(self), {*KINDS, *plugin_kinds()}, places)
        self._places = places
        return find_conflict(self)

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
        return dict(self._places.origins)

    def origin_of(self, key: str) -> KeyOrigin:
        """Return where the value of the dotted *key* came from; ``"default"`` when nothing sets it."""
        return self._places.origins.get(key, KeyOrigin(key, DEFAULT))

    def is_written_for_timestep(self, key: str) -> bool:
        """Return True if a source sets the dotted *key* by a name that is timestep's own.

        The SDK reads ``OPENAI_API_KEY`` and the like itself. What the application tells the SDK in
        code wins over them, but not over ``[openai]``, ``TIMESTEP_OPENAI__…`` and arguments. A
        variable that overrides ``[openai]`` counts as written for timestep.
        """
        known = self.origin_of(key)
        places = {known.winner, *known.losers} - {DEFAULT}
        return any(place.variable not in SHORT_NAMES for place in places)

    @property
    def why_ollama_key_is_withheld(self) -> str:
        """Why the key of `ollama` is not sent to its base URL; empty if it is, or without a key."""
        origin, url = self.origin_of("ollama.api_key").winner, self.ollama.base_url
        is_plain = origin.variable == "OLLAMA_API_KEY"
        return why_withheld(*targets(url)) if is_plain and url is not None else ""

    @property
    def ollama_tables(self) -> dict[str, OllamaSettings]:
        """The table of each prefix that belongs to an Ollama."""
        tables = {"ollama": self.ollama, **self.providers}
        return {name: each for name, each in tables.items() if isinstance(each, OllamaSettings)}

    @property
    def openai_tables(self) -> dict[str, AnyOpenAISettings]:
        """The table of each prefix that belongs to an API like OpenAI's, and ``openai``."""
        tables = {"openai": self.openai, **self.providers}
        return {name: each for name, each in tables.items() if isinstance(each, AnyOpenAISettings)}

    @property
    def targets(self) -> dict[str, str | Sequence[str]]:
        """The models that each alias stands for. An alias from variables has both spellings."""
        named: dict[str, str | Sequence[str]] = {
            name: alias.model if isinstance(alias, AliasSettings) else alias
            for name, alias in self.aliases.items()
        }
        return {**named, **self.spellings("aliases")}

    def place_of(self, path: KeyPath) -> Origin | None:
        """Return where the key or the table at *path* is written."""
        return self._places.of(path)

    def told(self, path: KeyPath, reason: str) -> str:
        """Return *reason* with the key at *path* and its place, in the form its user wrote it."""
        return told(path, self._places.of(path), reason, type(self))

    def models_of(self, name: str | None) -> list[str]:
        """Return the models that *name*, or the default for None, stands for, first choice first."""
        return self._models([name])[0]

    def named_models(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield each model that the default model and then the aliases lead to, with their key."""
        paths: list[KeyPath] = [("default_model",), *(("aliases", alias) for alias in self.aliases)]
        for path, models in zip(paths, self._models([None, *self.aliases]), strict=True):
            yield from ((path, model) for model in models)

    def _models(self, names: Sequence[str | None]) -> list[list[str]]:
        aliases, prefixes = self.targets, self.spellings("providers")
        chains = [map(split_prefix, chain(name, aliases, self.default_model)) for name in names]
        return [
            [rest if p is None else f"{prefixes.get(p, p)}/{rest}" for p, rest in models]
            for models in chains
        ]

    def spellings(self, section: Literal["providers", "aliases"]) -> dict[str, str]:
        """Return the names in *section* that only variables spell, by the same name with hyphens.

        A variable has no hyphen, so ``TIMESTEP_ALIASES__MY_FAST`` is ``my-fast`` as well.
        """
        names: Mapping[str, object] = getattr(self, section)
        spelled = {name.replace("_", "-"): name for name in names}
        elsewhere = {
            key.split(".")[1]
            for key, origin in self._places.origins.items()
            if key.startswith(f"{section}.") and origin.winner.variable is None
        }
        return {
            other: name
            for other, name in spelled.items()
            if other not in names and name not in elsewhere
        }

    def spelled(self, path: KeyPath) -> KeyPath:
        """Return *path* with its provider or alias named as in these settings."""
        match path:
            case ("providers" | "aliases" as section, name, *below):
                return (section, self.spellings(section).get(name, name), *below)
            case _:
                return path


def customised(
    settings_cls: type[Settings],
    naming: tuple[ArgumentsSource, VariablesSource, DotenvSource],
    secrets: Sequence[NamedPath],
) -> tuple[PydanticBaseSettingsSource, ...]:
    """Return the sources of *settings_cls*, strongest first, with the directories of *secrets*."""
    arguments, environment, dotenv = naming
    return settings_cls.settings_customise_sources(
        settings_cls,
        init_settings=arguments,
        env_settings=environment,
        dotenv_settings=dotenv,
        file_secret_settings=SecretsSource(settings_cls, secrets),
    )


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
            _env_file=env_file, _config_file=config_file, _environment=environment, **overrides
        )
    except (ValidationError, SettingsError) as exc:
        # The error tree imports agents, which takes a second: only a failure pays for it.
        from timestep.errors import ConfigurationError  # noqa: PLC0415 - it loads the SDK

        raise ConfigurationError(message_of(exc)) from exc
    finally:
        del environment, overrides  # a traceback can show the variables of a frame


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    for name in overrides.keys() & {"_env_file", "_config_file", "_environment"}:
        raise SettingsError(f"{name} (argument): unknown setting. Did you mean {name[1:]}?")
