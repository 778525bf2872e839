"""The content of input items: text, images, audio and arguments. Pure."""

import base64
import binascii
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard, cast
from urllib.parse import unquote

from pydantic import BaseModel
from pydantic_core import from_json

from timestep.errors import UnsupportedInputError
from timestep.net.json_text import as_json

Item = Mapping[str, Any]
Medium = tuple[str, str]
"""The capability it needs, and its bytes as base64."""

_TEXT_PARTS = frozenset({"input_text", "output_text", "text", "refusal", "summary_text"})
_IMAGE_PARTS = frozenset({"input_image", "image_url", "computer_screenshot"})
_PARTS = _TEXT_PARTS | _IMAGE_PARTS | {"input_audio", "input_file"}

Fetched = Mapping[str, bytes]
"""The bytes of remote images, by URL, fetched beforehand where that is allowed."""


def as_items(items: Any) -> Sequence[Item]:
    """Return *items* as mappings; text is a message of the user."""
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    if not isinstance(items, Sequence):
        raise UnsupportedInputError(
            f"The input is {type(items).__name__}, not text or a list of input items."
        )
    found = [_as_mapping(item) for item in cast("Sequence[Any]", items)]
    for index, item in enumerate(found):
        if not is_object(item):
            raise UnsupportedInputError(f"input[{index}] is {type(item).__name__}, not an item.")
    return cast("Sequence[Item]", found)


def read_content(
    content: Any, index: int, name: str, fetched: Fetched, *, joint: str = "\n"
) -> tuple[str, list[Medium]]:
    """Return the text and the media of *content*, which is text, a part or a list of parts."""
    if isinstance(content, str):
        return content, []
    where = f"input[{index}].{name}"
    parts = as_parts(content)
    if not parts and content not in (None, [], ()):
        raise UnsupportedInputError(
            f"{where} is {type(content).__name__}, not text or a list of content parts."
        )
    texts: list[str] = []
    media: list[Medium] = []
    for number, part in enumerate(parts):
        found = _read_part(part, f"{where}[{number}]", fetched)
        if isinstance(found, str):
            texts.append(found)
        else:
            media.append(found)
    return joint.join(texts), media


def _read_part(part: Any, where: str, fetched: Fetched) -> str | Medium:
    if isinstance(part, str):
        return part
    if not is_object(part):
        raise UnsupportedInputError(f"{where} is {type(part).__name__}, not a content part.")
    kind = str(part.get("type"))
    if kind in _TEXT_PARTS:
        return text_of(part)
    if kind in _IMAGE_PARTS:
        return "vision", _read_image(part, where, fetched)
    if kind == "input_audio":
        audio = part.get("input_audio")
        data = audio.get("data") if is_object(audio) else None
        return "audio", _checked(str(data or ""), where, "not base64; send the")
    raise UnsupportedInputError(
        f"{where} is {kind!r}, which Ollama cannot take; send text, images or audio."
    )


def _read_image(part: Item, where: str, fetched: Fetched) -> str:
    url = _image_url(part)
    if not isinstance(url, str) or not url:
        if not part.get("file_id"):
            raise UnsupportedInputError(
                f"{where} has the image_url {url!r}; write a data URL (data:image/png;base64,…)."
            )
        raise UnsupportedInputError(
            f"{where} names an uploaded file, and only OpenAI can read it; send the bytes as a "
            "data URL (data:image/png;base64,…)."
        )
    return image_to_base64(url, where=where, fetched=fetched)


def remote_images(items: str | Sequence[Any]) -> list[str]:
    """Return the URLs of remote images among *items*, each once, in order."""
    urls = [
        _image_url(part)
        for item in as_items(items)
        for key in ("content", "output")
        for part in mappings(item.get(key))
        if str(part.get("type")) in _IMAGE_PARTS
    ]
    return list(dict.fromkeys(url for url in urls if isinstance(url, str) and is_remote(url)))


def as_parts(content: Any) -> Sequence[Any]:
    """Return the parts of *content*: none for text, a list of one for a single part."""
    if isinstance(content, str | bytes):
        return []
    if is_object(content) or isinstance(content, BaseModel):
        return [_as_mapping(content)]
    if not isinstance(content, Sequence):
        return []
    return [_as_mapping(part) for part in cast("Sequence[Any]", content)]


def _as_mapping(value: Any) -> Any:
    """Return *value*, as a mapping when it is an output item or a part of one."""
    if type(value) is dict:  # as nearly all are, and pydantic's classes are slow to ask
        return cast("Any", value)
    return value.model_dump(exclude_unset=True) if isinstance(value, BaseModel) else value


def is_object(value: Any) -> TypeGuard[Item]:
    """Return True for a mapping."""
    # Nearly all are dicts, and asking the abstract class takes ten times as long.
    return type(value) is dict or isinstance(value, Mapping)


def mappings(content: Any) -> list[Item]:
    """Return the parts of *content* that are mappings."""
    return [part for part in as_parts(content) if is_object(part)]


def is_part(value: Any) -> bool:
    """Return True for text and for a content part."""
    return isinstance(value, str) or (is_object(value) and str(value.get("type")) in _PARTS)


def text_of(part: Item) -> str:
    """Return the text of *part*, a refusal's too."""
    return str(part.get("text") or part.get("refusal") or "")


def _image_url(part: Item) -> Any:
    url = part.get("image_url")
    return url.get("url") if is_object(url) else url


def image_to_base64(source: str, *, where: str, fetched: Fetched) -> str:
    """Return the image in *source*: a data URL, base64 text, or a URL among the *fetched*."""
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


def decode_arguments(arguments: Any) -> dict[str, Any]:
    """Return the object in *arguments*: OpenAI sends JSON text, Ollama wants the object.

    Empty arguments and ``null`` are ``{}``. Arguments that are not a JSON object, or that hold
    what the server cannot read, are kept as ``{"_raw": text}``.
    """
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return {}
    try:
        value = from_json(arguments) if isinstance(arguments, str) else arguments
        if value is None:
            return {}
        if is_object(value) and _is_finite(value):
            return dict(value)
    except (TypeError, ValueError, RecursionError):
        pass  # not JSON
    return {"_raw": arguments if isinstance(arguments, str) else to_json(arguments, "arguments")}


def _is_finite(value: Any) -> bool:
    """Return True when every number in *value* fits into a 64 bit float, as the server's are."""
    if isinstance(value, int | float):
        return abs(value) <= sys.float_info.max
    if is_object(value):
        inside: Iterable[Any] = value.values()
    elif isinstance(value, list | tuple):
        inside = cast("Sequence[Any]", value)
    else:
        return True
    # Most arguments are text, and a call for each of them would be most of the cost.
    return all(type(item) is str or _is_finite(item) for item in inside)


def to_json(value: Any, where: str) -> str:
    """Return *value* as JSON text."""
    try:
        return as_json(value)
    except (TypeError, ValueError, RecursionError) as exc:
        raise UnsupportedInputError(f"{where} cannot be written as JSON: {exc}.") from exc
