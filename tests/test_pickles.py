"""Providers in other processes: those that hold connections say what to do instead of a pickle."""

import copy
import pickle

import pytest

from timestep import MultiModelProvider, OllamaModelProvider
from timestep.config.settings import load_settings

ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-x",
    "TIMESTEP_PROVIDERS__GROQ__KIND": "openai",
    "TIMESTEP_PROVIDERS__GROQ__BASE_URL": "https://groq.example/v1",
    "TIMESTEP_PROVIDERS__GATE__KIND": "litellm",
}


@pytest.fixture
def provider():
    return MultiModelProvider.from_settings(load_settings(environment=ENVIRONMENT))


REFUSING = {
    "configured": lambda provider: provider,
    "plain": lambda _: MultiModelProvider(),
    "map": lambda provider: provider.provider_map,
    "kind openai": lambda provider: provider.provider_map.get_provider("groq"),
}


@pytest.mark.parametrize("which", REFUSING)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_one_with_connections_says_what_to_call_in_the_worker(provider, which, protocol):
    with pytest.raises(TypeError, match=r"Call MultiModelProvider\.from_env\(\) in the worker"):
        pickle.dumps(REFUSING[which](provider), protocol)


@pytest.mark.parametrize("which", REFUSING)
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_it_is_copied_all_the_same(provider, which, copied):
    original = REFUSING[which](provider)

    assert type(copied(original)) is type(original)


def test_a_copy_finds_the_models_of_the_original(provider):
    again = copy.deepcopy(provider)

    assert again.get_model("ollama/m").model == "m"
    assert again.get_model("groq/m").model == "m"


def test_those_that_are_configuration_alone_pickle(provider):
    ollama = pickle.loads(pickle.dumps(OllamaModelProvider(max_concurrency=3)))
    gateway = pickle.loads(pickle.dumps(provider.provider_map.get_provider("gate")))

    assert ollama.wire()._client._places.count == 3
    assert type(gateway).__name__ == "GatewayProvider"
