import json
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from agents import Agent, RunConfig, Runner, custom_span, trace
from agents.tracing import (
    SpanData,
    agent_span,
    generation_span,
    get_trace_provider,
    guardrail_span,
    handoff_span,
    response_span,
    speech_span,
    turn_span,
)
from openai.types.responses import Response

from timestep import OllamaModelProvider
from timestep.answer.span import rename_span
from timestep.net import wire_bytes
from timestep.traces import TraceProcessor, TraceStore, install, uninstall


async def test_a_run_is_recorded_as_the_tree_it_was(run_weather):
    run = await run_weather()

    shape = [(depth, span.kind, span.name) for depth, span in run.walk() if span.kind != "task"]
    depth = shape[0][0]
    assert [(level - depth, kind, name) for level, kind, name in shape] == [
        (0, "agent", "forecaster"),
        (1, "turn", "1"),
        (2, "generation", "m"),
        (2, "function", "get_weather"),
        (1, "turn", "2"),
        (2, "generation", "m"),
    ]
    [use] = run.tool_calls
    assert use.arguments == {"city": "Oslo"}
    assert use.data["output"] == "Oslo: sunny"
    assert run.total_seconds > 0


def test_ids_and_names_of_other_types_are_recorded_as_text(installed):
    ids = [uuid.uuid4() for _ in range(3)]
    with trace(Path("a/b"), trace_id=ids[0], group_id=ids[1]), custom_span("x", span_id=ids[2]):
        pass

    installed.flush()
    run = installed.get("last")
    assert (run.trace_id, run.name, run.group_id) == (str(ids[0]), "a/b", str(ids[1]))
    assert [span.span_id for span in run.spans] == [str(ids[2])]
    assert installed.verify() == []


async def test_counts_that_no_column_holds_are_left_out(fake_ollama, installed):
    fake_ollama.reply(
        chunks=[
            {"model": "m", "message": {"role": "assistant", "content": "hello"}, "done": False},
            {
                "model": "m",
                "message": {"role": "assistant", "content": ""},
                "done": True,
                "done_reason": "stop",
                "prompt_eval_count": 3,
                "eval_count": 10**30,
                "eval_duration": 10**400,
            },
        ]
    )
    provider = OllamaModelProvider(base_url=fake_ollama.url)
    agent = Agent(name="a", model="m")
    await Runner.run(agent, "hi", run_config=RunConfig(model_provider=provider))

    installed.flush()
    [call] = installed.get("last").model_calls
    assert (call.input_tokens, call.output_tokens, call.output_seconds) == (3, 0, None)
    assert installed.verify() == []


async def test_a_call_holds_its_bytes_and_its_measures(run_weather, fake_ollama, installed):
    run = await run_weather()

    first, second = run.model_calls
    [exchange] = first.exchanges
    assert installed.body(exchange.request) == fake_ollama.requests[-2].body
    lines = installed.body(exchange.response).splitlines()
    assert json.loads(lines[-1])["done"] is True
    assert exchange.status == 200
    assert first.input_tokens == 26
    assert first.first_token_seconds > 0
    assert first.load_seconds == pytest.approx(0.007)
    assert first.prompt_seconds == pytest.approx(0.000434)
    assert first.tokens_per_second == pytest.approx(1 / 0.00015)
    assert first.context_length == 4096
    assert 0 < first.context_fill < 1
    assert [message["role"] for message in second.data["input"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]


async def test_a_search_finds_questions_answers_and_tools(run_weather, installed):
    await run_weather(city="Tromsø", answer="Snow, and polar lights.")

    for words in ("weather in tromsø", "polar lights", "get_weather", "be brief"):
        assert installed.search(words), words
    # The question is in both requests, and found where it was asked.
    assert len([hit for hit in installed.search("how is") if hit.kind == "generation"]) == 1


async def test_withheld_content_is_not_stored(run_weather, installed):
    run = await run_weather(
        city="Atlantis", answer="Submerged.", trace_include_sensitive_data=False
    )

    assert all(not span.exchanges for span in run.spans)
    assert [call.input_tokens for call in run.model_calls] == [26, 26]
    installed.close()
    stored = b"".join(path.read_bytes() for path in installed.path.parent.glob("traces.db*"))
    for secret in (b"Atlantis", b"Submerged"):
        assert secret not in stored


async def test_a_key_in_an_answer_never_reaches_the_disk(run_weather, installed):
    key = "sk-proj-abcdefghijklmnopqrstuvwxyz"

    await run_weather(answer=f"Use {key} for that.")

    installed.close()
    stored = b"".join(path.read_bytes() for path in installed.path.parent.glob("traces.db*"))
    assert key.encode() not in stored
    assert b"Use [redacted] for that." in stored


async def test_an_error_is_recorded_with_its_words(fake_ollama, installed):
    from timestep.ollama.provider import OllamaModelProvider  # noqa: PLC0415 - only here

    fake_ollama.fail(500, "the cat is on the keyboard")
    config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url))
    with pytest.raises(Exception, match="cat"):
        await Runner.run(Agent(name="a", model="m"), "hi", run_config=config)
    installed.flush()

    assert installed.traces()[0].errors >= 1
    assert "cat" in json.dumps(installed.get("last").errors[-1].error)
    assert installed.search("keyboard")


def test_every_kind_of_span_is_recorded(installed):
    with trace("all", metadata={"who": "me"}, group_id="g"):
        with handoff_span("a", "b"), guardrail_span("polite", triggered=True):
            pass
        with custom_span("thing", {"note": "marmalade", "odd": object()}):
            pass
        with turn_span(3, "a"):
            pass
        with speech_span(model="voice", input="hello", output="UklGRg=="):
            pass
    installed.flush()

    run = installed.get("last")
    spans = {span.kind: span for span in run.spans}
    assert run.metadata == {"who": "me"}
    assert spans["handoff"].name == "b"
    assert spans["guardrail"].data["triggered"] is True
    assert spans["custom"].data["data"]["odd"].startswith("<object object")
    assert spans["turn"].data["turn"] == 3
    assert spans["turn"].name == "3"
    assert spans["speech"].data["output"]["data"] == "[audio]"
    assert installed.search("marmalade")


RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "model": "gpt-x",
    "status": "completed",
    "instructions": "Be kind.",
    "output": [
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "bonjour", "annotations": []}],
        }
    ],
    "parallel_tool_calls": False,
    "tool_choice": "auto",
    "tools": [],
    "usage": {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    },
}


def test_a_call_of_the_responses_api_is_recorded_with_input_and_output(installed):
    with trace("t"), response_span() as span:
        span.span_data.input = [{"role": "user", "content": "salut"}]
        span.span_data.response = Response.model_validate(RESPONSE)
    with trace("t"), response_span():
        pass
    installed.flush()

    call = installed.get("last-1").model_calls[0]
    assert (call.model, call.input_tokens, call.output_tokens) == ("gpt-x", 3, 2)
    assert call.data["output"][0]["content"][0]["text"] == "bonjour"
    assert call.data["instructions"] == "Be kind."
    assert installed.search("bonjour")
    assert installed.search("salut")


def test_a_call_of_the_responses_api_keeps_the_name_that_the_server_gives_its_model(installed):
    with trace("t"), response_span() as span:
        rename_span("lab/x")
        span.span_data.response = Response.model_validate(RESPONSE)
    installed.flush()

    [call] = installed.get("last").model_calls
    assert (call.name, call.model) == ("lab/x", "lab/x")
    assert call.data["model_config"] == {"model_name": "gpt-x"}


def test_a_usage_that_is_not_a_number_is_left_out(installed):
    usage = {"input_tokens": [1], "output_tokens": True}
    with trace("t"), generation_span(model="m", usage=usage):
        pass
    installed.flush()

    [call] = installed.get("last").model_calls
    assert (call.input_tokens, call.output_tokens, call.model) == (None, None, "m")
    assert installed.verify() == []


def test_what_a_span_holds_is_copied_when_it_ends(installed):
    data = {"list": [1]}
    with trace("t"), custom_span("c", data):
        pass
    data["list"].append(2)
    installed.flush()

    assert installed.get("last").spans[0].data["data"] == {"list": [1]}


def test_content_that_cannot_be_written_down_is_named(installed):
    ring = {}
    ring["self"] = ring
    with trace("t"), custom_span("c", {"half": "\ud83d", "ring": 1}):
        pass
    with trace("t"), custom_span("c", ring):
        pass
    installed.flush()

    half, unreadable = (installed.get(name).spans[0].data for name in ("last-1", "last"))
    assert half["data"]["ring"] == 1
    assert unreadable == {"unreadable": "dict"}


def test_half_a_surrogate_pair_in_a_name_loses_nothing(installed):
    half = "a\ud800"
    with trace(half, group_id=half, metadata={half: half}):
        with agent_span(half), custom_span(half, {half: half}):
            pass
        with generation_span(model=half):
            pass
    installed.flush()

    run = installed.get("last")
    assert (run.name, run.group_id) == ("a?", "a?")
    assert [span.name for span in run.spans] == ["a?", "a?", "a?"]
    assert [span.model for span in run.model_calls] == ["a?"]
    assert all(span.ended_at for span in run.spans)
    assert installed.verify() == []


def test_a_span_that_breaks_the_recording_breaks_no_run(installed, caplog):
    class Broken(SpanData):
        type = "custom"

        def export(self):
            raise RuntimeError("no")

    with trace("t"), get_trace_provider().create_span(Broken()):
        pass

    assert caplog.text.count("is not recorded") == 1
    assert installed.flush(60)
    [step] = installed.get("last").spans
    assert (step.kind, step.ended_at) == ("custom", None)


def test_what_cannot_be_shown_is_named_by_its_type(installed, caplog):
    class Broken:
        def __repr__(self):
            raise RuntimeError("no")

    with trace("t", metadata={"x": Broken()}), custom_span("c", {"x": Broken()}):
        pass

    assert caplog.text == ""
    assert installed.flush(60)
    run = installed.get("last")
    assert [run.metadata, run.spans[0].data] == [{"unreadable": "dict"}] * 2


def test_installing_replaces_what_would_export_to_openai(tmp_path, monkeypatch):
    """In a fresh process, with a key: nothing is sent anywhere."""
    program = f"""
import asyncio, socket
def refuse(self, address): raise SystemExit(f"connects to {{address}}")
socket.socket.connect = refuse
from agents import Agent, Runner, trace
from timestep.traces import install
install({str(tmp_path / "traces.db")!r})
with trace("mine"): pass
"""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-key-0123456789")
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    with TraceStore(tmp_path / "traces.db") as store:
        assert [run.name for run in store.traces()] == ["mine"]


def test_importing_changes_nothing():
    program = """
import timestep.traces, timestep.traces.install, timestep.net.wire_bytes
from agents.tracing import setup
assert setup.GLOBAL_TRACE_PROVIDER is None
assert timestep.net.wire_bytes.begin("x") is None
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_reading_imports_neither_the_sdk_nor_a_client():
    program = """
import sys
from timestep.traces import TraceStore
TraceStore("none.db").traces()
loaded = {"agents", "openai", "ollama", "pydantic", "httpx"} & set(sys.modules)
assert not loaded, loaded
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_installing_again_moves_to_the_new_file(tmp_path):
    first = install(tmp_path / "a.db")
    second = install(tmp_path / "b.db")
    with trace("t"):
        pass
    uninstall()
    with trace("unseen"):
        pass

    assert [run.name for run in first.traces()] == []
    assert [run.name for run in second.traces()] == ["t"]
    assert wire_bytes.begin("x") is None
    for store in (first, second):
        store.close()


def test_a_processor_that_shuts_down_asks_for_no_more_bytes(store):
    processor = TraceProcessor(store)
    asked = wire_bytes.begin("x")
    processor.force_flush()
    processor.shutdown()
    processor.shutdown()

    assert asked is not None
