"""``timestep run`` with agents, settings, images, output types, conversations and limits."""

import base64
import dataclasses
import json
import sqlite3
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pytest
from agents import ModelBehaviorError, ToolErrorFormatterArgs

from timestep.cli.run.question import data_url, read_output_schema
from timestep.testing import NoDone, Stall

MODEL = ("--model", "ollama/llama3.2")
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
DESK = '''
from agents import Agent, function_tool, handoff


@function_tool
def get_weather(city: str) -> str:
    """Get the weather."""
    return f"snow in {city}"


@function_tool
def leave() -> str:
    """Leave."""
    raise SystemExit(5)


@function_tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


@function_tool
def look_up(city: str) -> str:
    """Look it up."""
    return {}[city]


@function_tool(failure_error_function=None)
def look_up_or_die(city: str) -> str:
    """Look it up."""
    return {}[city]


clumsy = Agent("Clumsy", tools=[look_up], model="ollama/llama3.2")
fragile = Agent("Fragile", tools=[look_up_or_die], model="ollama/llama3.2")
advisor = Agent("Advisor", instructions="Advise.", tools=[get_weather], model="ollama/qwen3:4b")
desk = Agent("Desk", instructions="Hand over.", handoffs=[advisor], model="ollama/llama3.2")
quitter = Agent("Quitter", tools=[leave], model="ollama/llama3.2")
till = Agent("Till", tools=[pay], model="ollama/llama3.2")
'''
LINE = DESK.splitlines().index("    return {}[city]") + 1
IS_TOLD = "error" in {field.name for field in dataclasses.fields(ToolErrorFormatterArgs)}
"""Whether the SDK tells what a tool raised; before 0.24 it tells the model the message alone."""
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def agents(configured):
    Path("desk.py").write_text(DESK)


@pytest.mark.parametrize("form", [(), ("--json",), ("--jsonl",)])
def test_what_agents_and_tools_print_goes_to_stderr(invoke, fake_ollama, form):
    Path("loud.py").write_text(
        DESK.replace("    return f", "    print('looking')\n    return f") + "print('loading')"
    )
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It snows.")

    result = invoke("run", "Weather?", "--agent", "loud.py:advisor", *form)

    assert (result.exit_code, "It snows." in result.stdout) == (0, True)
    assert {"loading", "looking"} <= set(result.stderr.splitlines())
    assert "loading" not in result.stdout
    assert "looking" not in result.stdout


def test_a_tool_that_would_end_the_program_has_failed(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("leave", {})])
    fake_ollama.reply("It failed.")

    result = invoke("run", "Go.", "--agent", "desk.py:quitter")

    assert (result.exit_code, result.stdout) == (0, "It failed.\n")
    assert (
        "An error occurred while running the tool"
        in fake_ollama.chats[1]["messages"][-1]["content"]
    )
    assert "Traceback" not in result.stderr


def test_an_agent_of_a_file_answers_with_its_model_and_tools(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It snows.")

    result = invoke("run", "Weather?", "--agent", "desk.py:advisor")

    assert (result.exit_code, result.stdout) == (0, "It snows.\n")
    assert result.stderr == 'tool     get_weather(city="Oslo")\nresult   snow in Oslo\n'
    assert fake_ollama.chats[0]["model"] == "qwen3:4b"
    assert fake_ollama.chats[0]["messages"][0]["content"] == "Advise."


def test_a_handoff_is_shown(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("transfer_to_advisor", {})])
    fake_ollama.reply("Take a coat.")

    result = invoke("run", "Coat?", "--agent", "desk.py:desk")

    assert (result.stdout, result.stderr) == ("Take a coat.\n", "handoff  Desk to Advisor\n")
    assert [chat["model"] for chat in fake_ollama.chats] == ["llama3.2", "qwen3:4b"]


def test_the_model_and_the_instructions_of_the_command_line_win(invoke, fake_ollama):
    fake_ollama.reply("ok")

    invoke("run", "Hi", "--agent", "desk.py:advisor", "--model", "ollama/other", "-i", "Be brief.")

    [chat] = fake_ollama.chats
    assert (chat["model"], chat["messages"][0]["content"]) == ("other", "Be brief.")


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("desk", "is not the name of an agent"),
        ("desk.py:nobody", "'desk.py:nobody' is not the name of an agent"),
        ("desk.py:get_weather", "'desk.py:get_weather' is not the name of an agent"),
        ("missing.py:desk", "There is no file"),
    ],
)
def test_a_wrong_agent_is_refused_with_2(invoke, reference, reason):
    result = invoke("run", "Hi", "--agent", reference)

    assert result.exit_code == 2
    assert reason in result.stderr


def test_two_messages_with_a_call_between_end_their_lines(invoke, fake_ollama):
    fake_ollama.reply("I look it up.", tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It snows.")

    result = invoke("run", "Weather?", "--agent", "desk.py:advisor")

    assert result.stdout == "I look it up.\nIt snows.\n"


def test_a_long_result_is_cut_and_the_json_has_it_all(invoke, fake_ollama):
    call = ("get_weather", {"city": "x" * 2000})
    for _ in range(2):
        fake_ollama.reply(tool_calls=[call])
        fake_ollama.reply("ok")

    shown = invoke("run", "Hi", "--agent", "desk.py:advisor").stderr
    value = json.loads(invoke("run", "Hi", "--agent", "desk.py:advisor", "--json").stdout)

    assert "… (1,008 more characters)" in shown
    assert value["tool_calls"][0]["result"] == "snow in " + "x" * 2000


@pytest.mark.parametrize(
    ("pairs", "sent"),
    [
        (["temperature=0.2"], {"options": {"temperature": 0.2}}),
        (["max_tokens=20", "top_p=1"], {"options": {"num_predict": 20, "top_p": 1}}),
        (
            ["extra_args.num_ctx=8192", "extra_args.seed=7"],
            {"options": {"num_ctx": 8192, "seed": 7}},
        ),
        (['extra_args={"top_k": 5}'], {"options": {"top_k": 5}}),
        (["extra_args.keep_alive=10m"], {"keep_alive": "10m"}),
        (["reasoning.effort=high"], {"think": "high"}),
        (["metadata.number=5", "temperature=1"], {"options": {"temperature": 1}}),
    ],
)
def test_settings_arrive_with_their_types(invoke, fake_ollama, pairs, sent):
    fake_ollama.reply("ok")

    result = invoke("run", "Hi", *MODEL, *(word for pair in pairs for word in ("--set", pair)))

    assert result.exit_code == 0, result.stderr
    assert {name: fake_ollama.chats[0][name] for name in sent} == sent


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        ("temperatur=1", "did you mean temperature?"),
        ("num_ctx=1", "it is an Ollama option: write extra_args.num_ctx"),
        ("xyzzy=1", "the settings are temperature, "),
        ("temperature", "write NAME=VALUE"),
        ("temperature=warm", "--set temperature: Input should be a valid number"),
        ("temperature=NaN", "--set temperature: holds nan or inf"),
        ("store=perhaps", "--set store: Input should be a valid boolean"),
        ("reasoning.effort=huge", "--set reasoning.effort: Input should be"),
        ("max_tokens.x=1", "--set max_tokens: Input should be a valid integer"),
        pytest.param("top_p=" + "[" * 60_000, "--set top_p: Input should be", id="a deep nest"),
    ],
)
def test_a_wrong_setting_is_refused_with_2(invoke, pair, reason):
    result = invoke("run", "Hi", *MODEL, "--set", pair)

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_a_setting_within_a_value_is_refused_with_2(invoke):
    result = invoke("run", "Hi", *MODEL, "--set", "extra_args={}", "--set", "extra_args.seed=1")

    assert result.exit_code == 2
    assert "extra_args is set to a value already" in result.stderr


def test_images_are_sent_as_their_bytes(invoke, fake_ollama):
    Path("a.txt").write_bytes(PIXEL)  # the name does not matter
    fake_ollama.reply("A pixel.")

    result = invoke("run", "What is it?", *MODEL, "--image", "a.txt", "--image", "a.txt")

    assert result.stdout == "A pixel.\n"
    [message] = fake_ollama.chats[0]["messages"]
    assert message["content"] == "What is it?"
    assert message["images"] == [base64.b64encode(PIXEL).decode()] * 2


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (PIXEL, "png"),
        (b"\xff\xd8\xff\xe0", "jpeg"),
        (b"GIF89a", "gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
    ],
)
def test_the_bytes_say_what_an_image_is(data, kind):
    Path("picture").write_bytes(data)

    assert data_url("picture").startswith(f"data:image/{kind};base64,")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing.png", "No such file"), ("desk.py", "not a PNG, JPEG, GIF or WebP image")],
)
def test_a_file_that_is_no_image_is_refused_with_2(invoke, path, reason):
    result = invoke("run", "Hi", *MODEL, "--image", path)

    assert result.exit_code == 2
    assert reason in result.stderr


def test_an_answer_of_a_schema_is_printed_as_json(invoke, fake_ollama):
    Path("city.json").write_text(json.dumps(SCHEMA))
    fake_ollama.reply('{"city":"Oslo"}')

    result = invoke("run", "Where?", *MODEL, "--output-schema", "city.json")

    assert (result.exit_code, result.stdout) == (0, '{\n  "city": "Oslo"\n}\n')
    assert fake_ollama.chats[0]["format"] == SCHEMA


def test_an_answer_against_its_schema_is_an_error_and_is_shown(invoke, fake_ollama):
    Path("city.json").write_text(json.dumps(SCHEMA))
    fake_ollama.reply('{"town":"Oslo"}', times=None)

    result = invoke("run", "Where?", *MODEL, "--output-schema", "city.json")

    assert result.exit_code == 1
    assert '{"town":"Oslo"}' in result.stdout
    assert "did not match city.json" in result.stderr
    assert "'city' is a required property. A larger" in result.stderr


def test_a_schema_is_checked_here_too():
    """Not every server keeps to it."""
    Path("city.json").write_text(json.dumps(SCHEMA))
    schema = read_output_schema("city.json")

    assert schema.validate_json('{"city": "Oslo"}') == {"city": "Oslo"}
    for text, reason in [
        ("{", "is not JSON"),
        ('{"city": 5}', r"schema at \$\.city: 5 is not of type 'string'"),
    ]:
        with pytest.raises(ModelBehaviorError, match=reason):
            schema.validate_json(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, ": No such file"),
        ("{", "is not JSON"),
        ("[]", "it is not an object"),
        ('{"type": "objekt"}', "is not a JSON schema: 'objekt'"),
        ('{"$ref": "#/gone"}', "'#/gone', which leads nowhere"),
        pytest.param("[" * 60_000, "is nested too deeply", id="a deep nest"),
    ],
)
def test_a_file_that_is_no_schema_is_refused_with_2(invoke, text, reason):
    if text is not None:
        Path("schema.json").write_text(text)

    result = invoke("run", "Hi", *MODEL, "--output-schema", "schema.json")

    assert result.exit_code == 2
    assert reason in result.stderr


def test_a_session_has_a_name(invoke):
    result = invoke("run", "Hi", *MODEL, "--session", " ")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "write a name" in result.stderr


def test_a_session_goes_on_where_it_ended(invoke, fake_ollama):
    fake_ollama.reply("Hello Ann.")
    fake_ollama.reply("Ann.")
    fake_ollama.reply("No.")

    invoke("run", "I am Ann.", *MODEL, "--session", "ann")
    invoke("run", "Who am I?", *MODEL, "--session", "ann")
    invoke("run", "Who am I?", *MODEL, "--session", "bob")

    assert [[message["content"] for message in chat["messages"]] for chat in fake_ollama.chats] == [
        ["I am Ann."],
        ["I am Ann.", "Hello Ann.", "Who am I?"],
        ["Who am I?"],
    ]


def test_an_answer_that_fails_leaves_the_session_as_it_was(invoke, fake_ollama):
    fake_ollama.reply("one two", fault=NoDone())
    fake_ollama.reply("ok")

    assert invoke("run", "One?", *MODEL, "--session", "ann").exit_code == 1
    invoke("run", "Two?", *MODEL, "--session", "ann")

    assert [message["content"] for message in fake_ollama.chats[1]["messages"]] == ["Two?"]


def test_the_conversations_are_private(invoke, fake_ollama, tmp_path):
    fake_ollama.reply("ok")
    invoke("run", "Hi", *MODEL, "--session", "ann")

    assert (tmp_path / "data" / "timestep" / "sessions.db").stat().st_mode & 0o777 == 0o600


def test_a_file_that_holds_no_conversations_is_told(invoke, tmp_path):
    path = tmp_path / "data" / "timestep" / "sessions.db"
    path.parent.mkdir(parents=True)
    path.write_text("no database, but long enough to be read as one" * 20)

    result = invoke("run", "Hi", *MODEL, "--session", "ann")

    assert result.exit_code == 1
    assert "Move the file away to start over" in result.stderr


def test_a_model_that_goes_on_calling_tools_is_stopped(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})], times=None)

    result = invoke("run", "Hi", "--agent", "desk.py:advisor", "--max-turns", "2")

    assert result.exit_code == 1
    assert "Max turns (2) exceeded" in result.stderr
    assert "--max-turns" in result.stderr


def test_a_call_that_waits_for_approval_needs_somebody(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("pay", {"amount": 5})])

    result = invoke("run", "Pay.", "--agent", "desk.py:till")

    assert result.exit_code == 1
    assert "pay(amount=5) waits for approval" in result.stderr


def test_ctrl_c_does_not_wait_for_a_tool(invoke, fake_ollama):
    Path("stuck.py").write_text(
        "import os, signal, threading\nfrom agents import Agent, function_tool\n"
        "released = threading.Event()\n@function_tool\ndef wait() -> str:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    released.wait()\n    return 'done'\n"
        "agent = Agent('Stuck', tools=[wait])\n"
    )
    fake_ollama.reply("I wait.", tool_calls=[("wait", {})])

    result = invoke("run", "Hi", "--agent", "stuck.py:agent", *MODEL)

    assert (result.exit_code, result.stdout) == (130, "I wait.\n")
    sys.modules["stuck"].released.set()


def test_json_is_one_value_with_all_there_is(invoke, fake_ollama):
    fake_ollama.reply(thinking="Hm.", tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It snows.")

    result = invoke("run", "Weather?", "--agent", "desk.py:advisor", "--json")

    value = json.loads(result.stdout)
    timings = value.pop("timings")
    assert result.stderr == ""
    assert value == {
        "answer": "It snows.",
        "thinking": "Hm.",
        "agent": "Advisor",
        "model": "ollama/qwen3:4b",
        "tool_calls": [
            {"name": "get_weather", "arguments": {"city": "Oslo"}, "result": "snow in Oslo"}
        ],
        "usage": {"requests": 2, "input_tokens": 52, "output_tokens": 6},
        "cost": None,
        "is_cut": False,
        "error": None,
    }
    assert timings["load_seconds"] == 0.014
    assert timings["tokens_per_second"] == pytest.approx(1e6 / 150, rel=1e-6)
    assert 0 < timings["first_token_seconds"] <= timings["total_seconds"]


@pytest.mark.parametrize(("words", "is_known"), [("Hi", False), ("It snows in Oslo.", True)])
def test_the_speed_is_that_of_the_record(invoke, fake_ollama, words, is_known):
    fake_ollama.reply(words)

    said = json.loads(invoke("run", "Weather?", *MODEL, "--json").stdout)
    run = json.loads(invoke("traces", "show", "last", "--json").stdout)

    [recorded] = [step["tokens_per_second"] for step in run["spans"] if step["model"]]
    told = said["timings"]["tokens_per_second"]
    assert (told is not None, recorded is not None) == (is_known, is_known)
    assert told == (recorded and round(recorded, 6))


def test_json_lines_are_the_events_and_the_value(invoke, fake_ollama):
    fake_ollama.reply("I look.", tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("Snow.")

    result = invoke("run", "Weather?", "--agent", "desk.py:advisor", "--jsonl")

    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["type"] for event in events if event["type"] != "text"] == [
        "message_end",
        "tool_call",
        "tool_result",
        "message_end",
        "answer",
    ]
    assert "".join(e["text"] for e in events if e["type"] == "text") == "I look.Snow."
    call = next(event for event in events if event["type"] == "tool_call")
    output = next(event for event in events if event["type"] == "tool_result")
    assert call["id"] == output["id"]
    assert (output["name"], output["result"]) == ("get_weather", "snow in Oslo")


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_json_of_an_answer_that_breaks_off_has_what_came_and_why(invoke, fake_ollama, form):
    fake_ollama.reply("one two", fault=NoDone())

    result = invoke("run", "Hi", *MODEL, form)

    value = json.loads(result.stdout.splitlines()[-1] if form == "--jsonl" else result.stdout)
    assert result.exit_code == 1
    assert value["answer"] == "one two"
    assert "ended without its last line" in value["error"]
    assert "ended without its last line" in result.stderr


def test_what_a_provider_does_not_tell_is_null(invoke, openai_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")

    value = json.loads(invoke("run", "Hi", "--model", "gpt-4.1", "--json").stdout)

    assert (value["answer"], value["model"], value["usage"]) == ("hello", "gpt-4.1", None)
    assert value["timings"]["load_seconds"] is None
    assert value["timings"]["tokens_per_second"] is None


def test_two_forms_at_once_are_refused(invoke):
    assert invoke("run", "Hi", *MODEL, "--json", "--jsonl").exit_code == 2


def test_what_a_tool_raised_is_shown_and_recorded(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("look_up", {"city": "Oslo"})])
    fake_ollama.reply("Sorry.")

    result = invoke("run", "Hi", "--agent", "desk.py:clumsy", "--verbose")

    assert result.stdout == "Sorry.\n"
    assert "'Oslo'" in result.stderr
    if IS_TOLD:
        assert f"failed   KeyError: 'Oslo' (desk.py:{LINE})\n" in result.stderr
        assert f'desk.py", line {LINE}, in look_up' in result.stderr
    recorded = json.loads(invoke("traces", "show", "--json").stdout)
    [span] = [span for span in recorded["spans"] if span["kind"] == "function"]
    assert "'Oslo'" in span["error"]["data"]["error"]
    if IS_TOLD:
        assert span["error"]["data"]["error"] == "KeyError: 'Oslo'"
        assert span["error"]["data"]["place"] == f"desk.py:{LINE}"
        assert "Traceback" in span["error"]["data"]["traceback"]
        assert f"KeyError: 'Oslo' (desk.py:{LINE})" in invoke("traces", "show").stdout
        assert "Traceback" in invoke("traces", "show", "--verbose").stdout


def test_a_tool_that_ends_the_run_is_shown_and_recorded(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=[("look_up_or_die", {"city": "Oslo"})])

    result = invoke("run", "Hi", "--agent", "desk.py:fragile")

    [*_, line] = result.stderr.splitlines()
    place = f"desk.py:{LINE + 6}"
    assert line == f"Error: The tool look_up_or_die raised KeyError: 'Oslo' ({place})."
    recorded = json.loads(invoke("traces", "show", "--json").stdout)
    [span] = [span for span in recorded["spans"] if span["kind"] == "function"]
    assert span["error"]["data"]["error"] == "KeyError: 'Oslo'"
    assert span["error"]["data"]["place"] == place


def test_the_only_agent_of_a_file_needs_no_name(invoke, fake_ollama):
    Path("one.py").write_text("from agents import Agent\n\nann = Agent('Ann', instructions='A.')\n")
    fake_ollama.reply("ok")

    assert invoke("run", "Hi", "--agent", "one.py", *MODEL).exit_code == 0
    assert fake_ollama.chats[0]["messages"][0]["content"] == "A."


@pytest.mark.parametrize("reference", ["two.py", "two.py:cid", "two.py:Agent"])
def test_a_wrong_name_lists_the_agents_there(invoke, reference):
    Path("two.py").write_text("from agents import Agent\n\nann = Agent('A')\nbob = Agent('B')\n")

    result = invoke("run", "Hi", "--agent", reference, *MODEL)

    assert result.exit_code == 2
    assert result.stderr.endswith("The agents there: two.py:ann, two.py:bob.\n")


def test_continue_goes_on_with_the_last_conversation(invoke, fake_ollama):
    for answer in ("one", "two", "three", "four"):
        fake_ollama.reply(answer)

    invoke("run", "1", "--session", "ann", *MODEL)
    invoke("run", "2", *MODEL)
    invoke("run", "3", "--continue", *MODEL)
    invoke("run", "4", *MODEL)

    asked = [[m["content"] for m in body["messages"]] for body in fake_ollama.chats]
    assert asked == [["1"], ["2"], ["2", "two", "3"], ["4"]]
    listed = json.loads(invoke("sessions", "--json").stdout)
    assert [(s["name"], s["messages"], s["first"]) for s in listed] == [
        ("last", 1, "4"),
        ("ann", 1, "1"),
    ]


def test_what_continues_a_conversation_is_recorded_with_it(invoke, fake_ollama):
    for answer in ("one", "two"):
        fake_ollama.reply(answer)

    invoke("run", "1", "--session", "ann", *MODEL)
    invoke("run", "2", "--continue", *MODEL)

    runs = json.loads(invoke("traces", "list", "--json").stdout)
    assert [run["group_id"] for run in runs] == ["ann", "ann"]


def test_without_a_conversation_there_is_nothing_to_continue(invoke):
    result = invoke("run", "Hi", "--continue", *MODEL)

    assert result.exit_code == 1
    assert result.stderr == "Error: There is no conversation to continue.\n"
    assert invoke("run", "Hi", "--continue", "--session", "ann", *MODEL).exit_code == 2


def test_what_is_not_recorded_is_not_kept_either(invoke, fake_ollama, monkeypatch, tmp_path):
    monkeypatch.setenv("TIMESTEP_TRACES__ENABLED", "false")
    fake_ollama.reply("ok")
    invoke("run", "Hi", *MODEL)

    assert not (tmp_path / "data" / "timestep" / "sessions.db").exists()
    assert invoke("sessions").stderr == (
        "No conversations. 'timestep run --session NAME' keeps one.\n"
    )


def test_an_answer_that_takes_too_long_is_given_up(invoke, fake_ollama):
    fake_ollama.reply("one two", fault=Stall(after=1))

    result = invoke("run", "Hi", "--timeout", "0.5", *MODEL)

    assert result.exit_code == 1
    assert result.stderr.endswith(
        "Error: No complete answer within 0.5 s. Allow more with --timeout.\n"
    )


def test_sessions_are_listed_with_their_size_and_first_words(invoke, fake_ollama):
    for answer in ("one", "two", "three"):
        fake_ollama.reply(answer)
    long = "Why is the sky blue, and why are the evenings red?"
    invoke("run", "Hi", "--session", "ann", *MODEL)
    invoke("run", "And?", "--session", "ann", *MODEL)
    invoke("run", long, *MODEL)

    rows = [line.split(maxsplit=5) for line in invoke("sessions").stdout.splitlines()]

    assert [(name, count, unit) for name, count, unit, *_ in rows] == [
        ("last", "1", "message"),
        ("ann", "2", "messages"),
    ]
    assert [words for *_, words in rows] == [f"{long[:39]}…", "Hi"]
    for *_, day, hour, _ in rows:
        datetime.fromisoformat(f"{day} {hour}")


def test_a_damaged_file_of_conversations_is_said(invoke, tmp_path):
    path = tmp_path / "data" / "timestep" / "sessions.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"not a database" * 100)

    for command in (["sessions"], ["sessions", "--json"], ["run", "Hi", "--continue", *MODEL]):
        result = invoke(*command)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: The conversations in {path} cannot be used: ")


@pytest.mark.parametrize("name", ["a\udcffb", "a\x1bb", "a\nb", " "])
def test_a_name_of_a_conversation_that_cannot_be_shown_is_refused(invoke, fake_ollama, name):
    for command in (["run", "Hi"], ["chat"]):
        result = invoke(*command, "--session", name, *MODEL)
        assert result.exit_code == 2
        assert "write a name" in " ".join(result.stderr.split())
    assert fake_ollama.chats == []


def test_a_file_of_conversations_that_is_in_use_is_not_to_be_moved_away(
    invoke, fake_ollama, tmp_path
):
    fake_ollama.reply("ok")
    invoke("run", "Hi", "--session", "ann", *MODEL)
    path = tmp_path / "data" / "timestep" / "sessions.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN EXCLUSIVE")
        result = invoke("sessions")

    assert result.exit_code == 1
    assert (
        "Move the file away to start over, or name a folder that can be written in XDG_DATA_HOME."
        in " ".join(result.stderr.split())
    )
