"""What a finished answer amounts to: good as it is, worth one repair, or an error. Pure."""

import json
from dataclasses import dataclass
from typing import Any, cast

from agents import AgentOutputSchemaBase

from timestep.answer.chunks import Call
from timestep.answer.reply import Reply
from timestep.answer.written import read_call, read_json, read_output
from timestep.errors import ModelOutputError
from timestep.net.origin import Origin


@dataclass(frozen=True, slots=True)
class Repair:
    """An answer that has to be asked for again.

    Attributes:
        answer: What the model wrote instead.
    """

    answer: str


def settle(reply: Reply) -> Repair | None:
    """Show what *reply* held back; return what to repair when its answer has to be repaired.

    Raises:
        ModelOutputError: The answer cannot be used, and was repaired already or cannot be.
    """
    rules = reply.rules
    if rules.must_call:
        return _settle_call(reply)
    if rules.is_emulated and _settle_emulated(reply):
        return None
    if rules.output is not None and not reply.has_calls:
        return _settle_output(reply, rules.output)
    if reply.held:
        reply.add_text(reply.held)  # words beside a call
    _refuse_empty(reply)
    return None


def _settle_call(reply: Reply) -> Repair | None:
    rules, origin = reply.rules, reply.origin
    calls = [call for call in reply.held_calls if call.name in rules.tools]
    reply.dropped_calls += len(reply.held_calls) - len(calls)
    for call in calls:
        reply.add_call(call)
    if calls:
        if reply.held.strip():
            reply.add_text(reply.held)
        return None
    if (written := read_call(reply.held, rules.tools)) is not None:
        reply.add_call(Call(*written))
        return None
    if reply.was_cut:
        raise _cut(origin)
    if not rules.is_repair:
        return Repair(reply.held)
    names = " or ".join(map(repr, rules.tools))
    raise ModelOutputError(
        f"{origin.model!r} did not call {names}, which tool_choice requires, not even when asked "
        "again. Another try may do better: ModelSettings(retry=…) repeats it.",
        **origin.where(),
    )


def _settle_emulated(reply: Reply) -> bool:
    """Turn the JSON of a model without tool support into a call or an answer, if it is one."""
    if not reply.held:
        return False
    if (written := read_call(reply.held, reply.rules.tools)) is not None:
        reply.add_call(Call(*written))
        return True
    if reply.rules.output is None and reply.was_cut and reply.held.lstrip().startswith("{"):
        raise _cut(reply.origin)  # half a call is not an answer
    return False  # a model that ignores the format answered in its own way


def _settle_output(reply: Reply, output: AgentOutputSchemaBase) -> Repair | None:
    rules, origin = reply.rules, reply.origin
    text = reply.held if reply.holds else reply.items.last_text
    if rules.is_emulated:
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
    if not rules.is_repair:
        return Repair(text)
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


def _refuse_empty(reply: Reply) -> None:
    origin = reply.origin
    if reply.items.has_text or reply.has_calls:
        return
    if reply.was_cut:
        raise _cut(origin)
    if reply.rules.no_calls and reply.dropped_calls:
        raise ModelOutputError(
            f"{origin.model!r} called a tool and said nothing, though tool_choice is 'none'. Another "
            "try may do better: ModelSettings(retry=…) repeats it.",
            **origin.where(),
        )
    if reply.rules.tools:
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
