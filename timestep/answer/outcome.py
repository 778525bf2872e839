"""Decides whether a finished answer is good, is asked for again, or is an error. Pure.

This is the only place that decides what is whole, cut, empty or half a call, for every wire:

* A call in an answer that the token limit cut is never run, because it may be half.
* Text that the limit cut is an answer, unless it is part of a call or of JSON that was asked for.
* The same holds for what a content filter cut.
* White space or thinking alone is an empty answer. It is an error if tools or a schema were
  offered.
* An answer that is not what was asked for is asked for again as often as the rules allow.
"""

import json
from collections.abc import Sequence
from typing import Any, cast

from agents import AgentOutputSchemaBase

from timestep.answer.chunks import Call
from timestep.answer.from_text import (
    Mismatch,
    begun_call,
    declared_name,
    is_shaped_like_a_call,
    read_call,
    read_calls,
    read_json,
    read_output,
)
from timestep.answer.reply import Reply
from timestep.answer.rules import Repair, Rules
from timestep.errors import ModelOutputError
from timestep.errors.retry import TRY_AGAIN
from timestep.net.origin import Origin

_NO_LIMITS = Rules()


def settle(reply: Reply) -> Repair | None:
    """Show what *reply* held back, or return the repair that it needs."""
    rules = reply.rules
    _refuse_cut(reply)
    if reply.refusals:
        return None
    if rules.must_call:
        return _settle_call(reply)
    if (rules.is_emulated or rules.text_calls) and reply.text.held and not reply.calls:
        try:
            _settle_written(reply)
        except Mismatch as exc:
            if not reply.was_cut and (exc.is_near or _means_a_call(reply)):
                return _ask_again(reply, reply.text.held, exc, wants_call=True)
        else:
            return None
    if rules.output is not None and not reply.calls:
        return _settle_output(reply, rules.output)
    _refuse_half_call(reply)
    if reply.text.held:
        reply.add_text(reply.text.held)
    _refuse_empty(reply)
    return None


def is_empty(reply: Reply) -> bool:
    """Return True when *reply* has no words and no call."""
    return not reply.calls and not reply.items.has_words


def _settle_call(reply: Reply) -> Repair | None:
    """Show the required calls: those that the server sent, or the one in the text."""
    if any(_is_offered(reply, call.name) for _, call in reply.held_calls):
        for before, call in reply.held_calls:
            if before.strip():
                reply.add_text(before)
            if _is_offered(reply, call.name):
                reply.add_call(call)
            else:
                reply.dropped_calls += 1
        if reply.text.held.strip():
            reply.add_text(reply.text.held)
        return None
    reply.dropped_calls += len(reply.held_calls)
    text = "".join([*(before for before, _ in reply.held_calls), reply.text.held])
    if reply.was_cut:
        raise _cut_written(reply, text)
    try:
        calls = _written_calls(reply, text)
    except Mismatch as exc:
        return _ask_again(reply, text, exc, wants_call=True)
    for call in calls:
        reply.add_call(call)
    return None


def _is_offered(reply: Reply, name: object) -> bool:
    try:
        return isinstance(name, str) and declared_name(name, reply.rules.tools) in reply.rules.tools
    except Mismatch:
        return True  # adding the call raises the error for its name


def _settle_written(reply: Reply) -> None:
    """Show the calls in the held text."""
    calls = _written_calls(reply, reply.text.held)
    if reply.was_cut:
        raise _cut_call([call.name for call in calls], reply.origin, reply.rules)
    for call in calls:
        reply.add_call(call)


def _means_a_call(reply: Reply) -> bool:
    """Return True if the emulated answer looks like a call and does not match the output."""
    rules = reply.rules
    return (
        rules.is_emulated
        and rules.output is None
        and is_shaped_like_a_call(reply.text.held, rules.tools)
    )


def _written_calls(reply: Reply, text: str) -> list[Call]:
    rules = reply.rules
    return read_calls(text, rules.tools) if rules.text_calls else [read_call(text, rules.tools)]


def _settle_output(reply: Reply, output: AgentOutputSchemaBase) -> Repair | None:
    text = reply.text.held if reply.text.holds else reply.items.last_text
    if reply.rules.is_emulated:
        text = _emulated_answer(text)
    try:
        right = read_output(text, output)
    except Mismatch as exc:
        if reply.was_cut:
            raise _cut(reply) from exc
        if not text.strip():
            raise _error(
                reply, f"gave an empty answer where {output.name()} is wanted. {TRY_AGAIN}"
            ) from None
        return _ask_again(reply, text, exc)
    if reply.text.holds or right != text:  # what was shown cannot be taken back
        reply.add_text(right)
    return None


def _emulated_answer(text: str) -> str:
    value = read_json(text)
    if isinstance(value, dict) and "answer" in value:
        return json.dumps(cast("dict[str, Any]", value)["answer"], ensure_ascii=False)
    return text


def _ask_again(reply: Reply, text: str, bad: Mismatch, *, wants_call: bool = False) -> Repair:
    """Return the repair of *text*, or raise the error if the model may not be asked again."""
    rules = reply.rules
    if rules.repairs > 0:
        return Repair(text, str(bad), wants_call)
    again = ", not even when asked again" if rules.is_repair else ""
    problem = reply.origin.clean(str(bad))
    if wants_call:
        names = " or ".join(map(repr, rules.tools))
        said = f"did not call {names} in a way that can be read{again}: {problem}. {TRY_AGAIN}"
    else:
        name = rules.output.name() if rules.output is not None else "the output type"
        said = (
            f"did not match {name}{again}: {problem}. A larger model, or a simpler output type, "
            "may do better."
        )
    raise _error(reply, said, text=text) from bad.__cause__ or bad


def _refuse_half_call(reply: Reply) -> None:
    """Refuse half a call in the text, and any cut JSON of a model without tool support."""
    rules, text = reply.rules, reply.text.held
    if not reply.was_cut or not (rules.is_emulated or rules.text_calls):
        return
    is_json = rules.is_emulated and text.lstrip().startswith("{")
    if is_json or begun_call(text, rules.tools):
        raise _cut_written(reply, text)


def _refuse_empty(reply: Reply) -> None:
    if not is_empty(reply):
        return
    if reply.was_cut:
        raise _cut(reply)
    if reply.rules.no_calls and reply.dropped_calls:
        raise _error(
            reply, f"called a tool and said nothing, though tool_choice is 'none'. {TRY_AGAIN}"
        )
    if reply.rules.tools:
        raise _error(
            reply,
            "gave an empty answer. It probably called a tool that does not exist, which the "
            f"server drops. {TRY_AGAIN}",
        )


def refuse_cut_calls(
    names: Sequence[object], reason: str | None, origin: Origin, rules: Rules = _NO_LIMITS
) -> None:
    """Refuse the calls *names* if *reason* says that the answer was cut."""
    if not names:
        return
    if reason == "length":
        raise _cut_call(names, origin, rules)
    if reason == "content_filter":
        raise _filtered("in or after a call, which was not run", origin)


def _refuse_cut(reply: Reply) -> None:
    """Refuse calls in a cut answer, and an answer that a content filter left empty."""
    calls = [*reply.calls, *(call.name for _, call in reply.held_calls)]
    refuse_cut_calls(calls, reply.done_reason, reply.origin, reply.rules)
    if reply.was_filtered and not (reply.items.has_words or reply.text.held.strip()):
        raise _filtered("before it said anything", reply.origin)


def _filtered(where: str, origin: Origin) -> ModelOutputError:
    return _origin_error(
        origin,
        f"was stopped by the server's content filter {where}. Ask in other words, or ask another model.",
    )


def _cut_written(reply: Reply, text: str) -> ModelOutputError:
    """Return the error for *text*, which was cut and is, or should be, a call."""
    name = begun_call(text, reply.rules.tools)
    return _cut_call([name], reply.origin, reply.rules) if name else _cut(reply)


def _cut_call(names: Sequence[object], origin: Origin, rules: Rules) -> ModelOutputError:
    called = origin.clean(" and ".join(map(repr, names)))
    return _origin_error(
        origin,
        f"reached its token limit{_limit(rules)} when it called {called}. The call may be incomplete, so "
        f"it was not run. Raise {rules.limiting}.",
        is_cut=True,
    )


def _cut(reply: Reply) -> ModelOutputError:
    return _error(
        reply,
        f"used up its token limit{_limit(reply.rules)} before it could give a usable answer; thinking "
        f"counts too. Raise {reply.rules.limiting}, or set reasoning.effort to 'none' or 'low'.",
    )


def _limit(rules: Rules) -> str:
    return f" ({rules.token_limit})" if rules.token_limit else ""


def _error(reply: Reply, said: str, *, text: str = "") -> ModelOutputError:
    return _origin_error(reply.origin, said, text=text, is_cut=reply.was_cut)


def _origin_error(
    origin: Origin, said: str, *, text: str = "", is_cut: bool = False
) -> ModelOutputError:
    return ModelOutputError(f"{origin.model!r} {said}", text=text, is_cut=is_cut, **origin.where())
