"""Puts image files into a message, as data and never as a path or a URL."""

import base64
from collections.abc import Sequence

import click
from agents import TResponseInputItem
from openai.types.responses import ResponseInputImageParam

from timestep.cli.input import read_file


def user_message(text: str, images: Sequence[str] = ()) -> TResponseInputItem:
    """Return the user's message: *text*, then *images*, which are data URLs."""
    if not images:
        return {"role": "user", "content": text}
    parts: list[ResponseInputImageParam] = [
        {"type": "input_image", "image_url": url, "detail": "auto"} for url in images
    ]
    return {"role": "user", "content": [{"type": "input_text", "text": text}, *parts]}


def data_url(path: str) -> str:
    """Return the image file at *path* as a URL."""
    try:
        data = read_file(path)
    except OSError as exc:
        raise click.UsageError(f"--image {path}: {exc.strerror}.") from exc
    kind = _kind(data)
    if kind is None:
        raise click.UsageError(f"--image {path}: not a PNG, JPEG, GIF or WebP image.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _kind(data: bytes) -> str | None:
    """Return the format that the first bytes show, whatever the file is called."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "webp"
    return None
