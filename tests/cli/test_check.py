"""`timestep check`: what it finds out about models of every kind, and what it makes of it."""

import json
import re
import signal
from html.parser import HTMLParser
from pathlib import Path

import pytest

from timestep.cli.check.earlier import last_results
from timestep.cli.check.judge import Observation, judge, same
from timestep.cli.check.staging import agent_for, hide
from timestep.cli.check.task import Expectation, builtin_tasks
from timestep.testing import Close, FakeOllama, Reply, Stall
from timestep.testing.answers import StatusAnswer
from timestep.testing.openai.replies import ChatReply
from timestep.traces import Filter, TraceStore
from timestep.traces.conversation import Call

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


@pytest.mark.parametrize("times", ["0", "1001", "9" * 5_000])
def test_each_task_is_tried_a_thousand_times_at_most(invoke, times):
    result = invoke("check", "ollama/m", "--repeat", times)

    assert result.exit_code == 2
    assert "--repeat" in result.stderr


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
    calls = [[Call(name, given) for name, given in group] for group in groups]
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


@pytest.mark.parametrize("count", [1, 13, 14, 200])
def test_any_number_of_calls_together_is_judged(count):
    wanted = expects(
        calls=[{"name": "a"}] + [{"arguments": {"n": n}} for n in range(13)], order="together"
    )
    came = [("a", {"n": 13}), *(("a", {"n": n}) for n in range(count - 1))]

    assert (judge(wanted, seen(came)) is None) is (count == 14)


@pytest.mark.parametrize(
    ("words", "answer", "is_held"),
    [
        ("red", "Red.", True),
        ("red", "It is *red*", True),
        ("red", "Sorry, no image was rendered.", False),
        ("red", "The image is blurred.", False),
        ("not possible", "That is not possible!", True),
        ("42", "It is 42.", True),
        ("42", "42, I think", True),
        ("42", "4.42", False),
        ("42", "42.5", False),
        ("42", "420", False),
        ("-", "a-b", True),
        ("東京", "私は東京にいる", True),
        ("são", "sãozinho", False),
    ],
)
def test_words_count_only_as_a_whole(words, answer, is_held):
    difference = judge(expects(answer={"contains": [words]}), seen(answers=[answer]))
    lack = judge(expects(answer={"lacks": [words]}), seen(answers=[answer]))

    assert (difference is None) is is_held
    assert (lack is None) is not is_held


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


def test_calls_one_after_the_other_are_not_calls_in_one_answer(invoke, server):
    server.reply("Hello!")
    server.reply("One moment: 13.", tool_calls=[("get_weather", {"city": "Oslo"})])
    server.reply(tool_calls=[("get_weather", {"city": "Cairo"})])
    server.reply("It is 37.")

    task = only_task(
        checked(invoke, "ollama/m", "-t", "parallel-calls", "--repeat", "1")["ollama/m"]
    )

    assert task["tries"][0]["reason"].endswith(
        'got get_weather(city="Oslo"), then get_weather(city="Cairo")'
    )


def test_only_the_last_text_is_the_answer(invoke, server):
    server.reply("Hello!")
    server.reply("It may be 13.", tool_calls=[("get_weather", {"city": "Oslo"})])
    server.reply("It is cold.")

    task = only_task(checked(invoke, "ollama/m", "-t", "one-call", "--repeat", "1")["ollama/m"])

    assert task["tries"][0]["reason"] == "expected an answer with '13'; got 'It is cold.'"


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


def chat_messages(body):
    """The messages of a request, in the form of chat completions."""
    if "messages" in body:
        return body["messages"]
    turns = [
        {"role": item.get("role", "assistant"), "content": item.get("content", "")}
        for item in body["input"]
        if item.get("type") != "function_call_output"
    ]
    return [{"role": "system", "content": body.get("instructions", "")}, *turns]


def perfect_at_openai(request):
    calls, text, _ = perfect_answer(chat_messages(request.json), False)
    return ChatReply(text, tool_calls=calls, usage={})


@pytest.fixture(params=["lab/m", "gpt-4.1"])
def at_openai(request, fake_openai, monkeypatch):
    """A model that is asked through OpenAI's API: a server of one's own, and OpenAI itself."""
    if request.param == "gpt-4.1":
        monkeypatch.setenv("OPENAI_BASE_URL", fake_openai.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    else:
        monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
        monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", fake_openai.base_url)
    return request.param


def test_a_model_behind_openai_s_api_passes_the_quick_tasks(invoke, fake_openai, at_openai):
    fake_openai.reply(perfect_at_openai, times=None)

    found = checked(invoke, at_openai, "--quick")[at_openai]

    assert set(verdicts(found).values()) == {"passed"}
    assert found["claimed"] is None
    assert found["is_greedy"]
    assert found["tokens_per_task"] > 0


def test_a_server_that_takes_no_temperature_is_asked_without(invoke, openai_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    refusal = {"error": {"message": "Unsupported parameter: 'temperature'.", "code": "unsupported"}}
    openai_server.answers = lambda body: (400, refusal) if "temperature" in body else None

    found = checked(invoke, "gpt-5", "--task", "no-call", "--repeat", "1")["gpt-5"]

    assert (found["is_greedy"], found["has_seed"]) == (False, False)
    assert only_task(found)["tries"][0]["reason"] == "expected an answer with '42'; got 'hello'"


@pytest.mark.parametrize(
    ("refused", "greedy", "seeded", "note"),
    [
        ({"temperature"}, False, True, "no temperature, so"),
        ({"seed"}, True, False, "no seed, so"),
        ({"seed", "temperature"}, False, False, "no seed and no temperature, so"),
        (set(), True, True, None),
    ],
)
def test_only_what_a_server_refuses_is_left_out(
    invoke, fake_openai, monkeypatch, refused, greedy, seeded, note
):
    def answer(request):
        if refused & request.json.keys():
            return StatusAnswer(400, {"message": "no"})
        return perfect_at_openai(request)

    fake_openai.reply(answer, times=None)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", fake_openai.base_url)
    arguments = ("lab/m", "-t", "no-call", "--repeat", "1")

    found = checked(invoke, *arguments)["lab/m"]
    shown = " ".join(invoke("check", *arguments).stdout.split())

    assert (found["is_greedy"], found["has_seed"]) == (greedy, seeded)
    assert verdicts(found) == {"no-call": "passed"}
    assert ("the server takes" in shown) is bool(note)
    assert note is None or f"the server takes {note}" in shown


def test_what_a_server_refuses_later_or_against_its_claim_is_an_error(invoke, server):
    def answer(request):
        return perfect(request) if "think" not in request.json else StatusAnswer(400, "slot lost")

    server.reply(answer, times=None)

    task = only_task(checked(invoke, "ollama/m", "-t", "thinking-on", "--repeat", "2")["ollama/m"])

    assert (task["skipped"], task["errors"]) == (None, 2)
    assert "slot lost" in task["tries"][0]["reason"]


def test_what_a_server_refuses_for_a_task_with_a_need_is_left_out(invoke, fake_openai, at_openai):
    def refuse_thinking(request):
        if "reasoning" in request.json or "reasoning_effort" in request.json:
            return StatusAnswer(400, {"message": "this model does not reason"})
        return perfect_at_openai(request)

    fake_openai.reply(refuse_thinking, times=None)

    found = checked(invoke, at_openai, "-t", "thinking-on", "--repeat", "2")[at_openai]

    assert "this model does not reason" in only_task(found)["skipped"]
    assert only_task(found)["tries"] == []


def test_what_is_known_about_a_model_stands_above_its_tasks(invoke, openai_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("TIMESTEP_ALIASES__SMART", "gpt-5")
    refusal = {"error": {"message": "no", "code": "unsupported"}}
    openai_server.answers = lambda body: (400, refusal) if "temperature" in body else None

    shown = invoke("check", "smart", "--task", "no-call", "--task", "needle-window").stdout

    assert shown.startswith(
        "smart\n"
        "  leads to gpt-5\n"
        "  claimed   unknown\n"
        "  seen      nothing\n"
        "  window    unknown\n"
        "  note      the server takes no seed and no temperature, so that two checks may\n"
        "            differ\n"
        "  task                          passed   tokens  first token   tok/s\n"
        "  needle-window                      -        -            -       -\n"
        "    left out: the window is not known\n"
        "  no-call                          0/3 "
    )


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ('{"city": " oslo "}', "Snow, -13 degrees Celsius"),
        ('{"city": "Rome"}', "Error: nothing is known about this."),
        ("", "Error: nothing is known about this."),
        ("[1]", "Error: the arguments are not an object."),
        ("{", "Error: the arguments are not JSON."),
    ],
)
async def test_a_tool_answers_every_call(arguments, result):
    [task] = [task for task in TASKS if task.name == "one-call"]
    [tool] = agent_for(task).tools

    assert await tool.on_invoke_tool(None, arguments) == result


def test_a_server_of_one_s_own_may_tell_the_window(invoke, fake_openai, monkeypatch):
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", fake_openai.base_url)
    models = {"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 4096}]}
    as_json = {"Content-Type": "application/json"}
    fake_openai.fail(200, body=json.dumps(models), headers=as_json, path="/v1/models")
    fake_openai.reply(perfect_at_openai, times=None)

    found = checked(invoke, "lab/m", "-t", "needle-2k", "-t", "needle-8k", "--repeat", "1")["lab/m"]

    assert found["context_length"] == 4096
    assert verdicts(found) == {"needle-2k": "passed", "needle-8k": "skipped"}


def test_a_prompt_for_the_window_needs_to_know_it(invoke, fake_openai, at_openai):
    fake_openai.reply(perfect_at_openai, times=None)

    found = checked(invoke, at_openai, "-t", "needle-window", "--repeat", "1")[at_openai]

    assert only_task(found)["skipped"] == "the window is not known"


def test_without_a_model_the_configured_ones_are_tried(invoke, server, monkeypatch):
    server.add_model("other", **BIG)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/m")
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "ollama/other")
    monkeypatch.setenv("TIMESTEP_ALIASES__SAME", "ollama/m")
    server.reply(perfect, times=None)

    assert list(checked(invoke, "--quick")) == ["ollama/m", "ollama/other"]


def test_without_any_model_the_message_says_how_to_name_one(invoke):
    result = invoke("check")

    assert result.exit_code == 1
    assert "timestep check ollama/llama3.2" in result.stderr


def test_an_alias_and_a_chain_are_tried_as_an_application_uses_them(invoke, server):
    Path("timestep.toml").write_text(
        '[aliases]\nfast = "ollama/m"\nsafe = ["ollama/gone", "ollama/m"]\n'
    )
    server.reply(perfect, times=None)

    found = checked(invoke, "fast", "safe", "--quick")

    assert found["fast"]["leads_to"] == ["ollama/m"]
    assert found["safe"]["leads_to"] == ["ollama/gone", "ollama/m"]
    assert found["fast"]["tasks_passed"] == found["safe"]["tasks_passed"] == 5


def test_a_chain_of_models_without_tools_is_to_blame_itself(invoke, server):
    for name in ("one", "two"):
        server.add_model(name, capabilities=["completion"])
    Path("timestep.toml").write_text('[aliases]\nsafe = ["ollama/one", "ollama/two"]\n')
    server.reply(perfect, times=None)

    task = only_task(checked(invoke, "safe", "-t", "one-call", "--repeat", "1")["safe"])

    assert (task["failed"], task["errors"]) == (1, 0)
    assert "tools" in task["tries"][0]["reason"]


# How tries are made


def test_tries_are_greedy_and_their_seeds_are_fixed(invoke, server):
    server.reply(perfect, times=None)

    checked(invoke, "ollama/m", "--task", "no-call", "--repeat", "3")

    options = [chat["options"] for chat in server.chats]
    assert [(each["temperature"], each["seed"]) for each in options] == [
        (0, 1),
        (0, 1),
        (0, 2),
        (0, 3),
    ]


def test_prompts_name_neither_timestep_nor_the_model(invoke, server):
    server.reply(perfect, times=None)

    checked(invoke, "ollama/m", "--repeat", "1")

    sent = [json.dumps({**chat, "model": ""}).lower() for chat in server.chats]
    assert not [body for body in sent if "timestep" in body or "ollama" in body]


def test_a_configured_window_is_told_beside_the_real_one(invoke, server, monkeypatch):
    monkeypatch.setenv("TIMESTEP_OLLAMA__OPTIONS", '{"num_ctx": 99999}')
    server.reply(perfect, times=None)

    found = checked(invoke, "ollama/m", "--task", "needle-window", "--repeat", "1")["ollama/m"]

    assert (found["window_configured"], found["window_real"]) == (99999, 40960)
    [prompt] = [chat for chat in server.chats if len(json.dumps(chat)) > 10_000]
    assert 40960 * 0.7 * 4 < len(json.dumps(prompt)) < 40960 * 4


def test_facts_of_a_model_are_those_of_any_server_that_tells_them(invoke, server, monkeypatch):
    with FakeOllama() as other:
        monkeypatch.setenv("OLLAMA_BASE_URL", f"{server.url},{other.url}")
        other.add_model("m", **BIG)
        for each in (server, other):  # either may be asked
            each.reply(perfect, times=None)
        other.fail(500, "no facts", path="/api/show", times=None)

        found = checked(invoke, "ollama/m", "--task", "no-call", "--repeat", "1")["ollama/m"]

    assert found["claimed"] == ["completion", "thinking", "tools", "vision"]
    assert found["context_length"] == 40960


# What is printed


def test_tables_fit_80_columns(invoke, server):
    names = [f"model-{number}-with-quite-a-long-name:27b-instruct-q4_K_M" for number in range(12)]
    for name in names:
        server.add_model(name, **BIG)
    server.reply(clueless, times=None)

    result = invoke("check", *(f"ollama/{name}" for name in names), "--quick", "-t", "call-chain")

    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("call-chain") for line in lines) == 2  # eight beside each other
    assert "1 small task is not a benchmark." in result.stdout


def test_a_long_name_of_a_task_is_cut_in_the_table_alone(invoke, server):
    name = "a-task-of-my-own-with-a-name-that-is-much-too-long-for-any-table"
    text = 'title = "t"\ninstructions = "i"\ninput = "q"\n[expect]\ncalls = []\n'
    Path(f"{name}.toml").write_text(text)
    server.reply("Hello!", times=None)

    shown = invoke("check", "ollama/m", "--file", f"{name}.toml").stdout

    assert f"  {name[:27]}…     3/3 " in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert list(verdicts(checked(invoke, "ollama/m", "--file", f"{name}.toml")["ollama/m"])) == [
        name
    ]


def test_the_best_model_comes_first(invoke, server):
    server.add_model("weak", **BIG)
    server.reply(clueless, model="weak", times=None)
    server.reply(perfect, model="m", times=None)

    result = invoke("check", "ollama/weak", "nope/x", "ollama/m", "--quick")

    rows = re.findall(r"^(\d) .*  (\S+)$", result.stdout, re.MULTILINE)
    assert rows == [("1", "ollama/m"), ("2", "ollama/weak"), ("3", "nope/x")]


def test_what_a_model_writes_cannot_control_the_terminal(invoke, server):
    server.reply("\x1b[31mred\x07", times=None)

    result = invoke("check", "ollama/m", "--task", "no-call", "--repeat", "1")

    assert "red" in result.stdout
    assert not re.search(r"[\x1b\x07]", result.stdout)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.text += data


def test_the_page_holds_everything_and_runs_nothing_that_a_model_wrote(invoke, server):
    server.reply("<script>alert(1)</script> & 'so'", times=None)

    result = invoke("check", "ollama/m", "nope/<b>x", "--quick", "--output", "report.html")

    assert result.exit_code == 0
    text = Path("report.html").read_text("utf-8")
    page = Page(text)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert not {"src", "href"} & set(page.attributes)
    assert "<script>alert(1)</script> & 'so'" in page.text
    assert "nope/<b>x" in page.text
    assert "5 small tasks are not a benchmark." in page.text
    assert all(task.name in page.text for task in TASKS if task.quick)


def test_a_page_that_cannot_be_written_is_told_and_loses_no_result(invoke, server):
    server.reply(perfect, times=None)

    result = invoke("check", "ollama/m", "--quick", "--output", "/dev/full")

    assert result.exit_code == 1
    assert "/dev/full cannot be written: No space left on device." in result.stderr
    assert "5 small tasks" in result.stdout


def test_a_terminal_shows_how_far_it_is(on_screen, server):
    server.reply(perfect, times=None)

    shown, code = on_screen(80, "check", "ollama/m", "--quick", raw=True)

    assert code == 0
    assert "0/5" in shown
    assert "5/5" in shown


# Exit codes and choices


def test_a_required_task_that_fails_is_an_exit_code(invoke, server):
    server.reply(perfect, times=None)
    assert invoke("check", "ollama/m", "--quick", "--require", "one-call").exit_code == 0


@pytest.mark.parametrize("model", ["ollama/m", "ollama/gone"])
def test_a_required_task_that_a_model_does_not_pass_fails_the_command(model, invoke, server):
    server.reply(clueless, times=None)
    result = invoke("check", model, "--quick", "--require", "one-call")

    assert result.exit_code == 1
    assert result.stderr == f"{model} did not pass one-call, which is required.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--task", "one-cal"], "There is no task 'one-cal'. Did you mean one-call?"),
        (["--require", "zzz"], "There is no task 'zzz'. 'timestep check --list' shows the tasks."),
        (["--quick", "--require", "image"], "this task is not among the chosen ones"),
        (["--output", "no/report.html"], "--output no/report.html: there is no folder no."),
        (["--file", "none.toml"], "none.toml cannot be read: No such file or directory."),
        (["--file", "bad.toml"], "bad.toml is not TOML:"),
        (["--file", "odd.toml"], "expect.calls.0.nmae: Extra inputs are not permitted"),
        (["--file", "empty.toml"], "[expect] is empty, so that every answer would be right"),
        (["--file", "own.toml", "--file", "own.toml"], "Two tasks have the name own"),
        (["--file", "deep.toml"], "deep.toml is not a task: it is nested too deeply."),
    ],
)
def test_wrong_options_are_told_before_anything_is_sent(arguments, words, invoke, server):
    head = 'title = "t"\ninstructions = "i"\ninput = "q"\n'
    Path("bad.toml").write_text("title")
    Path("odd.toml").write_text(f'{head}[expect]\ncalls = [{{ nmae = "x" }}]\n')
    Path("empty.toml").write_text(f"{head}[expect]\n")
    Path("own.toml").write_text(f"{head}[expect]\ncalls = []\n")
    Path("deep.toml").write_text(f"{head}image = {'[' * 3000}{']' * 3000}\n")

    result = invoke("check", "ollama/m", *arguments)

    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
    assert server.requests == []


TOOL = '[[tools]]\nname = "a"\ndescription = ""\nresults = []\n'
CITY = 'parameters = { type = "object", properties = { city = { type = "string" } } }\n'
WHEN = TOOL.replace("[]", '[{ when = { town = "Oslo" }, result = "sunny" }]')
AGENT = '[[agents]]\nname = "b"\ndescription = ""\ninstructions = ""\n'
NO_CALL = "[expect]\ncalls = []\n"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (f"input = []\n{NO_CALL}", "input"),
        (f'name = ""\n{NO_CALL}', "name: String should have at least 1 character"),
        (f'image = "nonsense"\n{NO_CALL}', "image: String should match pattern"),
        (f'tool_choice = "zzz"\n{NO_CALL}', "tool_choice is 'zzz', which is not among the tools"),
        (f'haystack = {{ tokens = -5, needle = "x" }}\n{NO_CALL}', "haystack.tokens"),
        (f'haystack = {{ tokens = 9999999, needle = "x" }}\n{NO_CALL}', "haystack.tokens"),
        (f"output_schema = {{ type = 5 }}\n{NO_CALL}", "'output_schema' is not a JSON schema"),
        (f"{NO_CALL}{TOOL}parameters = {{ type = 5 }}\n", "the schema 'a' is not a JSON schema"),
        ("[expect]\nmore_calls = true\n", "[expect] is empty"),
        ('[expect]\norder = "together"\n', "[expect] is empty"),
        ("[expect]\nanswer = {}\n", "[expect] is empty"),
        ('[expect]\ncalls = [{ name = "typo" }]\n', "call of 'typo', which is not among the tools"),
        (
            f'{AGENT}[expect]\ncalls = [{{ name = "transfer_to_b" }}]\n',
            'not among the tools; for a handoff write agent = "NAME"',
        ),
        (
            f'{TOOL}{CITY}[expect]\ncalls = [{{ name = "a", arguments = {{ citty = "Oslo" }} }}]\n',
            "not a task: [expect] has the argument 'citty', which a does not take",
        ),
        (
            f"{WHEN}{CITY}{NO_CALL}",
            "a result has the argument 'town', which a does not take",
        ),
        ('[expect]\nagent = "Absent"\n', "has the agent 'Absent', which is not in agents"),
        ("[expect]\noutput = 1\n", "has an output, which needs an output_schema"),
        ("output_schema = {}\n[expect]\noutput = 2024-01-01\n", "expect.output"),
        ("[expect]\ncalls = [{ arguments = { day = 2024-01-01 } }]\n", "arguments.day"),
    ],
)
def test_a_file_that_cannot_be_a_task_says_why(lines, words, invoke, server):
    head = 'title = "t"\ninstructions = "i"\n'
    asks = "" if "input" in lines else 'input = "q"\n'
    Path("own.toml").write_text(head + asks + lines)

    result = invoke("check", "ollama/m", "--file", "own.toml")

    assert result.exit_code == 2, result.output
    assert "own.toml is not a task:" in result.stderr
    assert words in " ".join(result.stderr.split())
    assert server.requests == []


def test_a_task_file_may_begin_with_a_byte_order_mark(invoke, server):
    server.reply("Hello!", times=None)
    head = 'title = "t"\ninstructions = "i"\ninput = "q"\n'
    Path("own.toml").write_text(head + NO_CALL, "utf-8-sig")

    found = checked(invoke, "ollama/m", "--file", "own.toml", "--repeat", "1")["ollama/m"]

    assert verdicts(found) == {"own": "passed"}


def test_a_page_is_written_whatever_bytes_a_name_has(invoke, server):
    server.reply("Hello!", times=None)

    result = invoke("check", "ollama/m", "nope/\udcff", "-t", "no-call", "-o", "report.html")

    assert result.exit_code == 0, result.output
    assert "\\udcff" in Path("report.html").read_text()


def test_nothing_is_said_about_tasks_that_were_not_tried(invoke, configured):
    assert "small tasks" not in invoke("check", "nope/x", "--quick").stdout


def test_the_list_names_every_task(invoke):
    listed = invoke("check", "--list").stdout

    assert all(re.search(rf"^{task.name} ", listed, re.MULTILINE) for task in TASKS)
    assert max(map(len, listed.splitlines())) <= 80
    quick = json.loads(invoke("check", "--list", "--quick", "--json").stdout)
    assert [each["task"] for each in quick] == [task.name for task in TASKS if task.quick]


def test_the_task_of_the_manual_is_tried_from_a_file(invoke, server):
    manual = (ROOT / "docs/check.md").read_text()
    [text] = re.findall(r"^```text\n(title.*?)^```$", manual, re.DOTALL | re.MULTILINE)
    Path("tariff.toml").write_text(text)
    call = ("find_price", {"kilograms": 3, "country": "Norway"})
    server.reply("Hello!")
    server.reply(tool_calls=[call])
    server.reply("It costs 17.40 euros.")

    found = checked(invoke, "ollama/m", "--file", "tariff.toml", "--repeat", "1")["ollama/m"]

    assert verdicts(found) == {"tariff": "passed"}
    assert server.chats[-1]["messages"][-1]["content"] == "17.40 euros"


# The record


def test_a_failed_try_opens_in_the_record(invoke, server):
    server.reply(clueless, times=None)
    result = invoke("check", "ollama/m", "--task", "one-call", "--repeat", "1")
    [command] = re.findall(r"timestep (traces show \w+)", result.stdout)

    shown = invoke(*command.split())

    assert shown.exit_code == 0
    assert "check one-call" in shown.stdout
    assert "I do not know." in shown.stdout
    assert 'expected get_weather(city="Oslo")' in shown.stdout


def test_without_a_record_no_trace_is_named(invoke, server, monkeypatch):
    monkeypatch.setenv("TIMESTEP_TRACES__ENABLED", "false")
    server.reply(clueless, times=None)

    found = checked(invoke, "ollama/m", "--task", "one-call", "--repeat", "1")["ollama/m"]

    assert only_task(found)["tries"][0]["trace_id"] is None
    assert not record().exists()


def record():
    from timestep.config.settings import load_settings  # noqa: PLC0415 - the test's environment

    return load_settings().traces.file


def test_models_shows_the_last_result(invoke, server):
    server.add_model("new", **BIG)
    server.reply(perfect, times=None)
    assert "check " not in invoke("models").stdout
    assert not record().exists()
    invoke("check", "ollama/m:latest", "nope/x", "--repeat", "1")
    invoke("check", "ollama/m", "--quick")

    invoke("check", "ollama/m", "-t", "no-call", "--repeat", "1")  # one task says nothing of all
    shown = invoke("models").stdout
    [listed] = [each for each in json.loads(invoke("models", "--json").stdout) if each["models"]]

    assert re.search(r"ollama/m .*, check 5/5$", shown, re.MULTILINE)
    checks = {model["name"]: model["check"] for model in listed["models"]}
    assert checks["ollama/new"] is None
    assert (checks["ollama/m"]["passed"], checks["ollama/m"]["tried"]) == (5, 5)


def test_models_shows_no_result_that_a_failing_server_made(invoke, server):
    server.reply("Hello!")
    server.reply("", times=None, fault=Close())
    invoke("check", "ollama/m", "--quick")

    assert "check " not in invoke("models").stdout


def test_a_record_of_something_else_holds_no_results(tmp_path):
    (tmp_path / "traces.db").write_text("no database")

    assert last_results(tmp_path / "traces.db") == {}
    assert last_results(tmp_path / "missing.db") == {}


def test_ctrl_c_keeps_what_is_done(start, server):
    stall = Stall(after=1)
    server.reply(perfect, times=4)
    server.reply("Hm", times=None, fault=stall)
    process = start(
        "check", "ollama/m", "--task", "no-call", "--repeat", "9", "--json", "-o", "report.html"
    )
    server.wait_until(lambda: len(server.chats) == 5, timeout=60)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()

    assert process.returncode == 130, stderr
    [found] = json.loads(stdout)["models"]
    assert only_task(found)["passed"] == 3
    assert "no-call" in Path("report.html").read_text()
    assert "Traceback" not in stderr


def test_runs_of_one_check_form_a_group(invoke, server):
    server.reply(perfect, times=None)
    invoke("check", "ollama/m", "--quick")

    with TraceStore(record()) as store:
        runs = store.traces()
        [group] = {run.group_id for run in runs} - {"timestep check"}
        assert len(store.traces(Filter(group=group))) == 6  # with the greeting
