"""The fixture in projects of its users: pytest runs in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BY_NAME = 'pytest_plugins = ["timestep.testing.pytest_plugin"]'
ENTRY_POINT = """
[pytest11]
timestep.testing.pytest_plugin = timestep.testing.pytest_plugin
"""
CONFTEST = f"""
import pytest

@pytest.fixture(scope="session")
def fake_ollama_recordings():
    return {str(ROOT / "tests" / "wire")!r}
"""
TESTS = """
import urllib.request

def ask(fake):
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
    with urllib.request.urlopen(f"{fake.url}/api/chat", body) as response:
        return response.read().decode()

def test_good(fake_ollama):
    fake_ollama.reply("Hello")
    assert "Hello" in ask(fake_ollama)

def test_replayed(fake_ollama):
    fake_ollama.replay("chat-text-stream")
    assert "tiny" in ask(fake_ollama)

def test_openai(fake_openai):
    fake_openai.reply("Hello")
    body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'
    with urllib.request.urlopen(f"{fake_openai.base_url}/chat/completions", body) as response:
        assert "Hello" in response.read().decode()

def test_openai_leftovers(fake_openai):
    fake_openai.reply("left over")

def test_lenient(fake_ollama):
    fake_ollama.reply("unused")
    fake_ollama.strict = False

def test_leftovers(fake_ollama):
    fake_ollama.reply("left over")

def test_failing(fake_ollama):
    fake_ollama.reply("hidden")
    assert ask is None
"""


@pytest.mark.parametrize(
    ("is_installed", "conftest"),
    [(True, CONFTEST), (True, CONFTEST + BY_NAME), (False, CONFTEST + BY_NAME)],
    ids=["installed", "installed and named", "named"],
)
def test_the_fixture_works_however_it_is_registered(tmp_path, is_installed, conftest):
    if is_installed:
        install(tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]")  # no other project's settings
    (tmp_path / "conftest.py").write_text(conftest)
    (tmp_path / "test_it.py").write_text(TESTS)

    output = run_pytest(tmp_path)

    summary = output.partition("short test summary info")[2].splitlines()
    assert sorted(tuple(line.split()[:2]) for line in summary if "::" in line) == [
        ("ERROR", "test_it.py::test_leftovers"),
        ("ERROR", "test_it.py::test_openai_leftovers"),
        ("FAILED", "test_it.py::test_failing"),
        ("PASSED", "test_it.py::test_good"),
        ("PASSED", "test_it.py::test_leftovers"),
        ("PASSED", "test_it.py::test_lenient"),
        ("PASSED", "test_it.py::test_openai"),
        ("PASSED", "test_it.py::test_openai_leftovers"),
        ("PASSED", "test_it.py::test_replayed"),
    ], output
    assert "reply 'left over' to /api/chat" in output
    assert "reply 'hidden' to" not in output


@pytest.mark.parametrize("module", ["timestep.testing", "timestep.testing.pytest_plugin"])
def test_the_server_needs_neither_the_sdk_nor_a_client(module):
    foreign = "{'agents', 'openai', 'ollama', 'httpx', 'pydantic'}"
    code = f"import sys, {module}; print({foreign} & sys.modules.keys())"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert done.stdout == "set()\n"


def install(directory):
    """Makes timestep look installed, with its entry point, to what runs in *directory*."""
    info = directory / "timestep-0.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: timestep\nVersion: 0.0.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)


def run_pytest(directory):
    options = [
        "-rA",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-p",
        "no:anyio",
    ]
    path = os.pathsep.join([str(ROOT), str(directory)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout
