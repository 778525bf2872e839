"""Keeps secrets out of what HTTP libraries log.

At the level DEBUG they log the headers of an answer, in which a server may repeat a key.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import TypeVar

PieceT = TypeVar("PieceT")

_PARTS = ("connection", "http11", "http2", "proxy", "socks")
_LOGGERS = (
    "httpx",
    "httpx2",
    "openai._base_client",
    *(f"{library}.{part}" for library in ("httpcore", "httpcore2") for part in _PARTS),
)

_masking: ContextVar[Callable[[str], str] | None] = ContextVar("timestep_masking", default=None)


class _Mask(logging.Filter):
    """Masks what the running request must not repeat. A filter of a logger does not see its children."""

    def filter(self, record: logging.LogRecord) -> bool:
        if mask := _masking.get():
            said = record.getMessage()
            if (shown := mask(said)) != said:
                record.msg, record.args = shown, ()
        return True


@cache
def _watch() -> None:
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_Mask())


def mask_logs(mask: Callable[[str], str]) -> None:
    """Put *mask* on what HTTP libraries log in the running task from now on."""
    _watch()
    _masking.set(mask)


async def with_masked_logs(
    pieces: AsyncIterator[PieceT], mask: Callable[[str], str]
) -> AsyncGenerator[PieceT]:
    """Yield *pieces*, with *mask* on the same logs only while each is waited for."""
    while True:
        with masked_logs(mask):
            piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


@contextmanager
def masked_logs(mask: Callable[[str], str]) -> Generator[None]:
    """Put *mask* on the same logs within a ``with`` block."""
    before = _masking.get()
    mask_logs(mask)
    try:
        yield
    finally:
        _masking.set(before)
