"""Model settings as Ollama's request fields and options. Pure.

Every field of the SDK's `ModelSettings` is sent, refused, or listed as ignored.
Source: ollama ``api/types.go`` (``Options``, ``Runner``, ``ThinkValue``), v0.33.0;
openai-agents ``model_settings.py``, 0.24.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from agents import ModelSettings

from timestep.errors import UnsupportedInputError
from timestep.net.headers import check_header
from timestep.net.ollama_options import OPTION_NAMES, check_options, named_options, unknown_options
from timestep.net.setting_values import check_keep_alive
from timestep.ollama.model_options import OllamaModelOptions, refused

Json = dict[str, Any]

THINK = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
    "ultra": "max",
}
"""``reasoning.effort`` as Ollama's ``think``. Source: ollama ``openai/openai.go``, v0.33.0."""

_TOP_LEVEL = frozenset({"format", "logprobs", "shift", "top_logprobs", "truncate"})
# What only the request's builder may write.
_RESERVED = frozenset({"messages", "model", "stream", "tools"})
_TRUNCATE = {"auto": True, "disabled": False}
# Names other APIs use for the same thing.
_RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
# The SDK adds these by itself for OpenAI's servers; the user did not ask for them.
_INJECTED = frozenset({"prompt_cache_key", "context_management"})


@dataclass(slots=True)
class RequestFields:
    """What the settings put into a request."""

    top_level: Json = field(default_factory=Json)  # fields beside `model` and `messages`
    options: Json = field(default_factory=Json)  # of the settings; `extra_body` wins over them
    headers: dict[str, str] = field(default_factory=dict[str, str])  # extra request headers
    extra_body: Json = field(default_factory=Json)  # merged over everything else
    ignored: list[str] = field(default_factory=list[str])  # what Ollama has no place for


def settings_to_fields(settings: ModelSettings, model: OllamaModelOptions) -> RequestFields:
    """Return the request fields for *settings*, which win over those of the *model*.

    Args:
        settings: As the Runner resolved them.
        model: How the model is asked; it was checked when it was built.

    Raises:
        UnsupportedInputError: Ollama would refuse the value of a setting.
    """
    fields = RequestFields()
    if model.keep_alive is not None:
        fields.top_level["keep_alive"] = model.keep_alive
    truncate = model.on_context_overflow == "truncate"
    fields.top_level["truncate"] = _TRUNCATE.get(settings.truncation or "", truncate)
    _sampling(settings, fields)
    _reasoning(settings, fields)
    _logprobs(settings, fields)
    _ignored(settings, fields)
    _extra_headers(settings, fields)
    _extra_args(settings, fields)
    _extra_body(settings, fields)
    _options(model, fields)
    return fields


def _options(model: OllamaModelOptions, fields: RequestFields) -> None:
    """Merge the options of the settings, which nothing has checked yet, over the model's."""
    merged = dict(model.options)
    if asked := fields.options:
        with refused(UnsupportedInputError):
            merged |= {**asked, **check_options(asked)}
    fields.options = {name: value for name, value in merged.items() if value is not None}
    fields.ignored += unknown_options(fields.options)


def _sampling(settings: ModelSettings, fields: RequestFields) -> None:
    for name, value in (
        ("temperature", settings.temperature),
        ("top_p", settings.top_p),
        ("frequency_penalty", settings.frequency_penalty),
        ("presence_penalty", settings.presence_penalty),
        ("num_predict", settings.max_tokens),
    ):
        if value is not None:
            fields.options[name] = value


def _reasoning(settings: ModelSettings, fields: RequestFields) -> None:
    reasoning = settings.reasoning
    if reasoning is None:
        return
    if (effort := reasoning.effort) is not None:
        fields.top_level["think"] = _checked_think(effort, "reasoning.effort")
    asked = reasoning.model_dump(exclude_none=True)
    fields.ignored += [f"reasoning.{name}" for name in asked if name != "effort"]


def _logprobs(settings: ModelSettings, fields: RequestFields) -> None:
    if settings.top_logprobs is not None:
        if not 0 <= settings.top_logprobs <= 20:  # noqa: PLR2004 - the server's own bounds
            raise UnsupportedInputError(
                f"top_logprobs is {settings.top_logprobs}; Ollama takes 0 to 20."
            )
        fields.top_level["logprobs"] = True
        fields.top_level["top_logprobs"] = settings.top_logprobs
    for wanted in settings.response_include or []:
        if wanted == "message.output_text.logprobs":
            fields.top_level["logprobs"] = True
        else:
            fields.ignored.append(f"response_include {wanted!r}")


def _ignored(settings: ModelSettings, fields: RequestFields) -> None:
    """List the settings that have no place in Ollama's API.

    ``include_usage`` and ``store=False`` ask for what happens anyway; ``retry``, ``timeout`` and
    ``preserve_raw_usage`` are the Runner's; ``metadata`` goes to the trace.
    """
    if settings.verbosity is not None:
        fields.ignored.append("verbosity")
    if settings.store:
        fields.ignored.append("store")
    for name in ("prompt_cache_retention", "prompt_cache_options", "context_management"):
        if getattr(settings, name, None) is not None:
            fields.ignored.append(name)
    if settings.extra_query:
        fields.ignored.append("extra_query")


def _extra_headers(settings: ModelSettings, fields: RequestFields) -> None:
    for name, value in (settings.extra_headers or {}).items():
        if not isinstance(value, str):
            continue  # the SDK's Omit, and there is nothing to omit
        with refused(UnsupportedInputError, "extra_headers: "):
            check_header(name, value)
        fields.headers[name] = value


def _extra_args(settings: ModelSettings, fields: RequestFields) -> None:
    for given, value in (settings.extra_args or {}).items():
        name = _RENAMED.get(given, given)
        if name in _TOP_LEVEL:
            fields.top_level[name] = value
        elif name in OPTION_NAMES:
            fields.options[name] = value
        elif not _has_own_form(name, value, fields) and name not in _INJECTED:
            fields.ignored.append(f"extra_args[{given!r}]")


def _extra_body(settings: ModelSettings, fields: RequestFields) -> None:
    body = settings.extra_body
    if body is not None and not isinstance(body, Mapping):
        raise UnsupportedInputError(f"extra_body is {type(body).__name__}; pass a dict.")
    for name, value in cast("Mapping[str, Any]", body or {}).items():
        if name in _RESERVED:
            fields.ignored.append(f"extra_body[{name!r}] (the request has its own)")
        elif not _has_own_form(name, value, fields):
            fields.extra_body[name] = value
            if name in OPTION_NAMES:
                fields.ignored.append(f"extra_body[{name!r}] (Ollama reads it under 'options')")


def _has_own_form(name: str, value: Any, fields: RequestFields) -> bool:
    """Put a value that Ollama takes in one form only into *fields*; False for other names."""
    if name in {"options", "keep_alive"}:
        with refused(UnsupportedInputError, f"{name}: "):
            if name == "options":
                fields.options.update(named_options(value))
            else:
                fields.top_level[name] = check_keep_alive(value)
    elif name == "think":
        fields.top_level[name] = _checked_think(value, "think")
    else:
        return False
    return True


def _checked_think(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if not isinstance(value, str) or value not in THINK:
        raise UnsupportedInputError(f"{where} is {value!r}; Ollama knows {', '.join(THINK)}.")
    return THINK[value]
