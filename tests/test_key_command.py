"""A key that a command prints, as servers on loopback see it."""

import asyncio
import copy
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from agents import Agent, ModelSettings, RunConfig

from timestep.cli.errors import explain
from timestep.config.settings import Settings
from timestep.errors import AuthenticationError, ConfigurationError
from timestep.factory.endpoints import ollama_endpoints, openai_endpoint
from timestep.net.key_command import KeyCommand
from timestep.ollama.official_client import open_client
from timestep.ollama.server_info import connect, list_entries
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.listing import list_models
from timestep.registry import MultiModelProvider
from timestep.testing import FakeOllama

COUNTING = """
import pathlib
runs = pathlib.Path("runs")
runs.write_text((runs.read_text() if runs.exists() else "") + "x")
print(f"key-{len(runs.read_text())}")
"""
TABLES = [(prefix, api) for prefix in ("", "p/") for api in ("responses", "chat_completions")]


def printing(code):
    return [sys.executable, "-c", code]


def made(prefix, url, code, **more):
    table = {"base_url": url, "api_key_command": printing(code), "max_retries": 0, **more}
    tables = {"providers": {"p": {"kind": "openai", **table}}} if prefix else {"openai": table}
    return MultiModelProvider.from_settings(Settings(_env_file=None, **tables))


def keys_in(server):
    return [headers.get("authorization") for _, headers, _ in server.requests]


def taking_only(server, *keys):
    """Make *server* refuse every key but *keys*, and repeat what it refuses."""

    def answer(_):
        sent = keys_in(server)[-1]
        if sent.removeprefix("Bearer ") in keys:
            return None
        return 401, {"error": {"message": f"{sent} is no key of ours"}}

    server.answers = answer


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_the_command_runs_once_for_many_requests(
    prefix, api, openai_server, run, monkeypatch
):
    monkeypatch.setenv("OPENAI_API_KEY", "of-the-environment")
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs
    for _ in range(2):
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert keys_in(openai_server) == ["Bearer key-1"] * 2


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_it_runs_again_when_the_server_refuses_the_key(prefix, api, openai_server, run):
    taking_only(openai_server, "key-2")
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert keys_in(openai_server) == ["Bearer key-1", "Bearer key-2", "Bearer key-2"]


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_a_second_refusal_is_an_error_that_shows_no_key(prefix, api, openai_server, run):
    taking_only(openai_server)
    provider = made(prefix, openai_server.base_url, "print('violet-otter-lamp')", api=api)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    with pytest.raises(Exception, match="401") as caught:
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert len(openai_server.requests) == 2
    assert "otter" not in "".join(traceback.format_exception(caught.value))
    assert "api_key_command" in explain(caught.value)


OLLAMA_TABLES = [("ollama/", 1), ("lab/", 1), ("lab/", 2)]


def made_ollama(prefix, servers, code, **more):
    urls = [server.base_url for server in servers]
    table = {"base_url": urls, "api_key_command": printing(code), **more}
    tables = {"ollama": table}
    if prefix != "ollama/":
        tables = {"providers": {"lab": {"kind": "ollama", **table}}}
    return MultiModelProvider.from_settings(Settings(_env_file=None, **tables))


def chat_keys(servers):
    return sorted(
        request.headers["authorization"]
        for server in servers
        for request in server.requests
        if request.path == "/api/chat"
    )


@pytest.mark.parametrize(("prefix", "count"), OLLAMA_TABLES)
async def test_an_ollama_server_gets_the_key_and_the_next_one_after_a_refusal(prefix, count, run):
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeOllama(strict=False)) for _ in range(count)]
        for server in servers:
            server.fail(401, "unauthorized")
            server.reply("hi", times=None)
        provider = made_ollama(prefix, servers, COUNTING)
        config = RunConfig(model_provider=provider, tracing_disabled=True)
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
        await provider.aclose()

    assert chat_keys(servers) == ["Bearer key-1", "Bearer key-2"]


async def test_a_second_refusal_of_an_ollama_server_shows_no_key(fake_ollama, run):
    fake_ollama.fail(401, "Bearer violet-otter-lamp is no key of ours", times=2)
    provider = made_ollama("ollama/", [fake_ollama], "print('violet-otter-lamp')")
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    with pytest.raises(AuthenticationError, match="Run api_key_command") as caught:
        await run(Agent(name="a", model="ollama/m"), run_config=config)
    await provider.aclose()

    assert chat_keys([fake_ollama]) == ["Bearer violet-otter-lamp"] * 2
    assert "otter" not in "".join(traceback.format_exception(caught.value))


async def test_without_a_base_url_the_command_is_for_the_cloud_alone(fake_ollama, run):
    fake_ollama.reply("hi")
    table = {"host": fake_ollama.base_url, "api_key_command": printing(COUNTING)}
    provider = MultiModelProvider.from_settings(Settings(_env_file=None, ollama=table))
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    await run(Agent(name="a", model="ollama/m"), run_config=config)
    await provider.aclose()

    assert "authorization" not in fake_ollama.requests[-1].headers
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs
    [cloud] = provider.provider_map.get_provider("ollama").wires("m-cloud")
    assert cloud.endpoint.key_command is not None


async def test_the_commands_list_models_with_the_key_and_the_next_after_a_refusal(fake_ollama):
    provider = made_ollama("ollama/", [fake_ollama], COUNTING).provider_map.get_provider("ollama")
    endpoint = provider.wire().endpoint
    async with open_client(endpoint, silence=60.0) as client:
        await client.list()
        fake_ollama.fail(401, "unauthorized", path="/api/tags")
        await client.list()

    fake_ollama.fail(401, "unauthorized", path="/api/tags")
    async with connect(endpoint) as client:
        await list_entries(client, "/api/tags")

    sent = [request.headers["authorization"] for request in fake_ollama.requests]
    keys = ["key-1", "key-1", "key-2", "key-2", "key-3"]
    assert sent == [f"Bearer {key}" for key in keys]


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
@pytest.mark.parametrize("key", [{"api_key": "sk-mine"}, {"api_key_command": printing(COUNTING)}])
async def test_a_configured_authorization_wins_over_a_key_everywhere(
    openai_server, fake_openai, fake_ollama, run, name, key
):
    own = {"headers": {name: "Token violet"}, "max_retries": 0, **key}
    openai_server.answers = lambda _: None
    for prefix, api in TABLES:
        table = {"base_url": openai_server.base_url, "api": api, **own}
        tables = {"providers": {"p": {"kind": "openai", **table}}} if prefix else {"openai": table}
        settings = Settings(_env_file=None, **tables)
        await asked(run, settings, f"{prefix}m")

    fake_openai.add_model("m")
    settings = Settings(_env_file=None, openai={"base_url": fake_openai.base_url, **own})
    endpoint = openai_endpoint(settings.openai)
    await list_models(endpoint)
    assert endpoint.sent_headers == own["headers"]  # once

    fake_ollama.reply("hi")
    del own["max_retries"]
    settings = Settings(_env_file=None, ollama={"base_url": fake_ollama.base_url, **own})
    await asked(run, settings, "ollama/m")
    async with connect(ollama_endpoints(settings)["ollama"].local) as client:
        await list_entries(client, "/api/tags")

    assert {*keys_in(openai_server)} == {"Token violet"}
    requests = [*fake_openai.requests, *fake_ollama.requests]
    assert {request.headers["authorization"] for request in requests} == {"Token violet"}
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs


@pytest.mark.parametrize("key", [{}, {"api_key_command": printing(COUNTING)}])
@pytest.mark.parametrize("api", ["responses", "chat_completions"])
def test_openai_itself_needs_no_key_beside_a_configured_authorization(monkeypatch, api, key):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    own = {"api": api, "headers": {"authorization": "Token violet"}, **key}
    lab = {"kind": "openai", "base_url": "https://api.openai.com/v1", **own}
    settings = Settings(_env_file=None, openai=own, providers={"lab": lab})
    provider = MultiModelProvider.from_settings(settings)

    assert provider.get_model("gpt-4o").model == provider.get_model("lab/gpt-4o").model == "gpt-4o"


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_a_refused_authorization_of_a_call_is_not_blamed_on_the_command(
    openai_server, run, prefix, api
):
    openai_server.answers = lambda _: (401, {"error": {"message": "no key of ours"}})
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    settings = ModelSettings(extra_headers={"Authorization": "Token of-the-call"})
    config = RunConfig(model_provider=provider, tracing_disabled=True, model_settings=settings)
    with pytest.raises(AuthenticationError, match="Check api_key of this provider"):
        await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()


@pytest.mark.parametrize(("prefix", "api"), TABLES)
async def test_the_authorization_of_a_call_wins_over_the_command(openai_server, run, prefix, api):
    provider = made(prefix, openai_server.base_url, COUNTING, api=api)
    settings = ModelSettings(extra_headers={"Authorization": "Token of-the-call"})
    config = RunConfig(model_provider=provider, tracing_disabled=True, model_settings=settings)
    await run(Agent(name="a", model=f"{prefix}m"), run_config=config)
    await provider.aclose()

    assert keys_in(openai_server) == ["Token of-the-call"]
    assert not Path("runs").exists()  # noqa: ASYNC240 - nothing else runs


async def asked(run, settings, model):
    provider = MultiModelProvider.from_settings(settings)
    config = RunConfig(model_provider=provider, tracing_disabled=True)
    await run(Agent(name="a", model=model), run_config=config)
    await provider.aclose()


async def test_the_models_of_an_openai_api_are_listed_with_the_key_and_the_next_after_a_refusal(
    fake_openai,
):
    fake_openai.add_model("qwen3")
    endpoint = OpenAIEndpoint(
        base_url=fake_openai.base_url, key_command=KeyCommand(printing(COUNTING))
    )

    assert [entry["id"] for entry in await list_models(endpoint)] == ["qwen3"]
    fake_openai.fail(401, "no key of ours", path="/v1/models")
    assert [entry["id"] for entry in await list_models(endpoint)] == ["qwen3"]

    assert [request.headers["authorization"] for request in fake_openai.requests] == [
        "Bearer key-1",
        "Bearer key-1",
        "Bearer key-2",
    ]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (printing("raise SystemExit(3)"), "ended with status 3"),
        (printing("print('ot' 'ter'); raise SystemExit(1)"), "ended with status 1"),
        (printing("pass"), "printed nothing that can be a key"),
        (printing("print('ot' 'ter\\nlamp')"), "printed nothing that can be a key"),
        (["/no/such/program"], r"cannot be run \(FileNotFoundError\)"),
    ],
    ids=["fails", "fails and prints", "prints nothing", "prints lines", "is missing"],
)
async def test_a_command_without_a_key_is_an_error_that_repeats_nothing(command, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        await KeyCommand(command).key()

    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "otter" not in "".join(report.format())


async def test_those_who_wait_for_a_failing_command_hear_of_its_failure_without_another_run():
    code = (
        "import os, time\n"
        "open('runs', 'a').write('x')\n"
        "while not os.path.exists('go'): time.sleep(0.01)\n"
        "raise SystemExit(3)"
    )
    command = KeyCommand(printing(code))
    waiting = [asyncio.create_task(command.key()) for _ in range(5)]
    await asyncio.sleep(0)  # all of them wait
    Path("go").touch()  # noqa: ASYNC240 - nothing else runs
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {ConfigurationError}
    assert Path("runs").read_text() == "x"  # noqa: ASYNC240 - nothing else runs

    with pytest.raises(ConfigurationError):
        await command.key()
    assert Path("runs").read_text() == "xx"  # noqa: ASYNC240 - nothing else runs


async def test_commands_that_hang_leave_the_threads_of_asyncio_free():
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\nprint('key')"
    command = KeyCommand(printing(code))
    waiting = [asyncio.create_task(command.key()) for _ in range(3)]
    await asyncio.sleep(0)  # all of them wait
    await asyncio.wait_for(asyncio.to_thread(Path("go").touch), 30)

    assert await asyncio.gather(*waiting) == ["key"] * 3


async def test_a_command_that_takes_too_long_is_ended():
    waiting = printing("print('otter', flush=True)\nimport threading\nthreading.Event().wait()")
    with pytest.raises(ConfigurationError, match=r"took longer than 0\.5 s"):
        await KeyCommand(waiting, seconds=0.5).key()


async def test_no_shell_reads_the_arguments():
    echoing = [*printing("import sys; print(sys.argv[1])"), "$HOME;x"]

    assert await KeyCommand(echoing).key() == "$HOME;x"


async def test_a_copy_runs_the_command_itself():
    first = KeyCommand(printing(COUNTING))
    assert await first.key() == "key-1"

    assert await copy.deepcopy(first).key() == "key-2"


@pytest.mark.parametrize("command", ["pass show key", [], [""], [1]], ids=str)
def test_a_command_is_a_list_of_texts(command):
    with pytest.raises(ConfigurationError, match="api_key_command is a list"):
        KeyCommand(command)
    with pytest.raises(ValueError, match="api_key_command"):
        Settings(openai={"api_key_command": command})


def test_its_key_does_not_travel_in_the_clear():
    with pytest.raises(ValueError, match="http"):
        Settings(openai={"api_key_command": ["x"], "base_url": "http://gpu.example"})
    with pytest.raises(ValueError, match="http"):
        Settings(ollama={"api_key_command": ["x"], "base_url": "http://gpu.example"})
