import asyncio
import dataclasses
import logging
import os
import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_type_hints

import pytest
from agents import Agent, ModelProvider, ModelSettings, OpenAIResponsesModel, RunConfig, Runner
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.testing import ScriptedModel

from timestep.answer.default_settings import ModelDefaults
from timestep.config import kinds
from timestep.config.schema import OllamaSettings
from timestep.config.settings import Settings
from timestep.errors import ConfigurationError, UnknownModelError
from timestep.factory import providers as factory
from timestep.factory.providers import (
    build_all,
    build_default_openai,
    ollama_keywords,
)
from timestep.net.reach import Reach
from timestep.net.timeouts import Timeouts
from timestep.ollama.model_options import OllamaKeywords, OllamaModelOptions
from timestep.openai.gateways import GatewayProvider
from timestep.registry import MultiModelProvider, build_provider
from timestep.testing import FakeOllama

SECRET = "s3cr3t"


async def ask(provider, model=None):
    agent = Agent(name="a", model=model)
    result = await Runner.run(agent, "hi", run_config=RunConfig(model_provider=provider))
    return result.final_output


def ollama_arguments(monkeypatch, settings):
    """What the factory gives the provider for ``[ollama]``."""
    made = []

    def make(api_key, base_url, **others):
        made.append({"api_key": api_key, "base_url": base_url, **others})

    monkeypatch.setattr(factory, "OllamaModelProvider", make)
    build_all(settings)
    return made[0]


def test_nothing_configured_needs_nothing():
    assert list(build_all(Settings())) == ["ollama"]
    assert build_default_openai(Settings(), {})


@pytest.mark.parametrize(
    ("api", "model"),
    [("responses", OpenAIResponsesModel), ("chat_completions", OpenAIChatCompletionsModel)],
)
@pytest.mark.parametrize("openai", [{}, {"timeout": 3}, {"headers": {"X-A": "b"}}])
def test_a_chosen_api_is_asked(api, model, openai):
    settings = Settings(openai={"api": api, "api_key": SECRET, **openai})

    assert isinstance(build_default_openai(settings, {}).get_model("gpt-4.1"), model)


async def test_openai_settings_reach_the_wire(monkeypatch, openai_server):
    monkeypatch.setenv("OPENAI_BASE_URL", openai_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    provider = MultiModelProvider.from_env(
        openai={"headers": {"X-Title": "t"}, "organization": "org", "project": "proj"}
    )
    assert await ask(provider, "gpt-4.1") == "hello"
    assert await ask(provider, "openai/gpt-4.1") == "hello"
    await provider.aclose()

    assert openai_server.requests[0][0] == "/v1/responses"
    assert openai_server.requests[1][2]["model"] == "gpt-4.1"
    expected = {
        "authorization": f"Bearer {SECRET}",
        "x-title": "t",
        "openai-organization": "org",
        "openai-project": "proj",
    }
    assert openai_server.headers.items() >= expected.items()


def test_a_provider_of_kind_openai_gets_its_own_settings_and_nothing_else(
    monkeypatch, openai_server
):
    """Twice under separate event loops, as workers do."""
    monkeypatch.setenv("OPENAI_API_KEY", "openais-own")
    monkeypatch.setenv("OPENAI_ORG_ID", "openais-own")
    Path("timestep.toml").write_text(
        f"""
        [providers.groq]
        kind = "openai"
        base_url = "{openai_server.base_url}"
        api_key = "env:GROQ_API_KEY"
        headers = {{ X-Title = "app" }}
        timeout = 20
        """
    )
    monkeypatch.setenv("GROQ_API_KEY", SECRET)
    provider = MultiModelProvider.from_env()
    for _ in range(2):
        assert asyncio.run(ask(provider, "groq/meta/llama-4")) == "hello"

    path, headers, body = openai_server.requests[-1]
    assert (path, body["model"]) == ("/v1/chat/completions", "meta/llama-4")
    assert headers["authorization"] == f"Bearer {SECRET}"
    assert headers["x-title"] == "app"
    assert "openais-own" not in str(openai_server.requests)


def test_ollama_settings_become_arguments(monkeypatch):
    table = {
        "api_key": SECRET,
        "base_url": "https://gpu",
        "host": "gpu2",
        "options": {"num_ctx": 8192},
        "settings": {"top_p": 0.5},
        "models": {"llama3.2": {"num_ctx": 4096, "settings": {"top_p": 0.6}}},
        "keep_alive": "10m",
        "timeout": {"connect": 5, "idle": 60},
        "on_context_overflow": "truncate",
        "strict_feature_validation": True,
        "tool_emulation": True,
        "allow_remote_images": True,
        "text_calls": ["llama3.2"],
        "think_tags": True,
        "repairs": 2,
        "max_concurrency": 4,
        "allow_insecure": True,
        "headers": {"X-A": "b"},
    }
    reach = {"ca_file": "/ca.pem", "client_cert": "/me.pem", "proxy": "http://proxy"}
    given = ollama_arguments(monkeypatch, Settings(ollama=table | reach))

    assert given == {
        **{key: value for key, value in table.items() if key not in {"host", "models", "settings"}},
        "defaults": ModelDefaults(ModelSettings(top_p=0.5), {"llama3.2": ModelSettings(top_p=0.6)}),
        "local_url": "http://gpu2:11434",
        "key_command": None,
        "model_options": {"llama3.2": {"num_ctx": 4096}},
        "timeout": Timeouts(connect=5, idle=60),
        "reach": Reach(ca_file="/ca.pem", client_cert=("/me.pem",), proxy="http://proxy"),
    }
    assert ollama_keywords(Settings(ollama={"timeout": 9}).ollama, "ollama")["timeout"] == 9


def test_each_keyword_of_a_model_is_described_once_and_is_a_setting():
    names = set(get_type_hints(OllamaKeywords))
    assert names == {field.name for field in dataclasses.fields(OllamaModelOptions)}
    assert names < set(OllamaSettings.model_fields)
    assert (
        OllamaModelOptions.of(**ollama_keywords(Settings().ollama, "ollama"))
        == OllamaModelOptions()
    )


async def test_the_configured_ollama_answers(monkeypatch):
    with FakeOllama() as server:
        server.reply("hello")
        server.reply("again")
        monkeypatch.setenv("OLLAMA_HOST", server.url.removeprefix("http://"))
        monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/llama3.2")
        monkeypatch.setenv("TIMESTEP_PROVIDERS__GPU__KIND", "ollama")
        monkeypatch.setenv("TIMESTEP_PROVIDERS__GPU__BASE_URL", server.url)
        monkeypatch.setenv("TIMESTEP_PROVIDERS__GPU__API_KEY", SECRET)
        provider = MultiModelProvider.from_env()
        assert await ask(provider) == "hello"
        assert await ask(provider, "gpu/llama3.2") == "again"
        await provider.aclose()

        keys = [
            request.headers.get("authorization")
            for request in server.requests
            if request.path == "/api/chat"
        ]
    assert keys == [None, f"Bearer {SECRET}"]


async def test_the_key_of_the_environment_stays_away_from_other_hosts(monkeypatch, caplog):
    with FakeOllama() as server:
        server.reply("hello")
        monkeypatch.setenv("OLLAMA_BASE_URL", server.url)
        monkeypatch.setenv("OLLAMA_API_KEY", SECRET)
        provider = MultiModelProvider.from_env()
        assert await ask(provider, "ollama/llama3.2") == "hello"
        await provider.aclose()
        assert not any("authorization" in request.headers for request in server.requests)

    [warning] = [record for record in caplog.records if record.name == "timestep"]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage() == (
        f"OLLAMA_API_KEY is for ollama.com and is not sent to {server.url}; to send a key there, "
        "set TIMESTEP_OLLAMA__API_KEY, or api_key in [ollama]"
    )


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"OLLAMA_API_KEY": SECRET}, SECRET),
        ({"OLLAMA_API_KEY": SECRET, "OLLAMA_BASE_URL": "https://ollama.com"}, SECRET),
        ({"OLLAMA_API_KEY": SECRET, "OLLAMA_HOST": "https://gpu"}, SECRET),
        ({"OLLAMA_API_KEY": SECRET, "OLLAMA_BASE_URL": "https://gpu"}, None),
        ({"TIMESTEP_OLLAMA__API_KEY": SECRET, "OLLAMA_BASE_URL": "https://gpu"}, SECRET),
        ({"OLLAMA_BASE_URL": "https://gpu"}, None),
    ],
)
def test_which_key_goes_to_ollama(monkeypatch, caplog, variables, key):
    for name, text in variables.items():
        monkeypatch.setenv(name, text)

    assert ollama_arguments(monkeypatch, Settings())["api_key"] == key
    assert bool(caplog.records) is (key is None and "OLLAMA_API_KEY" in variables)
    assert SECRET not in caplog.text


def test_a_wrong_ollama_option_is_a_configuration_error():
    with pytest.raises(
        ConfigurationError, match=r"^ollama\.options\.num_ctx \(argument\): .*'num_ctx'"
    ):
        MultiModelProvider.from_env(ollama={"options": {"num_ctx": "many"}})
    with pytest.raises(
        ConfigurationError, match=r"^providers\.gpu\.models\.m\.num_ctx \(argument\): .*num_ctx"
    ):
        MultiModelProvider.from_env(
            providers={"gpu": {"kind": "ollama", "models": {"m": {"num_ctx": "many"}}}}
        )


def test_gateways_get_key_and_url(monkeypatch):
    """The SDK's adapters need packages that are not here; their arguments are the fact."""
    made = []
    for module, name in (("litellm_model", "LitellmModel"), ("any_llm_model", "AnyLLMModel")):
        fake = types.ModuleType(module)

        def make(model, *, base_url, api_key, kind=name):
            made.append((kind, model, base_url, api_key))

        setattr(fake, name, make)
        monkeypatch.setitem(sys.modules, f"agents.extensions.models.{module}", fake)
    table = {"api_key": SECRET, "base_url": "https://x/v1"}
    provider = MultiModelProvider.from_env(
        providers={"lite": {"kind": "litellm", **table}, "any": {"kind": "any-llm", **table}}
    )
    for name in ("lite/anthropic/claude", "any/mistral/small", "litellm/a/b", "any-llm/c/d"):
        provider.get_model(name)

    assert made == [
        ("LitellmModel", "anthropic/claude", "https://x/v1", SECRET),
        ("AnyLLMModel", "mistral/small", "https://x/v1", SECRET),
        ("LitellmModel", "a/b", None, None),
        ("AnyLLMModel", "c/d", None, None),
    ]


@pytest.mark.parametrize(
    ("prefix", "package", "module"),
    [("litellm", "litellm", "litellm_model"), ("any-llm", "any_llm", "any_llm_model")],
)
def test_a_missing_gateway_package_says_what_to_install(monkeypatch, prefix, package, module):
    monkeypatch.delitem(sys.modules, f"agents.extensions.models.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)

    with pytest.raises(ConfigurationError, match=rf"pip install '\.\[{prefix}\]'"):
        MultiModelProvider().get_model(f"{prefix}/a/b")


@pytest.mark.parametrize("gateway", ["litellm", "any-llm"])
def test_gateways_have_no_default_model_and_hide_their_key(gateway):
    with pytest.raises(UnknownModelError, match="name one"):
        GatewayProvider(gateway).get_model(None)
    assert SECRET not in repr(GatewayProvider(gateway, SECRET))


class PluginModels(ModelProvider):
    def __init__(self, table):
        self.table = table

    def get_model(self, model_name):
        return ScriptedModel([f"{self.table['greeting']} {model_name}"])


def refuse(table):
    raise KeyError(table["api_key"])


@pytest.fixture
def plugin(monkeypatch):
    """Installs plug-ins; the calls that importlib.metadata answers are the real ones."""

    def install(target):
        point = EntryPoint("greeter", target, kinds.PROVIDER_PLUGINS)
        for module in (kinds, factory):
            monkeypatch.setattr(module, "entry_points", lambda **_: [point])

    monkeypatch.setitem(sys.modules, "test_factory_plugin", sys.modules[__name__])
    return install


async def test_a_plugin_makes_a_provider_of_its_table(plugin, monkeypatch):
    plugin("test_factory_plugin:PluginModels")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__HI__KIND", "greeter")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__HI__GREETING", "good day")
    monkeypatch.setenv("TIMESTEP_PROVIDERS__HI__NESTED__LEVEL", "3")
    provider = MultiModelProvider.from_env()

    assert provider.provider_map.get_provider("hi").table == {
        "greeting": "good day",
        "nested": {"level": 3},
    }


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("no_such_module:build", "the plug-in cannot be imported: No module named"),
        ("test_factory_plugin:missing", "the plug-in cannot be imported: "),
        ("builtins:dict", "the plug-in returned dict, not an agents.ModelProvider"),
        ("test_factory_plugin:refuse", "the plug-in refuses the table with KeyError"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_a_configuration_error(plugin, target, expected):
    plugin(target)
    with pytest.raises(ConfigurationError) as caught:
        MultiModelProvider.from_env(providers={"hi": {"kind": "greeter"}})

    assert str(caught.value).startswith(f"[providers.hi], kind 'greeter': {expected}")


def test_a_plugin_kind_is_suggested(plugin):
    plugin("no_such_module:build")
    with pytest.raises(ConfigurationError, match=r'known kinds: any-llm, greeter, .*"greeter"'):
        MultiModelProvider.from_env(providers={"hi": {"kind": "greter"}})


def test_an_installed_plugin_is_found(tmp_path):
    """Through the real metadata of an installed distribution."""
    info = tmp_path / "site" / "greeter-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[timestep.providers]\ngreeter = greeter:build\n")
    (info.parent / "greeter.py").write_text(
        "from agents import OpenAIProvider\n"
        "def build(table):\n"
        "    assert dict(table) == {'api_key': 'k'}\n"
        "    return OpenAIProvider(api_key=table['api_key'])\n"
    )
    code = """
import sys
sys.path.insert(0, "site")
from timestep import MultiModelProvider, Settings
settings = Settings(providers={"hi": {"kind": "greeter", "api_key": "k"}})
assert "greeter" not in sys.modules
print(MultiModelProvider.from_settings(settings).get_model("hi/m").model)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(Path(factory.__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout, done.returncode) == ("m\n", 0), done.stderr


def test_construction_opens_nothing_outside_an_event_loop(monkeypatch):
    """Every kind at once; a socket would be an error."""

    def refuse_socket(*args):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.__init__", refuse_socket)
    provider = MultiModelProvider.from_env(
        openai={"base_url": "https://x/v1"},
        providers={
            "a": {"kind": "openai", "base_url": "https://x/v1"},
            "b": {"kind": "ollama"},
            "c": {"kind": "litellm"},
            "d": {"kind": "any-llm"},
        },
    )
    for name in ("m", "a/m", "b/m", "ollama/m"):
        assert provider.get_model(name).model == "m"


@pytest.mark.parametrize("given", [None, {}, "timestep.toml"])
@pytest.mark.parametrize("build", [build_provider, MultiModelProvider.from_settings])
def test_what_are_no_settings_is_refused_in_words(build, given):
    with pytest.raises(ConfigurationError, match=f"The settings are {type(given).__name__}; pass"):
        build(given)


def test_litellm_fetches_nothing_and_prints_nothing(monkeypatch):
    monkeypatch.delenv("LITELLM_LOCAL_MODEL_COST_MAP", raising=False)
    litellm = types.ModuleType("litellm")
    adapter = types.ModuleType("agents.extensions.models.litellm_model")
    adapter.LitellmModel = lambda *_, **__: os.environ["LITELLM_LOCAL_MODEL_COST_MAP"]
    monkeypatch.setitem(sys.modules, "litellm", litellm)
    monkeypatch.setitem(sys.modules, adapter.__name__, adapter)

    assert GatewayProvider("litellm").get_model("a/b") == "True"
    assert litellm.suppress_debug_info is True
