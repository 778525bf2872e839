"""Every test starts in an empty directory, with a clean environment, and no network but loopback."""

import asyncio
import gc
import http.server
import ipaddress
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass, field

import pytest
from hypothesis import settings

# No deadlines, for a machine may be busy. The same cases each time, for a suite that passes by
# chance says nothing; `pytest --hypothesis-profile explore` looks for new ones.
settings.register_profile("timestep", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("timestep")

# A shell starts what it puts in the background deaf to Ctrl-C, and so would every child be.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend():
    return "asyncio"


def pytest_xdist_auto_num_workers():
    """Return one worker more than there are cores: many tests wait."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_collection_finish():
    """Keep the ten thousand tests and the modules out of every collection of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    """Nothing of the machine reaches a test: variables, files, the user's configuration."""
    for name in list(os.environ):
        if name.upper().startswith(("OPENAI_", "OLLAMA_", "TIMESTEP_")) or name.lower().endswith(
            "_proxy"
        ):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """A connection to anything but this machine is an error."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family != socket.AF_UNIX and not _is_loopback(address[0]):
            raise AssertionError(f"a test connects to {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def no_trace_export():
    """The SDK exports no spans; loading it is left to the tests that need it."""
    if "agents" in sys.modules:
        sys.modules["agents"].set_trace_processors([])


@pytest.fixture
def own_loop():
    """A loop of the test's own for Runner.run_sync().

    It keeps the thread's loop and shuts its generators down for good, so a process that runs it
    twice sees a ResourceWarning.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


class Clock:
    """Time that passes when a test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@dataclass
class Run:
    """`Runner.run` or `Runner.run_streamed`, called alike.

    Attributes:
        is_streamed: Which of the two.
        events: The raw events of the last streamed run.
    """

    is_streamed: bool
    events: list = field(default_factory=list)

    async def __call__(self, agent, asked="hi", **keywords):
        from agents import Runner  # noqa: PLC0415 - other tests need not wait for the SDK

        if not self.is_streamed:
            return await Runner.run(agent, asked, **keywords)
        self.events.clear()
        result = Runner.run_streamed(agent, asked, **keywords)
        async for event in result.stream_events():
            if event.type == "raw_response_event":
                self.events.append(event.data)
        return result


@pytest.fixture(params=["whole", "streamed"])
def run(request):
    return Run(request.param == "streamed")


@pytest.fixture
def whole_and_streamed():
    """Both, for tests that compare them."""
    return Run(False), Run(True)


@dataclass
class OpenAIServer:
    """A server that answers "hello" to both of OpenAI's APIs, and what was asked of it.

    Attributes:
        failure: A status and what the server says, instead of an answer; its words may be an object
            with a code.
        error: What the server says under status 200, instead of an answer, as each of its APIs
            says it.
        events: What a stream of the Responses API consists of.
        body: What is sent with *status*, instead of an answer, as it is.
        content_type: Of the body.
        answer_headers: Of every answer.
        answers: Called with the body of a request; returns a status and an answer, or None for "hello".
    """

    base_url: str = ""
    failure: tuple[int, str | dict] | None = None
    error: dict | str | None = None
    events: list[dict] = field(default_factory=lambda: [DELTA, COMPLETED])
    body: bytes | None = None
    status: int = 200
    content_type: str | None = "text/event-stream"
    answer_headers: dict[str, str] = field(default_factory=dict)
    answers: object = None
    requests: list[tuple[str, dict[str, str], dict]] = field(default_factory=list)
    connections: int = 0
    redirect_to: str | None = None

    @property
    def headers(self):
        """The headers of the last request, names in lower case."""
        return self.requests[-1][1]


def answer_of(state, path, is_streamed):
    """The status, the body and the content type with which *state* answers."""
    is_responses = path.partition("?")[0].endswith("/responses")
    status, content_type = 200, "text/event-stream" if is_streamed else "application/json"
    if state.redirect_to:
        status, answer = 307, ""
    elif state.body is not None:
        return state.status, state.body, state.content_type
    elif state.failure:
        status, said = state.failure
        answer = json.dumps({"error": said if isinstance(said, dict) else {"message": said}})
    elif state.error is not None:
        answer, content_type = refused(is_responses, is_streamed, state.error)
    elif is_streamed:
        answer = event_stream(state.events) if is_responses else chat_stream(CHUNKS)
    else:
        answer = json.dumps(RESPONSE if is_responses else COMPLETION)
    return status, answer.encode(), content_type


@pytest.fixture
def openai_server():
    """A real HTTP server on loopback in the place of OpenAI's."""
    state = OpenAIServer()

    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self):
            super().setup()
            state.connections += 1

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            state.requests.append((self.path, headers, body))
            answered = state.answers(body) if state.answers else None
            if answered is None:
                status, answer, content_type = answer_of(state, self.path, body.get("stream"))
            else:
                status, answer = answered
                is_bytes = isinstance(answer, bytes)
                content_type = "text/event-stream" if is_bytes else "application/json"
                answer = answer if is_bytes else json.dumps(answer).encode()
            self.send_response(status)
            if state.redirect_to:
                self.send_header("Location", state.redirect_to)
            if content_type is not None:
                self.send_header("Content-Type", content_type)
            for name, value in state.answer_headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        server.daemon_threads = True
        state.base_url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}
    ],
}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "m",
    "status": "completed",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "hello", "annotations": []}],
        }
    ],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
}

DELTA = {
    "type": "response.output_text.delta",
    "item_id": "msg_1",
    "output_index": 0,
    "content_index": 0,
    "delta": "hello",
    "logprobs": [],
    "sequence_number": 0,
}
COMPLETED = {"type": "response.completed", "response": RESPONSE, "sequence_number": 1}


CHUNK = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHUNKS = [
    {**CHUNK, "choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}}]},
    {**CHUNK, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
]


def chat_stream(chunks, end="data: [DONE]\n\n"):
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + end


def event_stream(events):
    return "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


def refused(is_responses, is_streamed, error):
    """The body that says *error* under status 200, and its content type."""
    failed = {**RESPONSE, "status": "failed", "output": [], "error": error}
    if is_responses and is_streamed:
        last = {"type": "response.failed", "response": failed, "sequence_number": 0}
        return event_stream([last]), "text/event-stream"
    if is_responses:
        return json.dumps(failed), "application/json"
    answer = json.dumps({"error": error})
    if is_streamed:
        return f"data: {answer}\n\n", "text/event-stream"
    return answer, "application/json"


def _is_loopback(host):
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
