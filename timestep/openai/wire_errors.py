"""What a failed exchange with a server that speaks OpenAI's API becomes: an error of both trees. Pure."""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import httpx2
from jiter import from_json
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError

from timestep.errors import BrokenAnswerError, TimestepError
from timestep.net.connection import CHECK_PROXY, Answer, Silence, TransportError
from timestep.net.failure_words import httpx_error
from timestep.net.limits import MOST_VALUES, has_too_many_values
from timestep.net.origin import Origin
from timestep.net.secrets import MASK, secrets_in, secrets_in_url
from timestep.net.urls import authority
from timestep.net.wire_errors import WireErrors
from timestep.openai.errors import OpenAIConnectionError, OpenAITimeoutError, where_at
from timestep.openai.server_errors import said_error, status_error

if TYPE_CHECKING:
    import httpx

_NOT_JSON = object()
_OF_THE_BODY = (b"content-encoding", b"content-length", b"transfer-encoding")
"""Headers that do not fit a body once it was read and masked."""

HAS_COMMAND = "timestep.has_command"
"""The extension of a response whose key a command printed."""


class OpenAIWireErrors(WireErrors):
    """The errors of one exchange with a server that speaks OpenAI's API."""

    def refused(self, answer: Answer, body: bytes) -> TimestepError:
        """Return the error for an *answer* whose status is not 2xx."""
        return status_error(answer.status, answer.headers, body, self._origin)

    def endless(self, what: str) -> BrokenAnswerError:
        """Return the error for an answer that is too long."""
        return broken(what, self._origin)

    def _step_after(self, phase: Silence, *, is_proxied: bool) -> str:
        longer = "timeout in the table of the provider allows more seconds."
        if phase != "connect":
            return longer
        return (
            f"{CHECK_PROXY if is_proxied else 'Is the server running and base_url right?'} {longer}"
        )

    def _failure(self, exc: TransportError, reason: str) -> str:
        host = self._origin.host
        if exc.through:
            return f"Cannot reach {host}: {reason}. {CHECK_PROXY}"
        if exc.phase == "reach":
            return f"Cannot reach {host}: {reason}. Check base_url, the server and the network."
        if exc.phase == "closed":
            return (
                f"The HTTP client for {host} cannot be used: {reason}. A client from your code works in "
                "one event loop; with MultiModelProvider.from_env(), timestep keeps one for every loop."
            )
        return f"The connection to {host} broke: {reason}. The server's log may say more."

    def _timeout(self, text: str, phase: Silence, seconds: float | None) -> OpenAITimeoutError:
        return OpenAITimeoutError(text, phase=phase, seconds=seconds, **where_at(self._origin))

    def _connection(self, text: str) -> OpenAIConnectionError:
        return OpenAIConnectionError(text, **where_at(self._origin))


def broken(what: str, origin: Origin) -> BrokenAnswerError:
    """Return the error for an answer that is not whole, or is something else; *what* says how."""
    return BrokenAnswerError(
        f"{origin.host} {what}. Try again; if it happens again, check base_url and the server's log.",
        host=origin.host,
    )


def object_in(
    data: bytes, what: str, origin: Origin, read: Callable[[bytes], Any] = from_json
) -> dict[str, Any]:
    """Return the JSON object *data*, by *read*; *what* begins the error for something else."""
    if has_too_many_values(data):
        raise broken(f"sent JSON of more than {MOST_VALUES:,} values", origin)
    try:
        parsed = read(data)
    except (ValueError, RecursionError):  # it may hold the text, so it is not kept as the context
        parsed = _NOT_JSON
    if parsed is _NOT_JSON:
        is_page = data.lstrip().startswith(b"<")
        found = f"{what} that is not JSON, {origin.quote(data)}"
        raise broken("answered with a page of HTML" if is_page else found, origin)
    if not isinstance(parsed, dict):
        raise broken(f"{what} that is not a JSON object", origin)
    return cast("dict[str, Any]", parsed)


def of_both_trees(exc: APIError) -> Exception:
    """Return the error of both trees for *exc*, which openai's client raised.

    It is *exc* itself if it is one already, if a gateway raised it, or if the tree has no such error.
    """
    if isinstance(exc, TimestepError) or type(exc).__module__ != "openai":
        return exc
    match exc:
        case APIStatusError():
            error = _refusal(exc)
        case APIConnectionError():
            error = _failure(exc)
        case _ if exc.body:  # in the middle of a stream
            error = said_error(exc.body, origin_of(exc.request))
        case _:
            return exc
    return error if isinstance(error, APIError) else exc  # callers catch errors of openai


def mask_error(error: BaseException, mask: Callable[[str], str]) -> None:
    """Put *mask* on the texts that *error*, which another package made, and the errors in it hold.

    Their frames are dropped. What cannot be masked is left out, because it may hold a key.
    """
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            one.with_traceback(None)
            waiting += [one.__cause__, one.__context__]
            with suppress(Exception):  # a class may refuse it
                one.args = tuple(_masked(each, mask, waiting) for each in one.args)
            for name, value in list(vars(one).items()):
                vars(one)[name] = _masked(value, mask, waiting)


def _masked(value: Any, mask: Callable[[str], str], errors: list[Any]) -> Any:
    """Return *value* masked; the errors in it are put on *errors*."""
    try:
        return _masked_value(value, mask, errors)
    except Exception:  # noqa: BLE001 - it may be anything, in itself too
        return MASK


def _masked_value(value: Any, mask: Callable[[str], str], errors: list[Any]) -> Any:
    below = partial(_masked_value, mask=mask, errors=errors)
    match value:
        case BaseException():
            errors.append(value)
            return value
        case str():
            return mask(value)
        case bytes() | bytearray():
            text = value.decode(errors="surrogateescape")
            return type(value)(mask(text).encode(errors="surrogateescape"))
        case list() | tuple() | set() | frozenset():
            parts = [below(each) for each in cast("list[Any]", value)]
            return parts if isinstance(value, list) else tuple(parts)
        case dict():
            pairs = cast("dict[Any, Any]", value).items()
            return {below(name): below(each) for name, each in pairs}
        case _ if not type(value).__module__.startswith("httpx"):
            shown = repr(value)
            return value if mask(shown) == shown else mask(shown)
        case _ if hasattr(value, "method"):
            return type(value)(value.method, mask(str(value.url)))
        case _ if hasattr(value, "status_code"):
            headers = [
                (name, below(text))
                for name, text in value.headers.raw
                if name.lower() not in _OF_THE_BODY
            ]
            request = content = None
            with suppress(RuntimeError):  # some have none
                request = below(value.request)
            with suppress(RuntimeError):  # it was not read
                content = below(value.content)
            return type(value)(value.status_code, headers=headers, content=content, request=request)
        case _:
            return mask(str(value))


def _failure(exc: APIConnectionError) -> TimestepError:
    raised = exc.__cause__ or exc
    if isinstance(exc, APITimeoutError) and not isinstance(raised, httpx2.HTTPError):
        found = TransportError("first_byte", "the server stayed silent")
    else:
        found = httpx_error(raised, httpx2, silent="first_byte")
    return OpenAIWireErrors(origin_of(exc.request)).of(found)


def _refusal(exc: APIStatusError) -> TimestepError:
    answer = exc.response
    return status_error(
        answer.status_code,
        answer.headers,
        answer.content,
        origin_of(exc.request),
        has_command=HAS_COMMAND in answer.extensions,
    )


def origin_of(request: "httpx2.Request | httpx.Request") -> Origin:
    """Return the host that errors for *request* name."""
    url = str(request.url)
    secrets = (*secrets_in(request.headers), *secrets_in_url(url))
    return Origin(None, authority(url), secrets, url=url)
