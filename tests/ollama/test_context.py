"""A prompt is never cut without a word."""

import pytest
from agents import Agent, ModelSettings, RunConfig

from timestep import ContextWindowExceededError, OllamaModelProvider

QUIET = RunConfig(tracing_disabled=True)
SHIFT_OFF = (
    "the prompt is longer than the context length currently available to the model; shorten the "
    "prompt, adjust the context length in settings, or use a model with a longer context length"
)
MLX = "input length (9000 tokens) exceeds the model's maximum context length (4096 tokens)"


async def test_the_recorded_refusal_gives_both_numbers_and_the_fix(fake_ollama, model, run):
    fake_ollama.replay("ctx-text-long-history-truncate-false")

    with pytest.raises(ContextWindowExceededError, match="num_ctx") as caught:
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert (caught.value.prompt_tokens, caught.value.context_length) == (682, 512)


@pytest.mark.parametrize(("said", "numbers"), [(SHIFT_OFF, (None, None)), (MLX, (9000, 4096))])
async def test_the_other_wordings_are_recognised(fake_ollama, model, run, said, numbers):
    fake_ollama.fail(400, said)

    with pytest.raises(ContextWindowExceededError) as caught:
        await run(Agent("a", model=model), "hi", run_config=QUIET)

    assert (caught.value.prompt_tokens, caught.value.context_length) == numbers


@pytest.mark.parametrize(
    ("overflow", "truncation", "sent"),
    [
        ("error", None, False),
        ("truncate", None, True),
        ("error", "auto", True),
        ("truncate", "disabled", False),
    ],
)
async def test_the_server_cuts_only_when_asked_to(fake_ollama, run, overflow, truncation, sent):
    provider = OllamaModelProvider(base_url=fake_ollama.url, on_context_overflow=overflow)
    fake_ollama.reply("hi")
    agent = Agent(
        "a", model=provider.get_model("m"), model_settings=ModelSettings(truncation=truncation)
    )

    await run(agent, "hi", run_config=QUIET)

    assert fake_ollama.chats[0]["truncate"] is sent


async def test_a_full_window_is_worth_one_warning(fake_ollama, run, caplog):
    provider = OllamaModelProvider(base_url=fake_ollama.url, options={"num_ctx": 100})
    fake_ollama.reply("hi", prompt_eval_count=90, eval_count=10, times=2)

    for _ in range(2):
        await run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)

    warnings = [record.message for record in caplog.records if "window" in record.message]
    assert len(warnings) == 1
    assert "used 100 of the 100 tokens" in warnings[0]


async def test_one_window_per_model_is_sent_with_every_request(fake_ollama, run):
    provider = OllamaModelProvider(
        base_url=fake_ollama.url,
        options={"num_ctx": 4096, "seed": 1},
        model_options={"big": {"num_ctx": 65536}},
    )
    fake_ollama.reply("hi", times=2)

    for name in ("small", "big"):
        await run(Agent("a", model=provider.get_model(name)), "hi", run_config=QUIET)

    assert [chat["options"] for chat in fake_ollama.chats] == [
        {"num_ctx": 4096, "seed": 1},
        {"num_ctx": 65536, "seed": 1},
    ]
