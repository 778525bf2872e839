"""Chains of models on servers of the test's own."""

from agents import (
    Agent,
    ModelRetrySettings,
    ModelSettings,
    RunConfig,
    function_tool,
    retry_policies,
)

from timestep import (
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModelProvider,
)
from timestep.config.schema import OpenAIProviderSettings
from timestep.factory.endpoints import openai_endpoint
from timestep.openai.provider import OpenAICompatibleProvider

QUIET = RunConfig(tracing_disabled=True)


def ollama(fake, **settings):
    return OllamaModelProvider(base_url=fake.url, **settings)


def openai(server, **settings):
    table = OpenAIProviderSettings(kind="openai", base_url=server.base_url, api_key="sk-secret-key")
    return OpenAICompatibleProvider(openai_endpoint(table), **settings)


def chained(clock, rules=None, **providers):
    """A provider whose default is a chain: the model "m" of each of *providers*."""
    provider_map = MultiModelProviderMap()
    provider_map.set_mapping(providers)
    return MultiModelProvider(
        provider_map=provider_map,
        default_model=[f"{prefix}/m" for prefix in providers],
        fallback=rules,
        clock=clock,
    )


def agent(provider, **keywords):
    return Agent("a", model=provider.get_model(None), **keywords)


def requests_of(fake):
    return len(fake.chats)


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def retrying(times, policy=None):
    return ModelSettings(
        retry=ModelRetrySettings(
            max_retries=times,
            policy=policy or retry_policies.provider_suggested(),
            backoff={"initial_delay": 0.0, "max_delay": 0.01, "jitter": False},
        )
    )
