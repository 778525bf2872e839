"""The options of an Ollama model, for the provider, the model and each request. Pure.

CONTRIBUTING.md shows how to add one. Both constructors take a keyword that stands here, and the
factory passes on the key of the same name in ``[ollama]``.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict, Unpack, cast

from timestep.errors import ConfigurationError, TimestepError, UnsupportedInputError
from timestep.net.model_names import twins
from timestep.net.ollama_options import check_options
from timestep.net.setting_values import (
    REPAIRS,
    Overflow,
    check_flag,
    check_for_models,
    check_keep_alive,
    check_overflow,
    check_repairs,
)
from timestep.net.timeouts import Timeouts

_RULES: Mapping[str, Callable[[object], object]] = {
    "on_context_overflow": check_overflow,
    "text_calls": check_for_models,
    "think_tags": check_for_models,
    "repairs": check_repairs,
}
"""The rule for each flag that is not simply True or False."""


class OllamaFlags(TypedDict, total=False):
    """The shared keywords that are kept as they were given."""

    on_context_overflow: Overflow
    strict_feature_validation: bool
    tool_emulation: bool
    allow_remote_images: bool
    text_calls: bool | Sequence[str]
    think_tags: bool | Sequence[str]
    repairs: int


class OllamaKeywords(OllamaFlags, total=False):
    """The keyword arguments that `OllamaModelProvider` and `OllamaModel` share."""

    options: Mapping[str, Any] | None
    keep_alive: float | str | None
    timeout: float | Mapping[str, float | None] | Timeouts | None


@dataclass(frozen=True, slots=True)
class OllamaModelOptions:
    """How an Ollama model is asked. `of` checks and copies the values; no request does it again.

    Attributes:
        options: Ollama options such as ``{"num_ctx": 16384}``; model settings win over them.
        keep_alive: How long the model stays loaded: seconds, or a Go duration such as ``"10m"``.
        timeout: How long the server may be silent, in seconds; None leaves it to the connection.
        on_context_overflow: ``"error"`` refuses a prompt that does not fit, ``"truncate"`` lets
            the server cut it.
        strict_feature_validation: Raise for what would be ignored with a warning.
        tool_emulation: Describe tools in the prompt to models without tool support.
        allow_remote_images: Fetch http(s) images from public addresses.
        text_calls: Treat an answer that is only the JSON of a tool call as that call: True for
            every model, or a list of models.
        think_tags: Treat ``<think>…</think>`` at the start of an answer as thinking: True for
            every model that the server does not list as thinking, or a list of models.
        repairs: How many times a model is asked again when its answer is not the call or the JSON
            that was asked for.
    """

    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    keep_alive: float | str | None = None
    timeout: Timeouts | None = None
    on_context_overflow: Overflow = "error"
    strict_feature_validation: bool = False
    tool_emulation: bool = False
    allow_remote_images: bool = False
    text_calls: bool | Sequence[str] = False
    think_tags: bool | Sequence[str] = False
    repairs: int = REPAIRS

    @classmethod
    def of(
        cls,
        *,
        options: Mapping[str, Any] | None = None,
        keep_alive: float | str | None = None,
        timeout: float | Mapping[str, float | None] | Timeouts | None = None,
        **flags: Unpack[OllamaFlags],
    ) -> Self:
        """Return the options that the keyword arguments of a constructor mean.

        Raises:
            ConfigurationError: A value cannot be used.
            UnsupportedInputError: Ollama would refuse an option or ``keep_alive``.
        """
        checked: dict[str, Any] = {}
        if options is not None:
            with refused(UnsupportedInputError):
                checked["options"] = deepcopy(check_options(options))
        if keep_alive is not None:
            what = f"keep_alive is of type {type(keep_alive).__name__} and cannot be used: "
            with refused(UnsupportedInputError, what):
                checked["keep_alive"] = check_keep_alive(keep_alive)
        if timeout is not None:
            with refused(ConfigurationError):
                checked["timeout"] = Timeouts.of(timeout)
        for name, value in flags.items():
            with refused(ConfigurationError, f"{name}: "):
                checked[name] = _RULES.get(name, check_flag)(value)
        return cls(**checked)

    def with_options(self, own: Mapping[str, Any]) -> Self:
        """Return a copy in which *own* options, already checked, win over the others."""
        return replace(self, options={**self.options, **own}) if own else self

    def keywords(self) -> OllamaKeywords:
        """Return the keyword arguments that mean these options."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return cast("OllamaKeywords", named)


def check_model_options(given: object) -> dict[str, dict[str, Any]]:
    """Return a copy of *given*, if it holds Ollama options by model name."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"model_options are {type(given).__name__}; pass a dict of options by model name."
        )
    checked: dict[str, dict[str, Any]] = {}
    by_name = cast("Mapping[str, object]", given)
    if same := twins(by_name):
        raise ConfigurationError(f"model_options: {same[0]!r} and {same[1]!r} are the same model.")
    for name, own in by_name.items():
        with refused(UnsupportedInputError, f"Options of the model {name!r}: "):
            checked[name] = deepcopy(check_options(own))
    return checked


@contextmanager
def refused(error: type[TimestepError], what: str = "") -> Generator[None]:
    """Make an *error*, which begins with *what*, of the `ValueError` of a rule."""
    try:
        yield
    except ValueError as exc:
        raise error(f"{what}{exc}.") from exc
