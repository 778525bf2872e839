"""Recorded exchanges with a real server, replayed byte for byte.

A recording is a JSON file with one HTTP exchange: ``request`` (``method``, ``path``, ``headers``,
``body``, ``body_raw``) and ``response`` (``status``, ``headers``, ``body`` after de-chunking,
``chunks`` with the ``line`` of each chunk, ``end``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from timestep.testing.answers import Ticks
from timestep.testing.faults import Close, Fault, Piece, Stall
from timestep.testing.http import Request, Response

_FRAMING = ("content-length", "transfer-encoding")


@dataclass(frozen=True)
class Recording:
    """One recorded exchange.

    Attributes:
        name: The file's name without ``.json``.
        request: The request as it was sent.
        status: The HTTP status code.
        headers: The response's headers.
        body: The whole body, exact, without transfer encoding.
        chunks: The body in the chunks it came in; one for a body with a length.
        end: ``"complete"``, or how the connection ended instead.
        faults: What goes wrong while it is replayed.
    """

    name: str
    request: Request
    status: int
    headers: Mapping[str, str]
    body: bytes
    chunks: Sequence[bytes]
    end: str = "complete"
    faults: Sequence[Fault] = ()

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Return the recording in the file at *path*."""
        path = Path(path)
        exchange = json.loads(path.read_bytes())
        request, response = exchange["request"], exchange["response"]
        place, _, query = request["path"].partition("?")
        body = response["body"].encode()
        chunks = [chunk["line"].encode() for chunk in response["chunks"]]
        return cls(
            name=path.stem,
            request=Request(
                request["method"],
                place,
                {name.lower(): value for name, value in request["headers"].items()},
                (request["body_raw"] or "").encode(),
                query,
            ),
            status=response["status"],
            headers=response["headers"],
            body=body,
            chunks=chunks or [body],
            end=response["end"],
        )

    @classmethod
    def load_all(cls, directory: Path | str) -> list[Self]:
        """Return all recordings in *directory*, sorted by name."""
        return [cls.load(path) for path in sorted(Path(directory).glob("*.json"))]

    @property
    def json(self) -> Any:
        """The parsed body of a response that is one JSON value."""
        return json.loads(self.body)

    @property
    def lines(self) -> list[Any]:
        """The parsed lines of a streamed response."""
        return [json.loads(line) for line in self.body.split(b"\n") if line.strip()]

    def with_faults(self, faults: Sequence[Fault]) -> Self:
        """Return the same exchange with *faults* while it is replayed."""
        return replace(self, faults=tuple(faults))

    def respond(self, request: Request, ticks: Ticks) -> Response:
        """Return the recorded response, whatever *request* says."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        response = Response(
            self.status,
            tuple(item for item in self.headers.items() if item[0].lower() not in _FRAMING),
            self._pieces(),
            None if "transfer-encoding" in headers else int(headers.get("content-length", 0)),
        )
        return response.with_faults(self.faults)

    def _pieces(self) -> Sequence[Piece]:
        if self.end == "complete":
            return self.chunks
        is_clients = self.end.startswith("client")
        fault = Stall(len(self.chunks)) if is_clients else Close(len(self.chunks))
        return list(fault.apply(self.chunks))
