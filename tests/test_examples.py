"""Every example runs as it is, with the test server in Ollama's place."""

import io
import runpy
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


@pytest.fixture
def run_example(monkeypatch, capsys, fake_ollama, own_loop):
    """Run an example as ``python examples/NAME`` does; what it prints."""
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.syspath_prepend(EXAMPLES)

    def run(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.delitem(sys.modules, "providers", raising=False)
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    yield run
    sys.modules.pop("providers", None)


def test_chat(run_example, fake_ollama, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("Hi, I am Ada.\nWho am I?\n"))
    fake_ollama.reply("Hello, Ada.")
    fake_ollama.reply("You are Ada.")

    assert run_example("chat.py") == "Hello, Ada.\nYou are Ada.\n"
    roles = [message["role"] for message in fake_ollama.chats[1]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]


def test_tools(run_example, fake_ollama):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("Cloudy.")

    assert run_example("tools.py", "How is Oslo?") == (
        'calls   get_weather({"city": "Oslo"})\n'
        "gets    18 degrees and cloudy in Oslo\n"
        "answers Cloudy.\n"
    )


def test_handoffs(run_example, fake_ollama):
    fake_ollama.reply(tool_calls=[("transfer_to_spanish", {})])
    fake_ollama.reply("Muy bien.")

    assert run_example("handoffs.py", "Hola") == "Spanish: Muy bien.\n"


def test_structured_output(run_example, fake_ollama):
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply('{"city": "Oslo", "degrees": -3, "take": ["coat", "hat"]}')

    assert run_example("structured_output.py") == "Oslo, -3 degrees: coat, hat\n"
    assert "tools" in fake_ollama.chats[1]


def test_images(run_example, fake_ollama):
    Path("dot.png").write_bytes(png())
    fake_ollama.reply("A black dot.")

    assert run_example("images.py", "dot.png") == "A black dot.\n"
    (message,) = fake_ollama.chats[0]["messages"]
    assert len(message["images"]) == 1


def test_ollama_provider(run_example, fake_ollama):
    fake_ollama.reply("Tick. Tock.")

    assert run_example("ollama_provider.py") == "Tick. Tock.\n"
    assert fake_ollama.chats[0]["model"] == "llama3.2"


def test_provider_map(run_example, fake_ollama):
    for word in ("Hello.", "Hi.", "Hey."):
        fake_ollama.reply(word)

    assert run_example("provider_map.py") == "fast: Hello.\nollama/qwen3:4b: Hi.\ndefault: Hey.\n"
    assert [chat["model"] for chat in fake_ollama.chats] == ["llama3.2", "qwen3:4b", "llama3.2"]


def test_custom_prefix(run_example, fake_ollama):
    fake_ollama.reply("Hello from the lab.", model="llama3.2")

    assert run_example("custom_prefix.py") == "Hello from the lab.\n"
    assert fake_ollama.chats[0]["keep_alive"] == "1h"


def test_the_examples_take_the_configured_model(run_example, fake_ollama, monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/qwen3:4b")
    fake_ollama.reply("Bien.", model="qwen3:4b")

    assert run_example("handoffs.py") == "Triage: Bien.\n"


def test_a_test_of_one_s_own_agent():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "examples/test_my_agent.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "1 passed" in done.stdout
    assert done.returncode == 0


def test_every_example_is_tested_here():
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}

    # The web service has a test file of its own.
    assert scripts - tested == {"providers", "test_my_agent", "web_service"}


def png():
    """A black dot."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0\0")
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )
