"""Ollama's refusals and error lines as errors of the tree. Pure.

Source: ollama ``server/routes.go``, ``llm/llama_server.go``, v0.33.0, and the exchanges in
``tests/wire``.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import jiter

from timestep.errors import (
    AuthenticationError,
    CapabilityError,
    ContextWindowExceededError,
    ModelNotFoundError,
    ModelOutputError,
    OllamaError,
    OllamaStatusError,
    OllamaStreamError,
    RateLimitError,
    ServerBusyError,
)
from timestep.errors.retry import retry_after
from timestep.net.origin import Origin
from timestep.net.secrets import without_private

_CONTEXT = re.compile(
    r"exceeds? the available context size"
    r"|prompt is longer than the context length"
    r"|exceeds the (?:model's maximum )?context length"
)
_CONTEXT_NUMBERS = re.compile(r"\((\d{1,15}) tokens\).*?\((\d{1,15}) tokens\)")
_CONTEXT_SIZES = tuple(
    re.compile(rf"\b{name}\W+(\d{{1,15}})\b") for name in ("n_prompt_tokens", "n_ctx")
)
_CAPABILITY = re.compile(
    r"does not support ([a-z ]+)|(image input) is not supported|(think) value .* is not supported"
)
_CAPABILITIES = {"image input": "vision", "chat": "completion", "think": "thinking"}
_MODEL_OUTPUT = re.compile(
    r"error parsing tool call|invalid tool call arguments|failed to parse JSON"
    r"|incomplete \w+ tool call|token repeat limit"
)
_BUSY = re.compile(r"server busy|overloaded", re.IGNORECASE)
_QUOTA = re.compile(r"usage limit|quota|upgrade", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bmodel\b.*\bnot found\b")
# An unclosed script runs to the end and a tag to the next one, so that no page takes long.
_TAGS = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>?", re.DOTALL | re.IGNORECASE)

_NESTED = 8
"""How deep errors are looked for in errors; llama-server's stand three deep in Ollama's."""


def status_error(
    status: int, headers: Mapping[str, str], body: bytes, origin: Origin
) -> OllamaError:
    """The error for a response that is no success."""
    document = origin.masked(_parse(body))
    words = _page_text(body, origin) if document is None else _server_words(document)
    said = origin.clean(words)
    lowered = {name.lower(): value for name, value in headers.items()}
    facts: dict[str, Any] = {
        "status_code": status,
        "headers": {name: origin.clean(value) for name, value in without_private(headers).items()},
        "server_message": said,
        "retry_after": retry_after(lowered),
        **origin.where(),
    }
    at = f"{origin.host} answered {status}"
    if (error := _by_words(said, document, origin, status)) is not None:
        return error
    if match := _CAPABILITY.search(said):
        return _capability_error(match, said, facts, origin)
    if status in {401, 403}:
        return _authentication_error(said, document, at, facts, origin)
    if status == 429:  # noqa: PLR2004 - HTTP's own number
        return _rate_limit_error(said, at, facts)
    if status in {502, 503, 504, 529} or _BUSY.search(said):
        return ServerBusyError(
            f"{at}: {said or 'it is overloaded'}. The same request may work in a moment; "
            "ModelSettings(retry=…) repeats it.",
            **facts,
        )
    if status == 404 and _NO_MODEL.search(said):  # noqa: PLR2004 - as above
        return _not_found_error(said, facts, origin)
    hint = _hint(status, facts["headers"])
    return OllamaStatusError(f"{at}: {said or 'without a word'}.{hint}", **facts)


def line_error(document: Mapping[str, Any], origin: Origin) -> OllamaError:
    """The error for a line of a 200 answer that is an error, not a chunk."""
    said = origin.clean(_server_words(origin.masked(document)))
    if (error := _by_words(said, document, origin, None)) is not None:
        return error
    return OllamaStreamError(
        f"{origin.host} broke off its answer: {said}. What arrived before is incomplete; the "
        "server's log says more.",
        server_message=said,
        **origin.where(),
    )


def context_error(
    said: str, origin: Origin, status: int | None, numbers: tuple[int, int] | None
) -> ContextWindowExceededError:
    """The error for a prompt that does not fit."""
    if numbers and str(numbers[0]) not in said:
        said = f"{said} ({numbers[0]} tokens, and a window of {numbers[1]})"
    wanted = f"{_round_up(numbers[0])}" if numbers else "65536"
    return ContextWindowExceededError(
        f"The prompt is too long for {origin.model!r}: {said}. Raise the window with "
        f"options={{'num_ctx': {wanted}}} ([ollama.models.{json.dumps(origin.model)}] num_ctx = "
        f"{wanted}), shorten the conversation, or let the server cut it with "
        "on_context_overflow='truncate'.",
        prompt_tokens=numbers[0] if numbers else None,
        context_length=numbers[1] if numbers else None,
        status_code=status,
        **origin.where(),
    )


def _by_words(
    said: str, document: Any, origin: Origin, status: int | None
) -> ContextWindowExceededError | ModelOutputError | None:
    """The errors a server words alike whether it answers with a status or with a line."""
    if _CONTEXT.search(said):
        return context_error(said, origin, status, _numbers(said, document))
    if _MODEL_OUTPUT.search(said):
        return ModelOutputError(
            f"{origin.model!r} wrote what {origin.host} could not use: {said}. Another try may do "
            "better: ModelSettings(retry=…) repeats it; a higher max_tokens helps when it was cut.",
            server_message=said,
            **origin.where(),
        )
    return None


def _capability_error(
    match: re.Match[str], said: str, facts: dict[str, Any], origin: Origin
) -> CapabilityError:
    word = (match[1] or match[2] or match[3]).strip()
    capability = _CAPABILITIES.get(word, word)
    return CapabilityError(
        f"{origin.model!r} does not support {capability}: {said}. Choose a model that does "
        f"('ollama show NAME' lists its capabilities){_capability_hint(capability)}.",
        capability=capability,
        **facts,
    )


def _capability_hint(capability: str) -> str:
    return {
        "tools": ", or set tool_emulation=True to have tools described in the prompt",
        "thinking": ", or leave reasoning.effort unset",
    }.get(capability, "")


def _authentication_error(
    said: str, document: Any, at: str, facts: dict[str, Any], origin: Origin
) -> AuthenticationError:
    url = cast("Any", document).get("signin_url") if isinstance(document, Mapping) else None
    signin_url = origin.clean(url) if isinstance(url, str) else None
    if facts["status_code"] == 403 and not said:  # noqa: PLR2004 - HTTP's own number
        advice = (
            "An empty 403 is Ollama refusing the Host or Origin header: reach it by a local name, "
            "have the proxy rewrite Host, or set OLLAMA_ORIGINS on the server"
        )
    elif signin_url:
        advice = f"Sign in at {signin_url} or run 'ollama signin'"
    elif "disabled" in said:
        advice = "Enable cloud models on the server (OLLAMA_NO_CLOUD), or choose a local model"
    elif "subscription" in said or "upgrade" in said:
        advice = "The model needs a paid plan; choose another or upgrade"
    else:
        advice = (
            "Set OLLAMA_API_KEY to a key of https://ollama.com/settings/keys; for another host set "
            "api_key together with base_url"
        )
    return AuthenticationError(
        f"{at}: {said or 'forbidden'}. {advice}.", signin_url=signin_url, **facts
    )


def _rate_limit_error(said: str, at: str, facts: dict[str, Any]) -> RateLimitError:
    is_quota = bool(_QUOTA.search(said))
    advice = (
        "The plan is used up; trying again soon is useless."
        if is_quota
        else "Slow down, or let ModelSettings(retry=…) wait and repeat."
    )
    return RateLimitError(
        f"{at}: {said or 'too many requests'}. {advice}", is_quota=is_quota, **facts
    )


def _not_found_error(said: str, facts: dict[str, Any], origin: Origin) -> ModelNotFoundError:
    return ModelNotFoundError(
        f"{origin.host} has no model {origin.model!r}: {said}. Get it with "
        f"'ollama pull {origin.model}', or see 'ollama list' for what is there.",
        **facts,
    )


def _hint(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirects
        target = headers.get("location", "elsewhere").split("?")[0].rpartition("@")[2]
        return (
            f" It redirects to {target}, and a POST follows no redirect: set base_url to the final "
            "address (often https:// instead of http://)."
        )
    if status in {404, 405}:
        return " Is base_url the root of an Ollama server, without /v1 or /api?"
    return ""


def _parse(text: bytes | str) -> Any:
    """The JSON value *text* is; None when it is none."""
    try:
        return jiter.from_json(text if isinstance(text, bytes) else text.encode())
    except ValueError:
        return None


def _server_words(document: Any) -> str:
    """What the server says went wrong: the innermost message, or whatever it sent instead."""
    words = document
    for _ in range(_NESTED):
        if isinstance(words, str) and words.startswith("{"):
            # llama-server's body arrives as text, sometimes with a log line behind it.
            words = _parse(words.split("\n", 1)[0]) or words
        if not isinstance(words, Mapping):
            break
        fields = cast("Mapping[str, Any]", words)
        inner = fields.get("error") or fields.get("message")
        if not inner:
            break
        words = inner
    return words.strip() if isinstance(words, str) else _json(words)


def _page_text(body: bytes, origin: Origin) -> str:
    """Return the words of a body that is not JSON, such as a proxy's page of HTML."""
    text = origin.masked(body.decode("utf-8", "replace"))
    return " ".join(_TAGS.sub(" ", str(text)).split())


def _numbers(said: str, document: Any) -> tuple[int, int] | None:
    """The sizes of prompt and window, which old servers give beside the message only."""
    if match := _CONTEXT_NUMBERS.search(said):
        return int(match[1]), int(match[2])
    prompt, window = (size.search(_json(document)) for size in _CONTEXT_SIZES)
    return (int(prompt[1]), int(window[1])) if prompt and window else None


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _round_up(tokens: int) -> int:
    """The next power of two with room for an answer: a window size people recognise."""
    return 1 << max((tokens * 5 // 4).bit_length(), 12)
