"""`timestep check`: what it finds out about models of every kind, and what it makes of it."""

import json
import re
from pathlib import Path

import pytest

from timestep.cli.agent.run import ToolCall
from timestep.cli.check.haystack import hide
from timestep.cli.check.judge import judge, same
from timestep.cli.check.observation import Observation
from timestep.cli.check.task import Expectation, builtin_tasks
from timestep.testing import Close, Reply, Stall

ROOT = Path(__file__).parents[2]
TASKS = builtin_tasks()
EACH_TASK = pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
BIG = {"window": 16384}
"""A window that holds every task."""


@pytest.fixture
def server(fake_ollama, configured):
    fake_ollama.add_model("m", **BIG)
    return fake_ollama


def checked(invoke, *arguments, code=0):
    """The results of a check, by model."""
    result = invoke("check", *arguments, "--json")
    assert result.exit_code == code, result.output
    return {found["model"]: found for found in json.loads(result.stdout)["models"]}


def only_task(found):
    [task] = found["tasks"]
    return task


# Models that a server plays


def text_of(message):
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(part.get("text", "") for part in content)


def asked_for(messages):
    """The task that a request belongs to, by its first question; None for a greeting."""
    system = "".join(text_of(message) for message in messages if message["role"] == "system")
    users = [text_of(message) for message in messages if message["role"] == "user"]
    for task in TASKS:
        is_on_stage = {task.instructions, *(agent.instructions for agent in task.agents)}
        # Instructions for a schema may follow the agent's own.
        if users[0].endswith(task.messages[0]) and any(map(system.startswith, is_on_stage)):
            return task
    return None


def words_for(task):
    """An answer with the words that *task* expects."""
    expect = task.expect
    if expect.output is not None:
        return json.dumps(expect.output)
    words = [*(expect.answer.contains if expect.answer else ()), "it is"]
    ending = expect.every_answer.ends if expect.every_answer else ""
    return " ".join([*words, ending or "so"])


def steps_of(task):
    """The calls of each answer that a perfect model gives, before its last one."""
    if task.expect.agent:
        return [[(f"transfer_to_{task.expect.agent.lower()}", {})]]
    calls = [
        (call.name or task.tools[0].name, call.arguments or {"mood": "happy"})
        for call in task.expect.calls or ()
    ]
    return [calls] if task.expect.order == "together" else [[call] for call in calls]


def perfect_answer(messages, thinks):
    """The calls and the text with which a perfect model goes on, and what it thinks."""
    task = asked_for(messages)
    if task is None:
        return [], "Hello!", ""
    given = sum(message["role"] == "assistant" for message in messages)
    steps = steps_of(task)
    thinking = "Let me see." if thinks else ""
    if given < len(steps):
        return steps[given], "", thinking
    return [], words_for(task), thinking


def perfect(request):
    body = request.json
    calls, text, thinking = perfect_answer(body["messages"], body.get("think"))
    return Reply(text, tool_calls=calls, thinking=thinking)


def clueless(request):
    """Always the same words, and never a call."""
    return "I do not know."


def writing_calls_as_text(request):
    calls, text, _ = perfect_answer(request.json["messages"], False)
    written = [json.dumps({"name": name, "arguments": given}) for name, given in calls]
    return " ".join([*written, text])


def with_wrong_types(request):
    calls, text, _ = perfect_answer(request.json["messages"], False)
    return Reply(text, tool_calls=[(name, stringified(given)) for name, given in calls])


def stringified(value):
    if isinstance(value, dict):
        return {name: stringified(below) for name, below in value.items()}
    return json.dumps(value) if isinstance(value, int | list) else value


# The tasks


def test_the_tasks_cover_what_an_agent_needs():
    assert len(TASKS) >= 15
    assert sum(task.quick for task in TASKS) == 5
    assert {task.shows for task in TASKS} >= {"tools", "structured output", "thinking", "vision"}


@EACH_TASK
def test_a_perfect_model_passes_each_task(task, invoke, server):
    server.reply(perfect, times=None)

    found = checked(invoke, "ollama/m", "--task", task.name, "--repeat", "1")["ollama/m"]

    assert only_task(found)["tries"][0]["reason"] == ""
    assert only_task(found)["passed"] == 1


@EACH_TASK
def test_a_clueless_model_fails_each_task(task, invoke, server):
    server.reply(clueless, times=None)

    found = checked(invoke, "ollama/m", "--task", task.name, "--repeat", "1")["ollama/m"]

    assert only_task(found)["failed"] == 1
    assert only_task(found)["tries"][0]["reason"]


@EACH_TASK
def test_the_manual_explains_each_task_and_names_its_file(task):
    manual = (ROOT / "docs/check.md").read_text()

    assert f"[`{task.name}`](../timestep/cli/check/tasks/{task.name}.toml) | " in manual
    assert task.title in manual


# The judgement


@pytest.mark.parametrize(
    ("expected", "came", "is_same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ("Oslo", " oslo ", True),
        ("1", 1, False),
        ([1, 2], [1, 2], True),
        ([1, 2], [2, 1], False),
        ([1], "1", False),
        ({"a": 1}, {"a": 1, "b": None, "c": ""}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({"a": 1}, {}, False),
        ({"a": 1}, "a", False),
        (None, None, True),
    ],
    ids=repr,
)
def test_values_are_the_same_when_their_types_are(expected, came, is_same):
    assert same(expected, came) is is_same


def seen(*groups, **others):
    calls = [[ToolCall("", name, given) for name, given in group] for group in groups]
    return Observation(calls, **others)


def expects(**fields):
    return Expectation.model_validate(fields)


A, B = {"name": "a"}, {"name": "b"}


@pytest.mark.parametrize(
    ("expected", "observed"),
    [
        (expects(calls=[A, B]), seen([("a", {})], [("b", {})])),
        (expects(calls=[A, B], order="together"), seen([("b", {}), ("a", {})])),
        (expects(calls=[A], more_calls=True), seen([("a", {})], [("a", {})])),
        (expects(answer={"contains": ["1234"]}), seen(answers=["It is **1,234**."])),
        (expects(every_answer={"ends": "over"}), seen(answers=["Yes. Over.", "No, OVER!"])),
        (expects(answer={"lacks": ["blue"]}), seen(answers=["red"])),
    ],
)
def test_what_is_right(expected, observed):
    assert judge(expected, observed) is None


@pytest.mark.parametrize(
    ("expected", "observed", "difference"),
    [
        (expects(calls=[A]), seen(answers=["hm"]), "expected a; got no call, but 'hm'"),
        (expects(calls=[]), seen([("a", {"x": 1})]), "expected no call; got a(x=1)"),
        (
            expects(calls=[A, B]),
            seen([("b", {})], [("a", {})]),
            "expected a, b; got b(), then a()",
        ),
        (
            expects(calls=[A, B], order="together"),
            seen([("a", {})], [("b", {})]),
            "expected a, b together in one answer; got a(), then b()",
        ),
        (expects(calls=[{}], more_calls=True), seen(), "expected any call; got no call"),
        (
            expects(answer={"contains": ["9"]}),
            seen(answers=["19"]),
            "expected an answer with '9'; got '19'",
        ),
        (
            expects(answer={"lacks": ["blue"]}),
            seen(answers=["Blue."]),
            "expected an answer without 'blue'; got 'Blue.'",
        ),
        (
            expects(every_answer={"ends": "over"}),
            seen(answers=["Over", "over it"]),
            "expected an answer that ends with 'over'; got 'over it'",
        ),
        (expects(agent="B"), seen(), "expected a handoff to B; got none"),
        (expects(agent="B"), seen(agent="C"), "expected a handoff to B; got one to C"),
        (expects(output={"a": 1}), seen(output={"a": "1"}), 'expected {"a": 1}; got {"a": "1"}'),
        (expects(thinking=True), seen(), "expected thinking; got none"),
        (expects(thinking=False), seen(thinking=True), "expected no thinking; got some"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(expected, observed, difference):
    assert judge(expected, observed) == difference


@pytest.mark.parametrize("tokens", [100, 2000])
def test_a_haystack_has_its_length_and_one_needle(tokens):
    text = hide("Here it is.", tokens)

    assert tokens * 4 <= len(text) + 1 < tokens * 4 + 100
    assert text.count("Here it is.") == 1
    assert not re.search(r"\d", text)


# Models of every kind


def verdicts(found):
    return {
        task["task"]: "skipped"
        if task["skipped"]
        else "error"
        if task["errors"]
        else "failed"
        if task["failed"]
        else "passed"
        for task in found["tasks"]
    }


def test_a_perfect_model_passes_all_and_shows_what_it_claims(invoke, server):
    server.reply(perfect, times=None)

    found = checked(invoke, "ollama/m", "--repeat", "1")["ollama/m"]

    assert set(verdicts(found).values()) == {"passed"}
    assert found["claimed"] == ["completion", "thinking", "tools", "vision"]
    assert found["seen"] == [
        "context",
        "conversation",
        "structured output",
        "thinking",
        "tools",
        "vision",
    ]
    assert (found["tasks_passed"], found["tasks_tried"]) == (len(TASKS), len(TASKS))
    assert (found["window_configured"], found["window_real"]) == (None, 16384)
    assert found["context_length"] == 40960
    assert found["load_seconds"] == 0.007
    assert found["tokens_per_task"] > 0
    assert found["first_token_seconds"] > 0
    assert found["tokens_per_second"] > 0


def test_a_model_that_writes_its_calls_as_text_fails_where_calls_are_needed(invoke, server):
    server.reply(writing_calls_as_text, times=None)

    found = checked(invoke, "ollama/m", "--repeat", "1")["ollama/m"]

    assert verdicts(found)["one-call"] == verdicts(found)["handoff"] == "failed"
    assert verdicts(found)["no-call"] == verdicts(found)["six-turns"] == "passed"
    reason = next(t for t in found["tasks"] if t["task"] == "one-call")["tries"][0]["reason"]
    assert reason.startswith('expected get_weather(city="Oslo"); got no call, but \'{"name"')


def test_a_model_with_wrong_types_fails_where_types_count(invoke, server):
    server.reply(with_wrong_types, times=None)

    found = checked(invoke, "ollama/m", "--repeat", "1")["ollama/m"]

    assert verdicts(found)["one-call"] == "passed"
    assert verdicts(found)["typed-arguments"] == verdicts(found)["one-of-eight"] == "failed"


def test_a_slow_try_is_given_up_and_is_not_the_models_fault(invoke, server):
    stall = Stall(after=1)
    server.reply("Hello!")
    server.reply("I think so", times=None, fault=stall)

    found = checked(invoke, "ollama/m", "--task", "no-call", "--repeat", "2", "--timeout", "0.3")

    task = only_task(found["ollama/m"])
    assert task["errors"] == 2
    assert task["tries"][0]["reason"] == "No end within 0.3 s; --timeout allows more."


@pytest.mark.parametrize("after", [1, 3])
def test_a_server_that_dies_in_the_middle_is_told_apart_from_the_model(after, invoke, server):
    server.reply("Hello!")
    server.reply("Forty two it is", times=None, fault=Close(after=after))

    task = only_task(checked(invoke, "ollama/m", "-t", "no-call", "--repeat", "1")["ollama/m"])

    assert (task["failed"], task["errors"]) == (0, 1)
    assert "broke" in task["tries"][0]["reason"]


def test_a_server_that_fails_is_told_apart_from_the_model(invoke, server):
    server.reply("Hello!")
    server.fail(500, "out of memory", times=None)

    task = only_task(checked(invoke, "ollama/m", "-t", "no-call", "--repeat", "1")["ollama/m"])

    assert (task["failed"], task["errors"]) == (0, 1)
    assert "out of memory" in task["tries"][0]["reason"]


def test_an_unusable_call_after_thinking_is_the_models_fault(invoke, server):
    server.reply("Hello!")
    bad = {"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}
    server.reply("", thinking="Hm.", tool_calls=[bad], done_reason="length", times=None)

    task = only_task(checked(invoke, "ollama/m", "-t", "one-call", "--repeat", "1")["ollama/m"])

    assert (task["failed"], task["errors"]) == (1, 0), task


def test_a_call_of_an_unknown_tool_is_the_models_fault(invoke, server):
    server.reply("Hello!")
    server.reply(tool_calls=[("send_email", {})], times=None)

    task = only_task(checked(invoke, "ollama/m", "-t", "no-such-tool", "--repeat", "1")["ollama/m"])

    assert (task["failed"], task["errors"]) == (1, 0)
    assert "send_email" in task["tries"][0]["reason"]


def test_what_the_server_does_not_list_is_left_out(invoke, server):
    server.add_model("text", capabilities=["completion"], window=4096)
    server.reply(perfect, times=None)

    found = checked(invoke, "ollama/text", "--repeat", "1")["ollama/text"]

    left_out = {task["task"]: task["skipped"] for task in found["tasks"] if task["skipped"]}
    assert left_out == {
        "image": "the server lists no vision for this model",
        "needle-8k": "the window holds 4,096 tokens; this needs 8,512",
        "thinking-off": "the server lists no thinking for this model",
        "thinking-on": "the server lists no thinking for this model",
    }
    assert verdicts(found)["one-call"] == "failed"
    assert verdicts(found)["no-call"] == "failed"  # its tool cannot be offered
    assert "structured output" in found["seen"]


def test_models_that_cannot_be_tried_are_rows_and_the_others_go_on(invoke, server):
    server.reply(perfect, times=None)

    result = invoke("check", "nope/x", "ollama/gone", "gpt-4.1", "ollama/m", "--quick")

    assert result.exit_code == 0
    for words in ("Unknown prefix: nope", "ollama pull gone", "OPENAI_API_KEY"):
        assert words in " ".join(result.stdout.split())
    assert re.search(r"^1 +5/5 +5/5 .* ollama/m$", result.stdout, re.MULTILINE)
    assert checked(invoke, "nope/x", "--quick", code=1)["nope/x"]["tasks"] == []


def test_an_unreachable_server_is_a_reason(invoke, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9")

    found = checked(invoke, "ollama/m", "--quick", code=1)["ollama/m"]

    assert "127.0.0.1:9" in found["problem"]
