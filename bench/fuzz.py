"""Search for input that ends in anything but a result or an error of timestep's.

    pip install atheris
    python -m bench.fuzz reply -max_total_time=300

The first argument names what is tried: reply, completion, response, request, schema, settings, names, redaction
or store. The others are libFuzzer's: a directory keeps what was learned, a file plays one input again. Coverage
guides the search, so it finds what the random inputs of ``tests/ollama/test_fuzz.py`` rarely do.
Input is built of the words that stand in the source of what reads it.
"""

# ruff: noqa: PLC0415 - atheris must see what is imported
import ast
import itertools
import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1] / "timestep"
ODD = ["", "{}", "[]", '{"a":1}', "NaN", "\ud800", "\x00", "é", "```json\n{}\n```", "http://[", "data:image/png;base64,iVBORw0KGgo=", "data:;base64,%", "[" * 2000, "9" * 5000]  # a table reads better in rows # fmt: skip
SCALARS = [None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 10**400]
KEYS = ["sk-" + "a1" * 10, "ghp_" + "d4" * 12, "Bearer " + "f6" * 10, "://me:pass@db", "0" * 32 + "." + "g7" * 12, 's3cr3t/Key"x']  # as above # fmt: skip

Target = Callable[["Draw"], None]


class Draw:
    """Values, drawn from the bytes that the fuzzer chose.

    Args:
        data: The fuzzer's ``FuzzedDataProvider``.
    """

    def __init__(self, data: Any) -> None:
        self._data = data

    def below(self, limit: int) -> int:
        """A number from 0 to *limit* - 1."""
        return int(self._data.ConsumeIntInRange(0, limit - 1))

    def one(self, choices: Sequence[Any]) -> Any:
        """One of *choices*."""
        return choices[self.below(len(choices))]

    def text(self, words: Sequence[str]) -> str:
        """A word, a few of them, or anything."""
        kind = self.below(6)
        if kind == 0:
            return str(self._data.ConsumeUnicode(8))
        return "".join(self.one(words) for _ in range(1 if kind < 5 else self.below(24)))

    def json(self, words: Sequence[str], depth: int = 6) -> Any:
        """A JSON value with *words* as its texts and the names of its members."""
        match self.below(10 if depth else 6):
            case 0 | 1:
                return self.one(SCALARS)
            case 2 | 3 | 4 | 5:
                return self.text(words)
            case 6 | 7:
                return [self.json(words, depth - 1) for _ in range(self.below(5))]
            case _:
                return {self.text(words): self.json(words, depth - 1) for _ in range(self.below(6))}


def words_of(*packages: str) -> list[str]:
    """The short texts in the source of *packages*, and odd ones."""
    found: set[str] = set()
    for module in (module for package in packages for module in (PACKAGE / package).rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= {node.value} if 0 < len(node.value) <= 30 else set()
    return [*sorted(found), *ODD]


def reply() -> Target:
    """Answers are read or refused, alike however their bytes are split."""
    from timestep.answer.ids import Ids
    from timestep.answer.reply import Reply
    from timestep.answer.rules import Rules
    from timestep.errors import OllamaError
    from timestep.net.origin import Origin
    from timestep.ollama.lines import ChatLines

    words = words_of("answer", "ollama")

    def read(pieces: Sequence[bytes]) -> object:
        count = itertools.count(1)
        ids = Ids(lambda prefix: f"{prefix}_{next(count)}")
        origin = Origin("m", "http://h")
        lines = ChatLines(origin)
        answer = Reply(Rules(), model="m", created_at=1.5, ids=ids, origin=origin)
        try:
            for piece in pieces:
                answer.feed(lines.feed(piece))
            answer.feed(lines.end_of_body())
        except OllamaError as exc:
            answer.fail(str(exc))
            return exc
        answer.finish()
        return [event.model_dump_json() for event in answer.take_events()]

    def target(draw: Draw) -> None:
        lines: list[Any] = []
        for _ in range(draw.below(4)):
            name = draw.one(["content", "thinking", "tool_calls"])
            message = {"role": "assistant", name: draw.json(words)}
            lines.append(draw.one([{"message": message}, draw.json(words)]))
        lines.append({"message": {"content": ""}, "done": True, "done_reason": draw.text(words)})
        body = "\n".join(map(json.dumps, lines)).encode()
        at = draw.below(len(body) + 1)
        assert repr(read([body])) == repr(read([body[:at], body[at:]]))

    return target


def completion() -> Target:
    """Chat completions are read or refused, as events or as a document, however they are split."""
    from timestep.answer.ids import Ids
    from timestep.answer.outcome import settle
    from timestep.answer.reply import Reply
    from timestep.answer.rules import Reading, Rules
    from timestep.errors import TimestepError
    from timestep.net.origin import Origin
    from timestep.openai.stream import ChatReader

    words = words_of("answer", "openai")
    names = [
        *("content", "reasoning", "reasoning_content", "reasoning_details", "refusal"),
        *("tool_calls", "function_call", "function", "index", "id", "name", "arguments", "text"),
        *("signature", "data", "summary", "type", "extra_content"),
    ]

    def read(pieces: Sequence[bytes], rules: Rules) -> object:
        count = itertools.count(1)
        ids = Ids(lambda prefix: f"{prefix}_{next(count)}")
        origin = Origin("m", "http://h")
        reader = ChatReader(origin)
        answer = Reply(rules, model="m", created_at=1.5, ids=ids, origin=origin)
        try:
            for piece in pieces:
                answer.feed(reader.feed(piece))
            answer.feed(reader.end_of_body())
            repair = settle(answer)
        except TimestepError as exc:
            answer.fail(str(exc))
            return type(exc), str(exc)
        if repair is not None:
            return repair
        answer.finish()
        return [event.model_dump_json() for event in answer.take_events()]

    def value(draw: Draw, depth: int = 4) -> Any:
        """Fields that a delta may have, within each other, and odd values."""
        match draw.below(4 if depth else 1):
            case 0:
                return draw.json([*words, *names], 2)
            case 1:
                return [value(draw, depth - 1) for _ in range(draw.below(4))]
            case _:
                return {draw.one(names): value(draw, depth - 1) for _ in range(draw.below(5))}

    def piece(draw: Draw) -> Any:
        choice = {
            draw.one(["delta", "message"]): value(draw),
            "finish_reason": draw.one([None, None, "stop", "length", "tool_calls", "error", 1]),
            draw.text(words): draw.json(words, 2),
        }
        usage = {"prompt_tokens": draw.json(words, 1), draw.text(words): draw.json(words, 2)}
        return draw.one([{"choices": [choice]}, {"choices": [choice], "usage": usage}, value(draw)])

    def target(draw: Draw) -> None:
        rules = Rules(
            reading=draw.one(list(Reading)),
            tools=("name", "text"),
            must_call=draw.one([False, True]),
            text_calls=draw.one([False, True]),
            think_tags=draw.one([False, True]),
        )
        pieces = [json.dumps(piece(draw)) for _ in range(1 + draw.below(4))]
        events = "".join(f"data: {each}\n\n" for each in pieces) + draw.one(
            ["", "data: [DONE]\n\n"]
        )
        body = draw.one([events, pieces[0], draw.text(words) + events]).encode("utf-8", "replace")
        at = draw.below(len(body) + 1)
        assert repr(read([body], rules)) == repr(read([body[:at], body[at:]], rules))

    return target


def response() -> Target:
    """Answers of the Responses API are passed on to the SDK, or refused."""
    from openai import OpenAIError
    from openai._models import construct_type
    from openai.types.responses import ResponseStreamEvent

    from timestep.errors import TimestepError
    from timestep.net.origin import Origin
    from timestep.openai.checked_answers import CheckedCompletion, CheckedResponse

    names = [
        *("type", "response", "output", "item", "usage", "status", "id", "content", "error"),
        *("name", "arguments", "call_id", "choices", "delta", "incomplete_details", "text"),
    ]
    words = [*words_of("openai"), *names, "response.completed", "function_call", "message"]
    origin = Origin(None, "http://h")

    def target(draw: Draw) -> None:
        answer = draw.one([CheckedResponse, CheckedCompletion])(origin)
        event = {draw.one(names): draw.json(words, 4) for _ in range(draw.below(5))}
        event["type"] = draw.one(["response.completed", "response.output_item.done", "error"])
        body = json.dumps(draw.one([event, {"response": event}, draw.json(words)])).encode()
        with suppress(TimestepError, OpenAIError):
            answer.check_whole(body)
        with suppress(TimestepError, OpenAIError):
            if told := answer.check_event("", body):
                construct_type(type_=ResponseStreamEvent, value=json.loads(told[6:]))

    return target


def request() -> Target:
    """Input items become messages that JSON can say, or are refused."""
    from timestep.errors import TimestepError
    from timestep.net.encoding import encode
    from timestep.ollama.request.content import remote_images
    from timestep.ollama.request.messages import build_conversation

    words = words_of("ollama/request")

    def target(draw: Draw) -> None:
        items = [
            {
                **{name: draw.json(words, 3) for name in ("content", "output", "arguments")},
                **{name: draw.text(words) for name in ("type", "role", "call_id", "name")},
            }
            if draw.below(4)
            else draw.json(words)
            for _ in range(draw.below(4))
        ]
        with suppress(TimestepError):
            remote_images(items)
        with suppress(TimestepError):
            json.loads(encode({"messages": build_conversation(items, model="m").messages}))

    return target


def schema() -> Target:
    """Schemas are narrowed once and for all, and stay as they were."""
    from timestep.errors import UnsupportedInputError
    from timestep.net.encoding import encode
    from timestep.ollama.request.grammar import to_format
    from timestep.ollama.request.parameters import narrow_parameters

    words = [*words_of("ollama/request"), "#", "#/$defs/a", "#/properties/a", "a"]

    def target(draw: Draw) -> None:
        source = {"properties": {"a": draw.json(words)}, "$defs": {"a": draw.json(words)}}
        before = repr(source)
        to_format(source)
        narrowed = narrow_parameters(source)
        assert repr(source) == before
        with suppress(UnsupportedInputError):
            assert len(encode(narrowed.schema)) < 2_000_000
            again = narrow_parameters(narrowed.schema).schema
            assert json.dumps(again, sort_keys=True) == json.dumps(narrowed.schema, sort_keys=True)

    return target


def settings() -> Target:
    """Files and variables are a configuration, or an error of configuration."""
    from timestep.config.settings import load_settings
    from timestep.errors import ConfigurationError

    os.chdir(directory := tempfile.mkdtemp())
    os.environ["XDG_CONFIG_HOME"] = directory
    common = [*words_of("config"), "=", "\n", '"', "'", "[", "]", "{", "}", ","]
    variables = [*common, "TIMESTEP_", "__", "ALIASES", "PROVIDERS__X__", "#", "${A}"]

    def target(draw: Draw) -> None:
        for name, words in (("timestep.toml", common), (".env", variables)):
            text = "".join(draw.text(words) for _ in range(draw.below(12)))
            Path(name).write_bytes(text.encode("utf-8", "surrogatepass"))
        environment = {draw.text(variables): draw.text(common) for _ in range(draw.below(3))}
        with suppress(ConfigurationError):
            load_settings(environment=environment)

    return target


def names() -> Target:
    """Names and aliases lead to a model, or to an error of ours."""
    from timestep.errors import TimestepError
    from timestep.registry import MultiModelProvider

    words = ["a", "b", "/", "ollama/", "openai/", "litellm/", ":cloud", "..", ",", " ", *ODD]

    def target(draw: Draw) -> None:
        def names() -> Any:
            several = [draw.text(words) for _ in range(draw.below(3))]
            return draw.one([several, draw.text(words)])

        aliases = {draw.text(words): names() for _ in range(draw.below(5))}
        with suppress(TimestepError):
            provider = MultiModelProvider(openai_api_key="k" * 12, aliases=aliases)
            provider.get_model(draw.text(words))

    return target


def redaction() -> Target:
    """Of what was redacted nothing is left to redact."""
    from timestep.traces.redaction import Redaction

    words = ["message", "content", "so ", "\n", "\\n", "\\", '"', "/", "-", "sk-", *KEYS, *ODD[:-2]]
    clean = Redaction(secrets=KEYS[-1:])

    def texts(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [*value, *texts(list(value.values()))]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [str(value)]

    def target(draw: Draw) -> None:
        lines = [json.dumps(draw.json(words)) for _ in range(draw.below(4))]
        body = clean.body("\n".join(lines).encode())
        kept = [json.loads(line) for line in [*body.split(b"\n"), *map(clean.json, lines)] if line]
        for text in texts(kept):
            assert clean.text(text) == text

    return target


def _recorded(path: Path) -> tuple[bytes, list[tuple[str, str]]]:
    """The file of a store with one run, as bytes, and its tables with their columns."""
    from agents import function_span, generation_span, set_trace_processors, trace

    from timestep.traces import TraceStore
    from timestep.traces.install import TraceProcessor

    kept = TraceStore(path)
    processor = TraceProcessor(kept)
    set_trace_processors([processor])
    with trace("t", metadata={"a": 1}):
        said = [{"role": "user", "content": "hi"}]
        with generation_span(input=said, output=said, model="m", usage={"input_tokens": 1}):
            pass
        with function_span("f", '{"a": 1}', "out"):
            pass
    set_trace_processors([])
    processor.shutdown()
    kept.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
        names = "SELECT type, name FROM sqlite_master WHERE type IN ('table', 'trigger')"
        made = connection.execute(names).fetchall()
        for name in (name for kind, name in made if kind == "trigger"):
            connection.execute(f'DROP TRIGGER "{name}"')  # they refuse damage
        columns = [
            (table, column)
            for table in (name for kind, name in made if kind == "table")
            for (column,) in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        ]
    return path.read_bytes(), columns


def store() -> Target:
    """Whatever a file holds, the store tells of it or says what is wrong."""
    from timestep.traces import StoreError, TraceStore
    from timestep.traces.export import view_diff, view_trace
    from timestep.traces.text import json_text

    path = Path(tempfile.mkdtemp()) / "damaged.db"
    sound, columns = _recorded(path)
    words = [*words_of("traces"), '{"input": [{"role": "user", "content": "hi"}]}']

    def damage_rows(draw: Draw) -> None:
        with closing(sqlite3.connect(path)) as connection:
            for _ in range(1 + draw.below(3)):
                table, column = draw.one(columns)
                text = json.dumps(draw.json(words))
                value = draw.one([text, text, draw.text(words), b"\xff\x00", *SCALARS])
                with suppress(sqlite3.Error, OverflowError, UnicodeEncodeError):
                    connection.execute(f'UPDATE "{table}" SET "{column}" = ?', (value,))
            connection.commit()

    def damage_bytes(draw: Draw) -> None:
        body = bytearray(sound)
        for _ in range(1 + draw.below(8)):
            body[draw.below(len(body))] = draw.below(256)
        path.write_bytes(body[: draw.one([len(body), draw.below(len(body))])])

    def target(draw: Draw) -> None:
        for name in (path, path.with_name("damaged.db-wal"), path.with_name("damaged.db-shm")):
            name.unlink(missing_ok=True)
        path.write_bytes(sound)
        draw.one([damage_rows, damage_bytes])(draw)
        store = TraceStore(path)
        for look in (store.traces, store.verify, store.stats, store.values):
            with suppress(StoreError):
                look()
        with suppress(StoreError):
            store.search(draw.text(words))
        with suppress(StoreError):
            for summary in store.traces():
                run = store.get(summary.trace_id)
                json_text([view_trace(run), view_diff(run, run)])
        store.close()

    return target


TARGETS = {
    each.__name__: each
    for each in (reply, completion, response, request, schema, settings, names, redaction, store)
}


def main() -> None:
    """Run the target that the first argument names, until it fails or time is up."""
    if len(sys.argv) < 2 or sys.argv[1] not in TARGETS:
        sys.exit(f"usage: python -m bench.fuzz {{{','.join(TARGETS)}}} [libFuzzer's arguments]")
    try:
        import atheris
    except ImportError:
        sys.exit("Fuzzing needs atheris, which is not installed: pip install atheris")
    make = TARGETS[sys.argv.pop(1)]
    with atheris.instrument_imports(include=["timestep"]):
        target = make()
    atheris.Setup(sys.argv, lambda data: target(Draw(atheris.FuzzedDataProvider(data))))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
