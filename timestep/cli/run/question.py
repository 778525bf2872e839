"""Reads what the options of a question name: images, and the JSON schema of the answer."""

import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import click
from agents import AgentOutputSchemaBase, TResponseInputItem
from openai.types.responses import ResponseInputImageParam

from timestep.cli.input import read_file

_KINDS = {
    "png": rb"\x89PNG\r\n\x1a\n",
    "jpeg": rb"\xff\xd8\xff",
    "gif": rb"GIF8[79]a",
    "webp": rb"RIFF.{4}WEBP",
}
"""How the file of an image begins, whatever it is called."""


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
    data = read_file(path, "--image")
    kind = next((kind for kind, head in _KINDS.items() if re.match(head, data, re.DOTALL)), None)
    if kind is None:
        raise click.UsageError(f"--image {path}: not a PNG, JPEG, GIF or WebP image.")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def read_output_schema(path: str | None) -> AgentOutputSchemaBase | None:
    """Return the schema in the file at *path*, if there is one, as an output type for an agent."""
    if path is None:
        return None
    from timestep.answer.json_schema import JsonSchema, check_json_schema

    text = read_file(path, "--output-schema")
    try:
        schema: Any = json.loads(text)
    except ValueError as exc:
        raise click.UsageError(f"{path} is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise click.UsageError(f"{path} is nested too deeply.") from exc
    if not isinstance(schema, dict):
        raise click.UsageError(f"{path} is not a JSON schema: it is not an object.")
    schema = cast("dict[str, Any]", schema)
    try:
        check_json_schema(Path(path).name, schema)
    except ValueError as exc:
        raise click.UsageError(f"{path}: {exc}.") from exc
    return JsonSchema(Path(path).name, schema)
