"""The viewer's server over real HTTP."""

import json

import httpx
import pytest

from timestep.traces import Exchange
from timestep.traces.records import SpanEnded, SpanStarted
from timestep.traces.viewer import page


@pytest.fixture
def get(viewer):
    with httpx.Client(base_url=viewer) as client:
        yield client.get


def test_every_answer_carries_the_policy(get, record):
    trace_id = record()

    for path in ("/", "/app.js", "/style.css", "/api/runs", f"/api/runs/{trace_id}", "/none"):
        headers = get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::2]:1"]
)
def test_a_foreign_host_gets_nothing(get, record, host):
    record("secret")

    answer = get("/api/runs", headers={"Host": host})

    assert answer.status_code == 400
    assert "secret" not in answer.text


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1234", "127.0.0.1:1", "[::1]:1", "[::1]"])
def test_this_machine_is_answered_by_all_its_names(get, host):
    assert get("/api/runs", headers={"Host": host}).json() == []


def test_runs_come_filtered(get, record):
    record("a", model="x", text="lovely")
    record("b", model="y", error='{"message": "no"}', group="g")

    def names(**query):
        return [run["name"] for run in get("/api/runs", params=query).json()]

    assert names() == ["b", "a"]
    assert names(model="x") == ["a"]
    assert names(text="love") == ["a"]
    assert names(failed="1") == ["b"]
    assert names(group="g") == ["b"]
    assert names(running="1") == []
    assert names(since="5000") == []
    assert names(limit="1") == ["b"]
    assert get("/api/runs", params={"since": "x"}).status_code == 400


def test_a_run_comes_with_depths_and_its_conversation(get, record):
    trace_id = record("a", text="hello")

    run = get(f"/api/runs/{trace_id}").json()

    assert [(span["depth"], span["kind"]) for span in run["spans"]] == [
        (0, "agent"),
        (1, "generation"),
        (1, "function"),
    ]
    assert run["conversation"][0]["messages"][0]["text"] == "hello"
    agent, *inside = run["spans"]
    assert [span["agent"] for span in inside] == [agent["span_id"]] * 2
    assert get("/api/runs/nothing-here").status_code == 404


def test_a_body_comes_as_text_whatever_it_is(get, record, store):
    html = b"<script>alert(1)</script>"
    trace_id = record(exchanges=(Exchange("u", 200, b"{}", html),))
    [exchange] = store.get(trace_id).model_calls[0].exchanges

    answer = get(f"/api/bodies/{exchange.response}")

    assert answer.content == html
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert get("/api/bodies/00").status_code == 404


def test_a_search_shows_where_it_found_the_words(get, record):
    record("a", text="In Oslo the snow falls")

    assert get("/api/runs", params={"text": "snow fal"}).json()[0]["excerpt"] == (
        "In Oslo the [snow] [falls]"
    )
    assert get("/api/runs").json()[0]["excerpt"] is None


def test_two_runs_are_compared(get, record):
    left, right = record("a", text="x"), record("b", text="y")

    diff = get("/api/diff", params={"left": left, "right": right}).json()

    assert (diff["left"]["name"], diff["right"]["name"]) == ("a", "b")
    assert [pair["same"] for pair in diff["pairs"]] == [False, True]
    assert get("/api/diff").status_code == 404


def test_statistics_and_values_for_filters_are_served(get, record):
    record(model="x")

    assert get("/api/stats").json()[0]["name"] == "x"
    assert get("/api/stats", params={"by": "tool"}).json()[0]["name"] == "get_weather"
    assert get("/api/stats", params={"since": "5000"}).json() == []
    assert get("/api/stats", params={"by": "x"}).status_code == 400
    assert get("/api/values").json()["model"] == ["x"]


def test_a_store_that_breaks_is_said_in_words(get, store, record):
    store.path.write_bytes(b"not a database" * 100)

    answer = get("/api/runs")

    assert answer.status_code == 500
    assert "Move the file away" in answer.text


def test_changes_are_told_as_they_happen(viewer, record):
    record()
    with httpx.stream("GET", f"{viewer}/api/events") as events:
        lines = events.iter_lines()
        assert next(lines) == "retry: 1000"
        trace_id = record()
        told = [next(lines) for _ in range(3)]

    assert told[1:] == ["event: runs", f'data: ["{trace_id}"]']


def test_an_exported_file_keeps_content_out_of_its_code():
    evil = "</script><script>alert(1)</script><!--"

    text = page.run_page({"name": evil}, {"hash": evil})

    assert text.count("</script>") == 2
    assert "<!--" not in text.replace("<!doctype", "")
    data = text.split('id="run">')[1].split("</script>")[0]
    assert json.loads(data) == {"run": {"name": evil}, "bodies": {"hash": evil}}
    assert "unsafe" not in text.split("Content-Security-Policy")[1].split(">")[0]
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "src=" not in text.split("<body>")[1]


@pytest.mark.parametrize("value", [r'"half \ud83d"', "NaN", "-Infinity"])
def test_what_json_hardly_holds_is_shown_all_the_same(get, store, value):
    data = f'{{"type": "function", "output": {value}}}'
    start = SpanStarted("s", "odd", None, "function", "f", 1.0)
    store.write([start, SpanEnded("s", "odd", "function", "f", 2.0, None, data)])

    answer = get("/api/runs/odd")

    assert answer.status_code == 200
    [span] = json.loads(answer.text, parse_constant=pytest.fail)["spans"]
    assert span["data"]["output"]
