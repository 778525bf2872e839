"""The wire to one server that speaks chat completions."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from timestep.answer.chunks import Chunk
from timestep.answer.incoming import Incoming
from timestep.errors import TimestepError
from timestep.net.client import Client
from timestep.net.connection import Request
from timestep.net.encoding import encode
from timestep.net.exchange import Exchange
from timestep.net.origin import Origin
from timestep.net.secrets import secrets_in, secrets_in_query, secrets_in_url
from timestep.net.timeouts import Timeouts
from timestep.net.urls import authority
from timestep.net.version import __version__
from timestep.net.wire_bytes import WireBytes
from timestep.openai.endpoint import OpenAIEndpoint
from timestep.openai.errors import OpenAIStatusError
from timestep.openai.stream import ChatReader
from timestep.openai.wire_errors import OpenAIWireErrors

_HEADERS = {
    "accept": "text/event-stream, application/json",
    "accept-encoding": "identity",  # compression would hold small pieces back
    "content-type": "application/json",
    "user-agent": f"timestep/{__version__}",
}
_MOVED = {307, 308}


class ChatWire:
    """The connections to one endpoint, usable from any event loop."""

    def __init__(self, endpoint: OpenAIEndpoint) -> None:
        self.endpoint = endpoint
        self.host = authority(endpoint.base_url)
        """The scheme and authority of the server."""
        sent = endpoint.sent_headers
        self._headers = {**_HEADERS, **{name.lower(): value for name, value in sent.items()}}
        self._secrets = (
            *secrets_in(sent),
            *secrets_in_url(endpoint.base_url),
            *secrets_in_query(endpoint.query),
        )
        self._url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self._client = Client(
            endpoint.base_url,
            Timeouts.of(endpoint.timeout),
            reach=endpoint.reach,
            max_concurrency=endpoint.max_concurrency,
            key_command=endpoint.key_command,
        )
        self.refuses_stream_options = False
        """True once the server refused to be asked for usage."""

    def origin(self, model: str, headers: Mapping[str, str], query: Mapping[str, object]) -> Origin:
        """Return who is asked for *model*, with *headers* and *query* beside the endpoint's own."""
        command = self.endpoint.key_command
        printed = () if command is None else command.printed
        secrets = (*self._secrets, *secrets_in(headers), *secrets_in_query(query))
        return Origin(model, self.host, secrets, printed, self._url)

    def chat(
        self,
        body: Mapping[str, Any],
        headers: Mapping[str, str],
        query: Mapping[str, object],
        model: str,
    ) -> "ChatAnswer":
        """Return one exchange of ``POST /chat/completions``; nothing is sent before it is iterated."""
        origin = self.origin(model, headers, query)
        own = {name.lower(): value for name, value in headers.items()}  # no header is sent twice
        fields = {**self.endpoint.query, **query}
        url = f"{self._url}?{urlencode(fields, doseq=True)}" if fields else self._url
        request = Request("POST", url, {**self._headers, **own}, encode(body))
        return ChatAnswer(
            self._client.exchange(request, OpenAIWireErrors(origin), limited=True), origin
        )

    def follow(self, error: OpenAIStatusError) -> bool:
        """Move to where *error* redirects, if that is on the same origin; False otherwise."""
        place = error.headers.get("location", "")
        if error.status_code not in _MOVED or not place:
            return False
        try:
            moved = urljoin(self._url, place)
            if authority(moved) != self.host:
                return False
        except ValueError:  # it is not a URL
            return False
        self._url = urlsplit(self._url)._replace(path=urlsplit(moved).path).geturl()
        return True

    async def aclose(self) -> None:
        """Hang up and close in the running loop; connections of others close with their loops."""
        await self._client.aclose()


class ChatAnswer(Incoming):
    """The answer to one request for a chat completion."""

    def __init__(self, exchange: Exchange, origin: Origin) -> None:
        super().__init__(origin, origin.host)
        self._exchange = exchange
        self._reader = ChatReader(origin)

    @property
    def ignored(self) -> Sequence[str]:
        """What was left out of the answer so far, a phrase each."""
        return self._reader.ignored

    def keep_bytes(self, kept: WireBytes) -> None:
        """Put what goes over the wire into *kept* as well."""
        self._exchange.keep_bytes(kept)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._exchange

    def read(self, piece: bytes) -> list[Chunk]:
        """Return the chunks of the events that *piece* completes."""
        return self._reader.feed(piece)

    def end(self) -> list[Chunk]:
        """Return the chunks of what is left when there are no more pieces."""
        return self._reader.end_of_body()

    def rescue(self, error: TimestepError) -> list[Chunk]:
        """Return the last chunks if what broke is only the end of a whole answer."""
        if self._exchange.has_failed and self._reader.is_whole:
            return self._reader.end_of_body()
        return super().rescue(error)

    async def aclose(self, *, finished: bool = False) -> None:
        """Hang up, or let the rest of a *finished* body run out; safe to call twice."""
        await self._exchange.aclose(finished=finished)
