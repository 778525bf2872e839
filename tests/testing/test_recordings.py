"""Recordings are replayed byte for byte."""

import socket
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from timestep.testing import FakeOllama, FakeOpenAI, NoDone, Recording, Reset, Split

WIRE = Path(__file__).parents[1] / "wire"
RECORDINGS = {recording.name: recording for recording in Recording.load_all(WIRE)}
COMPLETE = [recording for recording in RECORDINGS.values() if recording.end == "complete"]
COMPLETE.remove(RECORDINGS["http-chat-get"])  # a wrong method comes before the script
CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}]}'


def exchange(fake, recording):
    """What a request to *recording*'s path gets: status line, headers, the body's chunks."""
    with socket.create_connection(("127.0.0.1", int(fake.url.rpartition(":")[2])), 10) as sock:
        head = f"{recording.request.method} {recording.request.path} HTTP/1.1\r\n"
        head += f"Connection: close\r\nContent-Length: {len(CHAT)}\r\n\r\n"
        sock.sendall(head.encode() + CHAT)
        received = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, rest = received.partition(b"\r\n\r\n")
    status, *headers = head.decode().split("\r\n")
    return status, headers, unchunked(rest) if "Transfer-Encoding: chunked" in headers else [rest]


def asking(client):
    return client.stream("POST", "/api/chat", content=CHAT)


def unchunked(rest):
    chunks = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]
    assert chunks.pop() == b""
    return chunks


@pytest.fixture(scope="module")
def fake():
    with FakeOllama(recordings=WIRE) as fake:
        yield fake


@pytest.mark.parametrize("recording", COMPLETE, ids=lambda recording: recording.name)
def test_status_headers_body_and_chunks_are_the_recorded_ones(fake, recording):
    expected_headers = [f"{name}: {value}" for name, value in recording.headers.items()]

    assert fake.replay(recording.name) == recording
    status, headers, chunks = exchange(fake, recording)

    assert status.split()[1] == str(recording.status)
    assert headers == expected_headers
    assert b"".join(chunks) == recording.body
    if "Transfer-Encoding" in recording.headers:
        assert chunks == list(recording.chunks)


def test_a_killed_server_leaves_the_body_incomplete(fake):
    recording = fake.replay("fail-server-stopped-midstream")

    with httpx.Client(base_url=fake.url) as client, asking(client) as response:
        chunks = response.iter_raw()
        received = b"".join(next(chunks) for _ in recording.chunks)
        with pytest.raises(httpx.RemoteProtocolError):
            next(chunks)

    assert received == recording.body


def test_a_client_that_left_is_waited_for_again(fake):
    recording = fake.replay("fail-client-disconnect")

    with httpx.Client(base_url=fake.url) as client, asking(client) as response:
        chunks = response.iter_raw()
        assert b"".join(next(chunks) for _ in recording.chunks) == recording.body

    assert fake.wait_for_disconnect().chunks_sent == len(recording.chunks)


@pytest.mark.parametrize("fault", [NoDone(), Split(every=7), Reset(after=2)])
def test_a_replay_can_break(fake, fault):
    recording = fake.replay(WIRE / "chat-text-stream.json", fault=fault)
    if isinstance(fault, Reset):
        with pytest.raises(ConnectionResetError):
            exchange(fake, recording)
        return
    _, _, chunks = exchange(fake, recording)

    if isinstance(fault, NoDone):
        assert chunks == list(recording.chunks[:-1])
    else:
        assert b"".join(chunks) == recording.body
        assert {len(chunk) for chunk, _ in pairwise(chunks)} == {7}


def test_a_recording_knows_its_json_and_its_lines():
    assert RECORDINGS["version"].json == {"version": "0.33.0-rc2"}
    assert RECORDINGS["chat-text-stream"].lines[0]["message"]["content"] == "Hello"
    assert RECORDINGS["chat-text-stream"].request.json["model"] == "tiny-text"


def test_a_recording_that_is_not_there_is_an_error(fake):
    with pytest.raises(FileNotFoundError):
        fake.replay("no-such-recording")


OPENAI = [
    Recording.load(path)
    for path in sorted(WIRE.with_name("wire-openai").glob("*.json"))
    if path.name != "chunks.json"
]


@pytest.mark.parametrize("recording", OPENAI, ids=lambda recording: recording.name)
def test_a_recorded_answer_of_an_openai_server_is_replayed(recording):
    with FakeOpenAI() as fake, httpx.Client(base_url=fake.url) as client:
        fake.replay(recording)
        received, is_whole = b"", recording.end == "complete"
        try:
            with client.stream("POST", recording.request.path, content=CHAT) as response:
                for chunk in response.iter_raw():
                    received += chunk
        except httpx.RemoteProtocolError:
            assert not is_whole
        else:
            assert is_whole
            assert response.status_code == recording.status
        assert received == recording.body
