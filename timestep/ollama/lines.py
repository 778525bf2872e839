"""The lines of an answer, and how long one may be. Pure."""

from timestep.errors import OllamaStreamError
from timestep.net.origin import Origin

LONGEST = 128 << 20
"""So many bytes without an end are no answer; what never ends would fill the memory."""


class LineSplitter:
    """Cuts a byte stream into its lines, at newlines and nowhere else."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = bytearray()

    @property
    def waiting(self) -> int:
        """How many bytes wait for the newline that ends their line."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* completes."""
        if b"\n" not in data:
            self._rest += data
            return []
        lines = data.split(b"\n")
        if self._rest:
            lines[0] = bytes(self._rest + lines[0])
        self._rest = bytearray(lines.pop())
        return lines

    def flush(self) -> list[bytes]:
        """The last line, when no newline follows it."""
        last, self._rest = bytes(self._rest), bytearray()
        return [last] if last else []


def check_length(what: str, size: int, origin: Origin) -> None:
    """Refuse *what* of *size* bytes, of which more may come, when it cannot be an answer.

    Raises:
        OllamaStreamError: It is longer than `LONGEST`.
    """
    if size > LONGEST:
        raise OllamaStreamError(
            f"{origin.host} sent {what} of more than {LONGEST >> 20} MiB, which no Ollama server "
            "does. Is base_url the root of an Ollama server?",
            **origin.where(),
        )
