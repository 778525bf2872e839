"""A prompt is never cut without a word."""

import re

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
    provider = OllamaModelProvider(
        base_url=fake_ollama.url, options={"num_ctx": 100}, on_context_overflow="truncate"
    )
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


@pytest.mark.parametrize(
    ("window", "overflow"),
    [(100, "error"), (-1, "truncate"), (101, "truncate"), (None, "truncate")],
)
async def test_a_window_that_was_not_cut_is_not_warned_of(
    fake_ollama, run, caplog, window, overflow
):
    options = {} if window is None else {"num_ctx": window}
    provider = OllamaModelProvider(
        base_url=fake_ollama.url, options=options, on_context_overflow=overflow
    )
    fake_ollama.reply("hi", prompt_eval_count=90, eval_count=10)

    await run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)

    assert "window" not in caplog.text


def too_long(prompt, window):
    return f"request ({prompt} tokens) exceeds the available context size ({window} tokens)"


ADVICE = [
    # what the server said, num_ctx, overflow, the model's length; the window advised, is cutting
    (too_long(9000, 4096), None, "error", 40960, 16384, True),
    (too_long(9000, 4096), 4096, "error", 40960, 16384, True),
    (too_long(9000, 4096), 4096, "truncate", 40960, 16384, False),
    (too_long(9000, 8192), None, "error", 12000, 12000, True),
    (too_long(13000, 8192), None, "error", 12000, None, True),
    (too_long(12000, 8192), None, "error", 12000, None, True),
    (too_long(12000, 12000), 12000, "truncate", 12000, None, False),
    (too_long(9000, 4096), 65536, "error", 4096, None, True),
    (SHIFT_OFF, None, "error", 131072, 65536, True),
    (SHIFT_OFF, 65536, "error", 131072, 131072, True),
    (SHIFT_OFF, 65536, "error", 65536, None, True),
    (SHIFT_OFF, None, "error", 40960, 40960, True),
    (MLX, None, "error", 4096, None, False),
    (MLX, None, "error", 131072, None, False),
]


@pytest.mark.parametrize(
    ("said", "num_ctx", "overflow", "length", "advised", "is_cut_advised"), ADVICE
)
async def test_nothing_is_advised_that_is_set_or_cannot_help(
    fake_ollama, run, said, num_ctx, overflow, length, advised, is_cut_advised
):
    fake_ollama.add_model("m", context_length=length)
    fake_ollama.fail(400, said)
    provider = OllamaModelProvider(
        base_url=fake_ollama.url,
        options={} if num_ctx is None else {"num_ctx": num_ctx},
        on_context_overflow=overflow,
    )

    with pytest.raises(ContextWindowExceededError) as caught:
        await run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)

    text = str(caught.value)
    assert ("on_context_overflow='truncate'" in text) is is_cut_advised
    assert ("choose a model with a longer window" in text.lower()) is (advised is None)
    assert [int(found) for found in re.findall(r"'num_ctx': (\d+)", text)] == (
        [] if advised is None else [advised]
    )
    assert "shorten the conversation" in text
    assert caught.value.server_message == said


async def test_a_server_that_cannot_be_asked_changes_nothing(fake_ollama, run):
    fake_ollama.fail(400, too_long(9000, 4096))
    fake_ollama.fail(404, "404 page not found", path="/api/show")
    provider = OllamaModelProvider(base_url=fake_ollama.url)

    with pytest.raises(ContextWindowExceededError, match="'num_ctx': 16384"):
        await run(Agent("a", model=provider.get_model("m")), "hi", run_config=QUIET)
