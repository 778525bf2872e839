"""The options of an Ollama model, for the provider, the model and each request. Pure.

CONTRIBUTING.md shows how to add one. Both constructors take a keyword that stands here, and the
factory passes on the key of the same name in ``[ollama]``.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields, replace
from typing import Any, Self, TypedDict, Unpack, cast

from timestep.errors import ConfigurationError, UnsupportedInputError
from timestep.net.durations import check_keep_alive
from timestep.net.flags import Overflow, check_flag, check_for_models, check_overflow, check_repairs
from timestep.net.names import twins
from timestep.net.options import check_options
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
        text_calls: Take an answer that is nothing but the JSON of a call for the call: True, or
            the names of the models this is for.
        think_tags: Take ``<think>…</think>`` at the head of an answer for thinking: True, or the
            names of the models this is for. Models that the server lists as thinking are left out.
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
    repairs: int = 1

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
        return cls(
            options=deepcopy(_checked_options({} if options is None else options)),
            keep_alive=None if keep_alive is None else _checked_keep_alive(keep_alive),
            timeout=None if timeout is None else _checked_timeout(timeout),
            **_checked_flags(flags),
        )

    def with_options(self, own: Mapping[str, Any]) -> Self:
        """Return a copy in which *own* options, already checked, win over the others."""
        return replace(self, options={**self.options, **own}) if own else self

    def keywords(self) -> OllamaKeywords:
        """Return the keyword arguments that mean these options."""
        named = {each.name: getattr(self, each.name) for each in fields(self)}
        return cast("OllamaKeywords", named)


def check_model_options(given: object) -> dict[str, dict[str, Any]]:
    """Return a copy of *given*, if it holds Ollama options by model name.

    Raises:
        ConfigurationError: It is not a mapping, or names a model twice.
        UnsupportedInputError: Ollama would refuse an option.
    """
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            f"model_options are {type(given).__name__}; pass a dict of options by model name."
        )
    checked: dict[str, dict[str, Any]] = {}
    by_name = cast("Mapping[str, object]", given)
    if same := twins(by_name):
        raise ConfigurationError(f"model_options: {same[0]!r} and {same[1]!r} are the same model.")
    for name, own in by_name.items():
        try:
            checked[name] = deepcopy(check_options(own))
        except ValueError as exc:
            raise UnsupportedInputError(f"Options of the model {name!r}: {exc}.") from exc
    return checked


def _checked_options(options: object) -> dict[str, Any]:
    try:
        return check_options(options)
    except ValueError as exc:
        raise UnsupportedInputError(f"{exc}.") from exc


def _checked_keep_alive(value: object) -> float | str:
    try:
        return check_keep_alive(value)
    except ValueError as exc:
        raise UnsupportedInputError(
            f"keep_alive is of type {type(value).__name__} and cannot be used: {exc}."
        ) from exc


def _checked_timeout(value: float | Mapping[str, float | None] | Timeouts) -> Timeouts:
    try:
        return Timeouts.of(value)
    except ValueError as exc:
        raise ConfigurationError(f"{exc}.") from exc


def _checked_flags(flags: OllamaFlags) -> OllamaFlags:
    checked: dict[str, object] = {}
    for name, value in flags.items():
        try:
            checked[name] = _RULES.get(name, check_flag)(value)
        except ValueError as exc:
            raise ConfigurationError(f"{name}: {exc}.") from exc
    return cast("OllamaFlags", checked)
