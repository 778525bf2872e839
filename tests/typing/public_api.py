"""Never run, only type-checked: what an application that uses timestep may rely on."""

from typing import assert_type

from agents import Model, ModelProvider, MultiProvider
from openai.types.chat import ChatCompletion

from timestep import (
    ConfigurationError,
    ContextWindowExceededError,
    FallbackModel,
    FallbackRules,
    MultiModelProvider,
    MultiModelProviderMap,
    OllamaModel,
    OllamaModelProvider,
    RateLimitError,
    Settings,
    TimestepError,
    build_provider,
    configured_keys,
    load_settings,
)
from timestep.ollama import to_chat_completion
from timestep.ollama.render import RenderedPrompt
from timestep.testing import FakeOllama


def providers() -> None:
    assert_type(MultiModelProvider.from_env(), MultiModelProvider)
    assert_type(MultiModelProvider.from_file("timestep.toml"), MultiModelProvider)
    assert_type(build_provider(Settings()), MultiModelProvider)
    sdk: MultiProvider = MultiModelProvider(default_model="ollama/llama3.2")
    assert_type(sdk.get_model(None), Model)

    ollama = OllamaModelProvider(api_key="sk", base_url="https://gpu.example", timeout=30)
    assert_type(ollama.get_model("llama3.2"), OllamaModel)
    OllamaModelProvider(base_url=["https://gpu-1.example", "https://gpu-2.example"])
    OllamaModelProvider(timeout={"connect": 5, "first_byte": None}, keep_alive="10m")

    known = MultiModelProviderMap()
    known.add_provider("gpu", ollama)
    assert_type(known.get_provider("gpu"), ModelProvider | None)
    MultiModelProvider(provider_map=known, aliases={"fast": "gpu/qwen3:4b"})
    MultiModelProvider(
        default_model=["gpt-4.1", "ollama/qwen3:4b"],
        fallback=FallbackRules(on=["connection", "busy"], attempts=2, cool_down=10),
    )
    FallbackModel({"here": ollama.get_model("qwen3:4b"), "there": sdk.get_model("gpt-4.1")})


def settings() -> None:
    configured = load_settings(env_file=None, default_model="ollama/llama3.2")
    assert_type(configured, Settings)
    assert_type(configured_keys(configured), list[str])
    assert_type(configured.default_model, str | list[str] | None)
    assert_type(configured.ollama.base_url, str | list[str] | None)


def errors(error: TimestepError) -> None:
    match error:
        case ContextWindowExceededError():
            assert_type(error.prompt_tokens, int | None)
        case RateLimitError():
            assert_type(error.retry_after, float | None)
        case ConfigurationError():
            pass
        case _:
            pass


def completions(answer: dict[str, object]) -> None:
    assert_type(to_chat_completion(answer, model="m"), ChatCompletion)


def prompts(rendered: RenderedPrompt) -> None:
    assert_type(rendered.text, str)


def tests(fake: FakeOllama) -> None:
    fake.reply("Hello", thinking="hm", tool_calls=[("get_weather", {"city": "Paris"})])
    assert_type(fake.url, str)
