import json
import os
import pty
import signal
import socket
from pathlib import Path

import pytest

from timestep.testing import ErrorLine, NoDone, Reset, Stall

MODEL = ("--model", "ollama/llama3.2")
_PATIENCE = 240.0
"""Seconds; a process of its own takes a few to import the SDK, more on a busy machine."""


pytestmark = pytest.mark.usefixtures("configured")


def test_the_answer_goes_to_stdout_and_the_thinking_to_stderr(invoke, fake_ollama):
    fake_ollama.reply("Hello there.", thinking="A greeting.")

    result = invoke("run", "Hi", *MODEL)

    assert (result.exit_code, result.stdout) == (0, "Hello there.\n")
    assert result.stderr == "A greeting.\n\n"


def test_an_answer_that_ends_its_line_gets_no_other_end(invoke, fake_ollama):
    fake_ollama.reply("a line\n")

    assert invoke("run", "Hi", *MODEL).stdout == "a line\n"


def test_the_prompt_and_the_instructions_are_sent(invoke, fake_ollama):
    fake_ollama.reply("ok")

    invoke("run", "Hi", "--instructions", "Be brief.", *MODEL)

    assert fake_ollama.chats[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


def test_a_prompt_that_is_left_out_is_read_from_a_pipe(invoke, fake_ollama):
    fake_ollama.reply("ok")

    invoke("run", *MODEL, input="Grüße\n")

    assert fake_ollama.chats[0]["messages"][0]["content"] == "Grüße\n"


def test_a_prompt_files_and_a_pipe_are_one_prompt(invoke, fake_ollama):
    fake_ollama.reply("ok")
    Path("notes.txt").write_text("Buy milk.\n")

    invoke("run", "Summarize:", "--file", "notes.txt", *MODEL, input="Call Ann.\n")

    assert fake_ollama.chats[0]["messages"][0]["content"] == (
        "Summarize:\n\nnotes.txt:\n\nBuy milk.\n\n\nCall Ann.\n"
    )


@pytest.mark.parametrize("option", ["--file", "--image", "--output-schema"])
@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_refused_as_a_file(invoke, fake_ollama, option, path):
    result = invoke("run", "Hi", option, path, *MODEL)

    assert result.exit_code == 2
    assert "a device, not a file" in " ".join(result.stderr.split())
    assert fake_ollama.chats == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--file gone.txt: No such file or directory."),
        (b"\xff\xfe", "--file gone.txt: not UTF-8 text. --image shows an image."),
    ],
)
def test_a_file_that_cannot_be_sent_is_named(invoke, fake_ollama, content, said):
    if content is not None:
        Path("gone.txt").write_bytes(content)

    result = invoke("run", "Summarize:", "--file", "gone.txt", *MODEL)

    assert result.exit_code == 2
    assert said in result.stderr
    assert fake_ollama.chats == []


def test_what_is_neither_a_pipe_nor_a_file_is_left_alone(start, fake_ollama):
    """A service may inherit a socket that never ends."""
    fake_ollama.reply("ok")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = start("run", "Hi", *MODEL, stdin=theirs)
        process.communicate(timeout=_PATIENCE)

    assert fake_ollama.chats[0]["messages"][0]["content"] == "Hi"


def test_a_dash_stands_for_what_is_piped_in(invoke, fake_ollama):
    fake_ollama.reply("ok")

    invoke("run", "-", *MODEL, input="one\n")

    assert fake_ollama.chats[0]["messages"][0]["content"] == "one\n"


def test_an_empty_answer_is_told(invoke, fake_ollama):
    fake_ollama.reply("")

    result = invoke("run", "Hi", *MODEL)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "The answer is empty.\n"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (".env", "TIMESTEP_DEFAULT_MODEL=ollama/llama3.2\n"),
        ("timestep.toml", 'default_model = "ollama/llama3.2"\n'),
        ("timestep.toml", 'default_model = "x"\n[aliases]\nx = "ollama/llama3.2"\n'),
    ],
)
def test_without_model_the_configured_default_answers(invoke, fake_ollama, name, text):
    Path(name).write_text(text)
    fake_ollama.reply("ok", model="llama3.2")

    assert invoke("run", "Hi").stdout == "ok\n"


def test_the_files_can_be_named(invoke, fake_ollama):
    Path("other.env").write_text("TIMESTEP_ALIASES__SHORT=ollama/llama3.2\n")
    Path("other.toml").write_text("[ollama.options]\nnum_ctx = 8192\n")
    fake_ollama.reply("ok", model="llama3.2")

    result = invoke(
        "run", "Hi", "--model", "short", "--env-file", "other.env", "--config", "other.toml"
    )

    assert result.stdout == "ok\n"
    assert fake_ollama.chats[0]["options"] == {"num_ctx": 8192}


def test_openai_answers_the_same_way(invoke, openai_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")

    result = invoke("run", "Hi", "--model", "gpt-4.1")

    assert (result.exit_code, result.stdout, result.stderr) == (0, "hello\n", "")


def test_without_any_model_it_says_how_to_name_one(invoke):
    result = invoke("run", "Hi")

    assert result.exit_code == 1
    assert "--model ollama/llama3.2" in result.stderr
    assert "TIMESTEP_DEFAULT_MODEL" in result.stderr


def a_refused_connection(fake_ollama):
    fake_ollama.refuse()


def a_missing_key(fake_ollama):
    fake_ollama.fail(401, "unauthorized")


def a_missing_model(fake_ollama):
    fake_ollama.fail(404, "model 'llama3.2' not found")


@pytest.mark.parametrize(
    ("fail", "next_step"),
    [
        (a_refused_connection, "'ollama serve'"),
        (a_missing_key, "Set OLLAMA_API_KEY"),
        (a_missing_model, "'ollama pull llama3.2'"),
    ],
)
def test_a_failure_says_the_next_step(invoke, fake_ollama, fail, next_step):
    fail(fake_ollama)

    result = invoke("run", "Hi", *MODEL)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: ")
    assert next_step in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (ErrorLine("out of memory", after=2), "out of memory"),
        (NoDone(), "without its last line"),
        (Reset(after=2), "broke"),
    ],
)
def test_an_answer_that_breaks_off_is_kept_and_the_reason_told(invoke, fake_ollama, fault, reason):
    fake_ollama.reply("one two three four", fault=fault)

    result = invoke("run", "Hi", *MODEL)

    assert result.exit_code == 1
    assert result.stdout.startswith("one two")
    assert result.stdout.endswith("\n")
    assert reason in result.stderr
    assert "response.failed" not in result.stderr


def test_an_answer_that_is_cut_is_an_answer_with_a_mark(invoke, fake_ollama):
    fake_ollama.reply("one two", done_reason="length")

    result = invoke("run", "Hi", *MODEL)

    assert (result.exit_code, result.stdout) == (0, "one two\n")
    assert result.stderr == (
        "The answer is not complete: the model reached its token limit. Raise max_tokens or num_ctx.\n"
    )


def test_the_mark_of_a_cut_answer_names_the_setting_that_was_in_force(invoke, fake_ollama):
    fake_ollama.reply("one two", done_reason="length")

    result = invoke("run", "Hi", *MODEL, "--set", "max_tokens=5", "--json")

    assert result.stderr.endswith("reached its token limit. Raise max_tokens.\n")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "reply",
    [
        {"thinking": "Hm"},
        {"tool_calls": [("f", {})]},
        {"text": "I call f.", "tool_calls": [("f", {})]},
    ],
    ids=str,
)
def test_json_says_that_the_token_limit_caused_the_error(invoke, fake_ollama, reply):
    fake_ollama.reply(**reply, done_reason="length")

    result = invoke("run", "Hi", *MODEL, "--json")

    value = json.loads(result.stdout)
    assert result.exit_code == 1
    assert value["is_cut"] is True
    assert "token limit" in value["error"]


@pytest.mark.parametrize(("reason", "is_cut"), [("length", True), ("stop", False)])
def test_json_says_whether_an_answer_is_cut(invoke, fake_ollama, reason, is_cut):
    fake_ollama.reply("one two", done_reason=reason)

    result = invoke("run", "Hi", *MODEL, "--json")

    value = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (value["answer"], value["is_cut"], value["error"]) == ("one two", is_cut, None)


def test_the_record_marks_an_answer_that_is_cut(invoke, fake_ollama):
    fake_ollama.reply("one two", done_reason="length")
    invoke("run", "Hi", *MODEL)

    shown = invoke("traces", "show", "last").output

    assert "cut at the token limit" in " ".join(shown.split())


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "its token limit"),
        ({"reason": "content_filter"}, "The answer is not complete: content_filter."),
        (None, "The answer is not complete: no reason given."),
    ],
)
def test_an_answer_that_openai_cuts_says_why(invoke, openai_server, monkeypatch, details, reason):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    delta, completed = openai_server.events
    response = {**completed["response"], "status": "incomplete", "incomplete_details": details}
    cut = {**completed, "type": "response.incomplete", "response": response}
    openai_server.events = [delta, cut]

    result = invoke("run", "Hi", "--model", "gpt-4.1")

    assert (result.exit_code, result.stdout) == (1, "hello\n")
    assert reason in result.stderr


def test_an_answer_of_openai_that_breaks_off_is_a_failure(invoke, openai_server, monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    del openai_server.events[1:]

    result = invoke("run", "Hi", "--model", "gpt-4.1")

    assert (result.exit_code, result.stdout) == (1, "hello\n")
    assert result.stderr.startswith("Error: ")


@pytest.mark.parametrize(
    ("status", "next_step"),
    [
        (401, "Check api_key"),
        (403, "Check api_key"),
        (404, "Check the model's name"),
        (400, "its words say why"),
    ],
)
def test_a_refusal_by_openai_says_the_next_step(
    invoke, openai_server, monkeypatch, status, next_step
):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    openai_server.failure = status, "no."

    result = invoke("run", "Hi", "--model", "gpt-4.1")

    host = openai_server.base_url.removesuffix("/v1")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: {host} answered {status}: no. ")
    assert next_step in result.stderr


def test_openai_without_a_key_says_how_to_set_one(invoke):
    result = invoke("run", "Hi", "--model", "gpt-4.1")

    assert result.exit_code == 1
    assert "OPENAI_API_KEY" in result.stderr
    assert "'ollama/llama3.2'" in result.stderr


def test_an_unknown_prefix_names_the_known_ones(invoke):
    result = invoke("run", "Hi", "--model", "olama/llama3.2")

    assert result.exit_code == 1
    assert "Unknown prefix: olama" in result.stderr
    assert "Did you mean 'ollama'?" in result.stderr
    assert "'timestep models'" in result.stderr
    assert "[providers.olama]" in result.stderr
    assert "MultiModelProviderMap" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "reason"),
    [
        (("Hi", "--modell", "x"), None, "Did you mean '--model'?"),
        (("Hi", "there"), None, "unexpected extra argument"),
        (MODEL, "", "The prompt is empty."),
        ((" ", *MODEL), None, "The prompt is empty."),
        (MODEL, b"\xff", "not UTF-8"),
        (("-", *MODEL), "", "The prompt is empty."),
        (("Hi\udcff", *MODEL), None, "The prompt is not UTF-8 text."),
        (("Hi", "--config", "missing.toml"), None, "missing.toml does not exist"),
        (("Hi", "--env-file", "missing.env"), None, "missing.env does not exist"),
    ],
)
def test_wrong_options_and_files_are_refused_with_2(invoke, arguments, stdin, reason):
    result = invoke("run", *arguments, input=stdin)

    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr


def test_a_wrong_configuration_is_refused_with_2(invoke, monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFALT_MODEL", "x")

    result = invoke("run", "Hi")

    assert result.exit_code == 2
    assert result.stderr.startswith("Error: defalt_model (environment variable")
    assert "Did you mean TIMESTEP_DEFAULT_MODEL?" in result.stderr


def test_a_provider_that_cannot_be_built_is_refused_with_2(invoke, monkeypatch, tmp_path):
    info = tmp_path / "broken-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[timestep.providers]\nbroken = no_such_module:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TIMESTEP_PROVIDERS__MINE__KIND", "broken")

    result = invoke("run", "Hi", "--model", "mine/x")

    assert result.exit_code == 2
    assert "[providers.mine], kind 'broken': the plug-in cannot be imported" in result.stderr


def test_a_terminal_is_not_waited_for_without_a_prompt(start):
    primary, secondary = pty.openpty()
    process = start("run", *MODEL, stdin=secondary)
    _, stderr = process.communicate()
    os.close(primary)
    os.close(secondary)

    assert process.returncode == 2
    assert "Missing argument 'PROMPT'" in stderr


def test_ctrl_c_stops_the_model_and_ends_with_130(start, fake_ollama):
    stall = Stall(after=2)
    fake_ollama.reply("one two three", fault=stall)
    process = start("run", "Hi", *MODEL)
    stall.wait_until_reached(_PATIENCE)
    assert os.read(process.stdout.fileno(), 3) == b"one"

    process.send_signal(signal.SIGINT)

    fake_ollama.wait_for_disconnect(_PATIENCE)
    _, stderr = process.communicate()
    assert (process.returncode, stderr) == (130, "\n")


def test_a_reader_that_leaves_stops_the_model_and_is_no_error(start, fake_ollama):
    fake_ollama.reply(pieces=iter(lambda: "word ", None))
    process = start("run", "Hi", *MODEL)
    assert os.read(process.stdout.fileno(), 4) == b"word"
    process.stdout.close()

    fake_ollama.wait_for_disconnect(_PATIENCE)
    assert process.stderr.read() == ""
    assert process.wait() == 1


def test_no_trace_leaves_the_machine(invoke, fake_ollama, exported):
    fake_ollama.reply("ok")
    result = invoke("run", "Hi", *MODEL)

    assert exported() == []
    assert (result.exit_code, result.stdout, result.stderr) == (0, "ok\n", "")


def test_text_that_a_stream_cannot_show_is_written_as_its_number(invoke, fake_ollama):
    fake_ollama.reply("Grüße 🙂")

    result = invoke("run", "Hi", *MODEL, charset="ascii")

    assert result.stdout == "Gr\\xfc\\xdfe \\U0001f642\n"
