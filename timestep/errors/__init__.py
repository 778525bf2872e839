"""Every error that timestep raises on purpose.

TimestepError (agents.AgentsException)
├── ConfigurationError               the configuration cannot be used
├── UnknownModelError                no provider has the model's name (also agents.UserError)
├── UnsupportedInputError            the model cannot take the request (also agents.UserError)
├── AllModelsFailedError             every model of a chain failed; says why, model by model
├── BrokenAnswerError                an OpenAI-compatible server broke off, or sent no answer
└── OllamaError                      the server, the connection or the model failed
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

`timestep.errors.meaning` says what each class means for a retry, a chain of models and a pool of
servers. Class names are stable: durable engines list them as non-retryable. A message says what
happened, where, and the next step, and never holds a secret. Every error can be pickled, copied
and rebuilt from its message alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any, Literal, Self

from agents import AgentsException, ModelBehaviorError, UserError

from timestep.net.connection import Silence
from timestep.net.nearest import nearest


def _restore(cls: type["TimestepError"], args: tuple[Any, ...], state: dict[str, Any]) -> Any:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TimestepError(AgentsException):
    """Base of every error that timestep raises on purpose."""

    def __reduce__(self) -> tuple[Any, ...]:
        # The Runner attaches the whole run, which cannot be pickled.
        return _restore, (type(self), self.args, {**self.__dict__, "run_data": None})


class ConfigurationError(TimestepError):
    """The configuration cannot be used; the message names the key, where it is, and the fix."""


def unknown_prefix(prefix: str, known: Collection[str]) -> str:
    """Return what is wrong with *prefix*, which is not among the *known* prefixes."""
    near = nearest(prefix, known)
    hint = f" Did you mean {near!r}?" if near else ""
    return f"Unknown prefix: {prefix}. Known prefixes: {', '.join(sorted(known))}.{hint}"


class UnknownModelError(TimestepError, UserError):
    """No provider has the model's name.

    Attributes:
        prefix: The prefix as written, without the slash; None for a name without a prefix.
        known: The registered prefixes, sorted.
    """

    def __init__(
        self, message: str, *, prefix: str | None = None, known: Collection[str] = ()
    ) -> None:
        super().__init__(message)
        self.prefix = prefix
        self.known = tuple(sorted(known))

    @classmethod
    def for_prefix(cls, prefix: str, known: Collection[str]) -> Self:
        """Return the error for *prefix*, which is not among the *known* prefixes."""
        return cls(
            f"{unknown_prefix(prefix, known)} Add [providers.{prefix}] to the settings, or call "
            "MultiModelProviderMap.add_provider().",
            prefix=prefix,
            known=known,
        )

    @classmethod
    def for_no_name(cls) -> Self:
        """Return the error for a call that names no model, of a provider without a default."""
        return cls("This provider has no default model; name one.")


class UnsupportedInputError(TimestepError, UserError):
    """The request holds something that cannot be sent to the model; the message names it."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one model of a chain did not answer.

    Attributes:
        model: The model's name, with its prefix.
        reason: One word, such as ``"connection"``, ``"tools"`` or ``"cooling_down"``.
        message: A sentence that says what happened, without secrets.
        is_passing: True if asking the same model again may help.
        retry_after: How many seconds the server asks to wait, if it says so.
    """

    model: str
    reason: str
    message: str
    is_passing: bool = False
    retry_after: float | None = None


class AllModelsFailedError(TimestepError):
    """Every model of a chain failed; the cause is the last model's error.

    Args:
        failures: One for each model of the chain, or only a message.

    Attributes:
        failures: Why each model failed, in the order of the chain.
    """

    def __init__(self, failures: Sequence[Failure] | str) -> None:
        if isinstance(failures, str):
            message, failures = failures, ()
        else:
            message = (
                f"None of the {len(failures)} models of the chain could answer. Fix the problem "
                "of one of them, or add another model to the list:"
            )
            message += "".join(
                f"\n- {each.model} ({each.reason}): {each.message}" for each in failures
            )
        super().__init__(message)
        self.failures = tuple(failures)


class BrokenAnswerError(TimestepError):
    """A server that speaks OpenAI's API broke off its answer, or sent no answer.

    Attributes:
        host: The scheme and authority of the endpoint; never credentials.
    """

    def __init__(self, message: str, *, host: str | None = None) -> None:
        super().__init__(message)
        self.host = host


@dataclass(eq=False, repr=False, kw_only=True)
class OllamaError(TimestepError):
    """Ollama, the connection to it, or its model failed.

    Attributes:
        model: The model the caller asked for, if known.
        host: The scheme and authority of the endpoint, if known; never credentials.
    """

    message: InitVar[str] = field(kw_only=False)
    model: str | None = None
    host: str | None = None

    def __post_init__(self, message: str) -> None:
        super().__init__(message)


class OllamaConnectionError(OllamaError):
    """The endpoint could not be reached, or the connection broke."""


@dataclass(eq=False, repr=False, kw_only=True)
class OllamaTimeoutError(OllamaError):
    """The endpoint stayed silent for longer than the configured timeout.

    Attributes:
        phase: ``"connect"``, ``"first_byte"`` (loading a model counts here) or ``"idle"``; empty if
            not known.
        seconds: The limit that was exceeded, if known.
    """

    phase: Silence | Literal[""] = ""
    seconds: float | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class OllamaStatusError(OllamaError):
    """The endpoint refused the request.

    Attributes:
        status_code: The HTTP status; if not known, the usual one of the class, or 0.
        headers: The response headers, names in lower case, without cookies and credentials.
        server_message: The server's own words.
        retry_after: How many seconds the server asks to wait, if it says so.
    """

    status_code: int = 0
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    server_message: str = ""
    retry_after: float | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class ModelNotFoundError(OllamaStatusError):
    """The endpoint does not have the model."""

    status_code: int = 404


@dataclass(eq=False, repr=False, kw_only=True)
class AuthenticationError(OllamaStatusError):
    """The endpoint wants a key, a sign-in or a subscription.

    Attributes:
        signin_url: Where to sign in, if the server says so.
    """

    status_code: int = 401
    signin_url: str | None = None


@dataclass(eq=False, repr=False, kw_only=True)
class RateLimitError(OllamaStatusError):
    """The caller sent too many requests, or used up its quota.

    Attributes:
        is_quota: True if the quota is used up, so that another try soon is useless.
    """

    status_code: int = 429
    is_quota: bool = False


@dataclass(eq=False, repr=False, kw_only=True)
class ServerBusyError(OllamaStatusError):
    """The endpoint is overloaded or its queue is full; the same request may work shortly."""

    status_code: int = 503


@dataclass(eq=False, repr=False, kw_only=True)
class CapabilityError(OllamaStatusError):
    """The model cannot do what the request needs.

    Attributes:
        capability: ``"tools"``, ``"thinking"``, ``"vision"``, ``"completion"``, or another name
            that the server uses; empty if not known.
    """

    status_code: int = 400
    capability: str = ""


@dataclass(eq=False, repr=False, kw_only=True)
class ContextWindowExceededError(OllamaError):
    """The prompt does not fit the context window.

    Attributes:
        prompt_tokens: The size of the prompt in tokens, if known.
        context_length: The size of the window in tokens, if known.
        status_code: The HTTP status of the refusal; None if the refusal was a line of an answer.
        server_message: The server's own words.
    """

    prompt_tokens: int | None = None
    context_length: int | None = None
    status_code: int | None = None
    server_message: str = ""


@dataclass(eq=False, repr=False, kw_only=True)
class OllamaStreamError(OllamaError):
    """The answer broke off: an error line, an unreadable line, or an end without ``done``.

    Attributes:
        server_message: The server's own words, if it sent any.
    """

    server_message: str = ""


@dataclass(eq=False, repr=False, kw_only=True)
class ModelOutputError(OllamaError, ModelBehaviorError):
    """The model's answer cannot be used. Another try may do better.

    Attributes:
        server_message: The server's own words, if it refused the model's output.
        text: What the model wrote, if it is not what was asked for; the cause says why.
        is_cut: True if the token limit cut the answer.
    """

    server_message: str = ""
    text: str = ""
    is_cut: bool = False
