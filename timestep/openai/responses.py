"""Checks the answers of OpenAI's APIs before the SDK's models see them.

The SDK takes what comes under status 200 for an answer: a page of HTML for an empty one, and a
stream that was cut for a whole one, whose half tool call it runs. And whatever a server says of
a failure appears in errors, spans and logs, so a key it repeats is taken out first.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, Literal, TypeVar, cast

import httpx2
from openai import APIConnectionError, APIError, AsyncOpenAI

from timestep.errors import BrokenAnswerError, OllamaError
from timestep.net.causes import drop_frames
from timestep.net.connection import TransportError
from timestep.net.key_command import KeyCommand
from timestep.net.limits import (
    LONGEST,
    LONGEST_REFUSAL,
    LONGEST_WITH_IMAGES,
    MOST_SAID,
    MOST_VALUES,
    has_too_many_values,
)
from timestep.net.logs import masked_logs, with_masked_logs
from timestep.net.origin import Origin
from timestep.net.places import Places
from timestep.net.proxies import Proxy
from timestep.net.reasons import (
    HUNG_UP,
    NO_HTTP,
    WANTS_PASSWORD,
    proxy_refusal,
    reason_of,
    unforeseen,
)
from timestep.net.secrets import masked_json, masker, secrets_in, secrets_in_url
from timestep.net.unpacking import unpacked
from timestep.net.urls import authority
from timestep.openai.failures import Failures
from timestep.openai.refusals import said_error
from timestep.openai.whole_calls import refuse_half

T = TypeVar("T")

_NOT_JSON = object()
_TERMINAL = {"response.completed", "response.failed", "response.incomplete", "error"}
_UNFINISHED = ("queued", "in_progress", "cancelled")
_END_OF_EVENT = re.compile(rb"\n\n|\n\r\n|\r\r")
_HALF_PAIR = re.compile("[\ud800-\udfff]")
_FIELDS = {b"", b"data", b"event", b"id", b"retry"}  # a comment has an empty name
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_PIECE = 1 << 20
"""How many bytes are read at once in the task of the event loop. More are read in a thread."""


class TreeClient(AsyncOpenAI):
    """OpenAI's client, whose errors of the connection are of our tree as well."""

    async def request(self, *arguments: Any, **options: Any) -> Any:
        """Send a request, with retries, and return its answer.

        Raises:
            OpenAIConnectionError: The server was not reached, or the connection broke.
            OpenAITimeoutError: It stayed silent.
        """
        try:
            return await super().request(*arguments, **options)
        except APIConnectionError as exc:
            found = exc.__cause__ and exc.__cause__.__cause__
            if not isinstance(found, TransportError):
                raise
            error = _failure(found, exc.request)
        raise error from error.__cause__


class CheckedClient(httpx2.AsyncClient):
    """A client whose answers are whole or an error, and whose errors show no secret.

    Args:
        secret_headers: Headers of every request whose values no error may repeat.
        places: A POST waits for one of them, and keeps it until its answer is read or closed.
        key_command: Prints the key of every request, and again when the server refused it.
        proxy: Every request goes through it.
        options: As `httpx2.AsyncClient` takes them.
    """

    def __init__(
        self,
        *,
        secret_headers: Mapping[str, str],
        places: Places | None = None,
        key_command: KeyCommand | None = None,
        proxy: Proxy | None = None,
        **options: Any,
    ) -> None:
        super().__init__(trust_env=False, proxy=_as_httpx2(proxy), **options)
        self._through = "" if proxy is None else proxy.through
        self._secret_headers = secret_headers
        self._places = places or Places(None)
        self._key_command = key_command

    async def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """The response to *request*, not yet read when *stream* is True.

        Raises:
            BrokenAnswerError: The body is not an answer; or later, from a stream, it broke off.
            ModelOutputError: The answer was cut, and has a call; or later, from a stream.
            openai.APIError: The body is an error; or later, from a stream, the connection broke.
            httpx2.TransportError: No answer came. The cause is a `TransportError` of ours.
            ConfigurationError: The command for the key failed.
        """
        async with AsyncExitStack() as place:
            if request.method == "POST":
                await place.enter_async_context(self._places)
            response = await self._with_key(request, stream=stream, **options)
            if not response.is_closed:
                response.stream = _Held(response.stream, place.pop_all())
            return response

    async def _with_key(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        if (command := self._key_command) is None:
            return await self._send(request, stream=stream, **options)
        again = _copy(request, await request.aread())  # what was sent keeps no key
        key = await command.key()
        request.headers["authorization"] = f"Bearer {key}"
        response = await self._send(request, stream=stream, **options)
        if response.status_code != 401:  # noqa: PLR2004 - HTTP's own number
            return response
        await response.aclose()
        command.forget(key)
        again.headers["authorization"] = f"Bearer {await command.key()}"
        return await self._send(again, stream=stream, **options)

    async def _send(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        mask = self._mask(request)
        request.headers["accept-encoding"] = "identity"  # what unpacks may unpack without end
        try:
            with masked_logs(mask):
                response = await super().send(request, stream=True, **options)
            response.extensions["reason_phrase"] = b""  # the server's own words
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
            found = _found(exc, self._through, silent="first_byte")
        else:
            try:
                return await self._checked(response, mask, is_stream=stream)
            except TransportError as exc:
                await response.aclose()
                found = exc
            except BaseException as exc:
                await response.aclose()
                drop_frames(exc)  # they hold what the server said, which may repeat the key in it
                raise exc from exc.__cause__
        finally:
            _forget_secrets(request, mask)
        drop_frames(found)
        raise httpx2.TransportError(str(found), request=request) from found

    async def _checked(
        self, response: httpx2.Response, mask: Callable[[str], str], *, is_stream: bool
    ) -> httpx2.Response:
        request = response.request
        path = request.url.path
        answer = (_Completion if path.endswith("/chat/completions") else _Answer)(request, mask)
        if response.status_code == WANTS_PASSWORD and self._through:
            raise TransportError("reach", proxy_refusal(WANTS_PASSWORD), through=self._through)
        if not response.is_success:
            return await _masked_refusal(response, answer)
        is_model = path.endswith(("/responses", "/chat/completions"))
        if is_stream:
            shown = _events(response, answer) if is_model else _pieces(response, answer, LONGEST)
            return _like(response, answer.mask, stream=_Told(response, shown))
        pieces = [piece async for piece in _pieces(response, answer, LONGEST_WITH_IMAGES)]
        await response.aclose()
        body = b"".join(pieces)
        if is_model:
            body = await _apart(answer.check_whole, body)
        return _like(response, answer.mask, content=body)

    def _mask(self, request: httpx2.Request) -> Callable[[str], str]:
        """Return what takes the secrets of *request* out of a text."""
        headers = (*secrets_in(self._secret_headers), *secrets_in(request.headers))
        return masker((*headers, *secrets_in_url(str(request.url))))


class _Answer:
    """One answer under status 200: what it must be, and the errors for what it is not.

    Attributes:
        mask: Takes secrets out of a text.
        is_whole: True once a stream may end.
    """

    def __init__(self, request: httpx2.Request, mask: Callable[[str], str]) -> None:
        self.mask = mask
        self.is_whole = False
        self._is_ended = False  # after its last event, nothing counts
        self._request = request

    def broken(self, what: str) -> BrokenAnswerError:
        """Return the error for a broken answer; *what* says how it is broken."""
        host = authority(str(self._request.url))
        return BrokenAnswerError(
            f"{host} {what}. Try again; if it goes on, check base_url and the server's log.",
            host=host,
        )

    def too_long(self, what: str, most: int) -> BrokenAnswerError:
        """Return the error for more than *most* bytes of *what*."""
        return self.broken(f"sent more than {most:,} bytes for {what}")

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        document = self._object_in(body)
        if document.get("output") is None and document.get("error"):
            raise self._refusal(document["error"])
        if not _are_objects(document.get("output")):
            raise self.broken("answered with JSON that is not an answer")
        self._check_end(document)
        self._check_counts(document)
        return self._masked_text(document) if document.get("error") else body

    def not_events(self, body: bytes) -> Exception:
        """The error for *body*, which came in the place of a stream of events."""
        try:
            document = self._object_in(body)
        except BrokenAnswerError as exc:
            return exc
        if document.get("error"):
            return self._refusal(document["error"])
        return self.broken("answered with JSON and not with the stream it was asked for")

    def check_event(self, raw: bytes) -> bytes:
        """Return what the SDK gets of the event *raw*; nothing when it has no data."""
        if self._is_ended:
            return b""
        data = _data_in(raw)
        if data is None:
            raise self.not_events(raw)
        if not data:
            return b""  # such as a comment that keeps the connection open
        if data.startswith(b"[DONE]"):
            if not self.is_whole:
                raise self.broken("ended its stream before the answer")
            self._is_ended = self.is_whole = True
            return b"data: [DONE]\n\n"
        event = self._event_in(raw, data)
        if event.get("error"):
            raise self._refusal(event["error"])
        return raw if self._note(event) else b"data: " + self._masked_text(event) + b"\n\n"

    def _note(self, event: dict[str, Any]) -> bool:
        """Note how far *event* brings the answer; False when it reports a failure."""
        kind = event.get("type")
        if not isinstance(kind, str):
            raise self.broken("sent an event that is not a piece of an answer")
        if _is_object(item := event.get("item")) and kind.endswith(".done"):
            self._check_item(cast("dict[str, Any]", item))
        if _is_object(response := event.get("response")):
            self._check_counts(cast("dict[str, Any]", response))
            if kind == "response.completed":
                self._check_end(cast("dict[str, Any]", response))
        self._is_ended = self.is_whole = kind in _TERMINAL
        return kind not in {"response.failed", "error"}

    def _check_end(self, response: dict[str, Any]) -> None:
        """Refuse *response*, which came as a finished answer, when its own status says otherwise."""
        status, output = response.get("status"), response.get("output")
        if status in _UNFINISHED:
            raise self.broken(f"ended its answer with the status {status!r}")
        if status == "completed" and response.get("error"):
            raise self._refusal(response["error"])
        if not _are_objects(output) or not isinstance(response.get("id"), str | None):
            raise self.broken("ended its answer with what is not an answer")
        for item in cast("list[dict[str, Any]]", output):
            self._check_item(item)
        refuse_half(response, authority(str(self._request.url)))

    def _check_item(self, item: dict[str, Any]) -> None:
        """Refuse *item* of an answer when the SDK's model would fail to read it."""
        kind, parts = item.get("type"), item.get("content")
        texts: list[object] = [kind]
        if kind == "function_call":
            texts += [item.get(name) for name in ("name", "arguments", "call_id")]
        elif kind == "message" and _are_objects(parts):
            said = cast("list[dict[str, Any]]", parts)
            shown = [each.get("text") for each in said if each.get("type") == "output_text"]
            texts.append("" if all(isinstance(each, str) for each in shown) else None)
        elif kind == "message":
            texts.append(None)
        if not all(map(_is_text, texts)):
            raise self.broken("sent an item that is not a piece of an answer")

    def _check_counts(self, response: dict[str, Any]) -> None:
        """Refuse counts that are not numbers: the SDK's own error would repeat them."""
        usage = response.get("usage")
        if usage is not None and not _are_counts(usage):
            raise self.broken("counted tokens with something else than numbers")

    def _check_values(self, text: bytes) -> None:
        if has_too_many_values(text):
            raise self.broken(f"sent JSON of more than {MOST_VALUES:,} values")

    def _event_in(self, raw: bytes, data: bytes) -> dict[str, Any]:
        self._check_values(data)
        event = _parsed(data) if _is_utf8(raw) else _NOT_JSON
        if event is _NOT_JSON:
            raise self.broken("sent an event that is not JSON")
        if not isinstance(event, dict):
            raise self.broken("sent an event that is not a JSON object")
        return cast("dict[str, Any]", event)

    def _object_in(self, body: bytes) -> dict[str, Any]:
        if not body.strip():
            raise self.broken("answered with nothing")
        self._check_values(body)
        document = _parsed(body)
        if document is _NOT_JSON:
            what = "a page of HTML" if body.lstrip().startswith(b"<") else "what is not JSON"
            raise self.broken(f"answered with {what}")
        if not isinstance(document, dict):
            raise self.broken("answered with JSON that is not an object")
        return cast("dict[str, Any]", document)

    def _refusal(self, error: object) -> Exception:
        said = masked_json(error, self.mask)
        message = cast("dict[str, Any]", said).get("message") if _is_object(said) else said
        if not isinstance(message, str) or not message:
            message = "the server answered with an error that says nothing"
        return APIError(message, self._request, body=said)

    def _masked_text(self, document: object) -> bytes:
        return json.dumps(masked_json(document, self.mask)).encode()


class _Completion(_Answer):
    """The same for a chat completion. Whether it is whole, the model's own reader decides."""

    def __init__(self, request: httpx2.Request, mask: Callable[[str], str]) -> None:
        super().__init__(request, mask)
        self.is_whole = True

    def check_whole(self, body: bytes) -> bytes:
        """Return what the SDK gets of the whole answer *body*."""
        document = self._object_in(body)
        if document.get("error"):
            raise self._refusal(document["error"])
        if not _are_objects(document.get("choices")):
            raise self.broken("answered with JSON that is not an answer")
        self._note(document)
        return body

    def _note(self, event: dict[str, Any]) -> bool:
        usage = event.get("usage")
        if isinstance(usage, dict):  # some servers add more than counts
            usage = {name: cast("dict[str, Any]", usage).get(name) for name in _COUNTS}
        self._check_counts({"usage": usage})
        return _are_objects(event.get("choices"))

    def _refusal(self, error: object) -> Exception:
        said = {"error": masked_json(error, self.mask)}
        url = str(self._request.url)
        return said_error(said, Origin(None, authority(url)), url)


class _Held(httpx2.AsyncByteStream):
    """Wraps *stream*, and gives back its *place* at the server when it is closed."""

    def __init__(self, stream: Any, place: AsyncExitStack) -> None:
        self._stream = stream
        self._place = place

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        async with self._place:
            await self._stream.aclose()


class _Told(httpx2.AsyncByteStream):
    """What is *shown* of *response*, in small pieces; errors are of the tree.

    A second iteration goes on where the first stopped, as with a connection.
    """

    def __init__(self, response: httpx2.Response, shown: AsyncIterator[bytes]) -> None:
        self._response = response
        self._shown = shown
        self._pieces = self._told()

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        await self._response.aclose()

    async def _told(self) -> AsyncIterator[bytes]:
        try:
            async for event in self._shown:
                for at in range(0, len(event), _PIECE):
                    if at:
                        await asyncio.sleep(0)  # OpenAI's client reads it as it comes
                    yield event[at : at + _PIECE]
        except TransportError as exc:
            error: Exception = _failure(exc, self._response.request)
        except Exception as exc:  # noqa: BLE001 - it is raised again
            error = exc
        else:
            return
        drop_frames(error)  # as above
        raise error from error.__cause__


async def _events(response: httpx2.Response, answer: _Answer) -> AsyncIterator[bytes]:
    """The events of *response* as they come, each checked; one is held at a time."""
    held, looked_through = bytearray(), 0
    async for piece in _pieces(response, answer, LONGEST):
        held += piece
        while end := _end_of_event(held, max(0, looked_through - 2)):
            event = bytes(memoryview(held)[:end])
            del held[:end]
            looked_through = 0
            if passed_on := await _apart(answer.check_event, event):
                yield passed_on
        looked_through = len(held)
        if looked_through > LONGEST_WITH_IMAGES:
            raise answer.too_long("an event", LONGEST_WITH_IMAGES)
    if held.strip() and (passed_on := await _apart(answer.check_event, bytes(held))):
        yield passed_on + b"\n\n"  # the SDK would drop an event without its end
    if not answer.is_whole:
        raise answer.broken("broke off its answer")


async def _pieces(response: httpx2.Response, answer: _Answer, most: int) -> AsyncIterator[bytes]:
    """The body of *response*, unpacked.

    Raises:
        BrokenAnswerError: It is longer than *most* bytes, or cannot be unpacked.
        TransportError: The connection broke.
    """
    size = 0
    async for piece in _unpacked(response, answer):
        size += len(piece)
        if size > most:
            raise answer.too_long("one answer", most)
        yield piece


async def _unpacked(response: httpx2.Response, answer: _Answer) -> AsyncIterator[bytes]:
    if response.is_stream_consumed:  # a transport of a test has read it
        raw, encoding = response.aiter_bytes(), None
    else:
        raw, encoding = response.aiter_raw(), response.headers.get("content-encoding")
    try:
        async for piece in unpacked(with_masked_logs(raw, answer.mask), encoding):
            yield piece
    except TransportError as exc:
        error: Exception = answer.broken(f"broke off its answer: {exc}")
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
        error = _found(exc)
    else:
        return
    raise error


async def _apart(check: Callable[[bytes], T], text: bytes) -> T:
    """Return ``check(text)``, in a thread when *text* is long, so that others run meanwhile."""
    return check(text) if len(text) <= _PIECE else await asyncio.to_thread(check, text)


async def _masked_refusal(response: httpx2.Response, answer: _Answer) -> httpx2.Response:
    """Return *response*, which is a failure, without secrets."""
    body = bytearray()
    async for piece in _pieces(response, answer, LONGEST):
        body += piece
        if len(body) > LONGEST_REFUSAL:
            break
    await response.aclose()
    document = _NOT_JSON if has_too_many_values(body, most=MOST_SAID) else _parsed(body)
    if document is _NOT_JSON:
        said = answer.mask(body.decode(errors="replace")).encode()
    else:
        said = json.dumps(masked_json(document, answer.mask)).encode()
    return _like(response, answer.mask, content=said)


def _found(
    exc: Exception, through: str = "", *, silent: Literal["first_byte", "idle"] = "idle"
) -> TransportError:
    """Return what *exc*, which httpx2 raised, says: in words of our own, with nothing behind it."""
    match exc:
        case httpx2.ConnectTimeout():
            return TransportError("connect", "connecting took too long", through=through)
        case httpx2.TimeoutException():
            return TransportError(silent, "the server stayed silent")
        case httpx2.ProxyError():
            status = str(exc)[:3]
            reason = proxy_refusal(status) if status.isdecimal() else reason_of(exc)
            return TransportError("reach", reason, through=through)
        case httpx2.ConnectError():
            return TransportError("reach", reason_of(exc), through=through)
        case httpx2.RemoteProtocolError():
            is_early = "incomplete" in str(exc) or "without" in str(exc)
            return TransportError("exchange", HUNG_UP if is_early else NO_HTTP)
        case httpx2.HTTPError():
            return TransportError("exchange", reason_of(exc))
        case _:
            return TransportError("exchange", unforeseen(exc))


def _failure(found: TransportError, request: httpx2.Request) -> OllamaError:
    """Return the error of the tree for *found*, which *request* ended in."""
    url = str(request.url)
    failures = Failures(Origin(None, authority(url)), url)
    is_silence = found.phase in {"connect", "first_byte", "idle"}
    error = (
        failures.silent(found.phase, None, through=found.through)
        if is_silence
        else failures.failed(found)
    )
    error.__cause__ = found
    return error


def _as_httpx2(proxy: Proxy | None) -> httpx2.Proxy | None:
    if proxy is None:
        return None
    return httpx2.Proxy(proxy.url, auth=(proxy.user, proxy.password) if proxy.user else None)


def _copy(request: httpx2.Request, body: bytes) -> httpx2.Request:
    return httpx2.Request(
        request.method,
        request.url,
        headers=request.headers.copy(),
        content=body,
        extensions=dict(request.extensions),
    )


def _forget_secrets(request: httpx2.Request, mask: Callable[[str], str]) -> None:
    """Mask the headers of *request*, which was sent: every error of openai's tree shows it."""
    for name, value in request.headers.items():
        if (shown := mask(value)) != value:
            request.headers[name] = shown
    if (shown := mask(str(request.url))) != str(request.url):
        request.url = httpx2.URL(shown)


def _parsed(text: bytes | bytearray) -> object:
    """Return the JSON value of *text*, or `_NOT_JSON`. An error of json's would hold the text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _NOT_JSON


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except ValueError:
        return False
    return True


def _are_counts(usage: object) -> bool:
    """True for numbers, and objects of numbers."""
    if isinstance(usage, dict):
        return all(map(_are_counts, cast("dict[str, object]", usage).values()))
    return usage is None or (isinstance(usage, int | float) and not isinstance(usage, bool))


def _end_of_event(held: bytearray, start: int) -> int:
    """Where the first event that *held* has whole ends, looked for from *start*; else 0."""
    found = _END_OF_EVENT.search(held, start)
    return 0 if found is None else found.end()


def _data_in(event: bytes) -> bytes | None:
    """The data of *event*, empty when it has none; None when *event* is something else."""
    line = event.rstrip(b"\r\n")
    if line.startswith(b"data:") and b"\n" not in line and b"\r" not in line:
        return line[5:].lstrip(b" ")  # as nearly all events are
    fields = [line.partition(b":")[::2] for line in event.splitlines() if line]
    if fields and not any(name in _FIELDS for name, _ in fields):
        return None
    return b"\n".join(value.removeprefix(b" ") for name, value in fields if name == b"data")


def _is_text(value: object) -> bool:
    """True for text that can be sent back: it holds no half of a surrogate pair."""
    return isinstance(value, str) and (value.isascii() or not _HALF_PAIR.search(value))


def _are_objects(entries: object) -> bool:
    """True when *entries* are a list of JSON objects."""
    return isinstance(entries, list) and all(map(_is_object, cast("list[object]", entries)))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _like(response: httpx2.Response, mask: Callable[[str], str], **body: Any) -> httpx2.Response:
    """Return a copy of *response* with masked headers and another body, which is not encoded."""
    encoded = {"content-encoding", "content-length", "transfer-encoding"}
    return httpx2.Response(
        response.status_code,
        headers=[
            (name, mask(value))
            for name, value in response.headers.multi_items()
            if name.lower() not in encoded
        ],
        request=response.request,
        extensions=response.extensions,
        default_encoding=response.default_encoding,
        **body,
    )
