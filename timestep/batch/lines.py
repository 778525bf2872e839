"""The input of a batch: OpenAI's batch lines, a short form, or CSV. Pure but for reading the file.

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": …}}
    {"id": "a", "prompt": "Say hello."}
    id,prompt

Source: OpenAI's Batch API guide, "Prepare your batch file" (2026-11).
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from agents import AgentOutputSchemaBase

from timestep.batch.chat import read_chat
from timestep.batch.question import BadLineError, Json, Question, text_or_none
from timestep.batch.responses import read_responses

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
_READERS = {CHAT: read_chat, RESPONSES: read_responses}
_KEY_LETTERS = 24
_LONGEST_LINE = 64 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One line that can be asked.

    Attributes:
        number: Its place in the input, from 1.
        custom_id: The caller's name for it, unique in the input.
        url: Decides the form of the answer: ``/v1/chat/completions`` or ``/v1/responses``.
        asked: What is asked, as JSON.
    """

    number: int
    custom_id: str
    url: str
    question: Question
    asked: list[Any] = field(repr=False)

    @property
    def key(self) -> str:
        """The hash of what is asked. A line with another text has another key."""
        text = json.dumps(self.asked, sort_keys=True, ensure_ascii=False)
        return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_KEY_LETTERS]


@dataclass(frozen=True, slots=True)
class BadLine:
    """One line that cannot be asked.

    Attributes:
        reason: Names the field and the fix.
    """

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Defaults:
    """What lines of the short form leave out; a body of OpenAI's form only lacks its model.

    Attributes:
        model: None for the provider's default model.
        column: The column of a CSV file, and the key of a short line, that holds the prompt.
    """

    model: str | None = None
    instructions: str | None = None
    output: AgentOutputSchemaBase | None = field(default=None, repr=False)
    column: str = "prompt"


def read_file(path: Path, defaults: Defaults) -> Iterator[Line | BadLine]:
    """The lines of the file at *path*, in order; one at a time, so that a long file needs no memory.

    A name that ends in ``.csv`` is read as CSV with a header.

    Raises:
        OSError: The file cannot be read.
    """
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from read_csv(file, defaults)
        return
    with path.open("rb") as file:
        yield from read_jsonl(file, defaults)


def read_jsonl(source: Iterable[bytes], defaults: Defaults) -> Iterator[Line | BadLine]:
    """The lines of *source*; blank ones are skipped and counted."""
    seen: set[int] = set()
    for number, text in enumerate(source, 1):
        if text.strip():
            yield _checked(number, _parsed(text), defaults, seen)


def read_csv(source: Iterable[str], defaults: Defaults) -> Iterator[Line | BadLine]:
    """The rows of *source* behind its header."""
    seen: set[int] = set()
    rows = csv.DictReader(source, strict=True)  # a quote that never ends would take all rows
    for number, row in enumerate(rows, 2):
        yield _checked(number, dict(row), defaults, seen)


def read_values(
    values: Iterable[Mapping[str, Any]], defaults: Defaults, *, first: int = 1
) -> Iterator[Line | BadLine]:
    """Yield *values* read as lines of an input; the first has the number *first*."""
    seen: set[int] = set()
    for number, value in enumerate(values, first):
        yield _checked(number, dict(value), defaults, seen)


def _parsed(text: bytes) -> Json | BadLineError:
    if len(text) > _LONGEST_LINE:
        return BadLineError(f"longer than {_LONGEST_LINE >> 20} MiB")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        return BadLineError("not JSON; write one JSON object on each line")
    if not isinstance(value, dict):
        return BadLineError("not a JSON object")
    return cast("Json", value)


def _checked(
    number: int, value: Json | BadLineError, defaults: Defaults, seen: set[int]
) -> Line | BadLine:
    if isinstance(value, BadLineError):
        return BadLine(number, str(value))
    read = _openai_line if "body" in value else _short
    try:
        line = read(number, value, defaults)
    except BadLineError as exc:
        return BadLine(number, str(exc))
    mark = hash(line.custom_id)  # a long input has too many ids to keep their texts
    if mark in seen:
        reason = "its custom_id stands on an earlier line too; each line needs its own"
        return BadLine(number, reason)
    seen.add(mark)
    return line


def _openai_line(number: int, value: Json, defaults: Defaults) -> Line:
    custom_id, url, body = value.get("custom_id"), value.get("url"), value["body"]
    if not isinstance(custom_id, str) or not custom_id:
        raise BadLineError("custom_id is missing; give each line a name of its own")
    if value.get("method", "POST") != "POST":
        raise BadLineError('method: write "POST"')
    if not isinstance(url, str) or url not in _READERS:
        raise BadLineError(f"url: write {' or '.join(_READERS)}")
    if not isinstance(body, dict):
        raise BadLineError("body is not an object")
    question = _READERS[url](cast("Json", body))
    if question.model is None:
        question = replace(question, model=defaults.model)
    return Line(number, custom_id, url, question, [url, body, question.model])


def _short(number: int, value: Json, defaults: Defaults) -> Line:
    prompt = value.get(defaults.column)
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadLineError(f"{defaults.column!r} is missing or empty")
    given = value.get("custom_id") or value.get("id")
    question = Question(
        model=text_or_none(value.get("model"), "model") or defaults.model,
        instructions=text_or_none(value.get("instructions"), "instructions")
        or defaults.instructions,
        input=prompt,
        output=defaults.output,
    )
    schema = None if defaults.output is None else defaults.output.json_schema()
    asked = [prompt, question.model, question.instructions, schema]
    custom_id = f"line-{number}" if given is None else str(given)
    return Line(number, custom_id, CHAT, question, asked)
