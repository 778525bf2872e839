"""Spans as a real OTLP/HTTP receiver on loopback gets them."""

import gzip
import http.server
import json
import logging
import sys
import threading

import pytest
from agents import trace
from agents.tracing import custom_span
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from timestep.errors import ConfigurationError
from timestep.traces import Span, Trace, install, uninstall
from timestep.traces.otlp import OtlpError, otel_spans, send

OLLAMA = ("ollama", "llama3.2")
GROQ = ("groq", "llama-3.3")


class Receiver:
    """What arrived, as OTLP's own messages."""

    def __init__(self):
        self.paths = []
        self.spans = []
        self.resources = []

    def take(self, path, body):
        request = ExportTraceServiceRequest.FromString(body)
        self.paths.append(path)
        for resource in request.resource_spans:
            self.resources.append(attributes(resource.resource))
            for scope in resource.scope_spans:
                self.spans += scope.spans

    def named(self, name):
        [span] = [span for span in self.spans if span.name == name]
        return span


def attributes(holder):
    def value(any_value):
        return getattr(any_value, any_value.WhichOneof("value"))

    return {item.key: value(item.value) for item in holder.attributes}


@pytest.fixture
def receiver():
    state = Receiver()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            state.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield state
        server.shutdown()
        thread.join()


async def test_a_recorded_run_arrives_with_the_conventions_of_generative_ai(run_weather, receiver):
    run = await run_weather(workflow_name="Report", group_id="chat-7")

    count = send([run], receiver.url)

    assert receiver.paths == ["/v1/traces"]
    assert count == len(receiver.spans)
    assert receiver.resources[0]["service.name"] == "timestep"
    root = receiver.named("invoke_workflow Report")
    assert root.trace_id.hex() == run.trace_id.removeprefix("trace_")
    assert not root.parent_span_id
    assert attributes(root)["gen_ai.operation.name"] == "invoke_workflow"
    assert attributes(root)["gen_ai.agent.name"] == "Report"
    assert {attributes(span)["gen_ai.conversation.id"] for span in receiver.spans} == {"chat-7"}
    agent = receiver.named("invoke_agent forecaster")
    assert attributes(agent)["gen_ai.agent.name"] == "forecaster"
    tool = receiver.named("execute_tool get_weather")
    assert json.loads(attributes(tool)["gen_ai.tool.call.arguments"]) == {"city": "Oslo"}
    assert attributes(tool)["gen_ai.tool.call.result"] == "Oslo: sunny"
    known = {span.span_id for span in receiver.spans}
    assert all(span.parent_span_id in known for span in receiver.spans if span is not root)


async def test_a_model_call_arrives_with_its_messages_and_measures(run_weather, receiver):
    run = await run_weather()
    send([run], receiver.url)

    first, second = [span for span in receiver.spans if span.name == "chat m"]
    facts = attributes(first)
    assert first.kind == ProtoSpan.SPAN_KIND_CLIENT
    assert facts["gen_ai.operation.name"] == "chat"
    assert facts["gen_ai.provider.name"] == "ollama"
    assert facts["gen_ai.response.model"] == "m"
    assert [value.string_value for value in facts["gen_ai.response.finish_reasons"].values] == [
        "tool_call"
    ]
    assert facts["gen_ai.request.model"] == "m"
    assert facts["gen_ai.usage.input_tokens"] == 26
    assert facts["server.address"] == "127.0.0.1"
    assert facts["gen_ai.response.time_to_first_chunk"] > 0
    assert json.loads(facts["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Be brief."}
    ]
    assert json.loads(facts["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "How is the weather in Oslo?"}]}
    ]
    [answer] = json.loads(facts["gen_ai.output.messages"])
    assert [part["type"] for part in answer["parts"]] == ["reasoning", "tool_call"]
    assert answer["finish_reason"] == "tool_call"
    assert answer["parts"][1]["arguments"] == {"city": "Oslo"}
    history = json.loads(attributes(second)["gen_ai.input.messages"])
    assert history[-1]["parts"][0]["type"] == "tool_call_response"
    assert history[-1]["parts"][0]["id"] == answer["parts"][1]["id"]
    [last] = json.loads(attributes(second)["gen_ai.output.messages"])
    assert last["finish_reason"] == "stop"


@pytest.mark.parametrize(
    ("model", "config", "provider", "name"),
    [
        ("ollama/llama3.2", {"model_impl": "timestep.ollama", "model_name": "llama3.2"}, *OLLAMA),
        ("groq/llama-3.3", {"model_impl": "timestep.openai", "model_name": "llama-3.3"}, *GROQ),
        ("gpt-4.1", {}, "openai", "gpt-4.1"),
    ],
)
def test_a_call_names_its_provider_and_the_model_as_the_server_knows_it(
    receiver, model, config, provider, name
):
    usage = {"input_tokens_details": {"cached_tokens": 7}}
    error = {"message": "Error", "data": {"type": "RateLimitError", "error": "REDACTED"}}
    data = {"model_config": config, "usage": usage, "output": []}
    call = Span("a", "t", None, "generation", model, 1.0, 2.0, error, data, model)

    send([Trace("t", "r", 1.0, spans=(call,))], receiver.url)

    [span] = receiver.spans
    facts = attributes(span)
    assert span.name == f"chat {name}"
    assert (facts["gen_ai.provider.name"], facts["gen_ai.request.model"]) == (provider, name)
    assert facts["gen_ai.usage.cache_read.input_tokens"] == 7
    assert facts["error.type"] == "RateLimitError"
    assert span.status.code == Status.STATUS_CODE_ERROR
    assert "gen_ai.response.model" not in facts


async def test_an_installed_receiver_gets_spans_as_they_end(tmp_path, fake_ollama, receiver):
    store = install(tmp_path / "traces.db", otlp=receiver.url, redact=["marmalade"])
    with trace("Live", metadata={"who": "marmalade", "n": 1}, group_id="marmalade"):
        with custom_span("eat", {"marmalade": "marmalade", "key": "sk-proj-abcdefghijklmnop1234"}):
            pass
        with custom_span("drop") as span:
            span.set_error({"message": "fell", "data": {"error": "ouch"}})
    uninstall()

    names = {span.name for span in receiver.spans}
    assert names == {"invoke_workflow Live", "custom eat", "custom drop"}
    assert (
        attributes(receiver.named("invoke_workflow Live"))["timestep.metadata.who"] == "[redacted]"
    )
    broken = receiver.named("custom drop")
    assert broken.status.code == Status.STATUS_CODE_ERROR
    assert "ouch" in broken.status.message
    assert attributes(broken)["error.type"] == "fell"
    assert "marmalade" not in str(receiver.spans)
    assert len(store.get("last").spans) == 2
    store.close()


def test_what_is_open_is_not_sent():
    run = Trace("t", "r", 1.0, spans=(Span("a", "t", None, "agent", "a", 1.0),))

    assert otel_spans(run) == []


def test_a_receiver_that_is_not_there_is_said(caplog, free_port):
    caplog.set_level(logging.CRITICAL)
    run = Trace("t", "r", 1.0, 2.0)

    with pytest.raises(OtlpError, match="Is an OTLP/HTTP receiver listening"):
        send([run], f"http://127.0.0.1:{free_port}/v1/traces")


def test_without_the_extra_the_installation_is_named(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "timestep.traces.live_otlp", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace.export", None)

    with pytest.raises(ConfigurationError, match=r"pip install '\.\[otel\]'"):
        install(tmp_path / "t.db", otlp="http://localhost:4318")


@pytest.fixture
def free_port(monkeypatch):
    import socket  # noqa: PLC0415 - only here

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
