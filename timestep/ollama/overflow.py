"""A prompt that does not fit the context window: the error, and advice that can help. Pure.

Three things may help: a larger window, a shorter conversation, and letting the server cut it. An
error names a larger window only where the model can take it, and nothing that the request already
has. The adapter knows the request and the model, so it makes the advice better with `advised`.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from timestep.errors import ContextWindowExceededError
from timestep.net.json_text import as_json
from timestep.net.origin import Origin, Where

_WORDS = re.compile(
    r"exceeds? the available context size"
    r"|prompt is longer than the context length"
    r"|exceeds the (?:model's maximum )?context length"
)
_MODELS_MAXIMUM = "model's maximum context length"
"""Words of the MLX runner, which never cuts a prompt."""
_NUMBERS = re.compile(r"\((\d{1,15}) tokens\).*?\((\d{1,15}) tokens\)")
_SIZES = tuple(re.compile(rf"\b{name}\W+(\d{{1,15}})\b") for name in ("n_prompt_tokens", "n_ctx"))

_USUAL_WINDOW = 65536
"""The window to propose when the size of the prompt is not known. Ollama asks for it for agents."""


def is_overflow(words: str) -> bool:
    """Return whether the server's *words* say that a prompt does not fit."""
    return _WORDS.search(words) is not None


def overflow_error(
    said: str, document: Any, origin: Origin, status: int | None
) -> ContextWindowExceededError:
    """Return the error for a prompt that does not fit, as the server *said* in *document*."""
    return _error(said, origin.where(), status, *_numbers(said, document))


def advised(
    error: ContextWindowExceededError, body: Mapping[str, Any], longest: int | None
) -> ContextWindowExceededError:
    """Return *error* with the advice that fits the request."""
    num_ctx = body.get("options", {}).get("num_ctx")
    return _error(
        error.server_message,
        {"model": error.model, "host": error.host},
        error.status_code,
        error.prompt_tokens,
        error.context_length,
        num_ctx=num_ctx if isinstance(num_ctx, int) else 0,
        longest=longest,
        truncates=body.get("truncate") is True,
    )


def _error(
    said: str,
    where: Where,
    status: int | None,
    prompt: int | None,
    window: int | None,
    *,
    num_ctx: int = 0,
    longest: int | None = None,
    truncates: bool = False,
) -> ContextWindowExceededError:
    if _MODELS_MAXIMUM in said:
        longest = window
    numbers = (
        "" if prompt is None or str(prompt) in said else f" ({prompt} tokens, window {window})"
    )
    wanted = _wanted(prompt, max(num_ctx, window or 0), longest)
    if wanted is None:
        known = "" if longest is None else f" (this one takes {longest} tokens at most)"
        steps = [f"choose a model with a longer window{known}"]
    else:
        table = f"[ollama.models.{json.dumps(where['model'])}] num_ctx = {wanted}"
        steps = [f"raise the window with options={{'num_ctx': {wanted}}} ({table})"]
    steps.append("shorten the conversation")
    if not truncates and _MODELS_MAXIMUM not in said:
        steps.append("let the server cut it with on_context_overflow='truncate'")
    advice = f"{', '.join(steps[:-1])}, or {steps[-1]}"
    return ContextWindowExceededError(
        f"The prompt is too long for {where['model']!r}: {said}{numbers}. "
        f"{advice[0].upper()}{advice[1:]}.",
        prompt_tokens=prompt,
        context_length=window,
        status_code=status,
        server_message=said,
        **where,
    )


def _wanted(prompt: int | None, current: int, longest: int | None) -> int | None:
    """Return the window to ask for; None when no window of the model helps.

    Args:
        prompt: The size of the prompt, if known.
        current: The largest window that is known to be too small.
        longest: The longest window of the model, if known.
    """
    if prompt is None:
        wanted = _USUAL_WINDOW if current < _USUAL_WINDOW else 2 * current
    else:
        # The next power of two that leaves room for an answer, which people recognise.
        wanted = 1 << max((prompt * 5 // 4).bit_length(), 12)
    if longest is not None:
        if prompt is not None and prompt >= longest:
            return None
        wanted = min(wanted, longest)
    return wanted if wanted > current else None


def _numbers(said: str, document: Any) -> tuple[int | None, int | None]:
    """Return the sizes of prompt and window. Old servers give them beside the message only."""
    if match := _NUMBERS.search(said):
        return int(match[1]), int(match[2])
    prompt, window = (size.search(as_json(document)) for size in _SIZES)
    return (int(prompt[1]), int(window[1])) if prompt and window else (None, None)
