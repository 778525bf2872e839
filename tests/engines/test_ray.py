"""``timestep batch --ray`` on a real cluster: what a killed worker and a killed command cost."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines.servers import free_port, listens, wait_for
from timestep import ConfigurationError, MultiModelProvider
from timestep.batch import run_on_ray
from timestep.testing import Reply

SOON = 400
"""A worker of Ray needs half a minute to start on a busy machine."""

pytestmark = [pytest.mark.engines, pytest.mark.timeout(3 * SOON)]

LINES = 40
AT_ONCE = 4
BATCH = [sys.executable, "-c", "from timestep.cli import main; main()", "batch"]
DESK = """\
import os, signal
from pathlib import Path
from agents import Agent, function_tool

@function_tool
def look_up() -> str:
    if not Path("killed").exists():
        Path("killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return str(os.getpid())

desk = Agent("desk", tools=[look_up])
"""


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of two processors, which nothing of a test reaches by variables."""
    ray, port = Path(sys.executable).with_name("ray"), free_port()
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    command = [ray, "start", "--head", "--block", f"--port={port}", "--num-cpus=2"]
    command += [
        "--include-dashboard=false",
        "--node-ip-address=127.0.0.1",
        "--dashboard-agent-listen-port=0",
    ]
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_for("Ray's head", lambda: listens(port))
        yield f"127.0.0.1:{port}"
        process.terminate()


@pytest.fixture(autouse=True)
def without_token(monkeypatch):
    """A token would lie in the home directory, which is another one in each test."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")


@pytest.fixture
def server(fake_ollama):
    """The server that ``timestep.toml`` of the test's folder names, and so every worker."""
    Path("timestep.toml").write_text(f'[ollama]\nbase_url = "{fake_ollama.url}"\n')
    lines = [{"id": f"q{at}", "prompt": f"question {at}"} for at in range(LINES)]
    Path("in.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return fake_ollama


def batch(*more):
    command = [*BATCH, "in.jsonl", "out.jsonl", "--model=ollama/m", f"-c{AT_ONCE}", "--json", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def summary(process):
    told, errors = process.communicate(timeout=SOON)
    assert process.returncode == 0, errors
    return json.loads(told)


def answers():
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    found = {
        row["custom_id"]: row["response"]["body"]["choices"][0]["message"]["content"]
        for row in rows
    }
    assert len(found) == len(rows)
    return found


def shout(request):
    return request.json["messages"][-1]["content"].upper()


EXPECTED = {f"q{at}": f"QUESTION {at}" for at in range(LINES)}


def test_lines_are_answered_on_a_cluster_of_the_commands_own(server):
    server.reply(shout, times=None)
    with batch("--ray") as process:
        assert summary(process)["answered"] == LINES
    assert answers() == EXPECTED


def test_a_killed_command_goes_on_and_no_line_stands_twice(server, cluster):
    server.reply(shout, times=None)
    with batch("--ray", cluster) as process:
        server.wait_until(lambda: len(server.chats) >= LINES // 3, SOON)
        process.kill()
    with batch("--ray", cluster) as process:
        summary(process)
    assert answers() == EXPECTED
    assert len(server.chats) <= LINES + AT_ONCE


def test_a_killed_worker_loses_nothing(server, cluster):
    Path("desk.py").write_text(DESK)

    def answer(request):
        last = request.json["messages"][-1]
        if last["role"] == "tool":
            return request.json["messages"][0]["content"].upper()
        return Reply(tool_calls=[("look_up", {})])

    server.reply(answer, times=None)
    with batch("--ray", cluster, "--agent", "desk.py:desk") as process:
        assert summary(process)["answered"] == LINES
    assert Path("killed").exists()
    assert answers() == EXPECTED
    assert len(server.chats) <= 2 * LINES + 2 * AT_ONCE


def misconfigured():
    raise ConfigurationError("no key on this machine")


def configured():
    return MultiModelProvider.from_env(config_file="timestep.toml"), None


async def test_what_a_worker_lacks_ends_the_batch_in_its_words(cluster):
    results = run_on_ray([{"prompt": "hi"}], misconfigured, address=cluster)
    with pytest.raises(ConfigurationError, match="no key on this machine"):
        await anext(results)


async def test_a_failure_comes_back_with_its_class(server, cluster, monkeypatch):
    server.fail(404, "model 'm' not found")
    folder = Path.cwd()

    def prepare():
        os.chdir(folder)
        return configured()

    lines = [{"prompt": "hi", "model": "ollama/m"}]
    [result] = [each async for each in run_on_ray(lines, prepare, address=cluster)]
    assert type(result.error).__name__ == "ModelNotFoundError"
    assert result.row["response"]["status_code"] == 404


async def test_a_cluster_that_is_not_there_is_told():
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(ConfigurationError, match=f"no Ray cluster at {address}"):
        await anext(run_on_ray([], misconfigured, address=address))
