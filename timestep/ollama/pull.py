"""Models from a registry: the server loads them, and tells how far it is.

Source: ollama ``server/images.go`` (``PullModel``) and ``api/types.go`` (``ProgressResponse``), v0.33.0.
"""

import json
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from timestep.errors import ModelNotFoundError, OllamaError, OllamaStatusError, OllamaStreamError
from timestep.net.origin import Origin
from timestep.ollama.lines import LineSplitter, check_length, count
from timestep.ollama.wire import Wire

_SUCCESS = "success"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is.

    Attributes:
        status: The server's words, such as ``"pulling manifest"``.
        digest: Of the layer this is about; None when it is about no layer.
        total: The layer's size in bytes.
        completed: How many of them the server has.
    """

    status: str
    digest: str | None = None
    total: int = 0
    completed: int = 0


async def pull(wire: Wire, name: str) -> AsyncGenerator[Progress]:
    """Have the server of *wire* load the model *name*; ends only when it succeeded.

    Layers come in any order and interleave. Closing the generator stops the server; the next pull
    goes on where this one ended.

    Raises:
        ModelNotFoundError: No registry has the model.
        OllamaError: The server cannot be reached, or could not load the model.
    """
    origin = wire.origin(name)
    stream = wire.stream("/api/pull", {"model": name}, {}, name)
    lines = LineSplitter()
    status = ""
    try:
        async for piece in stream:
            for progress in _read(lines.feed(piece), origin):
                status = progress.status
                yield progress
            check_length("a line", lines.waiting, origin)
        for progress in _read(lines.flush(), origin):
            status = progress.status
            yield progress
    except OllamaStatusError as exc:
        if (error := _unknown(exc.server_message, origin)) is not None:
            raise error from exc
        raise
    finally:
        await stream.aclose()
    if status != _SUCCESS:
        raise OllamaStreamError(
            f"{origin.host} ended the pull of {name!r} early, at {origin.clean(status)!r}. Pull "
            "again: what is loaded is kept.",
            **origin.where(),
        )


def _read(lines: list[bytes], origin: Origin) -> Iterator[Progress]:
    for line in lines:
        if not line.strip():
            continue
        try:
            document: Any = json.loads(line)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, Mapping):
            raise OllamaStreamError(
                f"{origin.host} sent a line that is no progress: "
                f"{origin.clean(line.decode(errors='replace'))!r}. Is it an Ollama server?",
                **origin.where(),
            )
        fields = cast("Mapping[str, Any]", document)
        if "error" in fields:
            raise _refusal(origin.clean(str(fields["error"])), origin)
        digest = fields.get("digest")
        yield Progress(
            str(fields.get("status", "")),
            digest if isinstance(digest, str) else None,
            count(fields, "total"),
            count(fields, "completed"),
        )


def _refusal(said: str, origin: Origin) -> OllamaError:
    return _unknown(said, origin) or OllamaStreamError(
        f"{origin.host} could not pull {origin.model!r}: {said}. Pull again, and what is loaded is "
        "kept; the server's log says more.",
        server_message=said,
        **origin.where(),
    )


def _unknown(said: str, origin: Origin) -> ModelNotFoundError | None:
    """The error for a model that no registry has, when that is what the server *said*."""
    if "file does not exist" not in said:
        return None
    return ModelNotFoundError(
        f"No registry has {origin.model!r}. https://ollama.com/search lists models; a tag such as "
        "':4b' belongs to its model.",
        status_code=404,
        server_message=said,
        **origin.where(),
    )
