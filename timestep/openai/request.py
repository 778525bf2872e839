"""The body of a request to ``/chat/completions``. Pure.

The SDK's public `Converter` writes messages, tools and the response format; this module adds the
settings. The body equals the one that the SDK's `OpenAIChatCompletionsModel` sends, with these
differences, each on purpose: the answer is always streamed, usage is asked for, and what cannot be sent
is refused or listed in `ChatBody.ignored`.

Source: openai-agents 0.24.0 ``models/openai_chatcompletions.py`` (``_fetch_response``); openai 3.57
``types/chat/completion_create_params.py``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias, cast

from agents import ModelSettings, TResponseInputItem, UserError
from agents.models.chatcmpl_converter import Converter
from openai import Omit
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from timestep.answer.call import ModelCall
from timestep.errors import UnsupportedInputError
from timestep.openai.history import History

Json: TypeAlias = dict[str, Any]

_ADVICE = (
    'To send it with the SDK\'s own model, write adapter = "sdk" in the table of the provider.'
)
_SENT = (
    "temperature",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "max_tokens",
    "store",
    "verbosity",
    "top_logprobs",
    "prompt_cache_retention",
    "prompt_cache_options",
    "metadata",
)
"""Fields of `ModelSettings` that the API calls by the same name."""
_ONLY_RESPONSES = ("truncation", "response_include", "context_management")
"""Fields of `ModelSettings` that only the Responses API has."""
_EXTRA_ARGS = CompletionCreateParamsBase.__annotations__.keys() - {
    "messages",
    "model",
    "stream_options",
}
"""The keywords of openai's ``chat.completions.create`` that go into the body."""

_ALWAYS_SAID = {"model", "messages", "input", "instructions", "tools", "stream"}
_ALSO_CALLED = {
    "max_tokens": ("max_completion_tokens", "max_output_tokens"),
    "reasoning": ("reasoning_effort",),
    "response_include": ("include",),
}
"""Settings that have another name in a body."""


@dataclass(frozen=True, slots=True)
class ChatBody:
    """One request."""

    body: Json  # the JSON object
    # Headers of this request alone, which win over the endpoint's.
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, object] = field(default_factory=dict[str, object])  # fields for its URL
    ignored: tuple[str, ...] = ()  # what the API has no place for, a phrase each
    call_ids: frozenset[str] = frozenset()  # the call ids of the history


def chat_body(ask: ModelCall, *, model: str, base_url: str, include_usage: bool = True) -> ChatBody:
    """The request that puts *ask* to *model*."""
    settings = ask.settings
    try:
        history = History(ask.input, model)
        messages = _messages(ask, history, model, base_url)
        tools = [Converter.tool_to_openai(tool) for tool in ask.tools]
        tools += [Converter.convert_handoff_tool(handoff) for handoff in ask.handoffs]
        choices = {
            "tool_choice": Converter.convert_tool_choice(settings.tool_choice),
            "response_format": Converter.convert_response_format(ask.output),
        }
    except UnsupportedInputError:
        raise
    except UserError as exc:
        raise UnsupportedInputError(f"{exc} {_ADVICE}") from exc
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as exc:
        raise UnsupportedInputError(
            f"An item of the input has a wrong shape ({type(exc).__name__}). Compare the items with "
            "those of result.to_input_list()."
        ) from exc
    body: Json = {"messages": messages, "model": model, "stream": True}
    if tools:
        body["tools"] = _plain(tools)
    body |= {name: value for name, value in choices.items() if not isinstance(value, Omit)}
    body |= _settings(settings, has_tools=bool(tools))
    if settings.include_usage is not None or include_usage:
        body["stream_options"] = {"include_usage": settings.include_usage is not False}
    _add_extra_args(body, settings.extra_args or {})
    return ChatBody(
        body={**body, **fields_of(settings.extra_body, "extra_body")},
        headers={
            name: value
            for name, value in (settings.extra_headers or {}).items()
            if isinstance(value, str)
        },
        query=fields_of(settings.extra_query, "extra_query"),
        ignored=(*dict.fromkeys(history.ignored), *_ignored(settings)),
        call_ids=history.call_ids,
    )


def _messages(ask: ModelCall, history: History, model: str, base_url: str) -> list[Json]:
    items = cast("str | list[TResponseInputItem]", history.items)
    converted = cast(
        "list[Json]", Converter.items_to_messages(items, model=model, base_url=base_url)
    )
    converted = history.with_extras(converted)
    if ask.instructions:
        converted.insert(0, {"content": ask.instructions, "role": "system"})
    return cast("list[Json]", _plain(converted))


def _settings(settings: ModelSettings, *, has_tools: bool) -> Json:
    """The fields of the body that *settings* give a value."""
    found: Json = {
        name: value for name in _SENT if (value := getattr(settings, name, None)) is not None
    }
    if settings.reasoning is not None and settings.reasoning.effort is not None:
        found["reasoning_effort"] = settings.reasoning.effort
    if has_tools and settings.parallel_tool_calls is not None:
        found["parallel_tool_calls"] = settings.parallel_tool_calls
    if settings.top_logprobs is not None and "logprobs" not in (settings.extra_args or {}):
        found["logprobs"] = True  # the API wants both
    return found


def _add_extra_args(body: Json, extra: Mapping[str, Any]) -> None:
    for name, value in extra.items():
        if name in body:
            raise UnsupportedInputError(
                f"extra_args[{name!r}] is set by another setting too; leave one of them out."
            )
        if name not in _EXTRA_ARGS:
            raise UnsupportedInputError(
                f"extra_args[{name!r}] is not an argument of chat.completions.create(); write a "
                "field that only this server knows into extra_body."
            )
        if not isinstance(value, Omit):
            body[name] = value


def _ignored(settings: ModelSettings) -> Iterable[str]:
    for name in _ONLY_RESPONSES:
        if getattr(settings, name, None) is not None:
            yield name
    for name, value in (settings.reasoning.to_dict() if settings.reasoning else {}).items():
        if name != "effort" and value is not None:
            yield f"reasoning.{name}"


def _plain(value: Any) -> Any:
    """Return *value* with lists for other iterables, which JSON cannot hold."""
    match value:
        case str() | bytes() | int() | float() | None:
            return value
        case Mapping():
            found = cast("Mapping[str, Any]", value)
            return {name: _plain(below) for name, below in found.items()}
        case Iterable():
            return [_plain(below) for below in cast("Iterable[Any]", value)]
        case _:
            return value


def added_fields(extra_body: Mapping[str, Any], settings: ModelSettings) -> Mapping[str, Any]:
    """Return the fields of *extra_body* about which a call with *settings* says nothing."""
    if not extra_body:
        return extra_body
    named = {field.name for field in fields(settings) if getattr(settings, field.name) is not None}
    others = {other for name in named for other in _ALSO_CALLED.get(name, ())}
    said = _ALWAYS_SAID | named | others | (settings.extra_args or {}).keys()
    return {name: value for name, value in extra_body.items() if name not in said}


def fields_of(value: object, name: str) -> dict[str, Any]:
    """Return *value* of the setting *name*, which must be a mapping; empty for None."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UnsupportedInputError(f"{name} is {type(value).__name__}; pass a dict.")
    return dict(cast("Mapping[str, Any]", value))
