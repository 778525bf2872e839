"""What the refusals of servers that speak OpenAI's API become: errors of both trees. Pure.

A refusal is known by the code or type that the server names, then by its words, then by its status:
gateways pass on the words of other servers under a status of their own.

Source: the exchanges in ``tests/wire-openai``; the words of vLLM (``entrypoints/openai``), llama.cpp
(``tools/server``), Groq, Mistral, Gemini and Anthropic as their users report them, 2026-11.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from timestep.errors import ModelOutputError, TimestepError
from timestep.errors.meaning import BUSY_STATUSES, Kind, kind_of_code
from timestep.errors.retry import ASK_AGAIN, retry_after
from timestep.net.json_parts import mapping
from timestep.net.origin import Origin
from timestep.net.secrets import without_private
from timestep.net.server_words import parse, words_of_document, words_of_page
from timestep.openai.errors import (
    OpenAIAuthenticationError,
    OpenAIBadRequestError,
    OpenAIContextWindowExceededError,
    OpenAIInternalServerError,
    OpenAIModelNotFoundError,
    OpenAINotFoundError,
    OpenAIPermissionDeniedError,
    OpenAIRateLimitError,
    OpenAIServerBusyError,
    OpenAIStatusError,
    OpenAIUnprocessableEntityError,
    StatusFacts,
    where_at,
)

_CONTEXT = re.compile(
    r"maximum context length"
    r"|exceeds? (?:the |the model's |model's )?(?:maximum |available )?context (?:length|size|window)"
    r"|longer than the (?:model's |maximum )?(?:context|model) length"
    r"|reduce the length of the (?:messages|prompt|input)"
    r"|prompt is too long|prompt contains \d+ tokens"
    r"|input token count .{0,40}exceeds"
    r"|must have less than \d+ tokens"
    r"|inputs` tokens \+ `max_new_tokens` must be",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"\bmodel\b.{0,200}\b(?:not found|does not exist|not available|not supported)"
    r"|invalid model name|unknown model|no (?:healthy )?deployments? (?:available )?for"
    r"|not a valid model",
    re.IGNORECASE | re.DOTALL,
)
_TOKENS = re.compile(r"(\d[\d,]*)\s*(?:input |prompt )?tokens?\b", re.IGNORECASE)
_DIGITS = 15
"""No count is longer; a server may write down millions of digits."""
_WINDOW = re.compile(
    r"(\d[\d,]*) maximum context length"
    r"|(?:context length|context size|context window|maximum|limit|longer than|less than)\D{0,40}?"
    r"(\d[\d,]*)",
    re.IGNORECASE,
)


def status_error(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    origin: Origin,
    *,
    has_command: bool = False,
) -> TimestepError:
    """Return the error for a response whose *status* is not a success."""
    document = parse(body)
    if document is None:
        said = origin.clean(words_of_page(str(origin.masked(body.decode("utf-8", "replace")))))
    else:
        said = origin.clean(_words(origin.masked(document)))
    lowered = {name.lower(): value for name, value in headers.items()}
    waits = {"retry-after": lowered.get("llm_provider-retry-after", ""), **lowered}
    facts: StatusFacts = {
        "status_code": status,
        "came_late": False,
        "headers": {name: origin.clean(value) for name, value in without_private(lowered).items()},
        "body": said if document is None else _error_in(origin.masked(document)),
        "server_message": said,
        "retry_after": retry_after(waits),
        **where_at(origin),
    }
    kind = _kind(document, said) or _kind_of_status(status)
    what = f"{origin.host} answered {status}: {said or 'no message'}."
    return _error(kind, what, facts, said, has_command=has_command or bool(origin.printed))


def is_error(fields: Mapping[str, Any], name: str = "") -> bool:
    """True when *fields*, from an event *name*, are an error, alone or beside a piece of an answer."""
    if fields.get("error") or "error" in (name, fields.get("type")):
        return True
    has_answer = bool(fields.get("choices")) or "usage" in fields
    return not has_answer and (fields.get("object") == "error" or bool(fields.get("detail")))


def said_error(document: object, origin: Origin) -> TimestepError:
    """Return the error for *document*, which came in the place of an answer or in the middle of it."""
    said = origin.clean(_words(origin.masked(document)))
    error = mapping(_error_in(document))
    named = map(_status, (error.get("code"), error.get("status")))
    status = next((found for found in named if found), 0)
    facts: StatusFacts = {
        "status_code": status,
        "came_late": True,
        "headers": {},
        "retry_after": None,
        "body": origin.masked(error) or said,
        "server_message": said,
        **where_at(origin),
    }
    kind = _kind(document, said) or _kind_of_status(status)
    what = f"{origin.host} sent an error instead of its answer: {said or 'no message'}."
    return _error(kind, what, facts, said, has_command=bool(origin.printed))


def _error_in(document: object) -> object:
    """The error in *document*: OpenAI nests it, others do not, and FastAPI calls it ``detail``."""
    fields = mapping(document)
    return fields.get("error") or fields.get("detail") or document


def _words(document: object) -> str:
    fields = mapping(document)
    if fields.get("detail") and not fields.get("error"):
        document = {"error": fields["detail"]}
    return words_of_document(document).rstrip(".")


def _status(code: object) -> int | None:
    """Return *code* when it is an HTTP status, which some servers write as text."""
    if isinstance(code, bool) or not isinstance(code, int | str):
        return None
    return int(code) if re.fullmatch(r"[45]\d\d", str(code)) else None


def _kind(document: object, said: str) -> Kind | None:
    """Return the kind of failure, by the code, else the words, else the type."""
    error = mapping(_error_in(document))
    for name in ("code", "type"):
        kind = kind_of_code(error.get(name))
        if kind not in {None, "busy"}:
            return kind
        if _CONTEXT.search(said):
            return "context"
        if kind is not None:
            return kind
        if (status := _status(error.get(name))) is not None:
            refuses = status not in {401, 403, 429}
            return "model" if refuses and _NO_MODEL.search(said) else _kind_of_status(status)
    return "model" if _NO_MODEL.search(said) else None


def _kind_of_status(status: int) -> Kind | None:
    match status:
        case 401 | 403:
            return "key"
        case 402:
            return "quota"
        case 429:
            return "rate"
        case _:
            return "busy" if status in BUSY_STATUSES else None


def _error(
    kind: Kind | None, what: str, facts: StatusFacts, said: str, *, has_command: bool
) -> TimestepError:
    match kind:
        case "context":
            return _context_error(what, facts, said)
        case "model":
            step = "Check the model's name; the server's /models may list those it has."
            return OpenAIModelNotFoundError(f"{what} {step}", **facts)
        case "key":
            step = (
                "Run api_key_command in a terminal: the key that it prints is refused."
                if has_command
                else "Check api_key of this provider, or OPENAI_API_KEY for OpenAI."
            )
            is_denied = facts["status_code"] == 403  # noqa: PLR2004 - HTTP's own number
            kind_of_key = OpenAIPermissionDeniedError if is_denied else OpenAIAuthenticationError
            return kind_of_key(f"{what} {step}", **facts)
        case "quota":
            step = "The plan or the credit there is used up."
            return OpenAIRateLimitError(f"{what} {step}", is_quota=True, **facts)
        case "rate":
            step = "Wait, or ask for a higher limit there; ModelSettings(retry=…) repeats it."
            return OpenAIRateLimitError(f"{what} {step}", **facts)
        case "busy" | "timeout":
            return OpenAIServerBusyError(f"{what} {ASK_AGAIN}", **facts)
        case "filter":
            return ModelOutputError(
                f"{what} Its content filter refused the request.",
                model=facts["model"],
                host=facts["host"],
                server_message=said,
            )
        case "prompt" | None:
            status = facts["status_code"]
            usual = OpenAIStatusError if status < _FAILED else OpenAIInternalServerError
            return _BY_STATUS.get(status, usual)(f"{what} {_step(status, facts['url'])}", **facts)


_FAILED = 500
"""From this status on the fault is the server's."""

_BY_STATUS: Mapping[int, type[OpenAIStatusError]] = {
    400: OpenAIBadRequestError,
    404: OpenAINotFoundError,
    422: OpenAIUnprocessableEntityError,
}


def _step(status: int, url: str) -> str:
    if status >= _FAILED:
        return "The server failed; its log says more."
    if status == 404 and urlsplit(url).path.endswith("/responses"):  # noqa: PLR2004 - HTTP's own
        return (
            "Check the model's name and base_url. "
            'If the server has no Responses API, set api = "chat_completions" in its table.'
        )
    if status == 404:  # noqa: PLR2004 - HTTP's own number
        return "Is base_url right? It ends before /chat/completions, often in /v1."
    return "The server refused the request; its words say why."


def _context_error(what: str, facts: StatusFacts, said: str) -> OpenAIContextWindowExceededError:
    error = mapping(_error_in(facts["body"]))
    window = error.get("n_ctx") or _number(_WINDOW.search(said))
    counts = [_number(match) for match in _TOKENS.finditer(said)]
    prompt = error.get("n_prompt_tokens") or next((n for n in counts if n and n != window), None)
    known = facts.copy()
    known.pop("retry_after", None)
    return OpenAIContextWindowExceededError(
        f"{what} Shorten the history or ask a model with a larger window.",
        prompt_tokens=prompt if isinstance(prompt, int) else None,
        context_length=window if isinstance(window, int) else None,
        **known,
    )


def _number(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    digits = next(group for group in match.groups() if group)
    return int(digits.replace(",", "")[:_DIGITS])
