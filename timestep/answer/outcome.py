"""What a finished answer amounts to: good as it is, worth one repair, or an error. Pure."""

import json
from typing import Any, cast

from agents import AgentOutputSchemaBase

from timestep.answer.reply import Reply
from timestep.errors import ModelOutputError
from timestep.net.origin import Origin
from timestep.ollama.request.build import (
    ChatRequest,
    read_call,
    read_json,
    read_output,
    repair,
)
from timestep.ollama.request.tools import named


def settle(reply: Reply, origin: Origin) -> ChatRequest | None:
    """Show what *reply* held back; return the request that repairs it when it has to be repaired.

    Raises:
        ModelOutputError: The answer cannot be used, and was repaired already or cannot be.
    """
    request = reply.request
    if request.must_call:
        return _settle_call(reply, origin)
    if request.is_emulated:
        _settle_emulated(reply, origin)
    if request.output is not None and not reply.has_calls:
        return _settle_output(reply, request.output, origin)
    if reply.holds and reply.held:
        reply.add_text(reply.held)  # words beside a call
    _refuse_empty(reply, origin)
    return None


def _settle_call(reply: Reply, origin: Origin) -> ChatRequest | None:
    request = reply.request
    calls = [call for call in reply.held_calls if named(request.tools, str(call[0]))]
    reply.dropped_calls += len(reply.held_calls) - len(calls)
    for call in calls:
        reply.add_call(*call)
    if calls:
        if reply.held.strip():
            reply.add_text(reply.held)
        return None
    if (written := read_call(reply.held, request.tools)) is not None:
        reply.add_call(*written)
        return None
    if reply.was_cut:
        raise _cut(origin)
    if not request.is_repair:
        return repair(request, reply.held)
    names = " or ".join(repr(tool.name) for tool in request.tools)
    raise ModelOutputError(
        f"{origin.model!r} did not call {names}, which tool_choice requires, not even when asked "
        "again. Another try may do better: ModelSettings(retry=…) repeats it.",
        **origin.where(),
    )


def _settle_emulated(reply: Reply, origin: Origin) -> None:
    """Turn the JSON of a model without tool support into a call or an answer."""
    if not reply.held:
        return
    if (written := read_call(reply.held, reply.request.tools)) is not None:
        reply.add_call(*written)
        reply.release()
    elif reply.request.output is None:
        if reply.was_cut and reply.held.lstrip().startswith("{"):
            raise _cut(origin)  # half a call is no answer
        reply.add_text(reply.held)  # a model that ignores the format answered in its own way


def _settle_output(
    reply: Reply, output: AgentOutputSchemaBase, origin: Origin
) -> ChatRequest | None:
    request = reply.request
    text = reply.held if reply.holds else reply.last_text
    if request.is_emulated:
        text = _emulated_answer(text)
    right = read_output(text, output)
    if right is not None:
        if reply.holds or right != text:  # what was shown already cannot be taken back
            reply.add_text(right)
        return None
    if reply.was_cut:
        raise _cut(origin)
    if not text.strip():
        raise ModelOutputError(
            f"{origin.model!r} gave an empty answer where {output.name()} is wanted. Another try "
            "may do better: ModelSettings(retry=…) repeats it.",
            **origin.where(),
        )
    if not request.is_repair:
        return repair(request, text)
    raise ModelOutputError(
        f"{origin.model!r} did not answer with {output.name()} as JSON, not even when asked again. "
        "A larger model, or a simpler output type, may do better.",
        **origin.where(),
    )


def _emulated_answer(text: str) -> str:
    value = read_json(text)
    if isinstance(value, dict) and "answer" in value:
        return json.dumps(cast("dict[str, Any]", value)["answer"], ensure_ascii=False)
    return text


def _refuse_empty(reply: Reply, origin: Origin) -> None:
    if reply.has_text or reply.has_calls:
        return
    if reply.was_cut:
        raise _cut(origin)
    if reply.request.no_calls and reply.dropped_calls:
        raise ModelOutputError(
            f"{origin.model!r} called a tool and said nothing, though tool_choice is 'none'. Another "
            "try may do better: ModelSettings(retry=…) repeats it.",
            **origin.where(),
        )
    if reply.request.tools:
        raise ModelOutputError(
            f"{origin.model!r} gave an empty answer. It probably called a tool that does not "
            "exist, which the server swallows. Another try may do better: ModelSettings(retry=…) "
            "repeats it.",
            **origin.where(),
        )


def _cut(origin: Origin) -> ModelOutputError:
    return ModelOutputError(
        f"{origin.model!r} used up its token limit before it could give a usable answer; thinking "
        "counts too. Raise max_tokens (num_predict), or set reasoning.effort to 'none' or 'low'.",
        **origin.where(),
    )
