"""Logs each warning about a model once."""

import logging
from collections.abc import Iterable

from timestep.errors import UnsupportedInputError

logger = logging.getLogger("timestep")


class Warnings:
    """The warnings about one model."""

    def __init__(self, kind: str, model: str, *, strict: bool) -> None:
        self._kind = kind
        self._model = model
        self._strict = strict
        self._said: set[str] = set()

    def ignored(self, phrases: Iterable[str]) -> None:
        """Warn about each thing that is ignored."""
        found = list(phrases)
        if found and self._strict:
            raise UnsupportedInputError(
                f"{self._kind} {self._model!r} cannot take: {'; '.join(found)}. Leave it out, or "
                "turn off strict_feature_validation to ignore it."
            )
        for phrase in found:
            self.once(phrase, f"ignores {phrase}.")

    def once(self, topic: str, said: str, **more: str) -> None:
        """Log a warning the first time for *topic*. *more* are attributes of the log record."""
        if topic not in self._said:
            self._said.add(topic)
            extra = {"topic": topic, **more}
            logger.warning("%s %r %s", self._kind, self._model, said, extra=extra)
