"""Every error timestep raises on purpose.

TimestepError (agents.AgentsException)
├── ConfigurationError               the configuration cannot be used
├── UnknownModelError                no provider for a model name (also agents.UserError)
├── UnsupportedInputError            the request holds what the model cannot take (also agents.UserError)
├── AllModelsFailedError             no model of a chain answered; says why, model by model
├── BrokenAnswerError                a server that speaks OpenAI's API sent half an answer, or none
└── OllamaError                      the server, the wire or the model failed
    ├── OllamaConnectionError        no connection, or it broke before the first output
    ├── OllamaTimeoutError           the server stayed silent too long
    ├── OllamaStatusError            the server answered 4xx or 5xx
    │   ├── ModelNotFoundError       404; says how to pull the model
    │   ├── AuthenticationError      401 or 403; shows where to sign in
    │   ├── RateLimitError           429; tells a used-up quota from a burst
    │   ├── ServerBusyError          503 and the like; try again shortly
    │   └── CapabilityError          the model has no tools, thinking or vision
    ├── ContextWindowExceededError   the prompt does not fit the context window
    ├── OllamaStreamError            an error line, or an end without ``done``
    └── ModelOutputError             the model's answer cannot be used (also agents.ModelBehaviorError)

Class names are stable: durable engines list them as non-retryable. A message says what
happened, where, and the next step, and never holds a secret. All of them pickle.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from agents import AgentsException, ModelBehaviorError, UserError


def _restore(cls: type["TimestepError"], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TimestepError(AgentsException):
    """Base of all errors raised by timestep."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The Runner hangs the whole run on an error: agents and locks, which cannot travel.
        return _restore, (type(self), self.args, {**self.__dict__, "run_data": None})


class ConfigurationError(TimestepError):
    """The configuration cannot be used; the message names the key, where it is, and the fix."""


class UnknownModelError(TimestepError, UserError):
    """A model name leads to no provider.

    Attributes:
        prefix: The prefix as written, without the slash; ``None`` when the name has none.
        known: The prefixes that are registered, sorted.
    """

    def __init__(
        self, message: str, *, prefix: str | None = None, known: Collection[str] = ()
    ) -> None:
        super().__init__(message)
        self.prefix = prefix
        self.known = tuple(sorted(known))

    @classmethod
    def for_prefix(cls, prefix: str, known: Collection[str]) -> Self:
        """The error for *prefix* when only the *known* ones are registered."""
        near = difflib.get_close_matches(prefix, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return cls(
            f"Unknown prefix: {prefix}. Known prefixes: {', '.join(sorted(known))}.{hint} "
            "Register it with MultiModelProviderMap.add_provider(), or configure it as "
            f"[providers.{prefix}].",
            prefix=prefix,
            known=known,
        )


class UnsupportedInputError(TimestepError, UserError):
    """The request holds something that cannot be sent to the model; the message names it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one model of a chain did not answer.

    Attributes:
        model: Its name, with its prefix.
        reason: In a word, such as ``"connection"``, ``"tools"`` or ``"cooling_down"``.
        message: In a sentence, without secrets.
        is_passing: True when asking it again may help: the model says so, or it is cooling down.
        retry_after: Seconds it asks to wait, where it said so.
    """

    model: str
    reason: str
    message: str
    is_passing: bool = False
    retry_after: float | None = None


class AllModelsFailedError(TimestepError):
    """No model of a chain could answer; the cause is the last error.

    Attributes:
        failures: Why, one for each model, in the order of the chain.
    """

    def __init__(self, failures: Sequence[Failure]) -> None:
        listed = "".join(f"\n- {each.model} ({each.reason}): {each.message}" for each in failures)
        super().__init__(
            f"None of the {len(failures)} models of the chain could answer. Put right what is "
            f"wrong with one of them, or add another to the list:{listed}"
        )
        self.failures = tuple(failures)


class BrokenAnswerError(TimestepError):
    """A server that speaks OpenAI's API broke off its answer, or sent what is none.

    Attributes:
        host: The scheme and authority of the endpoint; never credentials.
    """

    def __init__(self, message: str, *, host: str | None = None) -> None:
        super().__init__(message)
        self.host = host


class OllamaError(TimestepError):
    """Ollama, the connection to it, or its model failed.

    Attributes:
        model: The model the caller asked for, where known.
        host: The scheme and authority of the endpoint, where known; never credentials.
    """

    def __init__(self, message: str, *, model: str | None = None, host: str | None = None) -> None:
        super().__init__(message)
        self.model = model
        self.host = host


class OllamaConnectionError(OllamaError):
    """The endpoint could not be reached, or the connection broke."""


class OllamaTimeoutError(OllamaError):
    """The endpoint stayed silent for longer than the configured timeout.

    Attributes:
        phase: ``"connect"``, ``"first_byte"`` (a cold load counts here) or ``"idle"``.
        seconds: The limit that was exceeded.
    """

    def __init__(self, message: str, *, phase: str, seconds: float | None, **where: Any) -> None:
        super().__init__(message, **where)
        self.phase = phase
        self.seconds = seconds


class OllamaStatusError(OllamaError):
    """The endpoint refused the request.

    Attributes:
        status_code: The HTTP status.
        headers: The response headers, names in lower case; cookies and credentials removed.
        server_message: The server's own words.
        retry_after: Seconds the server asks to wait, where it said so.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        headers: Mapping[str, str] | None = None,
        server_message: str = "",
        retry_after: float | None = None,
        **where: Any,
    ) -> None:
        super().__init__(message, **where)
        self.status_code = status_code
        self.headers = dict(headers or {})
        self.server_message = server_message
        self.retry_after = retry_after


class ModelNotFoundError(OllamaStatusError):
    """The endpoint does not have the model."""


class AuthenticationError(OllamaStatusError):
    """The endpoint wants a key, a sign-in or a subscription.

    Attributes:
        signin_url: Where to sign in, when the server names it.
    """

    def __init__(self, message: str, *, signin_url: str | None = None, **status: Any) -> None:
        super().__init__(message, **status)
        self.signin_url = signin_url


class RateLimitError(OllamaStatusError):
    """The endpoint limits the caller.

    Attributes:
        is_quota: True for a used-up plan, where trying again in seconds is useless.
    """

    def __init__(self, message: str, *, is_quota: bool = False, **status: Any) -> None:
        super().__init__(message, **status)
        self.is_quota = is_quota


class ServerBusyError(OllamaStatusError):
    """The endpoint is overloaded or its queue is full; the same request may work shortly."""


class CapabilityError(OllamaStatusError):
    """The model cannot do what the request needs.

    Attributes:
        capability: ``"tools"``, ``"thinking"``, ``"vision"``, ``"completion"`` or another name
            of the server's.
    """

    def __init__(
        self, message: str, *, capability: str, status_code: int = 400, **status: Any
    ) -> None:
        super().__init__(message, status_code=status_code, **status)
        self.capability = capability


class ContextWindowExceededError(OllamaError):
    """The prompt does not fit the context window.

    Attributes:
        prompt_tokens: The size of the prompt, where the server says it.
        context_length: The size of the window, where the server says it.
        status_code: The HTTP status of the refusal.
    """

    def __init__(
        self,
        message: str,
        *,
        prompt_tokens: int | None = None,
        context_length: int | None = None,
        status_code: int | None = None,
        **where: Any,
    ) -> None:
        super().__init__(message, **where)
        self.prompt_tokens = prompt_tokens
        self.context_length = context_length
        self.status_code = status_code


class OllamaStreamError(OllamaError):
    """The answer broke off: an error line, a line that is no chunk, or an end without ``done``.

    Attributes:
        server_message: The server's own words, when it sent any.
    """

    def __init__(self, message: str, *, server_message: str = "", **where: Any) -> None:
        super().__init__(message, **where)
        self.server_message = server_message


class ModelOutputError(OllamaError, ModelBehaviorError):
    """The model answered, and the answer cannot be used. Another sample may do better.

    Attributes:
        server_message: The server's own words, when it refused the model's output.
    """

    def __init__(self, message: str, *, server_message: str = "", **where: Any) -> None:
        super().__init__(message, **where)
        self.server_message = server_message
