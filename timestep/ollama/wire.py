"""The wire to one Ollama server: its requests, and the errors they end in."""

import json
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from timestep.errors import OllamaError
from timestep.net.client import Client
from timestep.net.connection import Request, drop_frames
from timestep.net.encoding import encode
from timestep.net.exchange import Exchange
from timestep.net.origin import Origin
from timestep.net.secrets import secrets_in, secrets_in_url
from timestep.net.timeouts import Timeouts
from timestep.net.urls import authority
from timestep.net.version import __version__
from timestep.net.wire_bytes import WireBytes
from timestep.ollama.endpoint import Endpoint
from timestep.ollama.lines import check_length, check_values
from timestep.ollama.server_errors import status_error
from timestep.ollama.source import Chat, ChatSource
from timestep.ollama.wire_errors import OllamaWireErrors

if TYPE_CHECKING:
    import httpx

    from timestep.net.given_client import Given

_HEADERS = {
    "accept": "*/*",
    "accept-encoding": "identity",  # compression would hold small pieces back
    "content-type": "application/json",
    "user-agent": f"timestep/{__version__}",
}


class Wire(ChatSource):
    """The connection to one endpoint, usable from any event loop."""

    def __init__(
        self,
        endpoint: Endpoint,  # where, and with which headers
        *,
        timeouts: Timeouts | None = None,  # of every request
        # A ready httpx client to use instead of connections of our own; never closed here.
        client: "httpx.AsyncClient | None" = None,
        withheld: Collection[str] = (),  # headers of *client* that are not for this endpoint
        max_concurrency: int | None = None,  # chats at once, in this process; None for any number
    ) -> None:
        self.endpoint = endpoint
        self._host = authority(endpoint.base_url)
        self._secrets = (
            *secrets_in(endpoint.headers if client is None else client.headers),
            *secrets_in_url(endpoint.base_url),
        )
        self._headers = {**_HEADERS, **endpoint.headers}
        self._client = Client(
            endpoint.base_url,
            timeouts or (Timeouts() if client is None else None),
            reach=endpoint.reach,
            opener=None if client is None else _given(client, timeouts, withheld),
            max_concurrency=max_concurrency,
            key_command=endpoint.key_command,
        )

    def chat(self, body: Mapping[str, Any], headers: Mapping[str, str], model: str) -> "WireChat":
        """Return one exchange of ``POST /api/chat``; nothing happens before it is iterated."""
        return self._exchange("POST", "/api/chat", encode(body), headers, model, limited=True)

    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None, headers: Mapping[str, str] = {}
    ) -> tuple[Any, Origin]:
        """Return the JSON of an answer, and who gave it."""
        method, sent = ("GET", b"") if body is None else ("POST", encode(body))
        exchange = self._exchange(method, path, sent, headers, (body or {}).get("model"))
        try:
            return await _read_json(exchange), exchange.origin
        except OllamaError as exc:
            drop_frames(exc)  # they hold what the server said, which may repeat the key in it
            raise exc from exc.__cause__

    def origin(self, model: str | None, headers: Mapping[str, str] = {}) -> Origin:
        """Return who is asked for *model*, with *headers* beside the endpoint's own."""
        secrets = (*self._secrets, *secrets_in(headers)) if headers else self._secrets
        command = self.endpoint.key_command
        return Origin(model, self._host, secrets, () if command is None else command.printed)

    async def aclose(self) -> None:
        """Hang up and close in the running loop; connections of others close with their loops."""
        await self._client.aclose()

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        model: str | None,
        *,
        limited: bool = False,
    ) -> "WireChat":
        sent = self._headers
        if headers:  # in lower case, so that no header is sent twice
            sent = {**sent, **{name.lower(): value for name, value in headers.items()}}
        request = Request(method, self.endpoint.base_url + path, sent, body)
        origin = self.origin(model, headers)
        exchange = self._client.exchange(request, OllamaWireErrors(origin), limited=limited)
        return WireChat(exchange, origin)


async def _read_json(exchange: "WireChat") -> Any:
    text = bytearray()
    try:
        async for piece in exchange:
            text += piece
            check_length("an answer", len(text), exchange.origin)
    finally:
        await exchange.aclose()
    check_values("an answer", text, exchange.origin)
    with suppress(ValueError, RecursionError):  # their error would hold the whole text
        return json.loads(text)
    raise status_error(200, {}, bytes(text), exchange.origin)


class WireChat(Chat):
    """One exchange with the server."""

    def __init__(self, exchange: Exchange, origin: Origin) -> None:
        super().__init__(origin, origin.host)
        self.exchange = exchange

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put the bytes of the request and of its answer into *kept* as well."""
        self.exchange.keep_bytes(kept)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.exchange

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        await self.exchange.aclose(finished=finished)


def _given(
    client: "httpx.AsyncClient", timeouts: Timeouts | None, withheld: Collection[str]
) -> "Given":
    import httpx  # noqa: PLC0415 - only a given client needs it

    from timestep.net.given_client import Given  # noqa: PLC0415 - as above

    # The watchdog waits for bytes; the client only has to connect in time.
    limits = None if timeouts is None else httpx.Timeout(None, connect=timeouts.connect)
    return Given(client, limits, withheld)
