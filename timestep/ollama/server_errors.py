"""What Ollama's refusals and error lines become: errors of the tree. Pure.

A refusal is known by its words first, because servers give the same words with different statuses
and in lines of an answer, then by its status. The words are compared as the server wrote them; the
error repeats them without secrets.

Source: ollama ``server/routes.go``, ``llm/llama_server.go``, ``model/parsers``, v0.33.0, and the
exchanges in ``tests/wire``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from timestep.errors import (
    AuthenticationError,
    CapabilityError,
    ModelNotFoundError,
    ModelOutputError,
    OllamaError,
    OllamaStatusError,
    OllamaStreamError,
    RateLimitError,
    ServerBusyError,
)
from timestep.errors.meaning import BUSY_STATUSES
from timestep.errors.retry import ASK_AGAIN, TRY_AGAIN, retry_after
from timestep.net.origin import Origin, Where
from timestep.net.secrets import without_private
from timestep.net.server_words import parse, words_of_document, words_of_page
from timestep.net.urls import without_secrets
from timestep.ollama.overflow import is_overflow, overflow_error

THINK_LEVELS = "think levels"
"""The capability that a server lacks when it knows ``think`` only as true and false."""

_CAPABILITY = re.compile(
    r"does not support ([a-z ]+)|(image input) is not supported|(think value) .* is not supported"
)
_CAPABILITIES = {"image input": "vision", "chat": "completion", "think value": THINK_LEVELS}
_MODEL_OUTPUT = re.compile(
    r"error parsing tool call|invalid tool call arguments|failed to parse JSON"
    r"|incomplete \w+ tool call|token repeat limit"
)
_BAD_CALL = re.compile(
    r"(?:^|: )(?:"
    r"failed to parse (?:XML|function call|\w+ JSON tool call)"
    r"|XML syntax error on line"
    r"|expected element type <"
    r"|mismatched arg_key and arg_value counts"
    r"|invalid tool call"
    r"|tool ['\"].*['\"] not found"
    r"|malformed \w+ parameter"
    r"|empty function name"
    r")"
    r"|^(?:invalid character '.*' (?:after|in|looking for)|unexpected end of JSON input)",
    re.DOTALL,
)
"""How the parsers of tool calls refuse what a model wrote. A 400 that says so is about the request.

The words of Go's JSON parser count only at the beginning: after ``unmarshal:`` they are a failure
of Ollama Cloud's own.
"""
_BUSY = re.compile(r"server busy|overloaded", re.IGNORECASE)
_QUOTA = re.compile(r"usage limit|quota|upgrade", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bmodel\b.*\bnot found\b")


_SEARCHED = 4_000
"""How many characters of a refusal tell what it is. The patterns take the square of it."""

_CAPABILITY_HINTS = {
    "tools": ", or set tool_emulation=True to have tools described in the prompt",
    "thinking": ", or leave reasoning.effort unset",
}


class _StatusFacts(Where):
    """What every error for a status takes."""

    status_code: int
    headers: Mapping[str, str]
    server_message: str
    retry_after: float | None


@dataclass(frozen=True, slots=True)
class _Refusal:
    """What a server answered: its words as they came, and as they may be shown."""

    words: str
    said: str
    document: Any
    origin: Origin
    status: int | None  # None in a line of an answer

    @classmethod
    def of(cls, body: Any, text: str, origin: Origin, status: int | None) -> "_Refusal":
        """Read the JSON *body* of a refusal; without one, its *text*."""
        if body is None:
            words, shown = words_of_page(text), words_of_page(str(origin.masked(text)))
        else:
            words, shown = words_of_document(body), words_of_document(origin.masked(body))
        return cls(words[:_SEARCHED], origin.clean(shown), body, origin, status)

    @property
    def is_late(self) -> bool:
        """True when the server had taken the request before it refused."""
        return self.status is None or self.status >= 500  # noqa: PLR2004 - HTTP's own number


def status_error(
    status: int, headers: Mapping[str, str], body: bytes, origin: Origin
) -> OllamaError:
    """Return the error for a response whose *status* is not a success."""
    refusal = _Refusal.of(parse(body), body.decode("utf-8", "replace"), origin, status)
    said = refusal.said
    lowered = {name.lower(): value for name, value in headers.items()}
    facts: _StatusFacts = {
        "status_code": status,
        "headers": {name: origin.clean(value) for name, value in without_private(headers).items()},
        "server_message": said,
        "retry_after": retry_after(lowered),
        **origin.where(),
    }
    at = f"{origin.host} answered {status}"
    if (error := _by_words(refusal)) is not None:
        return error
    if match := _CAPABILITY.search(refusal.words):
        return _capability_error(match, said, facts, origin)
    if status in {401, 403}:
        return _authentication_error(refusal, at, facts)
    if status == 429:  # noqa: PLR2004 - HTTP's own number
        return _rate_limit_error(refusal, at, facts)
    if status in BUSY_STATUSES or _BUSY.search(refusal.words):
        return ServerBusyError(f"{at}: {said or 'it is overloaded'}. {ASK_AGAIN}", **facts)
    if status == 404 and _NO_MODEL.search(refusal.words):  # noqa: PLR2004 - as above
        return ModelNotFoundError(
            f"{origin.host} has no model {origin.model!r}: {said}. Get it with "
            f"'ollama pull {origin.model}', or see 'ollama list' for what is there.",
            **facts,
        )
    hint = _hint(status, facts["headers"])
    return OllamaStatusError(f"{at}: {said or 'it gave no reason'}.{hint}", **facts)


def line_error(document: Mapping[str, Any], origin: Origin) -> OllamaError:
    """Return the error for a line that came under status 200 and is not a chunk."""
    refusal = _Refusal.of(document, "", origin, None)
    if (error := _by_words(refusal)) is not None:
        return error
    return OllamaStreamError(
        f"{origin.host} broke off its answer: {refusal.said}. What arrived before is incomplete; "
        "the server's log says more.",
        server_message=refusal.said,
        **origin.where(),
    )


def _by_words(refusal: _Refusal) -> OllamaError | None:
    """Return the error that a server words alike in a refusal and in a line of an answer."""
    words, said, origin = refusal.words, refusal.said, refusal.origin
    if is_overflow(words):
        return overflow_error(said, refusal.document, origin, refusal.status)
    if _MODEL_OUTPUT.search(words) or (refusal.is_late and _BAD_CALL.search(words)):
        return ModelOutputError(
            f"{origin.model!r} wrote what {origin.host} could not use: {said}. {TRY_AGAIN} "
            "A higher max_tokens helps when it was cut.",
            server_message=said,
            **origin.where(),
        )
    return None


def _capability_error(
    match: re.Match[str], said: str, facts: _StatusFacts, origin: Origin
) -> CapabilityError:
    word = (match[1] or match[2] or match[3]).strip()
    capability = _CAPABILITIES.get(word, word)
    if capability == THINK_LEVELS:
        message = (
            f"{origin.host} knows no levels of thinking for {origin.model!r}: {said}. Set "
            "extra_body={'think': True}, or update the server."
        )
    else:
        message = (
            f"{origin.model!r} does not support {capability}: {said}. Choose a model that does "
            f"('ollama show NAME' lists its capabilities){_CAPABILITY_HINTS.get(capability, '')}."
        )
    return CapabilityError(message, capability=capability, **facts)


def _authentication_error(refusal: _Refusal, at: str, facts: _StatusFacts) -> AuthenticationError:
    document, words, said = refusal.document, refusal.words, refusal.said
    url = cast("Any", document).get("signin_url") if isinstance(document, Mapping) else None
    signin_url = refusal.origin.clean(url) if isinstance(url, str) else None
    if refusal.status == 403 and not said:  # noqa: PLR2004 - HTTP's own number
        advice = (
            "An empty 403 is Ollama refusing the Host or Origin header: reach it by a local name, "
            "have the proxy rewrite Host, or set OLLAMA_ORIGINS on the server"
        )
    elif signin_url:
        advice = f"Sign in at {signin_url} or run 'ollama signin'"
    elif "disabled" in words:
        advice = "Enable cloud models on the server (OLLAMA_NO_CLOUD), or choose a local model"
    elif "subscription" in words or "upgrade" in words:
        advice = "The model needs a paid plan; choose another or upgrade"
    elif refusal.origin.printed:
        advice = "Run api_key_command in a terminal: the key that it prints is refused"
    else:
        advice = (
            "Set OLLAMA_API_KEY to a key of https://ollama.com/settings/keys; for another host set "
            "api_key together with base_url"
        )
    return AuthenticationError(
        f"{at}: {said or 'forbidden'}. {advice}.", signin_url=signin_url, **facts
    )


def _rate_limit_error(refusal: _Refusal, at: str, facts: _StatusFacts) -> RateLimitError:
    is_quota = bool(_QUOTA.search(refusal.words))
    advice = (
        "The plan is used up; trying again soon is useless."
        if is_quota
        else "Slow down, or let ModelSettings(retry=…) wait and repeat."
    )
    return RateLimitError(
        f"{at}: {refusal.said or 'too many requests'}. {advice}", is_quota=is_quota, **facts
    )


def _hint(status: int, headers: Mapping[str, str]) -> str:
    if 300 <= status < 400:  # noqa: PLR2004 - HTTP's redirects
        target = without_secrets(headers.get("location", "elsewhere"))
        return (
            f" It redirects to {target}, and a POST follows no redirect: set base_url to the final "
            "address (often https:// instead of http://)."
        )
    if status in {404, 405}:
        return " Is base_url the root of an Ollama server, without /v1 or /api?"
    return ""
