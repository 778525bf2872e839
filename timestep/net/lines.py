"""The lines of a body, whatever pieces it comes in. Pure."""


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
        """Return the lines that *data* completes."""
        if b"\n" not in data:
            self._rest += data
            return []
        lines = data.split(b"\n")
        if self._rest:
            lines[0] = bytes(self._rest + lines[0])
        self._rest = bytearray(lines.pop())
        return lines

    def flush(self) -> list[bytes]:
        """Return the last line, when no newline follows it."""
        last, self._rest = bytes(self._rest), bytearray()
        return [last] if last else []
