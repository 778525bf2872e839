"""Whatever a server repeats of a key, and however it breaks, the key is in nothing that is shown or kept.

Every wire, streamed or not, meets every way of breaking. Then every message, cause, context, note,
attribute, variable of a frame of ours, log record, stored byte and pickle is walked.
"""

import asyncio
import gzip
import json
import logging
import pickle
import traceback
from contextlib import asynccontextmanager

import ollama
import pytest
from agents import Agent, ModelSettings, RunConfig, Runner, set_trace_processors
from openai import AsyncOpenAI

from timestep import MultiModelProvider, OllamaModel, OllamaModelProvider, Settings
from timestep.errors import TimestepError
from timestep.fallback.model import FallbackModel
from timestep.traces import install, uninstall

KEY = "sk-marked-0123456789-abcdef"


def page(body, *headers, status="200 OK"):
    if isinstance(body, str):
        body = body.encode()
    head = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body


def chunked(size):
    return f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{size}\r\nhello".encode()


WORDS = f"the key {KEY} is wrong"
LINE = json.dumps({"model": "m", "message": {"role": "assistant", "content": "one "}}) + "\n"
DELTA = 'data: {"choices": [{"index": 0, "delta": {"content": "one "}}]}\n\n'
EVENT = 'event: response.output_text.delta\ndata: {"type": "response.output_text.delta"}\n\n'

BROKEN = {
    "the status line": f"NOPE {KEY}\r\n\r\n".encode(),
    "the version": f"HTTP/{KEY} 200 OK\r\n\r\n".encode(),
    "the status": f"HTTP/1.1 {KEY} OK\r\n\r\n".encode(),
    "the reason phrase": page("no", status=f"500 {KEY}"),
    "the reason phrase of a success": page("{", status=f"200 {KEY}"),
    "a header line": f"HTTP/1.1 200 OK\r\n{KEY}\r\n\r\n".encode(),
    "a header's name": f"HTTP/1.1 200 OK\r\n{KEY} : x\r\n\r\n".encode(),
    "a header's value": f"HTTP/1.1 200 OK\r\nX-A: \x01{KEY}\r\n\r\n".encode(),
    "the length": f"HTTP/1.1 200 OK\r\nContent-Length: {KEY}\r\n\r\n{{}}".encode(),
    "the size of a chunk": chunked(KEY),
    "the extension of a chunk": chunked(f"5;{KEY}"),
    "a trailer": chunked("0")[:-5] + f"X: {KEY}\r\n{KEY}\r\n\r\n".encode(),
    "an early answer": f"HTTP/1.1 100 {KEY}\r\nX: {KEY}\r\n\r\n".encode()
    + page("no", status="400 No"),
    "a folded header": f"HTTP/1.1 200 OK\r\nX: a\r\n {KEY}\r\n\r\n".encode(),
    "another protocol": f"HTTP/1.1 101 {KEY}\r\nUpgrade: {KEY}\r\n\r\n{KEY}".encode(),
    "two lengths": page("no", f"Content-Length: 9{KEY}"),
    "a cookie": page("no", f"Set-Cookie: a={KEY}", f"Retry-After: {KEY}", status="429 No"),
    "a challenge": page("no", f'WWW-Authenticate: Bearer realm="{KEY}"', status="401 No"),
    "a nested error": page(
        json.dumps({"error": json.dumps({"error": {"message": KEY}})}), status="500 No"
    ),
    "codes of an error": page(
        json.dumps({"error": {"code": KEY, "type": KEY, "param": KEY}}), status="404 No"
    ),
    "a very long line": page(b"x" * 70_000 + KEY.encode()),
    "a very long header": f"HTTP/1.1 200 OK\r\nX: {KEY}{'x' * 100_000}\r\n\r\n".encode(),
    "many values": page("[" + f'"{KEY}",' * 100_000 + "1]"),
    "many calls": page(
        json.dumps({"message": {"tool_calls": [{"function": {"name": KEY}}] * 1_001}}) + "\n"
    ),
    "lone surrogates": page('{"error": "\\ud800' + KEY + '"}', status="500 No"),
    "the encoding": page("{}", f"Content-Encoding: {KEY}"),
    "a packed page": page(gzip.compress(f"<pre>{KEY}".encode()), "Content-Encoding: gzip"),
    "what is not packed": page(f"<pre>{KEY}", "Content-Encoding: gzip"),
    "headers of a refusal": page("no", f"X-Echo: Bearer {KEY}", status="418 No"),
    "a refusal": page(json.dumps({"error": {"message": WORDS, KEY: KEY}}), status="400 Bad"),
    "a refusal in words": page(f"<html>{WORDS}", status="403 No"),
    "a refusal of the key": page(json.dumps({"error": WORDS}), status="401 No"),
    "a busy server": page(json.dumps({"detail": [{"input": KEY}]}), status="503 No"),
    "a redirect": page("", f"Location: https://x.example/{KEY}?k={KEY}", status="307 Away"),
    "a page": page(f"<pre>{'.' * 100}{KEY}</pre>"),
    "a page in pieces": page(f"{KEY}\n{KEY}\n"),
    "half a line": page(f'{{"message": "{KEY}')[:-1],
    "another shape": page(json.dumps({"message": KEY, "output": KEY, "choices": KEY})),
    "another list": page(json.dumps([KEY])),
    "an error line": page(LINE + json.dumps({"error": WORDS}) + "\n"),
    "an odd line": page(LINE + KEY + "\n"),
    "an odd call": page(json.dumps({"message": {"tool_calls": [{"function": KEY}]}}) + "\n"),
    "a call without a name": page(
        json.dumps({"message": {"tool_calls": [{"function": {"arguments": KEY}}]}, "done": True})
    ),
    "an error event": page(DELTA + f"data: {json.dumps({'error': {'message': WORDS}})}\n\n"),
    "an odd event": page(DELTA + f"data: {KEY}\n\n"),
    "an event's name": page(f"event: {KEY}\ndata: {KEY}\n\n"),
    "a half event": page(DELTA + f'data: {{"choices": "{KEY}'),
    "an odd choice": page(f"data: {json.dumps({'choices': [KEY]})}\n\n"),
    "odd counts": page(
        f"data: {json.dumps({'choices': [{'delta': {'content': 5}}], 'usage': {'prompt_tokens': KEY}})}\n\n"
    ),
    "odd counts of a document": page(
        json.dumps(
            {
                "id": "r",
                "object": "response",
                "created_at": 1,
                "model": "m",
                "output": [],
                "tools": [],
                "tool_choice": "auto",
                "parallel_tool_calls": True,
                "usage": {"input_tokens": KEY, "output_tokens": KEY, "total_tokens": KEY},
            }
        )
    ),
    "odd counts of a response event": page(
        'data: {"type": "response.completed", "sequence_number": 1, "response": '
        + json.dumps({"id": "r", "output": [], "usage": {"input_tokens": KEY}})
        + "}\n\n"
    ),
    "an odd response event": page(EVENT + f'data: {{"type": "error", "message": "{WORDS}"}}\n\n'),
    "an early end": page(f'{{"message": {{"content": "{KEY}')[:-3],
}


@asynccontextmanager
async def server(answer):
    async def handle(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(
            line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line
        )
        await reader.readexactly(int(fields.get(b"content-length", 0)))
        writer.write(answer)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


class OwnChat(ollama.AsyncClient):
    """A client whose ``chat`` is not ollama's own, so that only its answers and errors are seen."""

    async def chat(self, **keywords):
        return await super().chat(**keywords)


def kinds(kind, **more):
    def build(url):
        lab = {"kind": kind, "base_url": url, "api_key": KEY, "max_retries": 0, **more}
        configured = Settings(providers={"lab": lab})
        return MultiModelProvider.from_settings(configured).get_model("lab/m")

    return build


def given(client):
    def build(url):
        return OllamaModel("m", client(url, headers={"Authorization": f"Bearer {KEY}"}))

    return build


def given_openai(*, use_responses):
    def build(url):
        client = AsyncOpenAI(api_key=KEY, base_url=url, max_retries=0)
        provider = MultiModelProvider(openai_client=client, openai_use_responses=use_responses)
        return provider.get_model("m")

    return build


WIRES = {
    "ollama": lambda url: OllamaModelProvider(KEY, url, timeout=5).get_model("m"),
    "a given client": given(ollama.AsyncClient),
    "a client with its own chat": given(OwnChat),
    "chat completions": kinds("openai", api="chat_completions"),
    "responses": kinds("openai", api="responses"),
    "the SDK's model": kinds("openai", api="chat_completions", adapter="sdk"),
    "a given client of OpenAI": given_openai(use_responses=True),
    "a given client of OpenAI, chat completions": given_openai(use_responses=False),
    "ollama, key in its path": lambda url: OllamaModelProvider(
        base_url=f"{url}/{KEY}", timeout=5
    ).get_model("m"),
    "chat completions, key in its path": lambda url: kinds("openai", api="chat_completions")(
        f"{url}/{KEY}/v1"
    ),
    "responses, key in its path": lambda url: kinds("openai", api="responses")(f"{url}/{KEY}/v1"),
}


class Log(logging.Handler):
    def __init__(self):
        super().__init__(logging.DEBUG)
        self.lines = []

    def emit(self, record):
        self.lines.append(f"{record.name}: {self.format(record)} {record.args!r}")


def walked(error):
    """Everything that *error* shows of itself and of what is behind it, each behind where it stands."""
    chain, seen = [("", error)], set()
    while chain:
        where, one = chain.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        where = f"{where}/{type(one).__qualname__}"
        kept = {name: value for name, value in vars(one).items() if name != "run_data"}
        yield f"{where} says", f"{one!s} {one!r} {one.args!r} {getattr(one, '__notes__', [])!r}"
        yield f"{where} has", repr({name: deep(value) for name, value in kept.items()})
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if "/timestep/" in frame.f_code.co_filename:
                place = f"{frame.f_code.co_filename}:{frame.f_code.co_name}"
                yield f"{where} in {place}", repr(frame.f_locals)
        if isinstance(one, TimestepError):
            yield f"{where} pickled", repr(pickle.dumps(one))
        chain += [(where, one.__cause__), (f"{where} context", one.__context__)]
        if isinstance(one, BaseExceptionGroup):
            chain += [(where, each) for each in one.exceptions]


def deep(value):
    """What is in the response and the request that an error of openai's tree has."""
    headers, content = getattr(value, "headers", ""), getattr(value, "_content", "")
    return f"{value!r} {headers!r} {dict(headers or {})!r} {content!r} {getattr(value, 'url', '')}"


@pytest.fixture(autouse=True)
def no_processors():
    set_trace_processors([])
    yield
    set_trace_processors([])


HEADED = {
    "ollama": lambda url: OllamaModelProvider(base_url=url, timeout=5).get_model("m"),
    "chat completions": lambda url: open_kind(url).get_model("lab/m"),
    "default settings": lambda url: open_kind(url, settings={"temperature": 0}).get_model("lab/m"),
    "a chain": lambda url: FallbackModel(
        {name: open_kind(url).get_model(name) for name in ("lab/m", "lab/n")}
    ),
}


def open_kind(url, **more):
    lab = {"kind": "openai", "api": "chat_completions", "base_url": url, "max_retries": 0, **more}
    return MultiModelProvider.from_settings(Settings(providers={"lab": lab}))


@pytest.mark.parametrize("wire", HEADED)
@pytest.mark.parametrize("way", ["a refusal", "half a line", "a file that no model takes"])
async def test_a_key_in_extra_headers_is_in_no_variable_of_ours(way, wire):
    headers = ModelSettings(extra_headers={"X-Key": KEY})
    asked = [{"role": "user", "content": [{"type": "input_file", "file_data": 5}]}]
    found = []
    async with server(BROKEN.get(way, b"")) as url:
        agent = Agent("a", model=HEADED[wire](url), model_settings=headers)
        for is_streamed in (False, True):
            with pytest.raises(TimestepError) as caught:
                await ask(agent, asked if way not in BROKEN else "hi", is_streamed=is_streamed)
            found += walked(caught.value)

    assert [(where, text[:2000]) for where, text in found if KEY in text] == []


async def ask(agent, asked, *, is_streamed):
    if not is_streamed:
        return await Runner.run(agent, asked, run_config=CONFIG)
    run = Runner.run_streamed(agent, asked, run_config=CONFIG)
    async for _ in run.stream_events():
        pass
    return run


IN_PATH = ("a refusal", "a page", "an error line", "an error event", "the status line")
"""A key in a path takes the same way as one in a header, so a few ways of breaking tell."""

OF_ERRORS = (
    *IN_PATH,
    "the reason phrase",
    "a header's value",
    "a trailer",
    "a challenge",
    "codes of an error",
    "headers of a refusal",
    "another shape",
    "an odd choice",
    "an odd response event",
    "a redirect",
)
"""Both APIs of a given client of OpenAI raise their errors alike, so these ways tell for one of them."""

CASES = [
    (way, wire)
    for way in BROKEN
    for wire in WIRES
    if ("path" not in wire or way in IN_PATH)
    and (wire != "a given client of OpenAI" or way in OF_ERRORS)
]


@pytest.mark.parametrize(("way", "wire"), CASES)
async def test_a_marked_key_is_nowhere(way, wire, tmp_path):
    log = Log()
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    install(tmp_path / "traces.db", secrets=[KEY])
    found = []
    try:
        async with server(BROKEN[way]) as url:
            model = WIRES[wire](url)
            for is_streamed in (False, True):
                try:
                    await ask(Agent("a", model=model), "hi", is_streamed=is_streamed)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is walked
                    found += walked(error)
    finally:
        uninstall()
        root.removeHandler(log)
        root.setLevel(level)
    found += [("log", line) for line in log.lines]
    found += [(path.name, path.read_bytes().decode("latin-1")) for path in tmp_path.iterdir()]

    assert [(where, text[:2000]) for where, text in found if KEY in text] == []


CONFIG = RunConfig()
