import asyncio
import gc
import warnings
import weakref

import openai
import pytest
from agents import Agent, ModelSettings, OpenAIResponsesModel, RunConfig, Runner
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel

from timestep.errors import ConfigurationError
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.model import ChatCompletionsModel
from timestep.openai.provider import OpenAICompatibleProvider, new_client

AGENT = Agent(name="a", model="m")


def provider(server, *, use_responses=False, **endpoint):
    return OpenAICompatibleProvider(
        OpenAIEndpoint(base_url=server.base_url, **endpoint), use_responses=use_responses
    )


async def ask(subject, agent=AGENT):
    result = await Runner.run(agent, "hi", run_config=RunConfig(model_provider=subject))
    return result.final_output


@pytest.fixture
def openai_environment(monkeypatch):
    """What an application sets for OpenAI, and what no other server may see."""
    for name in ("API_KEY", "ADMIN_KEY", "ORG_ID", "PROJECT_ID", "WEBHOOK_SECRET"):
        monkeypatch.setenv(f"OPENAI_{name}", "openais-own")
    monkeypatch.setenv(
        "OPENAI_CUSTOM_HEADERS",
        "X-Gateway: openais-own\nauthorization: openais-own\nX-Title: openais-own\n"
        "OpenAI-Project: openais-own",
    )
    monkeypatch.setenv("OPENAI_BASE_URL", "https://openais-own.example")


@pytest.mark.usefixtures("openai_environment")
async def test_nothing_of_openais_environment_goes_to_another_server(openai_server):
    subject = provider(openai_server)
    assert await ask(subject) == "hello"
    await subject.aclose()

    assert "openais-own" not in str(openai_server.requests)
    assert "authorization" not in openai_server.headers
    assert "openai-organization" not in openai_server.headers


@pytest.mark.usefixtures("openai_environment")
@pytest.mark.parametrize(
    ("use_responses", "path"), [(True, "/v1/responses"), (False, "/v1/chat/completions")]
)
async def test_what_is_configured_reaches_the_server(openai_server, use_responses, path):
    subject = provider(
        openai_server,
        use_responses=use_responses,
        api_key="sk-own",
        organization="org-own",
        project="proj-own",
        headers={"X-Title": "own", "x-user": "me"},
    )
    assert await ask(subject) == "hello"
    await subject.aclose()

    assert openai_server.requests[-1][0] == path
    assert openai_server.requests[-1][2]["model"] == "m"
    expected = {
        "authorization": "Bearer sk-own",
        "openai-organization": "org-own",
        "openai-project": "proj-own",
        "x-title": "own",
        "x-user": "me",
    }
    assert openai_server.headers.items() >= expected.items()
    assert "openais-own" not in str(openai_server.requests)


@pytest.mark.parametrize("use_responses", [True, False])
async def test_without_a_key_no_authorization_is_sent(openai_server, use_responses, run):
    subject = provider(openai_server, use_responses=use_responses)
    await run(AGENT, run_config=RunConfig(model_provider=subject))
    await subject.aclose()

    assert "authorization" not in openai_server.headers


async def test_an_authorization_header_of_ones_own_wins_over_the_key(openai_server):
    subject = provider(openai_server, api_key="sk-own", headers={"authorization": "Basic x"})
    await ask(subject)
    await subject.aclose()

    assert openai_server.headers["authorization"] == "Basic x"


@pytest.mark.usefixtures("openai_environment")
async def test_headers_of_a_call_are_kept(openai_server):
    settings = ModelSettings(extra_headers={"X-Gateway": "mine", "Authorization": "Bearer mine"})
    subject = provider(openai_server)
    await ask(subject, Agent(name="a", model="m", model_settings=settings))
    await subject.aclose()

    assert openai_server.headers["x-gateway"] == "mine"
    assert openai_server.headers["authorization"] == "Bearer mine"


async def test_no_proxy_stands_before_this_machine(monkeypatch, openai_server):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    subject = provider(openai_server, api_key="sk-own")
    assert await ask(subject) == "hello"
    await subject.aclose()


async def test_a_redirect_is_not_followed(openai_server):
    openai_server.redirect_to = "http://127.0.0.1:9/v1/chat/completions"
    subject = provider(openai_server, api_key="sk-own")
    with pytest.raises(openai.APIStatusError):
        await ask(subject)
    await subject.aclose()

    assert len(openai_server.requests) == 1


def test_the_timeout_reaches_the_client(openai_server):
    client = new_client(OpenAIEndpoint(base_url=openai_server.base_url, timeout=7.5))

    assert client.timeout == 7.5


def test_requests_work_in_one_event_loop_after_the_other(openai_server):
    subject = provider(openai_server)
    assert [asyncio.run(ask(subject)) for _ in range(4)] == ["hello"] * 4


def test_a_model_found_outside_a_loop_works_in_several(openai_server):
    agent = Agent(name="a", model=provider(openai_server).get_model("m"))

    assert [asyncio.run(ask(None, agent)) for _ in range(4)] == ["hello"] * 4


async def test_one_loop_shares_one_connection(openai_server):
    subject = provider(openai_server)
    for _ in range(3):
        await ask(subject)
    await subject.aclose()

    assert openai_server.connections == 1


async def test_closing_closes_the_connection_and_the_provider_stays_usable(openai_server):
    subject = provider(openai_server)
    await ask(subject)
    await subject.aclose()
    await subject.aclose()
    assert await ask(subject) == "hello"
    await subject.aclose()

    assert openai_server.connections == 2


def test_clients_of_closed_loops_are_forgotten(openai_server):
    subject = provider(openai_server)
    loops = []

    async def use():
        subject.get_model("m")
        loops.append(weakref.ref(asyncio.get_running_loop()))

    for _ in range(3):
        asyncio.run(use())
    gc.collect()

    assert [loop() for loop in loops] == [None, None, None]


async def test_a_forgotten_provider_closes_its_client(openai_server):
    subject = provider(openai_server)
    await ask(subject)
    client = subject._client_of_this_loop()
    del subject
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)  # the loop closes the generator in a task of its own

    assert client.is_closed()


@pytest.mark.parametrize("use_responses", [True, False])
async def test_a_model_outlives_the_name_of_its_provider(openai_server, use_responses):
    model = provider(openai_server, use_responses=use_responses).get_model("m")
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)  # as above

    result = await Runner.run(Agent("a", model=model), "hi")

    assert result.final_output == "hello"


def test_construction_opens_nothing_and_leaving_it_open_warns_of_nothing(openai_server):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        provider(openai_server).get_model("m")
        gc.collect()

    assert openai_server.connections == 0


def test_the_chosen_api_decides_the_model(openai_server):
    assert isinstance(
        provider(openai_server, use_responses=True).get_model("m"), OpenAIResponsesModel
    )
    chat = provider(openai_server, use_responses=False)
    assert isinstance(chat.get_model("m"), ChatCompletionsModel)
    assert chat.get_model("m") is chat.get_model("m")


def test_the_sdks_chat_model_can_be_chosen(openai_server):
    endpoint = OpenAIEndpoint(base_url=openai_server.base_url)
    chosen = OpenAICompatibleProvider(endpoint, use_responses=False, options=None)
    assert isinstance(chosen.get_model("m"), OpenAIChatCompletionsModel)


def test_openai_itself_is_asked_by_the_sdks_models():
    endpoint = OpenAIEndpoint(base_url="https://api.openai.com/v1", api_key="k")
    model = OpenAICompatibleProvider(endpoint, use_responses=False).get_model("gpt-4.1")
    assert isinstance(model, OpenAIChatCompletionsModel)


def test_openai_itself_needs_a_key(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not read here")
    subject = OpenAICompatibleProvider(OpenAIEndpoint(base_url="https://api.openai.com/v1"))

    with pytest.raises(ConfigurationError, match="needs an API key; set OPENAI_API_KEY"):
        subject.get_model("gpt-4.1")


def test_secrets_stay_out_of_repr():
    endpoint = OpenAIEndpoint(base_url="https://x", api_key="s3cr3t", headers={"a": "s3cr3t"})

    assert "s3cr3t" not in repr(endpoint)
