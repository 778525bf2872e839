"""`from_env()` in the place of `agents.MultiProvider()`: who is asked, and with which key."""

import asyncio
import itertools
import json
import threading
from dataclasses import dataclass, field
from pathlib import Path

import agents
import openai
import pytest
from agents import Agent, MultiProvider, RunConfig, Runner
from agents.models import _openai_shared, openai_provider
from websockets.sync.server import serve

from timestep.openai import default_provider
from timestep.registry import MultiModelProvider

SENT = (
    "authorization",
    "api-key",
    "openai-organization",
    "openai-project",
    "x-custom",
)


@pytest.fixture(autouse=True)
def nothing_told(monkeypatch):
    """What a test tells the SDK is forgotten after it."""
    for name in vars(_openai_shared).keys() & {
        "_default_openai_key",
        "_default_openai_client",
        "_use_responses_by_default",
        "_default_openai_responses_transport",
        "_use_responses_websocket_by_default",
    }:
        monkeypatch.setattr(_openai_shared, name, getattr(_openai_shared, name))


@pytest.fixture(autouse=True)
async def clients():
    """Clients that the SDK and the tests leave open, closed at the end."""
    opened = []
    yield opened
    for client in opened:
        await client.close()
    await openai_provider.shared_http_client().aclose()
    openai_provider._http_client = None


@pytest.fixture
def azure(clients):
    def make(server):
        clients.append(
            openai.AsyncAzureOpenAI(
                api_key="azure",
                api_version="2025-04-01",
                azure_endpoint=server.base_url.removesuffix("/v1"),
            )
        )
        return clients[-1]

    return make


@pytest.fixture
def tell(azure):
    """Tells the SDK something for the whole process."""
    told = {
        "client": lambda server: agents.set_default_openai_client(azure(server), False),
        "key": lambda _: agents.set_default_openai_key("sk-code", use_for_tracing=False),
        "api": lambda _: agents.set_default_openai_api("chat_completions"),
    }
    return lambda name, server: told[name](server)


async def ask(provider, model="gpt-4.1", runs=1):
    for _ in range(runs):
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        await Runner.run(Agent(name="a", model=model), "hi", run_config=config)


def asked(server):
    """What the last request to *server* says: its path, and who asks."""
    path, headers, body = server.requests.pop()
    return path, body["model"], {name: headers[name] for name in SENT if name in headers}


VARIABLES = {
    "OPENAI_API_KEY": "sk-variable",
    "OPENAI_ORG_ID": "org-variable",
    "OPENAI_PROJECT_ID": "proj-variable",
    "OPENAI_CUSTOM_HEADERS": "X-Custom: variable\nX-More: 1",
}


def subsets(names):
    return itertools.chain.from_iterable(
        itertools.combinations(names, size) for size in range(len(names) + 1)
    )


TOLD = ("client", "key", "api")


@pytest.mark.parametrize("told", list(subsets(TOLD)), ids="+".join)
async def test_every_combination_reaches_the_same_server_as_with_the_sdk(
    told, monkeypatch, openai_server, tell
):
    for name in told:
        tell(name, openai_server)
    for variables in subsets(VARIABLES):
        if "OPENAI_API_KEY" not in variables and not {"client", "key"} & {*told}:
            continue  # without any key the SDK's provider refuses, ours asks without one
        with monkeypatch.context() as patch:
            for name in variables:
                patch.setenv(name, VARIABLES[name])
            patch.setenv("OPENAI_BASE_URL", openai_server.base_url)
            outcomes = []
            for provider in (MultiProvider(), MultiModelProvider.from_env(env_file=None)):
                await ask(provider)
                await provider.aclose()
                outcomes.append(asked(openai_server))
        assert outcomes[1] == outcomes[0], (told, variables)


@pytest.mark.parametrize("told", ["client", "key"])
@pytest.mark.parametrize("place", ["dotenv", "secrets"])
async def test_what_code_says_wins_over_short_names_in_files_too(
    told, place, monkeypatch, openai_server, tell, tmp_path
):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    if place == "dotenv":
        write(Path(".env"), "OPENAI_API_KEY=sk-file\n")
    else:
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        write(secrets / "OPENAI_API_KEY", "sk-file")
        monkeypatch.setenv("TIMESTEP_SECRETS_DIR", str(secrets))
    tell(told, openai_server)
    provider = MultiModelProvider.from_env()
    await ask(provider)
    await provider.aclose()

    assert "sk-file" not in str(openai_server.requests)


def write(path, text):
    path.write_text(text)


def by_toml(monkeypatch, values):
    lines = (f'{name} = "{value}"\n' for name, value in values.items())
    write(Path("timestep.toml"), "[openai]\n" + "".join(lines))
    return MultiModelProvider.from_env()


def by_variables(monkeypatch, values):
    for name, value in values.items():
        monkeypatch.setenv(f"TIMESTEP_OPENAI__{name.upper()}", value)
    return MultiModelProvider.from_env()


def by_settings(monkeypatch, values):
    return MultiModelProvider.from_env(openai=values)


def by_keywords(monkeypatch, values):
    return MultiModelProvider.from_env(**{f"openai_{name}": v for name, v in values.items()})


@pytest.mark.parametrize("place", [by_toml, by_variables, by_settings, by_keywords])
@pytest.mark.parametrize("told", list(subsets(TOLD)), ids="+".join)
async def test_what_was_written_for_timestep_wins_over_code(
    place, told, monkeypatch, openai_server, tell
):
    class Elsewhere:
        base_url = "http://127.0.0.1:9/v1"

    for name in told:
        tell(name, Elsewhere)
    if place is not by_toml:  # variables win over the file
        monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
        monkeypatch.setenv("OPENAI_BASE_URL", Elsewhere.base_url)
    provider = place(monkeypatch, {"base_url": openai_server.base_url, "api_key": "sk-written"})
    await ask(provider)
    await provider.aclose()

    path, _, sent = asked(openai_server)
    assert path == ("/v1/chat/completions" if "api" in told else "/v1/responses")
    assert sent == {"authorization": "Bearer sk-written"}


async def test_a_variable_over_the_file_wins_over_code_as_the_file_does(
    monkeypatch, openai_server, tell
):
    tell("key", openai_server)
    write(Path("timestep.toml"), '[openai]\napi_key = "sk-file"\n')
    monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    provider = MultiModelProvider.from_env()
    await ask(provider)
    await provider.aclose()

    assert asked(openai_server)[2] == {"authorization": "Bearer sk-variable"}


async def test_how_a_client_of_code_asks_can_be_written_for_timestep(
    monkeypatch, openai_server, tell
):
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: variable")
    tell("client", openai_server)
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: later")
    provider = MultiModelProvider.from_env(openai={"timeout": 7, "headers": {"X-Title": "mine"}})
    await ask(provider)

    path, headers, _ = openai_server.requests[-1]
    assert path.startswith("/openai/")
    assert headers["x-title"] == "mine"
    assert headers["x-custom"] == "variable"
    assert headers["api-key"] == "azure"


async def test_a_ready_client_is_an_argument_like_any_other(
    monkeypatch, openai_server, tell, azure
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
    tell("key", openai_server)
    provider = MultiModelProvider.from_env(openai_client=azure(openai_server))
    await ask(provider)

    assert asked(openai_server)[2] == {"api-key": "azure"}


async def test_the_default_model_of_the_sdk_is_asked_for(monkeypatch, openai_server, tell):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-of-mine")
    tell("api", openai_server)
    provider = MultiModelProvider.from_env()
    await ask(provider, None)
    await provider.aclose()

    assert asked(openai_server)[:2] == ("/v1/chat/completions", "gpt-of-mine")


async def test_three_runs_open_one_connection_that_is_closed(monkeypatch, openai_server):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    provider = MultiModelProvider.from_env()
    await ask(provider, runs=3)
    assert openai_server.connections == 1
    await provider.aclose()


async def test_one_provider_of_openai_itself_serves_event_loop_after_event_loop(
    monkeypatch, openai_server
):
    monkeypatch.setattr(default_provider, "OPENAI_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    provider = MultiModelProvider.from_env()
    for _ in range(3):
        await asyncio.to_thread(asyncio.run, ask(provider))

    assert len(openai_server.requests) == 3


@dataclass
class WebsocketServer:
    """A server for the Responses API over a websocket, and who connected to it."""

    base_url: str = ""
    headers: list[dict[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    closed: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))


@pytest.fixture
def websocket_server(openai_server):
    state = WebsocketServer()

    def answer(connection):
        state.headers.append({name.lower(): v for name, v in connection.request.headers.items()})
        for asked in connection:
            state.models.append(json.loads(asked)["model"])
            connection.send(json.dumps(openai_server.events[-1]))
        state.closed.release()

    with serve(answer, "127.0.0.1", 0) as server:
        state.base_url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/v1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield state
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("has_base_url", [False, True])
async def test_a_told_websocket_is_used_as_the_sdk_does(
    has_base_url, monkeypatch, openai_server, websocket_server
):
    agents.set_default_openai_responses_transport("websocket")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    if has_base_url:
        monkeypatch.setenv("OPENAI_BASE_URL", websocket_server.base_url.replace("ws", "http", 1))
    else:
        monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
        monkeypatch.setenv("OPENAI_WEBSOCKET_BASE_URL", websocket_server.base_url)
    for provider in (MultiProvider(), MultiModelProvider.from_env(env_file=None)):
        await ask(provider)
        await provider.aclose()

    first, second = (
        {name: headers[name] for name in SENT if name in headers}
        for headers in websocket_server.headers
    )
    assert first == second
    assert set(first) == {*SENT} - {"api-key"}
    assert openai_server.requests == []


async def test_a_websocket_needs_no_key_beside_a_configured_authorization(
    monkeypatch, websocket_server
):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    provider = MultiModelProvider.from_env(
        openai={
            "base_url": websocket_server.base_url.replace("ws", "http", 1),
            "headers": {"Authorization": "Bearer of-a-gateway"},
        },
        openai_use_responses_websocket=True,
    )
    await ask(provider)
    await provider.aclose()

    assert [sent["authorization"] for sent in websocket_server.headers] == ["Bearer of-a-gateway"]


async def test_one_websocket_serves_all_runs_and_is_closed(monkeypatch, websocket_server):
    monkeypatch.setenv("OPENAI_BASE_URL", websocket_server.base_url.replace("ws", "http", 1))
    monkeypatch.setenv("OPENAI_API_KEY", "sk")
    provider = MultiModelProvider.from_env(openai_use_responses_websocket=True)
    await ask(provider, runs=3)
    assert len(websocket_server.headers) == 1
    assert websocket_server.models == ["gpt-4.1"] * 3
    await provider.aclose()

    assert await asyncio.to_thread(websocket_server.closed.acquire, timeout=30)


@pytest.mark.parametrize("api", ["responses", "chat_completions"])
async def test_another_server_gets_nothing_that_was_meant_for_openai(
    api, monkeypatch, openai_server, tell
):
    class Elsewhere:
        base_url = "http://127.0.0.1:9/v1"

    tell("client", Elsewhere)
    tell("key", Elsewhere)
    agents.set_default_openai_responses_transport("websocket")
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_WEBSOCKET_BASE_URL", "ws://127.0.0.1:9/v1")
    other = {"kind": "openai", "base_url": openai_server.base_url, "api": api}
    provider = MultiModelProvider.from_env(providers={"other": other})
    await ask(provider, "other/m")
    await provider.aclose()

    assert asked(openai_server)[2] == {}
