"""``timestep traces diff``, ``replay``, ``export`` and ``serve``."""

import asyncio
import gzip
import http.server
import json
import signal
import sqlite3
import threading
import urllib.request
from contextlib import closing

import pytest
from agents import Agent, RunConfig, Runner, function_tool
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from timestep import TimestepError
from timestep.ollama.provider import OllamaModelProvider
from timestep.testing import assert_no_errors, assert_tools_called
from timestep.traces import TraceStore, install, uninstall


@function_tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sunny"


@pytest.fixture
def record(tmp_path, fake_ollama):
    """The configured record with one real run, whose server is busy with other things now."""
    path = tmp_path / "data" / "timestep" / "traces.db"
    store = install(path)
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Oslo"})])
    fake_ollama.reply("It is sunny in Oslo.")
    config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url))
    agent = Agent(name="host", model="m", tools=[get_weather])
    asyncio.run(Runner.run(agent, "How is the weather?", run_config=config))
    assert store.flush(60)
    uninstall()
    return path


def last(path):
    with TraceStore(path) as store:
        return store.get("last")


def test_a_replay_needs_no_model_and_is_the_same(invoke, record):
    done = invoke("traces", "replay")

    assert done.exit_code == 0
    assert "Both runs did the same." in done.stdout
    assert "Recorded as" in done.stderr
    again = last(record)
    assert again.metadata["from_step"] == "1"
    assert_tools_called(again, ["get_weather"])
    assert_no_errors(again)


def test_a_replay_can_be_read_by_programs(invoke, record):
    done = json.loads(invoke("traces", "replay", "last", "--from", "2", "--json").stdout)

    assert done["answer"] == "It is sunny in Oslo."
    assert done["unknown_calls"] == []
    assert [pair["same"] for pair in done["diff"]["pairs"]] == [True]
    assert done["trace_id"] == last(record).trace_id


def test_a_replay_with_another_model_asks_it(invoke, record, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    fake_ollama.reply(tool_calls=[("get_weather", {"city": "Rome"})], model="other")
    fake_ollama.reply("No idea.", model="other")

    done = invoke("traces", "replay", "--model", "ollama/other")

    assert done.exit_code == 0
    assert 'This call has no recorded result: get_weather(city="Rome")' in done.stderr
    assert "+ No idea." in done.stdout
    assert "- It is sunny in Oslo." in done.stdout


def test_a_replay_that_cannot_be_says_why(invoke, record, monkeypatch):
    wrong = invoke("traces", "replay", "--from", "9")
    failed = invoke("traces", "replay", "--model", "nowhere/x")

    assert wrong.exit_code == 2
    assert "2 model calls" in wrong.stderr
    assert failed.exit_code == 1
    assert "The replay failed: " in failed.stdout
    assert "Unknown prefix: nowhere" in failed.stdout


@pytest.mark.parametrize("is_down", [False, True])
def test_a_replay_of_a_failed_run_fails_alike_and_names_the_recorded_server(
    invoke, record, fake_ollama, is_down
):
    store = install(record)
    url = fake_ollama.url
    if is_down:
        fake_ollama.refuse()
    else:
        fake_ollama.fail(500, "out of memory")
    config = RunConfig(model_provider=OllamaModelProvider(base_url=url))
    with pytest.raises(TimestepError) as raised:
        asyncio.run(Runner.run(Agent(name="host", model="m"), "Hi?", run_config=config))
    assert store.flush(60)
    uninstall()

    done = invoke("traces", "replay")

    assert done.exit_code == 0, done.output
    assert "Both runs did the same." in done.stdout
    assert str(raised.value) in done.stdout
    assert url in str(raised.value)
    again = last(record)
    assert again.outcome == "failed"
    [call] = again.model_calls
    assert [exchange.url for exchange in call.exchanges] == [f"{url}/api/chat"]
    assert call.data["model_config"]["base_url"] == url
    value = json.loads(invoke("traces", "replay", "--json").stdout)
    assert (value["answer"], value["replayed"]["outcome"]) == (None, "failed")


def test_a_diff_shows_what_differs(invoke, record, fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    fake_ollama.reply("Never mind.", model="m")
    assert invoke("traces", "replay", "--model", "ollama/m").exit_code == 0

    done = invoke("traces", "diff", "last-1", "last", "--exit-code")
    lines = [line.strip() for line in done.stdout.splitlines()]

    assert done.exit_code == 1
    assert "+ Never mind." in lines
    assert any(line.startswith('- get_weather(city="Oslo")') for line in lines)
    pairs = json.loads(invoke("traces", "diff", "last-1", "--json").stdout)["pairs"]
    fields = [difference["field"] for difference in pairs[0]["differences"]]
    assert fields == ["model", "answer", "calls"]
    assert invoke("traces", "diff", "last", "last", "--exit-code").exit_code == 0
    assert invoke("traces", "diff", "last", "nothing").exit_code == 1


def test_a_diff_shows_that_the_questions_differed(invoke, record, fake_ollama):
    store = install(record)
    fake_ollama.reply("It is sunny in Oslo.")
    config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url))
    asyncio.run(Runner.run(Agent(name="host", model="m"), "And tomorrow?", run_config=config))
    assert store.flush(60)
    uninstall()

    done = invoke("traces", "diff", "last-1", "last")
    head, other, *lines = [line.strip() for line in done.stdout.splitlines()]

    assert "How is the weather?" in head
    assert "And tomorrow?" in other
    at = lines.index("question:")
    assert lines[at + 1 : at + 3] == ["- How is the weather?", "+ And tomorrow?"]


def test_an_html_export_is_one_file(invoke, record, tmp_path):
    done = invoke("traces", "export", "--format", "html", "--output", "run.html")

    text = (tmp_path / "run.html").read_text("utf-8")
    assert "Wrote run.html." in done.stderr
    assert text.startswith("<!doctype html>")
    assert "It is sunny in Oslo." in text


def test_an_otlp_export_reaches_the_receiver(invoke, record, monkeypatch):
    bodies = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            is_packed = self.headers.get("Content-Encoding") == "gzip"
            bodies.append(gzip.decompress(body) if is_packed else body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        done = invoke("traces", "export", "--format", "otlp", "--to", url)
        server.shutdown()
        thread.join()

    [body] = bodies
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert f"Sent {len(spans)} spans to {url}" in done.stderr
    assert "execute_tool get_weather" in {span.name for span in spans}
    assert invoke("traces", "export", "--format", "otlp").exit_code == 2


def test_serve_shows_the_record_until_it_is_interrupted(start, record):
    process = start("traces", "serve", "--port", "0", PYTHONUNBUFFERED="1")
    url = process.stdout.readline().split(" until")[0].split()[-1]

    with urllib.request.urlopen(f"{url}api/runs") as answer:
        [run] = json.load(answer)
    assert run["agents"] == ["host"]
    with urllib.request.urlopen(f"{url}api/events") as events:
        assert events.readline() == b"retry: 1000\n"
        process.send_signal(signal.SIGINT)
        process.wait(240)
    assert process.returncode == 130
    assert "Traceback" not in process.stderr.read()


def test_a_port_that_is_taken_is_said(invoke, record, fake_ollama):
    port = fake_ollama.url.rsplit(":", 1)[-1]

    done = invoke("traces", "serve", "--port", port)

    assert done.exit_code == 1
    assert f"Port {port} cannot be used" in done.stderr


@pytest.mark.parametrize("body", [b"\xff\x00{", b"[]", b"", b"[" * 100_000])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_damaged_request_is_named_and_nothing_is_replayed(invoke, record, body, form):
    with closing(sqlite3.connect(record)) as file, file:
        file.execute("DROP TRIGGER bodies_are_final")
        file.execute("UPDATE bodies SET body = ?", (body,))

    done = invoke("traces", "replay", *form)

    assert done.exit_code == 1
    assert "A stored request is damaged" in done.stderr


def test_tools_of_another_shape_in_a_stored_request_are_left_out(invoke, record):
    with closing(sqlite3.connect(record)) as file, file:
        file.execute("DROP TRIGGER bodies_are_final")
        request = b'{"model": "m", "tools": [5, {"function": {"name": "f", "parameters": 5}}]}'
        file.execute("UPDATE bodies SET body = ?", (request,))

    done = invoke("traces", "replay", "--json")

    assert done.exit_code == 1
    assert json.loads(done.stdout)["same"] is False
