"""The SDK's models, asked with the defaults of a provider's table."""

import pytest
from agents import Agent, ModelSettings, RunConfig

from timestep import MultiModelProvider, Settings, UnsupportedInputError
from timestep.testing import FakeOpenAI

TABLES = [
    {"api": "responses"},
    {"api": "chat_completions", "adapter": "sdk"},
    {"api": "chat_completions"},
]


async def ask(run, server, table, **settings):
    table = {"kind": "openai", "base_url": server.base_url, "extra_body": {"top_k": 40}, **table}
    provider = MultiModelProvider.from_settings(Settings(providers={"a": table}))
    agent = Agent(name="a", model="a/m", model_settings=ModelSettings(**settings))
    try:
        await run(agent, run_config=RunConfig(model_provider=provider, tracing_disabled=True))
    finally:
        await provider.aclose()


@pytest.mark.parametrize("table", TABLES)
async def test_extra_body_of_the_table_is_sent_and_that_of_a_call_wins_field_by_field(run, table):
    with FakeOpenAI() as server:
        server.reply("hi", times=2)
        await ask(run, server, table, extra_body={"min_p": 0.1})
        await ask(run, server, table, extra_body={"top_k": 5})
        sent = [(each.json.get("top_k"), each.json.get("min_p")) for each in server.requests]
    assert sent == [(40, 0.1), (5, None)]


@pytest.mark.parametrize("table", TABLES)
async def test_a_setting_of_a_call_wins_over_extra_body_of_the_table(run, table):
    limits = dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), 1)
    extra = {"temperature": 0.1, "model": "other", "seed": 1, "top_p": 0.1, **limits}
    with FakeOpenAI() as server:
        server.reply("hi")
        await ask(
            run,
            server,
            {**table, "extra_body": extra},
            temperature=0.9,
            max_tokens=77,
            extra_body={"seed": 2},
        )
        [request] = server.requests
    assert request.json["model"] == "m"
    assert (request.json["temperature"], request.json["seed"]) == (0.9, 2)
    assert request.json["top_p"] == 0.1
    assert 77 in {request.json.get(name) for name in limits}
    assert 1 not in {request.json.get(name) for name in limits}


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"extra_args": {"metadata": {"a": object()}}}, r"metadata\.a"),
        ({"extra_body": {"x": float("nan")}}, "x is NaN"),
        ({"extra_body": 5}, "extra_body is int"),
        ({"extra_args": {"dice": 1}}, "dice"),
    ],
)
async def test_a_setting_that_cannot_be_sent_is_refused_by_name(run, table, settings, place):
    with FakeOpenAI() as server, pytest.raises(UnsupportedInputError, match=place):
        await ask(run, server, table, **settings)


@pytest.mark.parametrize("table", TABLES[:2])
@pytest.mark.parametrize(
    ("settings", "place"),
    [({"extra_body": {"x": {1}}}, "set"), ({"extra_args": {"model": "n"}}, "model")],
)
async def test_a_setting_that_openais_client_refuses_is_refused_without_a_table_too(
    run, table, settings, place
):
    with FakeOpenAI() as server, pytest.raises(UnsupportedInputError, match=place):
        await ask(run, server, {**table, "extra_body": {}}, **settings)
