"""Images and audio as the base64 text Ollama takes. Pure: nothing is opened, nothing fetched.

Ollama carries both in a message's ``images``, as standard, padded base64 without a data URL.
Source: ollama ``api/types.go`` (``ImageData``), v0.33.0.
"""

import base64
import binascii
from collections.abc import Mapping
from urllib.parse import unquote

from timestep.errors import UnsupportedInputError

Fetched = Mapping[str, bytes]
"""The bytes of remote images, by URL, fetched beforehand where that is allowed."""


def image_to_base64(source: str, *, where: str, fetched: Fetched) -> str:
    """Return the image in *source*: a data URL, base64 text, or a URL among the *fetched*.

    Raises:
        UnsupportedInputError: It is something else. A path is never opened, and a URL is never
            fetched here.
    """
    if source[:5].lower() == "data:":
        return _from_data_url(source, where)
    if is_remote(source):
        if source in fetched:
            return base64.b64encode(fetched[source]).decode("ascii")
        raise UnsupportedInputError(
            f"{where} is a remote image, and Ollama does not fetch images. Send the bytes as a data URL "
            "(data:image/png;base64,…), or set allow_remote_images=True to have timestep fetch it."
        )
    return _checked(source, where, "neither a data URL nor base64; a file is never read, send its")


def audio_to_base64(data: str, *, where: str) -> str:
    """Return the audio in *data* as the base64 that Ollama takes.

    Raises:
        UnsupportedInputError: It is not base64.
    """
    return _checked(data, where, "not base64; send the")


def is_remote(source: str) -> bool:
    """Return True when *source* is an http or https URL."""
    return source[:8].lower().startswith(("http://", "https://"))


def _from_data_url(url: str, where: str) -> str:
    head, comma, data = url.partition(",")
    if not comma or not head.lower().endswith(";base64"):
        raise UnsupportedInputError(
            f"{where} is a data URL without base64; write data:image/png;base64,…"
        )
    kind = head[len("data:") :].split(";")[0].lower()
    if kind and not kind.startswith(("image/", "audio/", "application/octet-stream")):
        raise UnsupportedInputError(
            f"{where} holds {kind}; Ollama takes images and audio. Send documents as text."
        )
    return _checked(unquote(data), where, "a data URL whose base64 is damaged; send the")


def _checked(text: str, where: str, problem: str) -> str:
    compact = "".join(text.split())
    padded = compact + "=" * (-len(compact) % 4)
    alphabet = padded.replace("-", "+").replace("_", "/")
    try:
        decoded = base64.b64decode(alphabet, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise UnsupportedInputError(f"{where} is {problem} bytes as base64.") from exc
    if not decoded:
        raise UnsupportedInputError(f"{where} is empty; leave it out or send the bytes as base64.")
    return base64.b64encode(decoded).decode("ascii")
