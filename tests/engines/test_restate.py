"""Restate on a real server: answers in the journal, errors as it understands them, and a kill."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from agents import ModelResponse, Usage
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)
from restate import TerminalError

from tests.engines.scripts import STEPS, notes, ollama_works, openai_works
from tests.engines.servers import SOON, free_port, listens, post, wait_for
from timestep import MultiModelProvider
from timestep.engines.restate import Answers, JournaledProvider

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def application(restate_server, fake_ollama, openai_server, monkeypatch, tmp_path):
    """Start the application, at the same address each time, and tell the server where it is."""
    for name, value in {
        "OLLAMA_HOST": fake_ollama.url,
        "TIMESTEP_PROVIDERS__LAB__KIND": "openai",
        "TIMESTEP_PROVIDERS__LAB__BASE_URL": openai_server.base_url,
        "NOTES": str(tmp_path / "notes"),
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)
    port = free_port()

    @contextmanager
    def running(*, is_known=False):
        command = [sys.executable, "-m", "tests.engines.restate_app", str(port)]
        with subprocess.Popen(command) as process:
            try:
                wait_for("the application", lambda: listens(port))
                if not is_known:
                    told = {"uri": f"http://127.0.0.1:{port}", "force": True}
                    assert post(f"{restate_server[1]}/deployments", told)[0] == 201
                yield process
            finally:
                process.kill()

    return running


@pytest.fixture
def work(restate_server):
    """Call the handler with a model; return the status and its result or message."""

    def work(model, handler="work"):
        status, told = post(f"{restate_server[0]}/worker/{handler}", model)
        return status, told if status == 200 else told["message"]

    return work


def test_tools_are_in_the_journal_on_ollama(application, work, fake_ollama):
    fake_ollama.reply(ollama_works, times=STEPS + 1)

    with application():
        assert work("ollama/m") == (200, "all done")

    assert notes() == list(range(1, STEPS + 1))
    assert len(fake_ollama.chats) == STEPS + 1


def test_tools_are_in_the_journal_on_an_openai_server(application, work, openai_server):
    openai_server.answers = openai_works

    with application():
        assert work("lab/m") == (200, "all done")

    assert notes() == list(range(1, STEPS + 1))
    assert len(openai_server.requests) == STEPS + 1


def test_calls_of_one_answer_run_in_its_order(application, work, fake_ollama):
    steps = list(range(1, 6))
    fake_ollama.reply(tool_calls=[("note", {"step": step}) for step in steps])
    fake_ollama.reply("all done")

    with application():
        assert work("ollama/m") == (200, "all done")

    assert notes() == steps


def test_what_passes_is_asked_again(application, work, fake_ollama):
    fake_ollama.fail(503, "server busy, please try again")
    fake_ollama.reply("hello")

    with application():
        assert work("ollama/m") == (200, "hello")


def test_a_server_that_says_when_is_asked_again_then(application, work, fake_ollama):
    fake_ollama.fail(503, "server busy, please try again", headers={"Retry-After": "1"})
    fake_ollama.reply("hello")

    with application():
        assert work("ollama/m", "wait") == (200, "hello")  # which by itself waits for an hour


@pytest.mark.parametrize(
    ("kind", "model", "failure"),
    [
        ("AuthenticationError", "ollama/m", (401, "unauthorized")),
        ("ContextWindowExceededError", "ollama/m", (400, "the input exceeds the context length")),
        ("UnknownModelError", "nope/m", None),
    ],
)
def test_what_the_caller_must_mend_fails_at_once(
    application, work, fake_ollama, kind, model, failure
):
    if failure:
        fake_ollama.fail(*failure)

    with application():
        status, message = work(model)

    assert status == 500
    assert message.startswith(f"{kind}: ")
    assert len(fake_ollama.chats) == bool(failure)


def test_a_killed_application_goes_on_and_runs_no_tool_twice(application, work, fake_ollama):
    killed = []
    done = []

    def answer(request):
        if len(fake_ollama.chats) == STEPS // 2 and not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return ollama_works(request)

    fake_ollama.reply(answer, times=STEPS + 2)
    with application() as process:
        caller = threading.Thread(target=lambda: done.append(work("ollama/m")))
        caller.start()
        process.wait(SOON)
        with application(is_known=True):
            caller.join()

    assert killed
    assert done == [(200, "all done")]
    assert notes() == list(range(1, STEPS + 1))


def test_an_answer_comes_out_of_the_journal_as_it_went_in():
    text = ResponseOutputText(annotations=[], text="hi", type="output_text")
    answer = ModelResponse(
        output=[
            ResponseReasoningItem(id="r", summary=[], type="reasoning"),
            ResponseFunctionToolCall(
                arguments="{}",
                call_id="c",
                name="note",
                type="function_call",
                provider_data={"model": "m"},
            ),
            ResponseOutputMessage(
                id="m", content=[text], role="assistant", status="completed", type="message"
            ),
        ],
        usage=Usage(requests=1, input_tokens=3, output_tokens=2, total_tokens=5),
        response_id=None,
    )
    answers = Answers()

    read = answers.deserialize(answers.serialize(answer))

    assert read.to_input_items() == answer.to_input_items()
    assert read.usage == answer.usage


def test_a_stream_is_refused_with_what_to_call_instead():
    model = JournaledProvider(MultiModelProvider()).get_model("ollama/m")

    with pytest.raises(TerminalError, match=r"Runner\.run\(\)"):
        model.stream_response()
