"""The input of a batch: OpenAI's batch lines, a short form, or CSV. Pure but for reading the file.

    {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"model": …}}
    {"id": "a", "prompt": "Say hello."}
    id,prompt

Source: OpenAI's Batch API guide, "Prepare your batch file" (2026-11).
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from agents import AgentOutputSchemaBase

from timestep.batch.bodies import read_chat, read_responses
from timestep.batch.question import BadLineError, Json, Question, text_or_none

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
_READERS = {CHAT: read_chat, RESPONSES: read_responses}
_KEY_LETTERS = 24
_KEY_FORM = json.JSONEncoder(sort_keys=True, ensure_ascii=False)
_LONGEST_LINE = 64 << 20
_SHOWN = 20
"""How many columns a message names."""


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
        text = _KEY_FORM.encode(self.asked)
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
        agent: The name of what answers the lines, with its own instructions, tools and output type.
    """

    model: str | None = None
    instructions: str | None = None
    output: AgentOutputSchemaBase | None = field(default=None, repr=False)
    column: str = "prompt"
    agent: str | None = None


def read_file(path: Path, defaults: Defaults) -> Iterator[Line | BadLine]:
    """The lines of the file at *path*, in order; one at a time, so that a long file needs no memory.

    A name that ends in ``.csv`` is read as CSV with a header.

    Raises:
        OSError: The file cannot be read.
    """
    return _unique(read_lines(path, defaults))


def read_lines(path: Path, defaults: Defaults) -> Iterator[Line | BadLine]:
    """The lines as `read_file` gives them, but with ids that may stand twice."""
    if path.suffix.lower() == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _read_csv(file, defaults)
        return
    with path.open("rb") as file:
        texts = iter(partial(file.readline, _LONGEST_LINE + 1), b"")
        for number, text in enumerate(texts, 1):
            if len(text) > _LONGEST_LINE:
                yield BadLine(number, f"longer than {_LONGEST_LINE >> 20} MiB")
                return  # its rest is not a line
            if text.strip():  # blank lines are skipped and counted
                yield _read_text(number, text, defaults)


def _read_csv(file: Iterable[str], defaults: Defaults) -> Iterator[Line | BadLine]:
    rows = csv.DictReader(file, strict=True)  # a quote that never ends would take all rows
    names = rows.fieldnames or ()
    if names and list(names).count(defaults.column) != 1:
        reason = (
            f"the header has to have the column {defaults.column!r} once; it has "
            f"{', '.join(map(repr, names[:_SHOWN]))}. --column names the one with the prompts"
        )
        yield BadLine(1, reason)
        return
    for number, row in enumerate(rows, 2):
        if any(row.pop(None, ())):  # None: the key of what is too much
            yield BadLine(number, "more columns than the header; quote a text that has a comma")
        else:
            yield _read(_short, number, row, defaults)


def read_values(
    values: Iterable[Mapping[str, Any]], defaults: Defaults
) -> Iterator[Line | BadLine]:
    """Yield *values* read as lines of an input."""
    return _unique(read_value(number, value, defaults) for number, value in enumerate(values, 1))


def _unique(lines: Iterable[Line | BadLine]) -> Iterator[Line | BadLine]:
    """Yield *lines*; one with the id of an earlier line is bad."""
    seen: set[int] = set()
    for line in lines:
        mark = hash(line.custom_id) if isinstance(line, Line) else None
        if mark in seen:
            reason = "its custom_id stands on an earlier line too; each line needs its own"
            yield BadLine(line.number, reason)
            continue
        if mark is not None:
            seen.add(mark)  # a long input has too many ids to keep their texts
        yield line


def _read_text(number: int, text: bytes, defaults: Defaults) -> Line | BadLine:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return BadLine(number, "not JSON; write one JSON object on each line")
    if not isinstance(value, dict):
        return BadLine(number, "not a JSON object")
    return read_value(number, cast("Json", value), defaults)


def read_value(number: int, value: Mapping[str, Any], defaults: Defaults) -> Line | BadLine:
    """Return *value* read as the line *number* of an input."""
    return _read(_openai_line if "body" in value else _short, number, value, defaults)


def _read(
    read: Callable[[int, Mapping[str, Any], Defaults], Line],
    number: int,
    value: Mapping[str, Any],
    defaults: Defaults,
) -> Line | BadLine:
    try:
        line = read(number, value, defaults)
        return line if defaults.agent is None else _for_agent(line, defaults.agent)
    except BadLineError as exc:
        return BadLine(number, str(exc))


def _for_agent(line: Line, agent: str) -> Line:
    asked = line.question
    if asked.instructions or asked.tools or asked.output:
        raise BadLineError("the agent has its own instructions, tools and schema; leave them out")
    return replace(line, asked=[*line.asked, agent])


def _openai_line(number: int, value: Mapping[str, Any], defaults: Defaults) -> Line:
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


def _short(number: int, value: Mapping[str, Any], defaults: Defaults) -> Line:
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
    custom_id = f"line-{number}" if given in (None, "") else str(given)
    return Line(number, custom_id, CHAT, question, asked)
