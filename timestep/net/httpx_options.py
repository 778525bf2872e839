"""The options of an httpx client for one server; none from the environment."""

from collections.abc import AsyncGenerator, AsyncIterator
from ssl import SSLContext
from typing import TypedDict, cast

import httpx

from timestep.net.connection import TransportError
from timestep.net.failure_words import WANTS_PASSWORD, httpx_error, proxy_refusal, too_long
from timestep.net.key_command import KeyCommand
from timestep.net.limits import LONGEST_JSON
from timestep.net.proxies import Proxy
from timestep.net.reach import Reach, reach_for_httpx
from timestep.net.unpacking import unpacked


class HttpxOptions(TypedDict):
    """Keyword arguments of `httpx.AsyncClient`."""

    transport: httpx.AsyncBaseTransport
    auth: httpx.Auth | None
    follow_redirects: bool
    trust_env: bool


def httpx_options(
    base_url: str,
    reach: Reach,
    *,
    key_command: KeyCommand | None = None,
    most: int = LONGEST_JSON,
) -> HttpxOptions:
    """Return the options of a client for the server at *base_url*. A redirect is not followed.

    *key_command* prints the key of every request. An answer may have *most* bytes, unpacked.
    """
    return HttpxOptions(
        transport=_Transport(*reach_for_httpx(base_url, reach), most),
        auth=None if key_command is None else _Key(key_command),
        follow_redirects=False,
        trust_env=False,
    )


class _Key(httpx.Auth):
    """Sends the key of *command*, and once more the next one when the server answers 401."""

    def __init__(self, command: KeyCommand) -> None:
        self._command = command

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        """Yield *request* with the key."""
        key = await self._command.key()
        request.headers["authorization"] = f"Bearer {key}"
        response = yield request
        if response.status_code == 401:  # noqa: PLR2004 - HTTP's own number
            self._command.forget(key)
            request.headers["authorization"] = f"Bearer {await self._command.key()}"
            yield request


class _Transport(httpx.AsyncHTTPTransport):
    """Sends requests through *proxy*, which errors name, and reads *most* bytes of each answer.

    What it raises of its own has a `TransportError` as its cause.
    """

    def __init__(self, proxy: Proxy | None, verify: SSLContext, most: int) -> None:
        super().__init__(
            verify=verify, trust_env=False, proxy=None if proxy is None else proxy.as_httpx(httpx)
        )
        self._through = "" if proxy is None else proxy.through
        self._most = most

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to *request*."""
        request.headers["accept-encoding"] = "gzip, deflate"  # what can be unpacked piece by piece
        if not self._through:
            return self._limited(await super().handle_async_request(request))
        try:
            response = await super().handle_async_request(request)
        except (httpx.ProxyError, httpx.ConnectError, httpx.ConnectTimeout) as exc:
            reason = str(httpx_error(exc, httpx))
        else:
            if response.status_code != WANTS_PASSWORD:
                return self._limited(response)
            await response.aclose()
            reason = proxy_refusal(WANTS_PASSWORD)
        found = TransportError("reach", reason, through=self._through)
        raise httpx.ProxyError(str(found), request=request) from found

    def _limited(self, response: httpx.Response) -> httpx.Response:
        encoding = response.headers.pop("content-encoding", None)  # httpx unpacks without a limit
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Limited(stream, encoding, self._most)
        return response


class _Limited(httpx.AsyncByteStream):
    """What *stream* unpacks to, up to *most* bytes; more are an error."""

    def __init__(self, stream: httpx.AsyncByteStream, encoding: str | None, most: int) -> None:
        self._stream = stream
        self._encoding = encoding
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._most
        try:
            async for piece in unpacked(aiter(self._stream), self._encoding):
                left -= len(piece)
                if left < 0:
                    break
                yield piece
            else:
                return
            found = TransportError("length", too_long(self._most))
        except TransportError as exc:
            found = exc
        raise httpx.ReadError(str(found)) from found

    async def aclose(self) -> None:
        await self._stream.aclose()
