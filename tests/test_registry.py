import asyncio
import contextlib
import inspect
import threading

import pytest
from agents import (
    Model,
    ModelProvider,
    MultiProvider,
    OpenAIProvider,
    OpenAIResponsesModel,
    UserError,
)
from agents.models.multi_provider import MultiProviderMap
from agents.models.openai_chatcompletions import OpenAIChatCompletionsModel
from agents.testing import ScriptedModel
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from timestep import (
    ConfigurationError,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModel,
    OllamaModelProvider,
    Settings,
    UnknownModelError,
    build_provider,
)


class Recorder(ModelProvider):
    """A provider that notes what it is asked for."""

    def __init__(self, *, error=None):
        self.asked = []
        self.closed = 0
        self.error = error
        self.model = ScriptedModel([])

    def get_model(self, model_name):
        self.asked.append(model_name)
        return self.model

    async def aclose(self):
        for _ in range(3):
            await asyncio.sleep(0)  # closing takes a while
        self.closed += 1
        if self.error:
            raise self.error


class Failing(OpenAIProvider):
    async def aclose(self):
        raise RuntimeError("at once")


def mapped(**providers):
    provider_map = MultiModelProviderMap()
    provider_map.set_mapping(providers)
    return provider_map


def openai(**arguments):
    return MultiModelProvider(openai_api_key="sk-test", **arguments)


def test_a_map_adds_finds_and_removes():
    provider_map, provider = MultiModelProviderMap(), Recorder()
    assert provider_map.get_mapping() == {}

    provider_map.add_provider("groq", provider)
    assert provider_map.has_prefix("groq")
    assert provider_map.get_provider("groq") is provider

    provider_map.remove_provider("groq")
    assert not provider_map.has_prefix("groq")
    assert provider_map.get_provider("groq") is None


def test_removing_a_missing_prefix_is_a_key_error():
    with pytest.raises(KeyError, match="groq"):
        MultiModelProviderMap().remove_provider("groq")


def test_mappings_are_copied_in_and_out():
    provider_map, provider = MultiModelProviderMap(), Recorder()
    mapping = {"a": provider}
    provider_map.set_mapping(mapping)
    mapping["b"] = provider
    provider_map.get_mapping()["c"] = provider

    assert provider_map.get_mapping() == {"a": provider}


@pytest.mark.parametrize("prefix", ["", " ", "a/b", "/"])
def test_a_prefix_that_no_name_can_have_is_refused(prefix):
    provider_map = mapped(kept=Recorder())
    with pytest.raises(
        ConfigurationError, match="cannot be a prefix: it is the part of a model name"
    ):
        provider_map.add_provider(prefix, Recorder())
    with pytest.raises(ConfigurationError, match="cannot be a prefix"):
        provider_map.set_mapping({prefix: Recorder()})

    assert list(provider_map.get_mapping()) == ["kept"]


def test_maps_and_providers_are_never_falsy():
    assert MultiModelProviderMap()
    assert MultiModelProvider()
    assert isinstance(MultiModelProviderMap(), MultiProviderMap)
    assert isinstance(MultiModelProvider(), MultiProvider)


@given(st.text(min_size=1).filter(str.strip))
def test_what_follows_the_first_slash_is_kept_verbatim(rest):
    recorder = Recorder()
    MultiModelProvider(provider_map=mapped(groq=recorder)).get_model(f"groq/{rest}")

    assert recorder.asked == [rest]


def test_bare_and_openai_names_are_openais():
    provider = openai()

    assert provider.get_model("gpt-4.1").model == "gpt-4.1"
    assert provider.get_model("openai/gpt-4.1").model == "gpt-4.1"
    assert isinstance(provider.get_model("gpt-4.1"), OpenAIResponsesModel)


def test_no_provider_is_guessed_from_a_name():
    for name in ("llama3.2", "qwen3:4b", "claude-sonnet-4-5", "gpt-oss:120b-cloud"):
        assert isinstance(openai().get_model(name), OpenAIResponsesModel)


def test_ollama_is_known_out_of_the_box():
    provider = MultiModelProvider()
    model = provider.get_model("ollama/hf.co/user/Repo:Q4_K_M")

    assert isinstance(model, OllamaModel)
    assert model.model == "hf.co/user/Repo:Q4_K_M"
    assert provider.provider_map.get_mapping() == {}


def test_a_map_entry_wins_over_a_built_in_prefix():
    recorder = Recorder()
    provider_map = mapped(ollama=recorder, openai=recorder, litellm=recorder)
    provider = openai(provider_map=provider_map)
    provider.get_model("ollama/a")
    provider.get_model("openai/b/c")
    provider.get_model("litellm/d/e")
    provider.get_model("bare")

    assert recorder.asked == ["a", "b/c", "d/e"]


def test_a_map_may_change_after_construction():
    provider, recorder = MultiModelProvider(), Recorder()
    provider.provider_map.add_provider("late", recorder)

    assert provider.get_model("late/m") is recorder.model


def test_a_plain_sdk_map_is_taken():
    provider_map, recorder = MultiProviderMap(), Recorder()
    provider_map.add_provider("groq", recorder)

    assert MultiModelProvider(provider_map=provider_map).get_model("groq/m") is recorder.model


def test_an_unknown_prefix_lists_the_known_ones_and_the_nearest():
    provider = MultiModelProvider(provider_map=mapped(groq=Recorder()))
    with pytest.raises(UnknownModelError) as caught:
        provider.get_model("olama/llama3.2")

    text = str(caught.value)
    assert text.startswith(
        "Unknown prefix: olama. Known prefixes: any-llm, groq, litellm, ollama, openai."
    )
    assert "Did you mean 'ollama'?" in text
    assert caught.value.prefix == "olama"
    assert caught.value.known == ("any-llm", "groq", "litellm", "ollama", "openai")
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("name", ["", " ", "ollama/", "openai/", "groq/", "ollama/ ", "nowhere/"])
def test_a_name_without_a_model_is_refused(name):
    provider = openai(provider_map=mapped(groq=Recorder()))

    with pytest.raises(UnknownModelError, match=r"No model in .*; write one such as 'gpt-4.1'"):
        provider.get_model(name)


def test_an_empty_prefix_is_unknown():
    with pytest.raises(UnknownModelError, match="Unknown prefix: "):
        openai().get_model("/x")


def test_prefix_modes_are_the_sdks():
    provider = openai(openai_prefix_mode="model_id", unknown_prefix_mode="model_id")

    assert provider.get_model("openai/gpt-4.1").model == "openai/gpt-4.1"
    assert provider.get_model("meta/llama/3").model == "meta/llama/3"
    assert isinstance(provider.get_model("ollama/m"), OllamaModel)
    with pytest.raises(UserError, match="openai_prefix_mode"):
        MultiModelProvider(openai_prefix_mode="other")


@pytest.mark.parametrize(
    ("default", "kind", "name"),
    [
        ("ollama/Qwen3:4B-Instruct", OllamaModel, "Qwen3:4B-Instruct"),
        ("ollama/hf.co/Me/Repo:Q4", OllamaModel, "hf.co/Me/Repo:Q4"),
        ("GPT-4.1", OpenAIResponsesModel, "GPT-4.1"),
        ("fast", OllamaModel, "Llama"),
    ],
)
def test_no_name_is_the_default_with_its_prefix_and_case(default, kind, name):
    model = openai(default_model=default, aliases={"fast": "ollama/Llama"}).get_model(None)

    assert isinstance(getattr(model, "unwrapped", model), kind)
    assert model.model == name


def test_no_name_without_a_default_is_the_sdks(monkeypatch):
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-from-sdk")

    assert openai().get_model(None).model == "gpt-from-sdk"


def test_the_default_of_the_sdk_yields_to_ours(monkeypatch):
    monkeypatch.setenv("OPENAI_DEFAULT_MODEL", "gpt-from-sdk")

    assert openai(default_model="gpt-ours").get_model(None).model == "gpt-ours"


def test_aliases_are_followed_and_a_list_gives_its_first():
    recorder = Recorder()
    provider = openai(
        provider_map=mapped(groq=recorder),
        aliases={"fast": "quick", "quick": ["groq/A", "gpt-4.1"], "groq/shadow": "groq/B"},
    )
    for name in ("fast", "quick", "groq/shadow", "groq/fast"):
        provider.get_model(name)

    assert recorder.asked == ["A", "A", "B", "fast"]


def test_later_changes_of_the_aliases_do_not_count():
    aliases = {"fast": "gpt-4.1"}
    provider = openai(aliases=aliases)
    aliases["fast"] = "fast"

    assert provider.get_model("fast").model == "gpt-4.1"


@pytest.mark.parametrize("aliases", [{"a": "a"}, {"a": "b", "b": ["c", "a"]}])
def test_a_ring_of_aliases_is_refused(aliases):
    with pytest.raises(ConfigurationError, match=r"the aliases form a ring: .* -> "):
        MultiModelProvider(aliases=aliases)


def test_an_empty_default_is_refused():
    with pytest.raises(
        ConfigurationError, match="default_model: it is empty; name a model such as"
    ):
        MultiModelProvider(default_model=" ")


def test_every_keyword_of_the_sdk_is_taken():
    theirs = inspect.signature(MultiProvider.__init__).parameters
    ours = inspect.signature(MultiModelProvider.__init__).parameters

    for name, parameter in theirs.items():
        assert ours[name].default == parameter.default, name
        assert ours[name].kind == parameter.kind, name


def test_keywords_reach_the_openai_provider():
    client = AsyncOpenAI(api_key="sk-test")
    model = MultiModelProvider(openai_client=client, openai_use_responses=False).get_model(
        "gpt-4.1"
    )

    assert isinstance(model, OpenAIChatCompletionsModel)
    with pytest.raises(UserError, match="openai_client"):
        MultiModelProvider(openai_client=client, openai_api_key="sk-test")


def test_an_openai_provider_of_ones_own_serves_bare_names():
    own = OpenAIProvider(api_key="sk-own", use_responses=False)
    provider = MultiModelProvider(openai_provider=own)

    assert provider.openai_provider is own
    assert isinstance(provider.get_model("gpt-4.1"), OpenAIChatCompletionsModel)


async def test_closing_closes_each_provider_once():
    shared, other = Recorder(), Recorder()
    provider = MultiModelProvider(provider_map=mapped(a=shared, b=shared, c=other))
    provider.provider_map.add_provider("itself", provider)
    provider.get_model("ollama/m")
    await provider.aclose()

    assert (shared.closed, other.closed) == (1, 1)


async def test_an_error_while_closing_does_not_keep_others_open():
    first, second = Recorder(error=RuntimeError("first")), Recorder(error=RuntimeError("second"))
    last = Recorder()
    provider = MultiModelProvider(provider_map=mapped(a=first, b=second, c=last))
    provider.openai_provider = Failing()
    with pytest.raises(RuntimeError, match="at once"):
        await provider.aclose()

    assert (first.closed, second.closed, last.closed) == (1, 1, 1)


async def test_a_cancelled_provider_cancels_closing():
    provider = MultiModelProvider(provider_map=mapped(a=Recorder(error=asyncio.CancelledError())))

    with pytest.raises(asyncio.CancelledError):
        await provider.aclose()


async def test_the_built_in_ollama_is_closed_too(monkeypatch):
    provider = MultiModelProvider()
    provider.get_model("ollama/m")
    closed = []

    async def aclose(self):
        closed.append(self)

    monkeypatch.setattr(OllamaModelProvider, "aclose", aclose)
    await provider.aclose()

    assert len(closed) == 1


def test_threads_share_one_built_in_provider(monkeypatch):
    """Two threads in the constructor at the same time would meet at the barrier."""
    meeting = threading.Barrier(2, timeout=0.2)
    made = []

    class Slow(Recorder):
        def __init__(self, *_, **__):
            super().__init__()
            made.append(self)
            with contextlib.suppress(threading.BrokenBarrierError):
                meeting.wait()

    monkeypatch.setattr("timestep.factory.providers.OllamaModelProvider", Slow)
    provider = MultiModelProvider()
    threads = [threading.Thread(target=provider.get_model, args=["ollama/m"]) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert made[0].asked == ["m", "m"]


def test_the_same_provider_comes_from_every_constructor(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    path = tmp_path / "app.toml"
    path.write_text(
        """
        default_model = "fast"
        [aliases]
        fast = "gpu/Llama"
        [providers.gpu]
        kind = "ollama"
        base_url = "http://gpu:11434"
        """
    )
    for provider in (
        MultiModelProvider.from_env(config_file=path),
        MultiModelProvider.from_file(path),
        MultiModelProvider.from_settings(Settings(_config_file=path)),
        build_provider(Settings(_config_file=path)),
    ):
        assert type(provider) is MultiModelProvider
        assert isinstance(provider.provider_map, MultiModelProviderMap)
        assert set(provider.provider_map.get_mapping()) == {"ollama", "gpu"}
        assert isinstance(provider.get_model(None), OllamaModel)
        assert provider.get_model("fast").model == "Llama"
        assert provider.get_model("gpt-4.1").model == "gpt-4.1"


def test_a_subclass_builds_itself():
    class Ours(MultiModelProvider):
        pass

    assert type(Ours.from_env()) is Ours


def test_a_misspelled_alias_is_not_only_a_model_without_a_key():
    provider = MultiModelProvider(aliases={"fast": "ollama/m", "smart": "ollama/n"})
    with pytest.raises(ConfigurationError, match="Did you mean your alias 'fast'"):
        provider.get_model("fats")


def test_overrides_win(monkeypatch):
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/a")

    assert MultiModelProvider.from_env(default_model="ollama/b").get_model(None).model == "b"


def test_no_environment_is_needed():
    model = MultiModelProvider.from_env().get_model("ollama/llama3.2")

    assert isinstance(model, Model)
    assert model.model == "llama3.2"


@pytest.mark.parametrize(
    "build",
    [
        lambda: MultiModelProvider.from_env(unknown_keyword=1),
        lambda: MultiModelProvider.from_env(env_file="missing.env"),
        lambda: MultiModelProvider.from_file("missing.toml"),
        lambda: MultiModelProvider.from_env(ollama={"timeout": "soon"}),
    ],
    ids=["keyword", "env_file", "file", "type"],
)
def test_everything_wrong_is_a_configuration_error(build):
    with pytest.raises(ConfigurationError):
        build()


@pytest.mark.parametrize("name", ["gpt-4.1", "openai/gpt-4.1", None])
def test_a_missing_openai_key_is_named(name):
    with pytest.raises(ConfigurationError, match="set OPENAI_API_KEY"):
        MultiModelProvider().get_model(name)


@pytest.mark.parametrize("name", [b"gpt-4.1", 5, ["ollama/m"], {"a": 1}])
def test_a_name_that_is_no_text_is_unknown(name):
    with pytest.raises(UnknownModelError, match="A model's name is text"):
        MultiModelProvider().get_model(name)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            {"default_model": 5},
            "default_model: it is int; write a model's name, or a list of names",
        ),
        ({"default_model": ["ollama/m", None]}, "number 2 of the list is NoneType"),
        ({"aliases": {"a": None}}, "The alias 'a': it is NoneType; write a model's name"),
        ({"aliases": {"a": b"m"}}, "The alias 'a': it is bytes"),
        ({"aliases": 5}, "aliases are int; pass a dict"),
        ({"provider_map": {"a": 1}}, "provider_map is dict; pass a MultiModelProviderMap"),
        ({"openai_provider": 5}, "openai_provider is int, which has no get_model"),
        ({"fallback": {"on": ["busy"]}}, "fallback: the rules of a chain of models are dict"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused_with_what_to_write(arguments, said):
    with pytest.raises(ConfigurationError, match=said):
        MultiModelProvider(**arguments)


def test_a_map_takes_only_providers():
    providers = MultiModelProviderMap()
    with pytest.raises(ConfigurationError, match="The provider of 'a' is int"):
        providers.add_provider("a", 5)
    with pytest.raises(ConfigurationError, match="The provider of 'b' is str"):
        providers.set_mapping({"b": "ollama"})
    with pytest.raises(ConfigurationError, match="The mapping is list"):
        providers.set_mapping([])
    assert providers.get_mapping() == {}


class HybridError(asyncio.CancelledError, Exception):
    pass


@pytest.mark.parametrize("cancellation", [asyncio.CancelledError(), HybridError()], ids=repr)
async def test_a_cancellation_wins_over_an_error(cancellation):
    providers = mapped(a=Recorder(error=OSError()), b=Recorder(error=cancellation))
    provider = MultiModelProvider(openai_provider=Failing(), provider_map=providers)
    with pytest.raises(asyncio.CancelledError):
        await provider.aclose()


@pytest.mark.parametrize(
    ("name", "asked"),
    [("openai/m", "openai/m"), ("meta/llama", "meta/llama"), ("m", "m"), ("groq/m", "m")],
)
@pytest.mark.parametrize("place", ["keywords", "settings", "variables", "file", "from_settings"])
def test_prefix_modes_are_arguments_and_settings(place, name, asked, monkeypatch, tmp_path):
    modes = {"prefix_mode": "model_id", "unknown_prefix_mode": "model_id"}
    keywords = {"openai_prefix_mode": "model_id", "unknown_prefix_mode": "model_id"}
    groq, recorder = mapped(groq=Recorder()), Recorder()
    rest = {"provider_map": groq, "openai_provider": recorder}
    match place:
        case "keywords":
            provider = MultiModelProvider.from_env(**rest, **keywords)
        case "from_settings":
            provider = MultiModelProvider.from_settings(Settings(), **rest, **keywords)
        case "settings":
            provider = MultiModelProvider.from_env(**rest, openai=modes)
        case "variables":
            for key, value in modes.items():
                monkeypatch.setenv(f"TIMESTEP_OPENAI__{key.upper()}", value)
            provider = MultiModelProvider.from_env(**rest)
        case "file":
            file = tmp_path / "t.toml"
            file.write_text(
                '[openai]\nprefix_mode = "model_id"\nunknown_prefix_mode = "model_id"\n'
            )
            provider = MultiModelProvider.from_file(file, **rest)
    provider.get_model(name)

    assert recorder.asked + groq.get_provider("groq").asked == [asked]
    assert provider.get_model("ollama/llama3.2").model == "llama3.2"


def test_an_argument_that_nothing_takes_is_refused():
    with pytest.raises(ConfigurationError, match="openai_api_kee"):
        MultiModelProvider.from_env(openai_api_kee="k")


@pytest.mark.parametrize(
    "keywords",
    [
        {"openai_api_key": "sk"},
        {"openai_base_url": "http://127.0.0.1:9/v1"},
        {"openai_organization": "o"},
        {"openai_project": "p"},
        {"openai_use_responses": False},
        {"openai_use_responses_websocket": True},
        {"openai_strict_feature_validation": True},
        {
            "openai_websocket_base_url": "ws://127.0.0.1:9/v1",
            "openai_use_responses_websocket": True,
        },
        {"openai_agent_registration": {"harness_id": "h"}},
        {"openai_responses_websocket_options": {"ping_interval": 1.0}},
        {"openai_buffer_streamed_tool_calls": True},
    ],
    ids=lambda keywords: next(iter(keywords)),
)
def test_every_keyword_means_in_from_env_what_it_means_to_the_sdk(keywords, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-variable")
    theirs = MultiProvider(**keywords)
    ours = MultiModelProvider.from_env(**keywords)
    one, other = ours.get_model("gpt-4.1"), theirs.get_model("gpt-4.1")

    assert isinstance(one, type(other))
    assert ours.openai_provider.agent_registration == theirs.openai_provider.agent_registration
    for name in ("api_key", "websocket_base_url", "base_url"):
        assert getattr(one._client, name) == getattr(other._client, name)
    for name in ("OpenAI-Organization", "OpenAI-Project"):
        sent = [model._client.default_headers.get(name) for model in (one, other)]
        assert len({text if isinstance(text, str) else None for text in sent}) == 1
    for name in ("_strict_feature_validation", "_buffer_streamed_tool_calls", "_websocket_options"):
        assert getattr(one, name, None) == getattr(other, name, None)
