"""What makes a pool, and who gets its key."""

import copy
import re

import pytest

from timestep import (
    ConfigurationError,
    MultiModelProvider,
    OllamaModelProvider,
)
from timestep.config.settings import load_settings
from timestep.net.timeouts import Timeouts
from timestep.ollama.pool import Pool
from timestep.ollama.wire import Wire


def test_one_url_is_no_pool(fake_ollama):
    for url in (fake_ollama.url, [fake_ollama.url], [fake_ollama.url, f"{fake_ollama.url}/"]):
        provider = OllamaModelProvider(base_url=url)

        assert isinstance(provider.get_model("m")._source, Wire)
        assert len(provider.wires()) == 1


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ([], "the list is empty"),
        (["http://a:1", "not a url"], "starts with http"),
        (["https://ollama.com", "http://a:1"], "ollama.com cannot share requests"),
        (["https://ollama.com.", "http://a:1"], "ollama.com cannot share requests"),
        (["http://a:1", 7], "is int, not text"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(urls, message):
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        OllamaModelProvider(base_url=urls)


def test_a_key_is_for_each_of_the_urls_and_never_travels_in_the_clear():
    urls = ["https://a.example", "https://b.example"]
    wires = OllamaModelProvider(api_key="secret-key", base_url=urls).wires()

    assert [wire.endpoint.headers["authorization"] for wire in wires] == ["Bearer secret-key"] * 2
    with pytest.raises(ConfigurationError, match=r"unencrypted"):
        OllamaModelProvider(
            api_key="secret-key", base_url=["https://a.example", "http://b.example"]
        )


@pytest.mark.parametrize(
    "text", ["http://a:1,http://b:2", " http://a:1/ , http://b:2 ,", '["http://a:1", "http://b:2"]']
)
@pytest.mark.parametrize("name", ["OLLAMA_BASE_URL", "TIMESTEP_OLLAMA__BASE_URL"])
def test_a_variable_lists_urls_with_commas(name, text):
    settings = load_settings(environment={name: text})

    provider = MultiModelProvider.from_settings(settings)

    assert settings.ollama.base_url == ["http://a:1", "http://b:2"]
    assert isinstance(provider.get_model("ollama/m")._source, Pool)
    assert isinstance(provider.get_model("ollama/m:cloud")._source, Pool)


def test_the_environments_key_stays_at_home(caplog):
    environment = {"OLLAMA_BASE_URL": "http://a:1,http://b:2", "OLLAMA_API_KEY": "secret-key"}

    provider = MultiModelProvider.from_settings(load_settings(environment=environment))

    wires = provider.provider_map.get_provider("ollama").wires()
    assert ["authorization" in wire.endpoint.headers for wire in wires] == [False, False]
    assert "is not sent to http://a:1, http://b:2" in caplog.text


def test_a_configured_key_over_plain_http_to_one_of_them_is_refused():
    environment = {
        "OLLAMA_BASE_URL": "https://a.example,http://b.example",
        "TIMESTEP_OLLAMA__API_KEY": "secret-key",
    }

    with pytest.raises(ConfigurationError, match=r"http://b\.example unencrypted"):
        load_settings(environment=environment)


def test_a_provider_with_a_pool_is_copied(servers):
    provider = OllamaModelProvider(base_url=[server.url for server in servers])
    model = provider.get_model("m")

    assert len(copy.deepcopy(provider).wires()) == 4
    assert len(copy.deepcopy(model)._source.wires) == 4


def test_timeouts_are_those_of_the_provider(servers):
    provider = OllamaModelProvider(base_url=[s.url for s in servers], timeout=7)

    assert {wire._client.timeouts for wire in provider.wires()} == {Timeouts.of(7)}
