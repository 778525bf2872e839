"""Commands run in this process, or in one of their own where that is the point."""

import io
import os
import pty
import select
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.cli.emulator import seen
from timestep.cli import main

_IN_TERMINAL = [
    sys.executable,
    "-c",
    (
        "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "from timestep.cli import main; main(prog_name='timestep')"
    ),
]
"""Ctrl-C and the like come from the terminal that is standard input."""
_COMMAND = [sys.executable, "-c", "from timestep.cli import main; main(prog_name='timestep')"]
_ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def forget_modules(tmp_path, monkeypatch):
    """What a command imports from the test's directory is gone with it."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    yield
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def invoke():
    """Run a command in this process; its result has stdout, stderr and exit_code."""

    def run(*arguments, charset="utf-8", **keywords):
        result = CliRunner(charset).invoke(main, arguments, prog_name="timestep", **keywords)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture
def start():
    """Start a command in a process of its own, in the current directory.

    *closing* closes streams, as a shell writes it: ``2>&-``.
    """
    processes = []

    def popen(
        *arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        is_in_terminal=False,
        closing="",
        **variables,
    ):
        command = [*(_IN_TERMINAL if is_in_terminal else _COMMAND), *arguments]
        process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" {closing}', "sh", *command] if closing else command,
            start_new_session=is_in_terminal,
            # This tree, installed or not.
            env={**os.environ, "PYTHONPATH": str(_ROOT), **variables},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            text=True,
            encoding="utf-8",
        )
        processes.append(process)
        return process

    yield popen
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def on_screen(monkeypatch):
    """Run a command in this process, in a terminal of some columns.

    Returns what stands on the terminal at the end, or all it got when *raw*, and the exit code.
    """

    def run(columns, *arguments, raw=False, **variables):
        ours, theirs = pty.openpty()
        shown = []

        def read():
            with suppress(OSError):  # the last one has hung up
                while piece := os.read(ours, 65536):
                    shown.append(piece)

        reader = threading.Thread(target=read)
        reader.start()
        with ExitStack() as stack, monkeypatch.context() as patch:
            for name, mode in [("stdin", "r"), ("stdout", "w"), ("stderr", "w")]:
                file = stack.enter_context(Path(os.ttyname(theirs)).open(mode, encoding="utf-8"))
                patch.setattr(sys, name, file)
            for name, value in {"COLUMNS": str(columns), "TERM": "xterm", **variables}.items():
                patch.setenv(name, value)
            with pytest.raises(SystemExit) as left:
                main(arguments, prog_name="timestep")
        os.close(theirs)
        reader.join()
        os.close(ours)
        text = b"".join(shown).decode()
        return text if raw else seen(text), left.value.code

    return run


@pytest.fixture
def configured(fake_ollama, monkeypatch):
    """The test server is the server of every Ollama model."""
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)


@pytest.fixture
def imported_by(start):
    """The modules that a command imports, in a process of its own."""

    def run(*arguments, code=0, **variables):
        process = start(*arguments, PYTHONPROFILEIMPORTTIME="1", **variables)
        _, stderr = process.communicate()
        assert code is None or process.returncode == code, stderr[-500:]
        return {line.split("|")[-1].strip() for line in stderr.splitlines()}

    return run


@pytest.fixture
def in_terminal(on_screen):
    """Run a command in this process, in a terminal of some columns; all that the terminal got."""

    def run(columns, *arguments, **variables):
        text, _ = on_screen(columns, *arguments, raw=True, **variables)
        return text.replace("\r\n", "\n")

    return run


@pytest.fixture
def invoke_into(monkeypatch):
    """Run a command in this process with a file as its output; the exit code and the errors."""

    def run(file, *arguments):
        errors = io.StringIO()
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", file)
            patch.setattr(sys, "stderr", errors)
            if sys.stdin is not None:
                patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
            with pytest.raises(SystemExit) as left:
                main(arguments, prog_name="timestep")
        return left.value.code, errors.getvalue()

    return run


@pytest.fixture
def closed_pipe():
    """A pipe to write into, whose reader has left."""
    reading, writing = os.pipe()
    os.close(reading)
    file = os.fdopen(writing, "w")
    yield file
    with suppress(BrokenPipeError):
        file.close()


@pytest.fixture
def typing(start):
    """Run a command in a terminal and type lines, each when a prompt waits for it.

    The last is Ctrl-D. The bytes *types* come meanwhile, when the bytes *at* are shown. Returns what stands on the terminal then, and the exit code.
    """

    prompts = ("> ", ". ", "ways: ")

    def run(columns, *arguments, lines=(), at=None, types=b"", **variables):
        ours, theirs = pty.openpty()
        variables = {"COLUMNS": str(columns), "TERM": "xterm", **variables}
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
        process = start(*arguments, is_in_terminal=True, **streams, **variables)
        os.close(theirs)
        shown, waiting = b"", [*(f"{line}\n".encode() for line in lines), b"\x04"]
        begin, again = 0, bool(types)
        with suppress(OSError):  # the last one has hung up
            while True:
                if not select.select([ours], [], [], 60.0)[0]:
                    if at is None and again:  # as anybody would whose key was not heard
                        again = not os.write(ours, types)
                        continue
                    process.kill()
                    pytest.fail(f"nothing happens any more on the terminal, which shows {shown!r}")
                if not (piece := os.read(ours, 65536)):
                    break
                shown += piece
                if at is not None and at in shown:
                    at = None if os.write(ours, types) else at
                now = seen(shown[begin:].decode(errors="ignore")).rpartition("\n")[2]
                if waiting and any(now.endswith(prompt) for prompt in prompts):
                    begin = len(shown)
                    os.write(ours, waiting.pop(0))
        os.close(ours)
        return seen(shown.decode()), process.wait()

    return run


@pytest.fixture
def proxy(monkeypatch):
    """A proxy that counts who comes, in the way of everything that leaves this machine."""
    visits = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.getsockname()[1]}")

        def count():
            while True:
                visitor, address = listener.accept()
                visitor.close()
                if address == end.getsockname():
                    return
                visits.append(address)

        with socket.socket() as end:
            end.bind(("127.0.0.1", 0))
            thread = threading.Thread(target=count)
            thread.start()
            yield visits
            end.connect(listener.getsockname())
            thread.join()


@pytest.fixture
def exported(proxy, monkeypatch):
    """The SDK exports traces to OpenAI, as in every process with a key; who came to the proxy."""
    from agents import set_trace_processors  # noqa: PLC0415 - other tests need not wait for the SDK
    from agents.tracing.processors import (  # noqa: PLC0415 - as above
        BackendSpanExporter,
        BatchTraceProcessor,
    )

    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    processor = BatchTraceProcessor(BackendSpanExporter())
    set_trace_processors([processor])

    def flushed():
        processor.force_flush()
        return proxy

    yield flushed
    processor.shutdown()
    set_trace_processors([])
