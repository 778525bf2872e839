"""What is told of models that failed: errors, spans, items and usage."""

import pickle

import pytest
from agents import (
    RunConfig,
    add_trace_processor,
)

from tests.fallback.chains import (
    agent,
    chained,
    ollama,
    openai,
    weather,
)
from tests.spans import Spans
from timestep import (
    AllModelsFailedError,
)
from timestep.errors import Failure


async def test_one_error_says_why_for_each_and_holds_no_secret(
    fake_ollama, openai_server, clock, run, monkeypatch
):
    monkeypatch.setattr("openai._base_client.BaseClient._should_retry", lambda *_: False)
    fake_ollama.fail(404, "model 'm' not found")
    openai_server.failure = (429, "key sk-secret-key has no quota")
    provider = chained(clock, a=ollama(fake_ollama), b=openai(openai_server))

    with pytest.raises(AllModelsFailedError) as caught:
        await run(agent(provider))

    error = caught.value
    assert [(f.model, f.reason) for f in error.failures] == [
        ("a/m", "not_found"),
        ("b/m", "rate_limit"),
    ]
    assert "ollama pull m" in str(error)
    assert "answered 429: key *** has no quota" in str(error)
    assert "sk-secret" not in f"{error} {error!r} {error.failures!r}"
    assert type(error.__cause__).__name__ == "OpenAIRateLimitError"


def test_the_error_pickles():
    error = AllModelsFailedError([Failure("a/m", "busy", "it is busy", True, 2.0)])

    again = pickle.loads(pickle.dumps(error))

    assert (str(again), again.failures) == (str(error), error.failures)


async def test_each_try_that_failed_and_each_model_passed_over_is_a_span(
    fake_ollama, second, provider, run
):
    spans = Spans()
    add_trace_processor(spans)
    fake_ollama.fail(503, "busy")
    second.reply("from b", times=2)

    await run(agent(provider), run_config=RunConfig())
    await run(agent(provider), run_config=RunConfig())

    told = [span.span_data for span in spans.ended if span.span_data.type == "custom"]
    assert [(data.name, data.data) for data in told if "reason" in data.data] == [
        ("fallback: a/m (busy)", {"model": "a/m", "reason": "busy"}),
        ("fallback: a/m (cooling_down)", {"model": "a/m", "reason": "cooling_down"}),
    ]


async def test_the_items_of_an_answer_say_who_gave_it_and_who_failed(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", thinking="hm")
    expected = {"model": "b/m", "failed": {"a/m": "busy"}}

    result = await run(agent(provider))

    items = result.raw_responses[0].output
    assert [item.type for item in items] == ["reasoning", "message"]
    assert [item.provider_data["fallback"] for item in items] == [expected] * 2
    assert {item.provider_data["model"] for item in items} == {"m"}


async def test_an_answer_of_the_first_says_nothing_of_the_chain(fake_ollama, provider, run):
    fake_ollama.reply("from a")

    result = await run(agent(provider))

    assert "fallback" not in result.raw_responses[0].output[0].provider_data


async def test_failed_requests_are_counted_where_usage_has_a_place_for_them(
    fake_ollama, second, provider, run
):
    fake_ollama.fail(503, "busy")
    second.reply("from b", prompt_eval_count=3, eval_count=4)

    usage = (await run(agent(provider))).context_wrapper.usage

    assert usage.total_tokens == 7
    assert usage.requests == (1 if run.is_streamed else 2)
    if not run.is_streamed:
        assert [entry.total_tokens for entry in usage.request_usage_entries] == [0, 7]


async def test_a_conversation_goes_on_with_another_model(fake_ollama, second, provider, run):
    """What the first model thought and called is understood by the second."""
    fake_ollama.reply(thinking="hm", tool_calls=[("weather", {"city": "Paris"})])
    fake_ollama.fail(503, "busy")
    second.reply("sunny")

    result = await run(agent(provider, tools=[weather]))

    assert result.final_output == "sunny"
    sent = second.chats[0]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert sent[2]["content"] == "sunny in Paris"
