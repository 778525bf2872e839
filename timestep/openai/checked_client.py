"""The client of the SDK's models for OpenAI's APIs: its answers are checked before the models see them.

The SDK takes what comes under status 200 for an answer: a page of HTML for an empty one, and a
stream that was cut for a whole one, whose half tool call it runs. And whatever a server says of
a failure appears in errors, spans and logs, so a key it repeats is taken out first.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import httpx2

from timestep.net.concurrency import Places
from timestep.net.connection import TransportError, drop_frames
from timestep.net.failure_words import WANTS_PASSWORD, httpx_error, proxy_refusal, too_long
from timestep.net.key_command import KeyCommand
from timestep.net.limits import LONGEST, LONGEST_REFUSAL, LONGEST_WITH_IMAGES
from timestep.net.logs import masked_logs, with_masked_logs
from timestep.net.origin import Origin
from timestep.net.proxies import Proxy
from timestep.net.secrets import masker, secrets_in
from timestep.net.server_words import parse
from timestep.net.unpacking import unpacked
from timestep.openai.checked_answers import CheckedCompletion, CheckedResponse
from timestep.openai.sse import EventSplitter, ServerSentEvent
from timestep.openai.wire_errors import HAS_COMMAND, OpenAIWireErrors, origin_of

T = TypeVar("T")

NO_KEY = "none"
"""The key of a client without one. OpenAI's client requires a key."""

_PIECE = 1 << 20
"""How many bytes are read at once in the task of the event loop. More are read in a thread."""


class CheckedClient(httpx2.AsyncClient):
    """A client whose answers are whole or an error, and whose errors show no secret."""

    def __init__(
        self,
        *,
        secret_headers: Mapping[str, str],  # no error may repeat their values
        places: Places | None = None,  # a POST keeps one until its answer is read or closed
        key_command: KeyCommand | None = None,  # prints the key, and again after a 401
        proxy: Proxy | None = None,  # every request goes through it
        **options: Any,  # as `httpx2.AsyncClient` takes them
    ) -> None:
        super().__init__(
            trust_env=False, proxy=None if proxy is None else proxy.as_httpx(httpx2), **options
        )
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
            if isinstance(response.stream, _Told):
                response.stream.place = place.pop_all()
            return response

    async def _with_key(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        command, sent = self._key_command, request.headers.get("authorization")
        if command is None or sent not in {None, f"Bearer {NO_KEY}"}:  # the call brings its own
            return await self._send(request, stream=stream, **options)
        again = httpx2.Request(  # what was sent keeps no key
            request.method,
            request.url,
            headers=request.headers.copy(),
            content=await request.aread(),
            extensions=dict(request.extensions),
        )
        key = await command.key()
        request.headers["authorization"] = f"Bearer {key}"
        response = await self._send(request, stream=stream, **options)
        if response.status_code == 401:  # noqa: PLR2004 - HTTP's own number
            await response.aclose()
            command.forget(key)
            again.headers["authorization"] = f"Bearer {await command.key()}"
            response = await self._send(again, stream=stream, **options)
        response.extensions[HAS_COMMAND] = True
        return response

    async def _send(
        self, request: httpx2.Request, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        known = origin_of(request)
        origin = replace(known, secrets=(*secrets_in(self._secret_headers), *known.secrets))
        mask = masker(origin.secrets)
        request.headers["accept-encoding"] = "identity"  # what unpacks may unpack without end
        try:
            with masked_logs(mask):
                response = await super().send(request, stream=True, **options)
            response.extensions["reason_phrase"] = b""  # the server's own words
        except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
            found = httpx_error(exc, httpx2, through=self._through, silent="first_byte")
        else:
            try:
                return await self._checked(response, origin, is_stream=stream)
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
        self, response: httpx2.Response, origin: Origin, *, is_stream: bool
    ) -> httpx2.Response:
        path = response.request.url.path
        is_chat = path.endswith("/chat/completions")
        answer = (CheckedCompletion if is_chat else CheckedResponse)(origin)
        if response.status_code == WANTS_PASSWORD and self._through:
            raise TransportError("reach", proxy_refusal(WANTS_PASSWORD), through=self._through)
        if not response.is_success:
            return await _masked_refusal(response, answer)
        is_model = is_chat or path.endswith("/responses")
        if is_stream:
            shown = _events(response, answer) if is_model else _pieces(response, answer, LONGEST)
            return _like(response, origin, stream=_Told(response, shown, origin))
        pieces = [piece async for piece in _pieces(response, answer, LONGEST_WITH_IMAGES)]
        await response.aclose()
        body = b"".join(pieces)
        if is_model:
            body = await _apart(answer.check_whole, body)
        return _like(response, origin, content=body)


class _Told(httpx2.AsyncByteStream):
    """What is *shown* of *response*, in small pieces; errors are of the tree.

    A second iteration goes on where the first stopped, as with a connection.
    """

    def __init__(
        self, response: httpx2.Response, shown: AsyncIterator[bytes], origin: Origin
    ) -> None:
        self._response = response
        self._origin = origin
        self._shown = shown
        self._pieces = self._told()
        self.place = AsyncExitStack()  # given back when this is closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces

    async def aclose(self) -> None:
        async with self.place:
            await self._response.aclose()

    async def _told(self) -> AsyncIterator[bytes]:
        try:
            async for event in self._shown:
                for at in range(0, len(event), _PIECE):
                    if at:
                        await asyncio.sleep(0)  # OpenAI's client reads it as it comes
                    yield event[at : at + _PIECE]
        except TransportError as exc:
            error: Exception = OpenAIWireErrors(self._origin).of(exc)
        except Exception as exc:  # noqa: BLE001 - it is raised again
            error = exc
        else:
            return
        drop_frames(error)  # as above
        raise error from error.__cause__


async def _events(response: httpx2.Response, answer: CheckedResponse) -> AsyncIterator[bytes]:
    """The events of *response* as they come, each checked."""
    is_empty = True
    try:
        async for name, data in _split(response, answer):
            is_empty = False
            if passed_on := await _apart(partial(answer.check_event, name), data):
                yield passed_on
    except TransportError:
        if not answer.is_whole:  # else a connection that breaks loses nothing
            raise
    if not (answer.is_whole or answer.is_ended):
        raise answer.broken("answered with nothing" if is_empty else "broke off its answer")


async def _split(
    response: httpx2.Response, answer: CheckedResponse
) -> AsyncIterator[ServerSentEvent]:
    events = EventSplitter(LONGEST_WITH_IMAGES)
    async for piece in _pieces(response, answer, LONGEST):
        for event in events.feed(piece):
            yield event
        if events.excess:
            raise answer.broken(f"sent {events.excess}")
    for event in events.flush():
        yield event
    if events.document is not None:
        raise answer.not_events(bytes(events.document))


async def _pieces(
    response: httpx2.Response, answer: CheckedResponse, most: int
) -> AsyncIterator[bytes]:
    """The body of *response*, unpacked."""
    raw = with_masked_logs(response.aiter_raw(), masker(answer.origin.secrets))
    size = 0
    try:
        async for piece in unpacked(raw, response.headers.get("content-encoding")):
            size += len(piece)
            if size > most:
                break
            yield piece
        else:
            return
        error: Exception = answer.broken(too_long(most))
    except TransportError as exc:
        error = answer.broken(f"broke off its answer: {exc}")
    except Exception as exc:  # noqa: BLE001 - whatever it is, it is told
        error = httpx_error(exc, httpx2)
    raise error


async def _apart(check: Callable[[bytes], T], text: bytes) -> T:
    """Return ``check(text)``, in a thread when *text* is long, so that others run meanwhile."""
    return check(text) if len(text) <= _PIECE else await asyncio.to_thread(check, text)


async def _masked_refusal(response: httpx2.Response, answer: CheckedResponse) -> httpx2.Response:
    """Return *response*, which is a failure, without secrets."""
    body = bytearray()
    async for piece in _pieces(response, answer, LONGEST):
        body += piece
        if len(body) > LONGEST_REFUSAL:
            break
    await response.aclose()
    document = parse(bytes(body))
    if document is None:
        said = answer.origin.hide(body.decode(errors="replace")).encode()
    else:
        said = json.dumps(answer.origin.masked(document)).encode()
    return _like(response, answer.origin, content=said)


def _forget_secrets(request: httpx2.Request, mask: Callable[[str], str]) -> None:
    """Mask the headers of *request*, which was sent: every error of openai's tree shows it."""
    for name, value in request.headers.items():
        if (shown := mask(value)) != value:
            request.headers[name] = shown
    if (shown := mask(str(request.url))) != str(request.url):
        request.url = httpx2.URL(shown)


def _like(response: httpx2.Response, origin: Origin, **body: Any) -> httpx2.Response:
    """Return a copy of *response* with masked headers and another body, which is not encoded."""
    mask = masker(origin.secrets)
    encoded = {"content-encoding", "content-length", "transfer-encoding"}
    headers = [
        (name, mask(value))
        for name, value in response.headers.multi_items()
        if name.lower() not in encoded
    ]
    return httpx2.Response(
        response.status_code,
        headers=httpx2.Headers(headers, encoding="utf-8"),  # servers need not keep to ASCII
        request=response.request,
        extensions=response.extensions,
        default_encoding=response.default_encoding,
        **body,
    )
