"""What a call cost: as the server says, else as the prices say, else unknown."""

import json

import pytest
from agents import Agent, RunConfig, Runner, generation_span, trace

from timestep import MultiModelProvider
from timestep.traces import TraceStore, install, uninstall
from timestep.traces.columns import with_columns
from timestep.traces.from_sdk import span_ended
from timestep.traces.prices import price
from timestep.traces.summary import dollars


def cost(model, host, given=1000, made=100, cached=0):
    return price(model, host, input_tokens=given, output_tokens=made, cached_tokens=cached)


def test_a_known_model_has_a_price_and_tokens_from_the_cache_cost_less():
    assert cost("gpt-4o", "https://api.openai.com") == pytest.approx(0.0035)
    assert cost("gpt-4o", None) == cost("gpt-4o", "https://api.openai.com")
    assert cost("llama-3.1-8b-instant", "https://api.groq.com") > 0
    assert cost("gpt-4o", None, cached=1000) < cost("gpt-4o", None)


@pytest.mark.parametrize(
    ("model", "host"),
    [
        ("no-such-model", "https://api.openai.com"),
        ("gpt-4o", "http://localhost:1234"),
        ("llama3.2", "http://localhost:11434"),
        ("", "https://api.openai.com"),
        ("gpt-4o", "not a host"),
    ],
)
def test_what_is_not_known_is_unknown_and_never_nothing(model, host):
    assert cost(model, host) is None


def test_no_tokens_are_unknown_too():
    assert cost("gpt-4o", None, given=0, made=0) is None


def test_a_cost_is_written_as_people_read_it():
    assert [dollars(value) for value in (None, 12.3456, 0.0035, 0.00002)] == [
        "",
        "$12.35",
        "$0.0035",
        "$2e-05",
    ]


@pytest.mark.parametrize("details", [[1], "x", 5, None, {"cached_tokens": "many"}])
def test_odd_usage_loses_no_span(details):
    with (
        trace("t"),
        generation_span(
            model="gpt-4o",
            model_config={"base_url": "https://api.openai.com", "cost": "free"},
            usage={"input_tokens": 1000, "output_tokens": 0, "input_tokens_details": details},
        ) as span,
    ):
        pass
    assert with_columns(span_ended(span)).cost == pytest.approx(0.0025)


@pytest.fixture
def priced(openai_server, tmp_path):
    """Run one question against a server that reports *cost*; return the record."""

    def ask(cost=None):
        usage = {"prompt_tokens": 1000, "completion_tokens": 100}
        if cost is not None:
            usage["cost"] = cost
        openai_server.answers = lambda _: (
            200,
            {
                "choices": [{"message": {"role": "assistant", "content": "hi"}}],
                "usage": usage,
            },
        )
        provider = MultiModelProvider.from_env(
            providers={"shop": {"kind": "openai", "base_url": openai_server.base_url}}
        )
        install(tmp_path / "traces.db")
        try:
            Runner.run_sync(
                Agent(name="a", model="shop/gpt-4o"),
                "hi",
                run_config=RunConfig(model_provider=provider),
            )
        finally:
            uninstall()
        with TraceStore(tmp_path / "traces.db") as store:
            [run] = store.traces()
            return run, store.get(run.trace_id), store.stats()

    return ask


@pytest.mark.usefixtures("own_loop")
def test_a_cost_that_the_server_reports_is_in_the_record(priced):
    run, trace, [stats] = priced(0.0021)
    assert (run.cost, trace.model_calls[0].cost, stats.cost) == (0.0021, 0.0021, 0.0021)


@pytest.mark.usefixtures("own_loop")
def test_a_cost_that_nothing_tells_is_unknown_in_the_record(priced):
    run, trace, [stats] = priced()
    assert (run.cost, trace.model_calls[0].cost, stats.cost) == (None, None, None)


@pytest.mark.usefixtures("own_loop")
def test_a_key_that_is_split_over_the_events_of_an_answer_is_not_stored(openai_server, tmp_path):
    key = "sk-proj-" + "a1B2" * 8

    def event(text):
        delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
        return f"data: {json.dumps(delta)}\n\n".encode()

    openai_server.body = (
        event(key[:10])
        + event(key[10:20])
        + event(key[20:])
        + b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
        + b"data: [DONE]\n\n"
    )
    provider = MultiModelProvider.from_env(
        providers={"shop": {"kind": "openai", "base_url": openai_server.base_url}}
    )
    path = tmp_path / "traces.db"
    install(path)
    try:
        Runner.run_sync(
            Agent(name="a", model="shop/m"), "hi", run_config=RunConfig(model_provider=provider)
        )
    finally:
        uninstall()
    with TraceStore(path) as store:
        [call] = store.get("last").model_calls
        body = store.body(call.exchanges[0].response).decode()
    assert "[redacted]" in body
    assert key[10:20] not in body
    assert body.count("data: ") == 5
    assert "\n\ndata: [DONE]" in body
