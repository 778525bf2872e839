"""A prompt that does not fit, in every wording, and the window that is proposed."""

import pytest

from tests.ollama.answers import ORIGIN
from tests.ollama.refusals import refusal
from timestep import errors
from timestep.ollama.server_errors import line_error

LLAMA_SERVER = (
    '{"error":{"code":400,"message":"request (9412 tokens) exceeds the available context size '
    '(8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9412,'
    '"n_ctx":8192}}'
)


NO_NUMBERS = (
    '{"error":{"code":400,"message":"the request exceeds the available context size. try '
    'increasing the context size or enable context shift","n_prompt_tokens":9412,"n_ctx":8192}}'
)


@pytest.mark.parametrize(
    ("status", "words", "numbers"),
    [
        (400, LLAMA_SERVER, (9412, 8192)),
        (400, LLAMA_SERVER + "\nsrv  send_error: task id = 0", (9412, 8192)),
        (400, NO_NUMBERS, (9412, 8192)),
        (
            400,
            "input length (70000 tokens) exceeds the model's maximum context length (65536 tokens)",
            (70000, 65536),
        ),
        (
            400,
            ("the prompt is longer than the context length currently available to the model; "
            "shorten the prompt, adjust the context length in settings, or use a model with a "
            "longer context length"),
            (None, None),
        ),
        (400, "the input length exceeds the context length", (None, None)),
        (500, f"({'9' * 400} tokens) exceeds the available context size (1 tokens)", (None, None)),
    ],
)  # a table reads better in rows # fmt: skip
def test_every_wording_of_an_overflow_is_recognised(status, words, numbers):
    error = refusal(status, {"error": words}, model="qwen3:4b")
    as_line = line_error({"error": words}, ORIGIN)

    assert type(error) is type(as_line) is errors.ContextWindowExceededError
    assert (error.prompt_tokens, error.context_length) == numbers
    assert (as_line.prompt_tokens, as_line.context_length) == numbers
    assert error.status_code == status
    assert as_line.status_code is None
    assert ("on_context_overflow='truncate'" in str(error)) is ("maximum" not in words)
    assert ('[ollama.models."qwen3:4b"] num_ctx = ' in str(error)) is ("maximum" not in words)
    assert all(number is None or str(number) in str(error) for number in numbers)


@pytest.mark.parametrize(
    ("tokens", "proposed"),
    [(1, 4096), (3276, 4096), (3277, 8192), (9412, 16384), (100_000, 131_072), (10**14, 2**47)],
)
def test_the_proposed_window_has_room_for_an_answer(tokens, proposed):
    words = f"request ({tokens} tokens) exceeds the available context size (1 tokens)"

    assert f"'num_ctx': {proposed}}}" in str(refusal(400, {"error": words}))


def test_a_masked_word_does_not_change_what_an_error_is():
    words = "the prompt is longer than the context length of session SECRET"

    error = refusal(400, {"error": words}, secrets=("context", "SECRET"))

    assert type(error) is errors.ContextWindowExceededError
    assert error.server_message == "the prompt is longer than the *** length of session ***"
