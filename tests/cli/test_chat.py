"""``timestep chat`` with its messages piped in; test_screens.py shows it in a terminal."""

import io
import json
from pathlib import Path

import click
import pytest

from timestep.cli.input import read_line, read_message
from timestep.testing import NoDone

MODEL = ("--model", "ollama/llama3.2")
AGENT = '''
from agents import Agent, function_tool, handoff


@function_tool
def get_weather(city: str) -> str:
    """Get the weather.

    More about it.
    """
    return f"snow in {city}"


advisor = Agent("Advisor", tools=[get_weather])
desk = Agent("Desk", handoffs=[handoff(advisor)])
advisor.handoffs.append(desk)


def only_the_last(data):
    return data.clone(input_history=data.input_history[-1:])


front = Agent("Front", handoffs=[handoff(advisor, input_filter=only_the_last)])
'''


@pytest.fixture(autouse=True)
def agents(configured):
    Path("desk.py").write_text(AGENT)


@pytest.fixture
def chat(invoke):
    """Pipe lines into a conversation."""

    def run(*lines, options=MODEL):
        return invoke("chat", *options, input="".join(f"{line}\n" for line in lines))

    return run


def contents(body):
    return [message["content"] for message in body["messages"]]


def test_every_line_is_a_message_and_the_answers_are_the_output(chat, fake_ollama):
    fake_ollama.reply("Hello.", thinking="Hm.")
    fake_ollama.reply("Bye.")

    result = chat("Hi", "", "Bye")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "Hello.\nBye.\n", "Hm.\n\n")
    assert contents(fake_ollama.chats[1]) == ["Hi", "Hello.", "Bye"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["one \\", "two"], "one \ntwo"),
        (['"""one', "", 'two"""'], "one\n\ntwo"),
        (['"""', "one", '"""'], "one"),
        (['"""one"""'], "one"),
        (["one\\"], "one"),
        ([" /help"], " /help"),
    ],
)
def test_a_message_can_have_many_lines(chat, fake_ollama, lines, message):
    fake_ollama.reply("ok")
    chat(*lines)

    assert contents(fake_ollama.chats[0]) == [message]


def test_a_message_that_is_not_ended_is_not_sent(chat, fake_ollama):
    result = chat('"""one', "two")

    assert (result.exit_code, fake_ollama.chats) == (1, [])
    assert result.stderr == 'No """ ended the message; it was not sent.\n'


def test_what_is_no_text_is_refused(invoke):
    result = invoke("chat", *MODEL, input=b"\xff\n")

    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


def test_what_is_no_text_is_refused_in_every_locale(monkeypatch):
    bytes_of_c = io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8", "surrogateescape")
    monkeypatch.setattr("sys.stdin", bytes_of_c)
    with pytest.raises(click.UsageError, match="not UTF-8"):
        read_line("> ")


def test_lines_may_end_as_on_windows(monkeypatch):
    piped = io.TextIOWrapper(io.BytesIO(b"one \\\r\ntwo\r\n"), "utf-8", newline="\n")
    monkeypatch.setattr("sys.stdin", piped)
    assert read_message("> ") == "one \ntwo"


def test_the_agent_and_the_settings_are_those_of_run(chat, fake_ollama):
    fake_ollama.reply("ok")
    chat("Hi", options=("-a", "desk.py:advisor", *MODEL, "-i", "Be brief.", "--set", "top_p=0.5"))

    [body] = fake_ollama.chats
    assert contents(body) == ["Be brief.", "Hi"]
    assert body["options"] == {"top_p": 0.5}
    assert body["tools"][0]["function"]["name"] == "get_weather"


def test_after_a_handoff_the_other_agent_answers(chat, fake_ollama):
    fake_ollama.reply(tool_calls=[("transfer_to_advisor", {})])
    fake_ollama.reply("I am the advisor.")
    fake_ollama.reply("Still me.")

    result = chat("Hi", "Who?", "/tools", options=("-a", "desk.py:desk", *MODEL))

    assert result.stdout == (
        "I am the advisor.\nStill me.\nget_weather       Get the weather.\ntransfer to Desk\n"
    )
    assert result.stderr == "handoff  Desk to Advisor\n"


def test_what_a_handoff_hides_from_an_agent_stays_in_the_conversation(chat, fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply(tool_calls=[("transfer_to_advisor", {})])
    fake_ollama.reply("two")
    fake_ollama.reply("three")

    chat("1", "2", "3", options=("-a", "desk.py:front", *MODEL))

    assert contents(fake_ollama.chats[2])[0] == "2"
    sent = contents(fake_ollama.chats[3])
    assert [text for text in sent if len(text) in {1, 3}] == ["1", "one", "2", "two", "3"]


def test_an_answer_that_fails_is_told_and_the_question_forgotten(chat, fake_ollama):
    fake_ollama.reply("cut", fault=NoDone())
    fake_ollama.reply("ok")

    result = chat("One?", "Two?")

    assert (result.exit_code, result.stdout) == (1, "cut\nok\n")
    assert "Error: " in result.stderr
    assert contents(fake_ollama.chats[1]) == ["Two?"]


def test_a_session_is_kept_and_can_be_taken_back(chat, fake_ollama):
    options = (*MODEL, "--session", "ann")
    for text in ("one", "two", "three"):
        fake_ollama.reply(text)

    chat("1", "2", "/undo", options=options)
    chat("3", options=options)

    assert contents(fake_ollama.chats[2]) == ["1", "one", "3"]


def test_undo_of_nothing_is_told(chat):
    result = chat("/undo")

    assert (result.exit_code, result.stderr) == (1, "There is nothing to take back.\n")


def test_help_names_every_command(chat):
    shown = chat("/help").stdout

    for command in ("/help", "/model [NAME]", "/tools", "/undo", "/save FILE", "/quit"):
        assert f"\n{command}" in f"\n{shown}"


def test_quit_ends_before_the_next_line(chat, fake_ollama):
    assert chat("/quit", "Hi").exit_code == 0
    assert fake_ollama.chats == []


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("/modle x", 1, "There is no /modle. Did you mean /model?"),
        ("/xyzzy", 1, "There is no /xyzzy. /help shows the commands."),
        ("/tools", 0, "timestep chat has no tools."),
        ("/save", 1, "Name a file: /save FILE"),
        ("/save x.md", 1, "There is nothing to save."),
        ("/model olama/x", 1, "Error: Unknown prefix: olama."),
    ],
)
def test_a_wrong_command_is_told_and_fails_a_pipe(chat, line, code, said):
    result = chat(line)

    assert result.exit_code == code
    assert said in result.stderr


def test_another_model_goes_on(chat, fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply("two")

    result = chat("Hi", "/model", "/model ollama/qwen3:4b", "And you?")

    assert result.stdout == "one\nollama/llama3.2\nollama/qwen3:4b\ntwo\n"
    assert fake_ollama.chats[1]["model"] == "qwen3:4b"
    assert contents(fake_ollama.chats[1]) == ["Hi", "one", "And you?"]


def test_a_conversation_is_saved_as_markdown_and_as_json(chat, fake_ollama):
    fake_ollama.reply("I look.", thinking="Hm.", tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It snows.")

    result = chat(
        "Weather?",
        "/save a.md",
        "/save a.json",
        "/save a.md",
        options=("-a", "desk.py:advisor", *MODEL),
    )

    assert "Saved a.md\nSaved a.json\na.md exists already, and was not changed.\n" in result.stderr
    assert Path("a.md").read_text() == (
        "## You\n\nWeather?\n\n## Answer\n\nI look.\n\n"
        '    get_weather(city="Oslo")\n\n    snow in Oslo\n\n## Answer\n\nIt snows.\n\n'
    )
    assert json.loads(Path("a.json").read_text())[0] == {"role": "user", "content": "Weather?"}


def test_a_file_that_cannot_be_written_is_told(chat, fake_ollama):
    fake_ollama.reply("ok")

    result = chat("Hi", "/save missing/a.md")

    assert result.exit_code == 1
    assert "missing/a.md cannot be written" in result.stderr


@pytest.mark.parametrize("written", ["a b.md", '"a b.md"', "'a b.md'"])
def test_a_file_may_be_quoted(chat, fake_ollama, written):
    fake_ollama.reply("ok")

    assert chat("Hi", f"/save {written}").exit_code == 0
    assert Path("a b.md").exists()


CALLS = [("get_weather", {"city": "Oslo"}), ("get_weather", {"city": "Rome"})]


@pytest.mark.parametrize(
    ("answers", "results"),
    [
        (["y", "no"], ["snow in Oslo", "not approved"]),
        (["always"], ["snow in Oslo", "snow in Rome"]),
        (["And then?", "YES"], ["not approved", "snow in Rome"]),
        ([], ["not approved", "not approved"]),
    ],
)
def test_every_call_waits_for_approval(chat, fake_ollama, answers, results):
    fake_ollama.reply(tool_calls=CALLS)
    fake_ollama.reply("ok")

    chat("Hi", *answers, options=("-a", "desk.py:advisor", "--approve", *MODEL))

    sent = [m["content"] for m in fake_ollama.chats[1]["messages"] if m["role"] == "tool"]
    assert all(result in text for result, text in zip(results, sent, strict=True))


class CtrlC(io.BytesIO):
    """Standard input with Ctrl-C after each line."""

    def read1(self, size=-1):
        self.reads = not self.reads
        if self.reads:
            return self.readline()
        raise KeyboardInterrupt

    reads = False


def test_ctrl_c_at_a_question_ends_its_line(invoke, fake_ollama):
    fake_ollama.reply(tool_calls=CALLS[:1])

    options = ("-a", "desk.py:advisor", "--approve", *MODEL)
    result = invoke("chat", *options, input=CtrlC(b"Hi\n"))

    assert result.stderr == 'tool     get_weather(city="Oslo")\n\nStopped.\n'


def test_a_tool_that_may_always_be_called_is_not_asked_about_again(chat, fake_ollama):
    fake_ollama.reply(tool_calls=CALLS[:1])
    fake_ollama.reply("ok")
    fake_ollama.reply(tool_calls=CALLS[1:])
    fake_ollama.reply("hello")

    chat("Hi", "a", "Hello", options=("-a", "desk.py:advisor", "--approve", *MODEL))

    assert contents(fake_ollama.chats[3])[-2:] == ["", "snow in Rome"]


@pytest.mark.parametrize("reference", ["desk.py:desk", "desk.py:advisor"])
def test_the_agents_that_are_handed_to_wait_too(chat, fake_ollama, reference):
    start = [] if reference.endswith("advisor") else [[("transfer_to_advisor", {})]]
    for calls in [*start, CALLS[:1]]:
        fake_ollama.reply(tool_calls=calls)
    fake_ollama.reply("ok")

    chat("Hi", "n", options=("-a", reference, "--approve", *MODEL))

    assert "not approved" in contents(fake_ollama.chats[-1])[-1]


def test_tools_that_cannot_wait_are_refused(chat):
    Path("remote.py").write_text(
        "from agents import Agent\nfrom agents.mcp import MCPServerStdio\n"
        "agent = Agent('A', mcp_servers=[MCPServerStdio({'command': 'true'})])\n"
    )

    result = chat("Hi", options=("-a", "remote.py:agent", "--approve", *MODEL))

    assert result.exit_code == 2
    assert "require_approval='always'" in result.stderr


@pytest.mark.parametrize("output_type", ["list[int]", "AgentOutputSchema(list[int])"])
def test_a_typed_answer_is_printed_as_json(chat, fake_ollama, output_type):
    Path("typed.py").write_text(
        "from agents import Agent, AgentOutputSchema\n"
        f"agent = Agent('A', output_type={output_type})\n"
    )
    fake_ollama.reply('{"response": [1]}')

    assert chat("Hi", options=("-a", "typed.py:agent", *MODEL)).stdout == "[\n  1\n]\n"


def test_the_turns_of_a_conversation_are_one_group_in_the_record(chat, invoke, fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply("two")
    chat("1", "2")

    runs = json.loads(invoke("traces", "list", "--json").stdout)
    assert [run["name"] for run in runs] == ["timestep chat"] * 2
    assert len({run["group_id"] for run in runs}) == 1


def test_without_any_model_it_says_how_to_name_one(invoke):
    result = invoke("chat", input="")

    assert result.exit_code == 1
    assert "--model ollama/llama3.2" in result.stderr


def test_undo_after_a_failed_message_takes_back_that_message(chat, fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply("cut", fault=NoDone())
    fake_ollama.reply("three")

    result = chat("1", "2", "/undo", "3")

    assert "Taken back: 2\n" in result.stderr
    assert contents(fake_ollama.chats[2]) == ["1", "one", "3"]


def test_retry_sends_the_last_message_again(chat, fake_ollama):
    fake_ollama.reply("cut", fault=NoDone())
    fake_ollama.reply("one")
    fake_ollama.reply("uno")

    chat("1", "/retry", "/retry")

    assert list(map(contents, fake_ollama.chats)) == [["1"], ["1"], ["1"]]
    assert "no message to send again" in chat("/retry").stderr


def test_clear_forgets_the_conversation_that_is_kept_too(chat, fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply("two")
    fake_ollama.reply("three")
    options = (*MODEL, "--session", "ann")

    chat("1", "/clear", "2", options=options)
    chat("3", options=options)

    assert list(map(contents, fake_ollama.chats)) == [["1"], ["2"], ["2", "two", "3"]]


def test_history_shows_what_was_said(chat, fake_ollama):
    fake_ollama.reply(tool_calls=CALLS[:1])
    fake_ollama.reply("It snows.")

    result = chat("Weather?", "/history", options=("-a", "desk.py:advisor", *MODEL))

    assert result.stdout.endswith('> Weather?\ntool     get_weather(city="Oslo")\nIt snows.\n\n')


@pytest.mark.parametrize("word", ["/exit", "/bye"])
def test_other_words_leave_too(chat, fake_ollama, word):
    assert chat(word, "Hi").exit_code == 0
    assert fake_ollama.chats == []


def test_a_model_that_its_server_does_not_have_is_refused(chat, fake_ollama):
    fake_ollama.add_model("llama3.2")
    fake_ollama.reply("ok")

    result = chat("/model ollama/gone", "Hi")

    assert "Error: " in result.stderr
    assert "has no model 'gone'" in result.stderr
    assert fake_ollama.chats[0]["model"] == "llama3.2"


@pytest.mark.parametrize(("prefix", "near"), [("lab", "lab/qwen3"), ("openai", "qwen3")])
def test_a_model_that_a_server_of_openai_s_api_does_not_list_is_taken_with_a_word(
    chat, fake_openai, monkeypatch, prefix, near
):
    monkeypatch.setenv("OPENAI_BASE_URL", fake_openai.base_url)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__KIND", "openai")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__LAB__BASE_URL", fake_openai.base_url)
    fake_openai.add_model("qwen3")

    result = chat(f"/model {prefix}/qwen3", f"/model {prefix}/qwen33", f"/model {prefix}/x")

    assert result.stderr.splitlines() == [
        f"The server does not list {prefix}/qwen33. Did you mean {near}?",
        f"The server does not list {prefix}/x.",
    ]
    assert result.stdout.splitlines() == [f"{prefix}/qwen3", f"{prefix}/qwen33", f"{prefix}/x"]
