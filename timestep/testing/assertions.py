"""Assertions over a recorded run: which tools were called, with what, and how it ended.

store = timestep.traces.install(tmp_path / "traces.db")
await Runner.run(agent, "How is the weather in Oslo?", run_config=config)
store.flush()
assert_tool_called(store.get("last"), "get_weather", city="Oslo")
"""

from collections.abc import Mapping, Sequence
from typing import Any

from timestep.net.json_parts import mapping
from timestep.traces.conversation import final_answer
from timestep.traces.records import Span, Trace
from timestep.traces.summary import headline
from timestep.traces.text import one_line


def assert_tool_called(
    trace: Trace, name: str, /, *, times: int | None = None, **arguments: Any
) -> Span:
    """Check that *trace* has a call of the tool *name* with at least these *arguments*.

    Return the first such call. There must be *times* of them; by default any number.
    """
    found = [
        call for call in trace.tool_calls if call.name == name and _has(call.arguments, arguments)
    ]
    wanted = f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"
    if not found:
        raise AssertionError(f"{wanted} was not called. {_calls(trace)}")
    if times is not None and len(found) != times:
        raise AssertionError(
            f"{wanted} was called {len(found)} times, not {times}. {_calls(trace)}"
        )
    return found[0]


def assert_tool_not_called(trace: Trace, name: str, /, **arguments: Any) -> None:
    """Check that *trace* has no call of the tool *name* with these *arguments*."""
    for call in trace.tool_calls:
        if call.name == name and _has(call.arguments, arguments):
            raise AssertionError(f"{headline(call)} was called. {_calls(trace)}")


def assert_tools_called(trace: Trace, names: Sequence[str], /) -> None:
    """Check that the tools of *trace* were called in exactly this order."""
    called = [call.name for call in trace.tool_calls]
    if called != list(names):
        raise AssertionError(f"The tools are not {', '.join(names) or 'none'}. {_calls(trace)}")


def assert_handoff(trace: Trace, to_agent: str, /, *, from_agent: str | None = None) -> Span:
    """Check that *trace* hands over to *to_agent*, and from *from_agent* if that is given.

    Return the first such handoff.
    """
    handoffs = [span for span in trace.spans if span.kind == "handoff"]
    for span in handoffs:
        if span.name == to_agent and from_agent in {None, span.data.get("from_agent")}:
            return span
    made = "; ".join(headline(span) for span in handoffs) or "none"
    raise AssertionError(f"No handoff to {to_agent}. Handoffs: {made}.")


def assert_guardrail_triggered(trace: Trace, name: str, /) -> Span:
    """Check that the guardrail *name* was triggered. Return the first such span."""
    guardrails = [span for span in trace.spans if span.kind == "guardrail"]
    for span in guardrails:
        if span.name == name and span.data.get("triggered"):
            return span
    seen = "; ".join(headline(span) for span in guardrails) or "none"
    raise AssertionError(f"The guardrail {name} was not triggered. Guardrails: {seen}.")


def assert_no_errors(trace: Trace, /) -> None:
    """Check that no step of *trace* failed."""
    failed = [f"{headline(span)}: {one_line(dict(span.error or {}))}" for span in trace.errors]
    if failed:
        raise AssertionError(f"{len(failed)} steps failed: {'; '.join(failed)}")


def assert_answer_contains(trace: Trace, text: str, /) -> None:
    """Check that the final answer of *trace* contains *text*."""
    answer = final_answer(trace)
    if text not in answer:
        raise AssertionError(f"{text!r} is not in the answer {answer!r}")


def assert_tokens_below(trace: Trace, most: int, /) -> None:
    """Check that the models of *trace* read and wrote fewer than *most* tokens together."""
    used = sum((call.input_tokens or 0) + (call.output_tokens or 0) for call in trace.model_calls)
    if used >= most:
        raise AssertionError(f"{used} tokens were used, not fewer than {most}")


def _has(given: Any, wanted: Mapping[str, Any]) -> bool:
    arguments = mapping(given)
    return all(
        name in arguments and _is_equal(arguments[name], value) for name, value in wanted.items()
    )


def _is_equal(given: Any, wanted: Any) -> bool:
    """Return True when they are equal in JSON too, where ``true`` and 1 differ."""
    numbers = isinstance(given, int | float) and isinstance(wanted, int | float)
    if numbers and isinstance(given, bool) != isinstance(wanted, bool):
        return False
    return bool(given == wanted)


def _calls(trace: Trace) -> str:
    called = "; ".join(headline(call) for call in trace.tool_calls)
    return f"Calls: {called or 'none'}."
