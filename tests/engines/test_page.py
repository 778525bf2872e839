"""The examples of docs/durable.md run on the real engines as they stand."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engines.servers import SOON, free_port, listens, post, wait_for
from timestep.testing import Reply

pytestmark = pytest.mark.engines

PAGE = Path(__file__).parents[2] / "docs" / "durable.md"
QUESTION = "What is the weather in Oslo?"


def example(title):
    """The Python block of the section with *title*."""
    section = PAGE.read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]
    return re.search(r"^```python\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)[1]


@contextmanager
def running(fake_ollama, code, **replaced):
    """Run *code* as a file of an application that asks *fake_ollama*."""
    for old, new in replaced.items():
        assert code.count(old.replace("_", ":")) == 1
        code = code.replace(old.replace("_", ":"), new)
    Path("assistant.py").write_text(code)
    fake_ollama.reply(Reply(tool_calls=[("get_weather", {"city": "Oslo"})]))
    fake_ollama.reply("It is sunny.")
    environment = {**os.environ, "OLLAMA_HOST": fake_ollama.url}
    command = [sys.executable, "assistant.py"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def assert_worked(fake_ollama):
    asked, answered = fake_ollama.chats
    assert asked["messages"][-1]["content"] == QUESTION
    assert answered["messages"][-1]["content"] == "It is sunny in Oslo."


def test_temporal(fake_ollama, temporal):
    with running(fake_ollama, example("Temporal"), localhost_7233=temporal) as process:
        told = process.communicate(timeout=SOON)[0]

    assert told.splitlines()[-1] == "It is sunny."
    assert_worked(fake_ollama)


def test_dbos(fake_ollama):
    with running(fake_ollama, example("DBOS")) as process:
        told = process.communicate(timeout=SOON)[0]

    assert "It is sunny." in told.splitlines()
    assert_worked(fake_ollama)


def test_restate(fake_ollama, restate_server):
    ingress, admin = restate_server
    port = free_port()
    with running(fake_ollama, example("Restate"), localhost_9080=f"127.0.0.1:{port}"):
        wait_for("the service", lambda: listens(port))
        assert post(f"{admin}/deployments", {"uri": f"http://127.0.0.1:{port}"})[0] == 201
        assert post(f"{ingress}/assistant/ask", QUESTION) == (200, "It is sunny.")

    assert_worked(fake_ollama)
