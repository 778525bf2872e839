import json
import os
import sqlite3
import stat
import tempfile
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from timestep.traces import Exchange, Filter, StoreError, TraceStore, UnknownTraceError
from timestep.traces.export import view_diff, view_trace
from timestep.traces.queries import match_words
from timestep.traces.records import SpanEnded, SpanStarted
from timestep.traces.statistics import percentile
from timestep.traces.text import json_text

from .conftest import run_events


def test_a_store_that_was_never_written_is_empty_and_makes_no_file(store):
    assert store.traces() == []
    assert store.search("x") == []
    assert store.stats() == []
    assert store.cursor() == (0, 0, 0, 0)
    assert store.prune(before=1e12) == 0
    assert not store.path.exists()


def test_a_recorded_run_reads_back_whole(store, record):
    trace_id = record("holiday", at=1000.0, group="g", metadata='{"a": 1}')

    [summary] = store.traces()
    assert summary.trace_id == trace_id
    assert (summary.name, summary.group_id) == ("holiday", "g")
    assert (summary.models, summary.agents) == (("m",), ("helper",))
    assert (summary.calls, summary.tools, summary.errors) == (1, 1, 0)
    assert (summary.input_tokens, summary.output_tokens) == (10, 5)
    assert summary.total_seconds == pytest.approx(1.6)
    trace = store.get(trace_id)
    assert trace.metadata == {"a": 1}
    assert [(depth, span.kind) for depth, span in trace.walk()] == [
        (0, "agent"),
        (1, "generation"),
        (1, "function"),
    ]
    assert trace.model_calls[0].tokens_per_second == 10
    assert trace.tool_calls[0].arguments == {}
    assert store.verify() == []


def test_the_file_is_for_its_owner_only(store, record):
    record()

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_span_that_never_ended_is_shown_open(store):
    store.write([SpanStarted("s", "t", "gone", "agent", "a", 5.0)])

    trace = store.get("last")
    [span] = trace.children(None)
    assert span.ended_at is None
    assert span.total_seconds is None
    assert trace.total_seconds is None
    assert trace.name == "Agent workflow"


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (Filter(), ["c", "b", "a"]),
        (Filter(model="m2"), ["b"]),
        (Filter(tool="search"), ["c"]),
        (Filter(agent="helper"), ["c", "b", "a"]),
        (Filter(agent="nobody"), []),
        (Filter(group="g"), ["a"]),
        (Filter(failed=True), ["b"]),
        (Filter(failed=False), ["c", "a"]),
        (Filter(outcome="failed"), ["b"]),
        (Filter(outcome="ok"), ["c", "a"]),
        (Filter(running=True), []),
        (Filter(since=200.0), ["c", "b"]),
        (Filter(before=200.0), ["a"]),
        (Filter(text="lovely fjo"), ["a"]),
        (Filter(text="!"), []),
        (Filter(failed=True, model="m"), []),
    ],
)
def test_a_filter_lists_what_it_describes(store, record, wanted, names):
    record("a", at=100.0, group="g", text="lovely fjords")
    record("b", at=200.0, model="m2", error='{"message": "no"}')
    record("c", at=300.0, tool="search")

    assert [summary.name for summary in store.traces(wanted)] == names


def test_a_list_has_the_newest_runs(store, record):
    for number in range(5):
        record(str(number), at=float(number))

    assert [run.name for run in store.traces(limit=2)] == ["4", "3"]


def test_a_search_finds_beginnings_of_words_and_shows_them(store, record):
    record("trip", text="Crème brûlée and waffles")
    record("other", text="nothing")

    [hit] = store.search("BRULEE waff")

    assert (hit.trace_name, hit.kind) == ("trip", "generation")
    assert hit.excerpt == "Crème [brûlée] and [waffles]"
    assert store.search('"waffles" AND (') != []


def test_words_are_quoted_so_that_a_search_never_fails():
    assert match_words('a "b" NOT -c *') == '"a"* "b"* "NOT"* "-c"*'


def test_a_run_goes_by_its_beginning_and_by_last(store, record):
    first, second = record(at=1.0), record(at=2.0)

    assert store.find("last") == second
    assert store.find("last-1") == first
    for name in ("last-2", "last-999999999999999999", f"last-{'9' * 30}"):
        with pytest.raises(UnknownTraceError, match="No run"):
            store.find(name)
    assert store.find(first.removeprefix("trace_")) == first
    with pytest.raises(UnknownTraceError, match="write more"):
        store.find("trace_0")
    for unknown in ("last-2", "tra", "trace_x"):
        with pytest.raises(UnknownTraceError, match="traces list"):
            store.find(unknown)


def test_a_body_is_stored_once_and_byte_for_byte(store, record):
    exchange = Exchange("http://h/api/chat", 200, b'{"messages":[]}', b"\xff\x00")
    trace_id = record(exchanges=(exchange,))
    record(exchanges=(exchange,))

    [stored] = store.get(trace_id).model_calls[0].exchanges
    assert store.body(stored.request) == exchange.request
    assert store.body(stored.response) == exchange.response
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (2,)
    connection.close()
    with pytest.raises(UnknownTraceError):
        store.body("00")


def test_the_input_of_a_call_is_read_from_the_stored_request(store, record):
    request = json.dumps({"messages": [{"role": "user", "content": "hi"}]}).encode()

    for body, messages in [(request, [{"role": "user", "content": "hi"}]), (b"x", None)]:
        trace_id = record(exchanges=(Exchange("u", 200, body, b""),))
        assert store.get(trace_id).model_calls[0].data["input"] == messages


def test_statistics_count_every_model(store, record):
    for number in range(4):
        record(model="m", at=float(number))
    record(model="n", error='{"message": "no"}')

    first, second = store.stats()

    assert (first.name, first.calls, first.errors) == ("m", 4, 0)
    assert (first.input_tokens, first.output_tokens) == (40, 20)
    assert (first.p50, first.p99) == pytest.approx((1.0, 1.0))
    assert first.tokens_per_second == 10
    assert first.first_token_seconds is None
    assert (second.name, second.errors) == ("n", 1)
    assert [stats.name for stats in store.stats(since=500.0)] == ["n"]


def test_statistics_count_by_agent_tool_and_day(store, record):
    day = 86_400.0
    record(at=100 * day, tool="search")
    record(at=102 * day)

    [agent] = store.stats("agent")
    tools = store.stats("tool")
    days = store.stats("day")

    assert (agent.name, agent.calls, agent.input_tokens) == ("helper", 2, 20)
    assert [(tool.name, tool.calls) for tool in tools] == [("get_weather", 1), ("search", 1)]
    assert tools[0].input_tokens == 0
    assert [stats.calls for stats in days] == [1, 1]
    assert days[0].name > days[1].name >= "1970-04-10"


def test_the_nearest_agent_around_a_call_is_its_agent(store):
    store.write(
        [
            SpanStarted("outer", "t", None, "agent", "outer", 1.0),
            SpanStarted("tool", "t", "outer", "function", "ask", 1.0),
            SpanStarted("inner", "t", "tool", "agent", "inner", 1.0),
            SpanStarted("turn", "t", "inner", "turn", "1", 1.0),
            SpanStarted("deep", "t", "turn", "generation", "m", 1.0),
            SpanEnded("deep", "t", "generation", "m", 2.0, None, "{}", model="m"),
            SpanStarted("bare", "t", None, "generation", "m", 1.0),
            SpanEnded("bare", "t", "generation", "m", 2.0, None, "{}", model="m"),
        ]
    )

    assert {stats.name for stats in store.stats("agent")} == {"inner", "no agent"}


def test_replays_and_answers_of_two_tokens_do_not_count_for_the_speed(store, record):
    record()
    record(metadata='{"replay_of": "trace_00000001"}')
    events = run_events()
    store.write(
        [
            event._replace(output_tokens=2, output_seconds=100.0)
            if isinstance(event, SpanEnded) and event.model
            else event
            for event in events
        ]
    )

    [stats] = store.stats()
    [short] = store.get(events[0].trace_id).model_calls

    assert (stats.calls, stats.tokens_per_second) == (2, 10)
    assert short.tokens_per_second is None


@pytest.mark.parametrize(("percent", "value"), [(50, 2), (90, 4), (99, 4), (1, 1), (25, 1)])
def test_a_percentile_is_a_value_that_was_measured(percent, value):
    assert percentile([1, 2, 3, 4], percent) == value


def test_changes_follow_what_is_written(store, record):
    record()
    cursor = store.cursor()
    assert store.spans_after(cursor) == ([], cursor)
    store.write([SpanStarted("s", "t", None, "agent", "a", 5.0)])
    [begun], cursor = store.spans_after(cursor)
    store.write([SpanEnded("s", "t", "agent", "a", 6.0, None, "{}")])
    [ended], cursor = store.spans_after(cursor)

    assert (begun.ended_at, ended.ended_at) == (None, 6.0)


def test_following_yields_what_others_write(store, record):
    waited = []

    def pause():
        waited.append(record())
        assert len(waited) < 5

    spans = store.follow(store.cursor(), pause=pause)
    assert next(spans).trace_id == waited[0]


def test_values_for_filters_are_those_that_are_stored(store, record):
    record(model="b", tool="t")
    record(model="a", tool="t")

    assert store.values() == {"model": ["a", "b"], "agent": ["helper"], "tool": ["t"]}


def test_pruning_deletes_old_runs_with_all_that_is_theirs(store, record):
    old = Exchange("u", 200, b"old request", b"shared")
    new = Exchange("u", 200, b"new request", b"shared")
    record("old", at=100.0, text="ancient", exchanges=(old,))
    kept = record("new", at=200.0, text="recent", exchanges=(new,))

    assert store.prune(before=200.0) == 1

    assert [run.trace_id for run in store.traces()] == [kept]
    assert store.search("ancient") == []
    [exchange] = store.get(kept).model_calls[0].exchanges
    assert store.body(exchange.response) == b"shared"
    assert store.verify() == []
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("SELECT count(*) FROM bodies").fetchone() == (2,)
    connection.close()
    assert store.prune(before=200.0) == 0


def test_old_runs_go_when_a_writer_opens_the_file(tmp_path, record):
    record("old", at=100.0)
    record("new", at=time.time())
    with TraceStore(tmp_path / "traces.db", retention_days=1) as store:
        store.record(SpanStarted("s", "t", None, "agent", "a", time.time()))
        store.flush()
        assert {run.name for run in store.traces()} == {"new", "Agent workflow"}


def test_old_runs_that_cannot_be_deleted_do_not_stop_new_ones(tmp_path, record, caplog):
    record("old", at=100.0)
    with closing(sqlite3.connect(tmp_path / "traces.db")) as connection:
        connection.execute(
            "CREATE TRIGGER kept BEFORE DELETE ON traces BEGIN SELECT RAISE(ABORT, 'no'); END"
        )

    with TraceStore(tmp_path / "traces.db", retention_days=1) as store:
        store.record(SpanStarted("s", "t", None, "agent", "a", time.time()))
        assert store.flush()
        assert {run.name for run in store.traces()} == {"old", "Agent workflow"}
        with pytest.raises(StoreError, match=r"cannot be pruned: no\."):
            store.prune(before=200.0)

    assert "cannot be deleted" in caplog.text


def test_a_step_that_cannot_be_redacted_is_counted_and_the_others_are_kept(store, caplog):
    start = SpanStarted("s1", "t", None, "agent", "a", 1.0)
    end = SpanEnded("s1", "t", "agent", "a", 2.0, None, "{}")

    store.record(start)
    store.record(end._replace(span_id="s2", name=5))
    store.record(end)

    assert store.flush()
    [span] = store.get("t").spans
    assert (span.span_id, span.ended_at) == ("s1", 2.0)
    assert store.verify() == ["1 event was lost while recording: TypeError while redacting"]
    assert "TypeError while redacting" in caplog.text


def test_nothing_in_the_file_can_be_changed(store, record):
    record()

    with sqlite3.connect(store.path) as connection:
        for table in ("traces", "trace_ends", "spans", "span_ends"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(f"UPDATE {table} SET id = id")
    connection.close()


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DELETE FROM spans", "span ends without a beginning"),
        ("DELETE FROM traces", "spans without a run"),
        ("DELETE FROM span_ends", "texts without a span"),
        ("DELETE FROM bodies", "exchanges without a body"),
        ("INSERT INTO bodies VALUES ('ab', x'00')", "is not the one that was stored"),
        ("INSERT INTO losses (at, events, reason) VALUES (1, 3, 'why')", "3 events were lost"),
    ],
)
def test_verify_says_what_is_wrong(store, record, statement, words):
    record(exchanges=(Exchange("u", 200, b"{}", b"{}"),))
    with sqlite3.connect(store.path) as connection:
        connection.execute(statement)
    connection.close()

    assert any(words in problem for problem in store.verify())


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        ("PRAGMA user_version = 99", "comes from another timestep"),
        ("PRAGMA user_version = 7", "comes from another timestep"),
        ("CREATE TABLE other (x)", "another program"),
        ("CREATE TABLE other (x); PRAGMA user_version = 1", "another program"),
        ("PRAGMA application_id = 5", "another program"),
    ],
)
def test_a_file_that_is_not_ours_is_left_alone(tmp_path, setup, words):
    path = tmp_path / "x.db"
    with sqlite3.connect(path) as connection:
        connection.executescript(setup)
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match=words):
        TraceStore(path).traces()
    with pytest.raises(StoreError, match=words):
        TraceStore(path).write([])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_looking_at_an_empty_file_leaves_it_empty(tmp_path):
    path = tmp_path / "x.db"
    path.touch()

    assert TraceStore(path).traces() == []
    assert path.read_bytes() == b""


@pytest.fixture
def foreign_directory():
    """A directory of another user, for as long as `as_nobody` lasts."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


@contextmanager
def as_nobody(directory):
    """Without the right to write in *directory*: root may always."""
    is_root = os.geteuid() == 0
    directory.chmod(0o555)
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        directory.chmod(0o755)


@pytest.mark.skipif(os.name == "nt", reason="rights are POSIX's")
def test_a_record_that_may_not_be_written_can_be_read(foreign_directory):
    path = foreign_directory / "100% ours?.db"
    with TraceStore(path) as store:
        store.write(run_events("holiday", text="needle"))
    path.chmod(0o444)

    with as_nobody(foreign_directory), TraceStore(path) as store:
        assert [summary.name for summary in store.traces()] == ["holiday"]
        assert store.get("last").name == "holiday"
        assert len(store.search("needle")) == 1
        assert len(store.stats()) == 1
        assert store.verify() == []
        with pytest.raises(StoreError, match="readonly"):
            store.write([])


@pytest.mark.skipif(os.name == "nt", reason="rights are POSIX's")
def test_a_damaged_index_is_found_in_a_file_that_may_not_be_written(foreign_directory):
    path = foreign_directory / "ours.db"
    with TraceStore(path) as store:
        store.write(run_events(text="needle"))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM texts_content")
    path.chmod(0o444)

    with as_nobody(foreign_directory), TraceStore(path) as store:
        assert any("the search index" in problem for problem in store.verify())


def test_a_file_that_is_no_database_is_refused(tmp_path):
    path = tmp_path / "x.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 40)

    with pytest.raises(StoreError, match="Move the file away"):
        TraceStore(path).traces()


def test_a_path_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")

    with pytest.raises(StoreError, match=r"traces\.path"):
        TraceStore(tmp_path / "file" / "x.db").write([])


@pytest.mark.parametrize("name", ["redact", "secrets"])
@pytest.mark.parametrize("given", ["sk-abc", ["sk-abc", 5], [None], [b"x"]])
def test_what_is_no_list_of_texts_is_refused_and_not_taken_letter_by_letter(tmp_path, name, given):
    with pytest.raises(ValueError, match=f"{name} is not a list of strings") as caught:
        TraceStore(tmp_path / "x.db", **{name: given})

    assert "sk-abc" not in str(caught.value)


@pytest.mark.parametrize("days", [0, -1, "30", float("nan"), float("inf"), True])
def test_what_is_no_number_of_days_deletes_nothing(tmp_path, days):
    with pytest.raises(ValueError, match="not a number of days"):
        TraceStore(tmp_path / "x.db", retention_days=days)


def test_what_comes_of_a_deleted_run_later_is_not_stored(store):
    events = run_events("deleted", text="my secret")
    store.write(events[:3])
    assert store.prune(before=5000.0) == 1
    store.write(events[3:])

    assert store.traces() == []
    assert store.verify() == []
    assert b"my secret" not in store.path.read_bytes()


def test_what_is_deleted_is_not_left_in_the_log_beside_the_record(store):
    store.write(run_events("secret", text="my secret"))
    with TraceStore(store.path) as other:
        other.write(run_events("other", at=9000.0))
        other.traces()
        assert store.prune(before=5000.0) == 1

        content = b"".join(path.read_bytes() for path in store.path.parent.glob("traces.db*"))
        assert b"my secret" not in content


def test_a_record_stays_where_it_is_when_the_program_goes_elsewhere(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with TraceStore("rel.db") as store:
        for event in run_events("a"):
            store.record(event)
        monkeypatch.chdir(tmp_path / "there")
        for event in run_events("b"):
            store.record(event)

    assert list((tmp_path / "there").iterdir()) == []
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["rel.db"]
    with TraceStore(tmp_path / "here" / "rel.db") as store:
        assert {run.name for run in store.traces()} == {"a", "b"}


def test_a_link_to_a_record_and_the_record_are_one(tmp_path):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "traces.db"
    link = tmp_path / "link.db"
    link.symlink_to(real)

    assert TraceStore(link).path == real


def test_counts_whose_sum_no_integer_holds_leave_runs_listable(store, record):
    events = run_events("huge")
    huge = [
        event._replace(input_tokens=2**62, output_tokens=2**62)
        if isinstance(event, SpanEnded)
        else event
        for event in events
    ]
    store.write(huge)
    record("good")

    assert {run.name for run in store.traces()} == {"huge", "good"}


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE span_ends SET data = '{'",
        "UPDATE span_ends SET data = '[1]', error = 'x'",
        "UPDATE span_ends SET data = CAST(x'ff' AS TEXT), name = CAST(x'ff' AS TEXT)",
        "UPDATE span_ends SET ended_at = 'x', total_seconds = 'x', input_tokens = 'x'",
        "UPDATE span_ends SET name = x'ff', ended_at = 'x', context_length = 'x', cost = 'x'",
        "UPDATE traces SET metadata = '{'",
        "UPDATE traces SET group_id = x'ff'",
        "UPDATE bodies SET body = 'text'",
    ],
)
def test_a_damaged_row_is_shown_or_a_store_error_and_hides_no_other_run(store, record, damage):
    damaged = record("damaged", exchanges=(Exchange("u", 200, b"{}", b"{}"),))
    record("good", at=2000.0)
    with closing(sqlite3.connect(store.path)) as connection, connection:
        for table in ("span_ends", "traces", "bodies"):
            connection.execute(f"DROP TRIGGER {table}_are_final")
        where = "" if "bodies" in damage else f" WHERE trace_id = '{damaged}'"
        connection.execute(damage + where)

    assert {run.name for run in store.traces()} == {"damaged", "good"}
    assert store.get("last").name == "good"
    shown = view_trace(store.get(damaged))
    assert json_text([shown, view_diff(store.get(damaged), store.get(damaged))])
    for read in (store.stats, store.verify, store.values):
        with suppress(StoreError):
            assert read() is not None
