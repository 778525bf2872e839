"""The server on the wire, seen by plain clients."""

import asyncio
import contextlib
import itertools
import json
import socket
import threading
import time

import httpx
import pytest

from timestep.testing import (
    Close,
    ErrorLine,
    FakeOllama,
    FakeServerError,
    NoDone,
    Recording,
    Reply,
    Request,
    Reset,
    Split,
    Stall,
    UnconsumedReplies,
    UnexpectedRequest,
)

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
WHOLE = {**CHAT, "stream": False}


@pytest.fixture
def client(fake_ollama):
    with httpx.Client(base_url=fake_ollama.url, timeout=60) as client:
        yield client


def ask(client, **fields):
    return client.post("/api/chat", json={**CHAT, **fields})


def said(response):
    return "".join(json.loads(line)["message"]["content"] for line in response.text.splitlines())


def test_replies_are_served_in_order_on_one_connection(fake_ollama, client):
    fake_ollama.reply("one")
    fake_ollama.reply("two")
    fake_ollama.reply(Reply("three"))

    assert [said(ask(client)) for _ in range(3)] == ["one", "two", "three"]
    assert fake_ollama.open_connections == 1


def test_a_stream_is_chunked_ndjson_and_a_whole_answer_has_a_length(fake_ollama, client):
    fake_ollama.reply("Hello", times=2)

    streamed, whole = ask(client), ask(client, stream=False)

    assert streamed.headers["content-type"] == "application/x-ndjson"
    assert streamed.headers["transfer-encoding"] == "chunked"
    assert whole.headers["content-type"] == "application/json; charset=utf-8"
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert whole.json()["message"]["content"] == "Hello"


def test_a_client_sees_each_chunk_by_itself(fake_ollama, client):
    fake_ollama.reply("one two three")

    with client.stream("POST", "/api/chat", json=CHAT) as response:
        chunks = list(response.iter_raw())

    assert [json.loads(chunk)["message"]["content"] for chunk in chunks] == [
        "one", " two", " three", ""
    ]  # a table reads better in rows # fmt: skip


def test_a_reply_can_wait_for_its_model(fake_ollama, client):
    fake_ollama.reply("big", model="big")
    fake_ollama.reply("any")

    assert [said(ask(client, model=model)) for model in ("small", "big")] == ["any", "big"]


def test_a_reply_can_serve_many_requests_or_all(fake_ollama, client):
    fake_ollama.reply("twice", times=2)
    fake_ollama.reply("always", times=None)

    assert [said(ask(client)) for _ in range(4)] == ["twice", "twice", "always", "always"]


def test_a_function_makes_the_reply_from_the_request(fake_ollama, client):
    fake_ollama.reply(lambda request: f"You said {request.json['messages'][-1]['content']}")

    assert said(ask(client)) == "You said Hi"


def test_a_prepared_answer_takes_no_further_fields(fake_ollama):
    with pytest.raises(TypeError, match="prepared answer"):
        fake_ollama.reply(Reply("x"), thinking="y")


def test_delays_come_before_the_first_byte_and_between_chunks(fake_ollama, client):
    fake_ollama.reply("one two", delay=0.05, interval=0.05)

    started = time.monotonic()
    ask(client)

    # Only a lower bound: a busy machine is slower.
    assert time.monotonic() - started >= 0.14


def test_many_streams_run_at_once(fake_ollama):
    fake_ollama.reply(pieces=[" word"] * 5, times=256)

    async def main():
        async def one():
            reader, writer = await asyncio.open_connection("127.0.0.1", port_of(fake_ollama))
            writer.write(raw_request(CHAT, b"Connection: close\r\n"))
            answer = await reader.read()
            writer.close()
            return answer.count(b'"content":" word"')

        return await asyncio.gather(*(one() for _ in range(256)))

    assert asyncio.run(main()) == [5] * 256


def test_requests_are_recorded_as_they_were_sent(fake_ollama, client):
    fake_ollama.reply("x")
    client.get("/api/version?a=b", headers={"X-Test": "1"})
    ask(client)

    version, chat = fake_ollama.requests
    assert (version.method, version.path, version.query) == ("GET", "/api/version", "a=b")
    assert version.headers["x-test"] == "1"
    assert json.loads(chat.body) == chat.json == CHAT
    assert fake_ollama.chats == [CHAT]


def test_pipelined_requests_are_answered_in_order(fake_ollama):
    fake_ollama.reply("one")
    fake_ollama.reply("two")

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT) + raw_request(WHOLE, b"Connection: close\r\n"))
        answer = read_all(sock)

    assert answer.index(b'"content":"one"') < answer.index(b'"content":"two"')


def test_nonsense_is_answered_400_and_hung_up(fake_ollama):
    with connected(fake_ollama) as sock:
        sock.sendall(b"nonsense\r\n\r\n")

        assert read_all(sock).startswith(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_condition_can_be_waited_for(fake_ollama, client):
    thread = threading.Thread(target=lambda: client.get("/api/version"))
    thread.start()

    fake_ollama.wait_until(lambda: len(fake_ollama.requests) == 1)
    thread.join()

    with pytest.raises(TimeoutError, match="did not hold within"):
        fake_ollama.wait_until(lambda: False, timeout=0.01)


def test_a_failure_has_its_status_headers_and_fields(fake_ollama, client):
    fake_ollama.fail(503, "server busy", headers={"Retry-After": "2"})
    fake_ollama.fail(401, "unauthorized", signin_url="https://ollama.com/connect")

    busy, unauthorized = ask(client), ask(client)

    assert (busy.status_code, busy.json()) == (503, {"error": "server busy"})
    assert busy.headers["retry-after"] == "2"
    assert unauthorized.json() == {
        "error": "unauthorized",
        "signin_url": "https://ollama.com/connect",
    }


def test_a_failure_can_be_a_page_or_empty(fake_ollama, client):
    fake_ollama.fail(502, body="<html>", headers={"Content-Type": "text/html"})
    fake_ollama.fail(403, body="")

    page, empty = ask(client), ask(client)

    assert (page.status_code, page.headers["content-type"], page.text) == (
        502, "text/html", "<html>"
    )  # a table reads better in rows # fmt: skip
    assert (empty.status_code, empty.content) == (403, b"")


def test_a_failure_can_be_for_another_path(fake_ollama, client):
    fake_ollama.fail(500, "broken", path="/api/show")

    assert client.get("/api/version").status_code == 200
    assert client.post("/api/show", json={"model": "m"}).json() == {"error": "broken"}
    assert client.post("/api/show", json={"model": "m"}).status_code == 200


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_names_its_goal(fake_ollama, client, status):
    fake_ollama.redirect("https://elsewhere.example/api/chat", status=status)

    response = ask(client)

    assert response.status_code == status
    assert response.headers["location"] == "https://elsewhere.example/api/chat"


def test_a_refused_connection_and_one_accepted_again(fake_ollama, client):
    client.get("/")
    fake_ollama.refuse()
    assert fake_ollama.open_connections == 0
    with pytest.raises(httpx.ConnectError):
        client.get("/")
    fake_ollama.refuse()
    fake_ollama.accept()

    assert client.get("/").status_code == 200


def test_connections_that_arrive_while_it_closes_are_closed_too():
    for count in range(30):
        with FakeOllama() as fake, contextlib.ExitStack() as sockets:
            for _ in range(count % 6):
                sockets.enter_context(connected(fake))
            fake.refuse()
            assert fake.open_connections == 0


def test_a_key_can_be_required(fake_ollama, client):
    fake_ollama.require_key("sk-right")
    fake_ollama.reply("x")

    for headers in ({}, {"Authorization": "Bearer sk-wrong"}, {"Authorization": "sk-right"}):
        response = client.post("/api/chat", json=CHAT, headers=headers)
        assert (response.status_code, response.json()) == (401, {"error": "unauthorized"})
    assert client.get("/api/version").status_code == 401
    right = client.post("/api/chat", json=CHAT, headers={"Authorization": "Bearer sk-right"})
    assert said(right) == "x"


def test_an_error_line_ends_the_stream(fake_ollama, client):
    fake_ollama.reply("one two three", fault=ErrorLine("boom", after=2))

    response = ask(client)

    *_, last = response.text.splitlines()
    assert response.status_code == 200
    assert len(response.text.splitlines()) == 3
    assert json.loads(last) == {"error": "boom"}


@pytest.mark.parametrize("fields", [{"stream": False}, {}], ids=["whole", "streamed"])
def test_an_error_before_the_first_chunk_is_a_500(fake_ollama, client, fields):
    fake_ollama.reply("one two", fault=ErrorLine("boom", after=0))

    response = ask(client, **fields)

    assert (response.status_code, response.json()) == (500, {"error": "boom"})


def test_a_stream_can_end_without_done(fake_ollama, client):
    fake_ollama.reply("one two", fault=NoDone())

    assert '"done":true' not in ask(client).text


@pytest.mark.parametrize("fields", [{"stream": False}, {}], ids=["whole", "streamed"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_reset_reaches_the_client_as_a_reset(fake_ollama, fields, after):
    fake_ollama.reply("one two three", fault=Reset(after=after))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request({**CHAT, **fields}))
        received = read_until_reset(sock)

    assert received.count(b'"done":false') == (0 if fields else after)


def test_a_reset_can_come_in_the_middle_of_a_line(fake_ollama):
    fake_ollama.reply("one two", fault=Reset(after_bytes=30))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT))
        received = read_until_reset(sock)

    body = received.partition(b"\r\n\r\n")[2]
    assert body == b'1e\r\n{"model":"m","created_at":"202\r\n'


def test_a_close_leaves_the_body_incomplete(fake_ollama, client):
    fake_ollama.reply("one two", fault=Close(after=1))

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        ask(client)


def test_bytes_can_be_split_in_the_middle_of_characters(fake_ollama, client):
    fake_ollama.reply("é", fault=Split(every=1))

    with client.stream("POST", "/api/chat", json=CHAT) as response:
        pieces = list(response.iter_raw())

    assert {len(piece) for piece in pieces} == {1}
    assert "é" in b"".join(pieces).decode()


def test_a_whole_answer_and_a_failure_can_be_split_too(fake_ollama, client):
    fake_ollama.reply("Hello", fault=Split(every=40))
    fake_ollama.fail(500, "oh" * 50, fault=Split(every=40))

    for _ in range(2):
        with client.stream("POST", "/api/chat", json=WHOLE) as response:
            sizes = [len(piece) for piece in response.iter_raw()]
        assert sizes[0] == sizes[1] == 40
        assert len(sizes) > 2


def test_a_stall_is_silent_until_it_is_released(fake_ollama, client):
    stall = Stall(after=1)
    fake_ollama.reply("one two", fault=stall)

    with client.stream("POST", "/api/chat", json=CHAT) as response:
        chunks = response.iter_raw()
        assert b"one" in next(chunks)
        stall.wait_until_reached()
        stall.release()
        assert b"two" in next(chunks)
        chunks.close()


def test_a_stall_before_the_first_chunk_keeps_back_the_headers(fake_ollama):
    stall = Stall()
    fake_ollama.reply("one", fault=stall)

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT, b"Connection: close\r\n"))
        stall.wait_until_reached()
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
        sock.settimeout(60)
        stall.release()
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stall_holds_back_a_whole_answer_completely(fake_ollama, after):
    stall = Stall(after=after)
    fake_ollama.reply("one", fault=stall)

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(WHOLE, b"Connection: close\r\n"))
        stall.wait_until_reached()
        sock.settimeout(0.05)
        with pytest.raises(TimeoutError):
            sock.recv(1)
    fake_ollama.wait_for_disconnect()


def test_a_released_stall_lets_later_answers_pass(fake_ollama, client):
    stall = Stall()
    stall.release()
    fake_ollama.reply("one", fault=[stall, Split(every=5)], times=2)

    assert said(ask(client)) == said(ask(client)) == "one"


async def test_a_stall_and_a_disconnect_can_be_awaited(fake_ollama):
    stall = Stall(after=1)
    fake_ollama.reply("one two", fault=stall)

    async with httpx.AsyncClient(base_url=fake_ollama.url) as client:
        asking = asyncio.create_task(client.post("/api/chat", json=CHAT))
        await stall.reached()
        asking.cancel()
        disconnect = await fake_ollama.disconnected()

    assert disconnect.chunks_sent == 1
    assert disconnect.request.json == CHAT


def test_a_client_that_hangs_up_is_seen_while_the_server_writes(fake_ollama):
    fake_ollama.reply(pieces=itertools.repeat(" word"))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT))
        assert sock.recv(100)

    assert fake_ollama.wait_for_disconnect().chunks_sent > 1
    fake_ollama.wait_until(lambda: fake_ollama.open_connections == 0)


def test_a_slow_reader_holds_the_server_back(fake_ollama, client):
    word, written = "x" * 1_000_000, []
    fake_ollama.reply(pieces=(written.append(word) or word for _ in range(30)))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT, b"Connection: close\r\n"))
        for _ in range(60):  # each is at least one more turn for the server
            client.get("/api/version")
        assert 0 < len(written) < 30
        received = read_all(sock)

    assert received.count(b'"done":false') == 30


def test_an_endless_whole_answer_stops_when_the_client_leaves(fake_ollama):
    fake_ollama.reply(pieces=itertools.repeat(" word"))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(WHOLE))
        fake_ollama.wait_until(lambda: len(fake_ollama.requests) == 1)

    assert fake_ollama.wait_for_disconnect().chunks_sent == 0


def test_a_half_closed_connection_counts_as_hung_up(fake_ollama):
    fake_ollama.reply("one two", fault=Stall(after=1))

    with connected(fake_ollama) as sock:
        sock.sendall(raw_request(CHAT))
        assert sock.recv(100)
        sock.shutdown(socket.SHUT_WR)
        fake_ollama.wait_for_disconnect()


def test_a_client_that_has_everything_did_not_hang_up(fake_ollama):
    fake_ollama.reply("one two", times=20)

    for _ in range(20):
        with connected(fake_ollama) as sock:
            sock.sendall(raw_request(CHAT))
            received = b""
            while b'"done":true' not in received:
                received += sock.recv(65536)
    fake_ollama.wait_until(lambda: fake_ollama.open_connections == 0)

    assert fake_ollama.disconnects == []


def test_waiting_for_a_disconnect_gives_up(fake_ollama):
    with pytest.raises(TimeoutError):
        fake_ollama.wait_for_disconnect(timeout=0.01)


def test_an_unasked_request_gets_500_and_fails_the_test():
    def script(fake):
        response = httpx.post(f"{fake.url}/api/chat", json=CHAT)
        assert response.status_code == 500
        assert "no answer is queued" in response.json()["error"]

    with pytest.raises(UnexpectedRequest, match=r"no answer is queued for model 'm'.*user 'Hi'"):
        run(script)


def test_the_failure_names_the_answers_that_wait_for_others():
    def script(fake):
        fake.reply("for another", model="x", times=2)
        fake.fail(500, path="/api/ps")
        httpx.post(f"{fake.url}/api/chat", json=CHAT)

    with pytest.raises(UnexpectedRequest) as failure:
        run(script)

    text = str(failure.value)
    assert "queued are: reply 'for another' to /api/chat for model 'x' (2 times)" in text
    assert "never asked for:" in text
    assert "- status 500 to /api/ps" in text


def test_unconsumed_replies_fail_the_test():
    def script(fake):
        fake.reply("left over")
        fake.reply(str, times=3)
        fake.reply("for all, or none", times=None)
        fake.replay(Recording("taped", Request("POST", "/api/chat"), 200, {}, b"", [b""]))

    with pytest.raises(UnconsumedReplies) as failure:
        run(script)

    assert "reply 'left over' to /api/chat" in str(failure.value)
    assert "(3 times)" in str(failure.value)
    assert "recording 'taped' to /api/chat" in str(failure.value)
    assert "for all" not in str(failure.value)


def test_a_test_that_failed_keeps_its_own_error():
    def script(fake):
        fake.reply("left over")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(script)


def test_nothing_is_raised_unless_strict_but_it_can_be_asked_for():
    with FakeOllama(strict=False) as fake:
        fake.reply("left over")

    with pytest.raises(UnconsumedReplies):
        fake.verify()


async def test_an_async_context_does_the_same():
    async with FakeOllama() as fake, httpx.AsyncClient(base_url=fake.base_url) as client:
        fake.reply("x")
        assert said(await client.post("/api/chat", json=CHAT)) == "x"

    with pytest.raises(UnconsumedReplies):
        async with FakeOllama() as fake:
            fake.reply("left over")


def test_a_function_that_fails_is_heard_of():
    def broken(request):
        raise KeyError("oops")

    def script(fake):
        fake.reply(broken)
        assert httpx.post(f"{fake.url}/api/chat", json=CHAT).status_code == 500

    with pytest.raises(FakeServerError, match=r"(?s)could not be made.*KeyError: 'oops'"):
        run(script)


def test_an_iterator_that_fails_is_heard_of():
    def broken():
        yield "one"
        raise KeyError("oops")

    def script(fake):
        fake.reply(pieces=broken())
        with pytest.raises(httpx.HTTPError):
            httpx.post(f"{fake.url}/api/chat", json=CHAT)

    with pytest.raises(FakeServerError, match="broke off: KeyError"):
        run(script)


def test_leaving_ends_stalled_and_endless_answers_and_the_thread():
    with FakeOllama() as fake, contextlib.ExitStack() as sockets:
        fake.reply("one two", fault=Stall(after=1))
        fake.reply(pieces=itertools.repeat(" word"))
        fake.reply("late", delay=60)
        for _ in range(3):
            sockets.enter_context(connected(fake)).sendall(raw_request(CHAT))
        fake.wait_until(lambda: len(fake.requests) == 3)
        fake.close()

        assert fake.disconnects == []
        assert fake.open_connections == 0
        assert not [thread for thread in threading.enumerate() if thread.name == "FakeOllama"]
        fake.close()


def test_there_is_no_address_before_the_start():
    with pytest.raises(RuntimeError, match="no port yet"):
        FakeOllama().url  # noqa: B018 - the access is the test


def run(script):
    """A test that uses a strict server: it scripts, talks and leaves."""
    with FakeOllama() as fake:
        script(fake)


def connected(fake):
    return socket.create_connection(("127.0.0.1", port_of(fake)), timeout=60)


def port_of(fake):
    return int(fake.url.rpartition(":")[2])


def raw_request(chat, headers=b""):
    body = json.dumps(chat).encode()
    head = b"POST /api/chat HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n"
    return head % (headers, len(body)) + body


def read_all(sock):
    return b"".join(iter(lambda: sock.recv(65536), b""))


def read_until_reset(sock):
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        return received
    raise AssertionError("the connection was closed in good order")
