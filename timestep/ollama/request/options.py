"""Model settings as Ollama's request fields and options. Pure.

Every field of the SDK's `ModelSettings` is sent, refused, or listed as ignored.
Source: ollama ``api/types.go`` (``Options``, ``Runner``, ``ThinkValue``), v0.33.0;
openai-agents ``model_settings.py``, 0.24.
"""

import difflib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast

from agents import ModelSettings

from timestep.errors import UnsupportedInputError
from timestep.net.headers import check_not_framing, is_header

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

_INTEGERS = frozenset(
    {
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
        "top_k",
        "repeat_last_n",
    }
)  # fmt: skip - a table reads better in rows
_FLOATS = frozenset(
    {
        "top_p",
        "min_p",
        "typical_p",
        "temperature",
        "repeat_penalty",
        "presence_penalty",
        "frequency_penalty",
    }
)  # fmt: skip - as above
_BOOLEANS = frozenset({"use_mmap"})
_LARGEST_INTEGER = 2**63 - 1
_LARGEST_FLOAT = 3.4028234e38
"""Of Go's ``int`` and ``float32``."""
OPTION_NAMES = _INTEGERS | _FLOATS | _BOOLEANS | {"stop"}
"""Every option that Ollama knows."""
_TOP_LEVEL = frozenset({"format", "logprobs", "shift", "top_logprobs", "truncate"})
# What only the request's builder may write.
_RESERVED = frozenset({"messages", "model", "stream", "tools"})
_TRUNCATE = {"auto": True, "disabled": False}
_DURATION = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_SECONDS = re.compile(r"[+-]?\d{1,15}(?:\.\d{1,15})?", re.ASCII)
# Names other APIs use for the same thing.
_RENAMED = {"max_tokens": "num_predict", "max_completion_tokens": "num_predict"}
# The SDK adds these by itself for OpenAI's servers; nobody asked for them here.
_INJECTED = frozenset({"prompt_cache_key", "context_management"})


@dataclass(slots=True)
class RequestFields:
    """What the settings put into a request.

    Attributes:
        top_level: Fields beside ``model`` and ``messages``.
        options: The ``options`` object; last word of the settings, before ``extra_body``.
        headers: Extra request headers.
        extra_body: Merged over everything else.
        ignored: What Ollama has no place for, a phrase each.
    """

    top_level: Json = field(default_factory=dict[str, Any])
    options: Json = field(default_factory=dict[str, Any])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    extra_body: Json = field(default_factory=dict[str, Any])
    ignored: list[str] = field(default_factory=list[str])


def settings_to_fields(
    settings: ModelSettings,
    *,
    defaults: Mapping[str, Any],
    keep_alive: float | str | None,
    truncate: bool,
) -> RequestFields:
    """The request fields for *settings*.

    Args:
        settings: As the Runner resolved them.
        defaults: Options of the provider or model; the settings win over them.
        keep_alive: Of the provider or model, in seconds or as a Go duration.
        truncate: What to send when the settings say nothing about truncation.

    Raises:
        UnsupportedInputError: An option or a setting has a value Ollama would refuse.
    """
    fields = RequestFields(options=dict(defaults))
    if keep_alive is not None:
        fields.top_level["keep_alive"] = check_keep_alive(keep_alive)
    fields.top_level["truncate"] = _TRUNCATE.get(settings.truncation or "", truncate)
    _sampling(settings, fields)
    _reasoning(settings, fields)
    _logprobs(settings, fields)
    _ignored(settings, fields)
    _extra_headers(settings, fields)
    _extra_args(settings, fields)
    _extra_body(settings, fields)
    fields.options = check_options(fields.options, fields.ignored)
    return fields


def check_options(options: Mapping[str, Any], ignored: list[str] | None = None) -> Json:
    """*options* without unset ones, ``stop`` as a list.

    Names Ollama does not know are sent all the same, for newer servers, and added to *ignored*.

    Raises:
        UnsupportedInputError: A value has a type the server answers with HTTP 500. It says which
            type, and not the value: a configuration may hold a key where a number belongs.
    """
    checked: Json = {}
    for name, value in _as_options(options).items():
        if value is None:
            continue
        if name == "stop" and isinstance(value, str):
            checked[name] = [value]
            continue
        if name not in OPTION_NAMES:
            near = difflib.get_close_matches(name, OPTION_NAMES, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            if ignored is not None:
                ignored.append(f"options.{name} (no option of Ollama{hint})")
        elif (wanted := _wrong_type(name, value)) is not None:
            raise UnsupportedInputError(
                f"The Ollama option {name!r} must be {wanted}, and is of type "
                f"{type(value).__name__}."
            )
        checked[name] = value
    return checked


def check_keep_alive(value: object) -> float | str:
    """*value*, when it says how long a model stays loaded: seconds, or a Go duration.

    Raises:
        UnsupportedInputError: It is text without a unit, or of another type.
    """
    if isinstance(value, str):
        text = value.strip()
        if _DURATION.fullmatch(text):
            return text
        if _SECONDS.fullmatch(text):  # servers refuse them as text
            return float(text) if "." in text else int(text)
    elif _is_number(value, sys.float_info.max):
        return value
    raise UnsupportedInputError(
        f"keep_alive is of type {type(value).__name__} and no duration; write seconds (300), text "
        "such as '10m' or '1h30m', -1 to keep the model loaded or 0 to unload it."
    )


def is_implicit_default(settings: ModelSettings) -> bool:
    """True for the reasoning settings the SDK gives an agent without a model of its own.

    They are meant for OpenAI's default model, and nobody chose them for the Ollama model that a
    configured default leads to.
    """
    reasoning = settings.reasoning
    return (
        settings.verbosity == "low"
        and reasoning is not None
        and reasoning.effort == "none"
        and reasoning.model_fields_set <= {"effort"}
    )


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
    if reasoning is None or is_implicit_default(settings):
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
    """List what is set and has no place in Ollama's API.

    ``include_usage`` and ``store=False`` ask for what happens anyway; ``retry``, ``timeout`` and
    ``preserve_raw_usage`` are the Runner's; ``metadata`` goes to the trace.
    """
    if settings.verbosity is not None and not is_implicit_default(settings):
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
        if not is_header(name, value):
            raise UnsupportedInputError(
                f"extra_headers[{name!r}] cannot be sent: names are letters, digits and dashes, "
                "values are printable ASCII."
            )
        try:
            check_not_framing(name)
        except ValueError as exc:
            raise UnsupportedInputError(f"extra_headers: {exc}.") from exc
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
    """Put what Ollama takes in one form only into *fields*; False when *name* is no such thing."""
    if name == "options":
        fields.options.update(_as_options(value))
    elif name == "keep_alive":
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


def _as_options(options: Any) -> Mapping[str, Any]:
    given = type(options).__name__
    if isinstance(options, Mapping):
        named = cast("Mapping[Any, Any]", options)
        if all(isinstance(name, str) for name in named):
            return named
    raise UnsupportedInputError(
        f"options are of type {given}; pass a dict of Ollama options by name."
    )


def _wrong_type(name: str, value: Any) -> str | None:
    """What *value* should have been, or None when it is right."""
    if name in _INTEGERS:
        whole = _is_number(value, _LARGEST_INTEGER) and float(value).is_integer()
        return None if whole else "a whole number of at most 64 bits"
    if name in _FLOATS:
        return None if _is_number(value, _LARGEST_FLOAT) else "a number of at most 32 bits"
    if name in _BOOLEANS:
        return None if isinstance(value, bool) else "true or false"
    texts = isinstance(value, list | tuple) and all(
        isinstance(text, str) for text in cast("list[Any]", value)
    )
    return None if texts else "a text or a list of texts"


def _is_number(value: Any, largest: float) -> TypeGuard[float]:
    """True for a number, neither infinite nor NaN, of a size the server's type can hold."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) <= largest
