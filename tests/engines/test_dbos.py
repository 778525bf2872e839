"""DBOS on SQLite: a model of timestep, retries as its table says, and what a kill costs.

With ``POSTGRES_URL`` set, such as ``postgresql://me@localhost/test``, DBOS keeps its records there.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.scripts import STEPS, notes, ollama_works, openai_works
from tests.engines.servers import SOON

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(fake_ollama, openai_server, monkeypatch, tmp_path):
    """Start the application with a model; the same records each time, so that it may go on."""
    for name, value in {
        "OLLAMA_HOST": fake_ollama.url,
        "TIMESTEP_PROVIDERS__LAB__KIND": "openai",
        "TIMESTEP_PROVIDERS__LAB__BASE_URL": openai_server.base_url,
        "NOTES": str(tmp_path / "notes"),
        "PYTHONPATH": str(ROOT),
    }.items():
        monkeypatch.setenv(name, value)

    def start(model):
        command = [sys.executable, "-m", "tests.engines.dbos_app"]
        records = os.environ.get("POSTGRES_URL", f"sqlite:///{tmp_path}/records.sqlite")
        command += [records, str(tmp_path), model]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    return start


@pytest.fixture
def told(start):
    """Run the application; return what it prints."""

    def told(model):
        with start(model) as process:
            return process.communicate(timeout=SOON)[0].strip()

    return told


def test_tools_are_steps_on_ollama(told, fake_ollama):
    fake_ollama.reply(ollama_works, times=STEPS + 1)

    assert told("ollama/m") == "all done"
    assert notes() == list(range(1, STEPS + 1))


def test_tools_are_steps_on_an_openai_server(told, openai_server):
    openai_server.answers = openai_works

    assert told("lab/m") == "all done"
    assert notes() == list(range(1, STEPS + 1))


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "1"}])
def test_what_passes_is_asked_again(told, fake_ollama, headers):
    fake_ollama.fail(503, "server busy, please try again", headers=headers)
    fake_ollama.reply("hello")

    assert told("ollama/m") == "hello"


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("AuthenticationError", (401, "unauthorized")),
        ("ContextWindowExceededError", (400, "the input exceeds the context length")),
    ],
)
def test_what_the_caller_must_mend_fails_at_once(told, fake_ollama, kind, failure):
    fake_ollama.fail(*failure)

    assert told("ollama/m").startswith(f"{kind}: ")
    assert len(fake_ollama.chats) == 1


def test_a_killed_process_goes_on_and_runs_no_tool_twice(start, told, fake_ollama):
    killed = []

    def answer(request):
        if len(fake_ollama.chats) == STEPS // 2 and not killed:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)
        return ollama_works(request)

    fake_ollama.reply(answer, times=STEPS + 2)
    with start("ollama/m") as process:
        process.communicate(timeout=SOON)

    assert process.returncode == -signal.SIGKILL
    assert told("ollama/m") == "all done"
    assert notes() == list(range(1, STEPS + 1))
