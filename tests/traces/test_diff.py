from timestep.traces import Span, Trace
from timestep.traces.diff import compare


def run(*steps):
    spans = tuple(
        Span(f"s{number}", "t", None, kind, name, float(number), data=data, error=data.pop("error", None))
        for number, (kind, name, data) in enumerate(steps)
    )  # a table reads better in rows # fmt: skip
    return Trace("t", "run", 0.0, spans=spans)


def said(text, thinking=""):
    return {"output": [{"role": "assistant", "content": text, "thinking": thinking}]}


def rows(left, right):
    return [
        (
            pair.left and pair.left.name,
            pair.right and pair.right.name,
            {difference.field: (difference.left, difference.right) for difference in pair.differences},
        )
        for pair in compare(left, right)
    ]  # a table reads better in rows # fmt: skip


def test_a_run_is_the_same_as_itself():
    trace = run(("agent", "a", {}), ("generation", "m", said("hi")), ("function", "f", {}))

    assert all(pair.is_same for pair in compare(trace, trace))
    assert len(compare(trace, trace)) == 2


def test_steps_of_the_same_kind_stand_side_by_side():
    left = run(
        ("generation", "m", said("hi", "a")), ("function", "f", {"input": "1", "output": "x"})
    )
    right = run(
        ("generation", "n", said("ho", "a")), ("function", "f", {"input": "2", "output": [3]})
    )

    assert rows(left, right) == [
        ("m", "n", {"model": ("m", "n"), "answer": ("hi", "ho")}),
        ("f", "f", {"arguments": ("1", "2"), "result": ("x", "[3]")}),
    ]


def test_a_step_that_only_one_run_has_stands_alone():
    left = run(
        ("generation", "m", said("a")), ("function", "f", {}), ("generation", "m", said("b"))
    )
    right = run(
        ("generation", "m", said("a")), ("handoff", "x", {}), ("generation", "m", said("b"))
    )

    assert [(a, b) for a, b, _ in rows(left, right)] == [
        ("m", "m"),
        ("f", None),
        (None, "x"),
        ("m", "m"),
    ]
    assert not compare(left, right)[1].is_same


def test_errors_and_guardrails_are_compared():
    left = run(
        ("guardrail", "g", {"triggered": False}), ("generation", "m", {"error": {"message": "no"}})
    )
    right = run(("guardrail", "g", {"triggered": True}), ("generation", "m", {}))

    assert rows(left, right) == [
        ("g", "g", {"triggered": ("False", "True")}),
        ("m", "m", {"error": ("no", "")}),
    ]
