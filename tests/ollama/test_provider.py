"""Models by name."""

import pytest
from agents import Agent, ModelSettings, RunConfig, Runner
from openai.types.shared import Reasoning

from timestep import (
    ConfigurationError,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModelProvider,
    TimestepError,
    UnknownModelError,
    UnsupportedInputError,
)

QUIET = RunConfig(tracing_disabled=True)


@pytest.mark.parametrize("name", [None, "", "  ", "ollama/", "/", 3])
def test_no_name_is_no_model(name):
    with pytest.raises(UnknownModelError):
        OllamaModelProvider().get_model(name)


@pytest.mark.parametrize("name", ["llama3.2", "hf.co/user/repo:Q4_K_M", "user/m", "Ünï:cø"])
def test_a_name_is_kept_verbatim_and_its_model_is_made_once(name):
    provider = OllamaModelProvider()

    assert provider.get_model(name).model == name
    assert provider.get_model(name) is provider.get_model(name)


@pytest.mark.parametrize(
    ("name", "url", "sent"),
    [
        ("llama3.2", "http://localhost:11434", "llama3.2"),
        ("gpt-oss:120b-cloud", "https://ollama.com", "gpt-oss:120b"),
        ("qwen3-coder:480B-CLOUD", "https://ollama.com", "qwen3-coder:480B"),
        ("gpt-oss:cloud", "https://ollama.com", "gpt-oss"),
    ],
)
def test_local_and_cloud_names_live_side_by_side(name, url, sent):
    provider = OllamaModelProvider("sk-cloud")

    endpoint, served_as = provider._endpoints.route(name)

    assert (endpoint.base_url, served_as) == (url, sent)
    assert ("authorization" in endpoint.headers) == (url == "https://ollama.com")


async def test_a_configured_base_url_gets_cloud_names_unchanged(fake_ollama):
    fake_ollama.reply("hi")
    provider = OllamaModelProvider(base_url=fake_ollama.url)

    agent = Agent("a", model=provider.get_model("gpt-oss:120b-cloud"))
    await Runner.run(agent, "hi", run_config=QUIET)

    assert fake_ollama.chats[0]["model"] == "gpt-oss:120b-cloud"


@pytest.mark.parametrize(
    "arguments",
    [
        {"base_url": "localhost:11434"},
        {"base_url": "http://u:p@localhost:11434"},
        {"on_context_overflow": "ignore"},
        {"timeout": 0},
        {"timeout": {"conect": 1}},
        {"timeout": "fast"},
        {"api_key": "sk\nevil"},
    ],
)
def test_what_cannot_work_is_refused_at_once(arguments):
    with pytest.raises(ConfigurationError):
        OllamaModelProvider(**arguments)


@pytest.mark.parametrize("arguments", [{"options": {"num_ctx": "8k"}}, {"keep_alive": "soon"}])
def test_options_the_server_would_refuse_are_refused_at_once(arguments):
    with pytest.raises(UnsupportedInputError):
        OllamaModelProvider(**arguments)


async def test_the_default_model_gets_none_of_the_settings_meant_for_openais(fake_ollama, run):
    """An agent without a model carries settings for OpenAI's default model."""
    provider_map = MultiModelProviderMap()
    provider_map.add_provider("ollama", OllamaModelProvider(base_url=fake_ollama.url))
    provider = MultiModelProvider(provider_map=provider_map, default_model="ollama/Llama3.2")
    fake_ollama.reply("hi")

    await run(
        Agent("a"), "hi", run_config=RunConfig(model_provider=provider, tracing_disabled=True)
    )

    assert fake_ollama.chats[0]["model"] == "Llama3.2"
    assert "think" not in fake_ollama.chats[0]


@pytest.mark.parametrize(
    ("effort", "think"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("high", "high"), ("xhigh", "max")],
)
async def test_effort_is_sent_as_think(fake_ollama, model, run, effort, think):
    fake_ollama.reply("hi")
    settings = ModelSettings(reasoning=Reasoning(effort=effort))

    await run(Agent("a", model=model, model_settings=settings), "hi", run_config=QUIET)

    assert fake_ollama.chats[0]["think"] == think


@pytest.mark.parametrize(
    "state", [{"previous_response_id": "resp_1"}, {"conversation_id": "conv_1"}]
)
async def test_state_that_only_openai_keeps_is_warned_of_once(fake_ollama, model, caplog, state):
    fake_ollama.reply("hi", times=2)

    for _ in range(2):
        await Runner.run(Agent("a", model=model), "hi", run_config=QUIET, **state)

    name = next(iter(state))
    assert len([r for r in caplog.records if name in r.message]) == 1


async def test_state_that_only_openai_keeps_is_refused_under_strict_validation(fake_ollama):
    provider = OllamaModelProvider(base_url=fake_ollama.url, strict_feature_validation=True)

    with pytest.raises(UnsupportedInputError, match="previous_response_id"):
        await Runner.run(
            Agent("a", model=provider.get_model("m")),
            "hi",
            run_config=QUIET,
            previous_response_id="resp_1",
        )


async def test_the_history_of_an_openai_agent_resumes_without_losing_text(fake_ollama, model, run):
    fake_ollama.reply("resumed")
    history = [
        {"role": "user", "content": "search and compute"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "xyz"},
        {
            "type": "web_search_call",
            "id": "ws_1",
            "status": "completed",
            "action": {"type": "search", "query": "tides in Brest"},
        },
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "server_label": "s",
            "name": "lookup",
            "arguments": '{"q":"tides"}',
            "output": "high at noon",
        },
        {
            "type": "message",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "High tide at noon.", "annotations": []}],
        },
        {"role": "user", "content": "thanks"},
    ]

    await run(Agent("a", model=model), history, run_config=QUIET)

    told = repr(fake_ollama.chats[0]["messages"])
    for words in ("tides in Brest", "high at noon", "High tide at noon.", "thanks"):
        assert words in told


async def test_durations_are_kept_when_raw_usage_is_asked_for(fake_ollama, model):
    fake_ollama.reply("hi")
    settings = ModelSettings(preserve_raw_usage=True)

    result = await Runner.run(
        Agent("a", model=model, model_settings=settings), "hi", run_config=QUIET
    )

    raw = result.raw_responses[0].raw_usage
    assert raw["total_duration"] > 0
    assert result.raw_responses[0].response_id is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"headers": "x"}, "headers are str"),
        ({"ollama_client": 3}, "ollama_client is int"),
        ({"model_options": "x"}, "model_options are str"),
        ({"model_options": {"m": {"num_ctx": "x"}}}, "Options of the model 'm': "),
    ],
)
def test_an_argument_of_a_wrong_type_is_named_at_once(arguments, said):
    with pytest.raises(TimestepError, match=said):
        OllamaModelProvider(**arguments)
