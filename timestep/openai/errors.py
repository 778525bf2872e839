"""The errors of servers that speak OpenAI's API.

Every class here is two things: the class of timestep's tree that means the same for Ollama, so that one
``except RateLimitError`` serves both wires; and the class of openai's tree, which code written for the
SDK catches.

Source: openai 3.57 ``_exceptions.py``.
"""

from collections.abc import Mapping
from typing import Literal, NotRequired, TypedDict, Unpack

import httpx2
import openai

from timestep.errors import (
    AuthenticationError,
    ContextWindowExceededError,
    ModelNotFoundError,
    OllamaConnectionError,
    OllamaStatusError,
    OllamaTimeoutError,
    RateLimitError,
    ServerBusyError,
)
from timestep.net.connection import Silence
from timestep.net.json_text import as_json, encodable
from timestep.net.origin import Origin, Where

_UNKNOWN_URL = "http://localhost"
"""openai's classes want a request; an error that was rebuilt from its message has none."""


class OpenAIWhere(Where):
    """`Where`, and the URL of the request."""

    url: str


def where_at(origin: Origin) -> OpenAIWhere:
    """Return the keywords for *origin* that every error here takes."""
    return {"url": origin.hide(origin.url or origin.host), **origin.where()}


class StatusFacts(OpenAIWhere):
    """What an error for a status takes."""

    status_code: int
    body: object
    server_message: str
    headers: Mapping[str, str]
    retry_after: NotRequired[float | None]  # a prompt that is too long has none
    came_late: bool


class _Attributes(TypedDict, total=False):
    """What an error for a status keeps as it is."""

    model: str | None
    host: str | None
    server_message: str
    retry_after: float | None
    came_late: bool
    is_quota: bool
    prompt_tokens: int | None
    context_length: int | None


class _Refused(openai.APIStatusError):
    """A refusal, as openai's client shows it, without secrets."""

    def __init__(
        self,
        message: str,
        *,
        url: str = _UNKNOWN_URL,
        status_code: int | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        **kept: Unpack[_Attributes],
    ) -> None:
        status = type(self).status_code if status_code is None else status_code
        text = "" if body is None else encodable(as_json(body))
        request = openai_request(url)
        sent = httpx2.Headers(headers, encoding="utf-8")  # servers need not keep to ASCII
        response = httpx2.Response(status or 500, headers=sent, text=text, request=request)
        openai.APIStatusError.__init__(self, message, response=response, body=body)
        self.status_code = status
        self.headers: Mapping[str, str] = dict(headers or {})
        for name, value in kept.items():
            setattr(self, name, value)


class OpenAIStatusError(_Refused, OllamaStatusError):
    """A server that speaks OpenAI's API refused the request.

    Attributes:
        response: The refusal, as openai's client shows it, without secrets.
        body: Its parsed body, without secrets.
        came_late: True when the server said it under status 200, in the place of an answer.
    """

    came_late = False


class OpenAIBadRequestError(OpenAIStatusError, openai.BadRequestError):  # type: ignore[misc] # openai allows one status
    """The server says that the request is wrong."""


class OpenAINotFoundError(OpenAIStatusError, openai.NotFoundError):  # type: ignore[misc] # openai allows one status
    """The server does not have the path."""


class OpenAIInternalServerError(OpenAIStatusError, openai.InternalServerError):
    """The server failed."""


class OpenAIUnprocessableEntityError(OpenAIStatusError, openai.UnprocessableEntityError):  # type: ignore[misc] # openai allows one status
    """The server can read the request but not process it."""


class OpenAIModelNotFoundError(OpenAIStatusError, openai.NotFoundError, ModelNotFoundError):  # type: ignore[misc] # openai allows one status
    """The server does not have the model."""


class OpenAIAuthenticationError(OpenAIStatusError, openai.AuthenticationError, AuthenticationError):  # type: ignore[misc] # openai allows one status
    """The server wants another key."""


class OpenAIPermissionDeniedError(  # type: ignore[misc] # openai allows one status
    OpenAIStatusError, openai.PermissionDeniedError, AuthenticationError
):
    """The server does not let the owner of the key do this."""


class OpenAIRateLimitError(OpenAIStatusError, openai.RateLimitError, RateLimitError):  # type: ignore[misc] # openai allows one status
    """Too many requests, or the quota is used up."""


class OpenAIServerBusyError(OpenAIStatusError, openai.InternalServerError, ServerBusyError):
    """The server is overloaded; the same request may work shortly."""


class OpenAIContextWindowExceededError(  # type: ignore[misc] # openai allows one status
    _Refused, openai.BadRequestError, ContextWindowExceededError
):
    """The prompt does not fit the context window."""


class OpenAIConnectionError(openai.APIConnectionError, OllamaConnectionError):
    """The server could not be reached, or the connection broke."""

    def __init__(
        self,
        message: str,
        *,
        url: str = _UNKNOWN_URL,
        model: str | None = None,
        host: str | None = None,
    ) -> None:
        super().__init__(message=message, request=openai_request(url))
        self.model, self.host = model, host


class OpenAITimeoutError(openai.APITimeoutError, OllamaTimeoutError):
    """The server stayed silent for longer than the configured timeout."""

    def __init__(
        self,
        message: str,
        *,
        url: str = _UNKNOWN_URL,
        phase: Silence | Literal[""] = "",
        seconds: float | None = None,
        model: str | None = None,
        host: str | None = None,
    ) -> None:
        openai.APIError.__init__(self, message, openai_request(url), body=None)
        self.phase, self.seconds = phase, seconds
        self.model, self.host = model, host


def openai_request(url: str) -> httpx2.Request:
    """Return the request that an error of openai's tree shows: no header, so no key."""
    return httpx2.Request("POST", url)
