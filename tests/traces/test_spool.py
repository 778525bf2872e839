"""What killed processes left beside a record: taken in whole, once, and by nobody's leave but ours."""

import os
import sqlite3
from pathlib import Path

import pytest

from timestep.traces import StoreError, TraceStore
from timestep.traces.records import Exchange, SpanEnded, SpanStarted, TraceStarted
from timestep.traces.spool import Spool, take_in

from .conftest import run_events

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows deletes no open file")


def spools(path):
    return sorted(path.parent.glob(f"{path.name}-spool-*"))


@pytest.fixture
def leave(store):
    """Leave events beside the store, as a killed process does; the file."""

    def write(*events):
        before = set(spools(store.path))
        spool = Spool(store.path)
        for event in events:
            spool.append([event])
        spool.close()
        [path] = set(spools(store.path)) - before
        return path

    return write


def open_descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def named(store, name, content=b""):
    path = store.path.with_name(f"{store.path.name}-spool-{name}")
    path.write_bytes(content)
    return path


def test_everything_in_an_event_comes_back(store, leave):
    body = Exchange("http://x", None, b"\n\0\xff\n", b"")
    events = [
        TraceStarted("t", "n\n", "g", '{"a": 1}', 1.5),
        SpanStarted("s", "t", None, "generation", "m\u2028", 2.5),
        SpanEnded(
            "s", "t", "generation", "m", 3.5, None, "{}", "x", "m", 1, 2, exchanges=(body, body)
        ),
    ]
    leave(*events)
    taken = []

    assert take_in(store.path, lambda events, gaps: taken.append((events, gaps))) == []
    assert taken == [(events, 0)]
    assert spools(store.path) == []


def test_damage_in_the_middle_costs_what_is_damaged_and_is_told(store, leave):
    first, second, third = run_events("a"), run_events("b"), run_events("c")
    spool = leave(*first, *second, *third)
    content = spool.read_bytes()
    at = content.index(second[0].trace_id.encode()) - 60
    spool.write_bytes(content[:at] + b"\0" * 90 + content[at + 90 :])

    assert {"a", "c"} <= {run.name for run in store.traces()}
    assert any("a spool was damaged" in problem for problem in store.verify())
    assert spools(store.path) == []


@pytest.mark.parametrize(
    "line",
    [
        b"[" * 100_000,
        b'["SpanEnded",[],[],[]]',
        b'["TraceStarted",["t","n",null,null,1.0],[],[1000000000000000]]',
        b'["TraceStarted",["t","n",null,null,1.0],[],[-1]]',
        b'["TraceStarted",["t","n",null,null,1.0],[["u",200]],[1]]',
        b'["Nothing",[],[],[]]',
        b"{}",
        b"null",
        b"\xff",
    ],
)
def test_nonsense_in_a_spool_takes_nothing_else_with_it(store, leave, line):
    good = run_events("good")
    spool = leave(*good)
    content = spool.read_bytes()
    header, rest = content.split(b"\n", 1)
    sign = header.split()[-1]
    spool.write_bytes(header + b"\n" + sign + line + b"\n" + rest)

    [run] = [run for run in store.traces() if run.name == "good"]
    assert run.seconds is not None
    assert spools(store.path) == []


def test_spools_are_taken_in_in_the_order_in_which_they_were_begun(store, leave):
    events = run_events("ordered")
    for event in events:
        leave(event)
    seen = []

    take_in(store.path, lambda events, gaps: seen.extend(events))

    assert seen == events


def test_a_spool_waits_for_an_earlier_one_of_its_process(store, leave):
    begun, *rest = run_events("waits")
    earlier = Spool(store.path)
    earlier.append([begun])
    later = leave(*rest)

    assert store.traces() == []
    assert later.exists()
    earlier.close()
    assert take_in(store.path, lambda events, gaps: store.write(events)) == []
    assert [run.name for run in store.traces()] == ["waits"]


@pytest.mark.parametrize("at", [3, 20], ids=["magic", "sign"])
def test_a_spool_of_which_nothing_can_be_read_stays_and_is_told(store, leave, at):
    spool = leave(*run_events("a"), *run_events("b"))
    content = bytearray(spool.read_bytes())
    content[at] ^= 1
    spool.write_bytes(content)

    [problem] = store.verify()
    assert spool.name in problem
    assert spool.exists()


def test_zeros_at_the_end_are_a_loss_that_is_told(store, leave):
    first, second = run_events("a"), run_events("b")
    spool = leave(*first, *second)
    content = spool.read_bytes()
    at = content.rindex(b"\n", 0, content.index(second[0].trace_id.encode()))
    spool.write_bytes(content[:at] + bytes(len(content) - at))

    assert [run.name for run in store.traces()] == ["a"]
    assert store.verify() == ["1 events were lost while recording: a spool was damaged"]


def test_damage_inside_of_a_text_is_not_taken_for_json(tmp_path):
    path = tmp_path / "traces.db"
    with TraceStore(path, redact=[r"\d{4} \d{4}"]) as store:
        spool = Spool(path)
        spool.append(run_events("damaged"))
        spool.close()
        [left] = spools(path)
        left.write_bytes(left.read_bytes().replace(b'output\\":', b'output\\";'))

        assert [run.name for run in store.traces()] == ["damaged"]
        assert store.get("last").spans
        assert any("a spool was damaged" in problem for problem in store.verify())
        for event in run_events("next"):
            store.record(event)
        assert store.flush(10)
        assert len(store.traces()) == 2


def test_a_spool_that_cannot_be_begun_leaves_nothing(store, monkeypatch):
    write = os.write

    def refuse(file, content):
        if bytes(content).startswith(b"timestep spool"):
            raise OSError(28, "No space left on device")
        return write(file, content)

    descriptors = open_descriptors()
    monkeypatch.setattr(os, "write", refuse)
    for _ in range(20):
        with pytest.raises(OSError, match="No space"):
            Spool(store.path)

    assert spools(store.path) == []
    assert open_descriptors() == descriptors


def test_an_event_that_cannot_be_a_row_takes_no_other_with_it(store, leave):
    events = run_events("good")
    too_large = SpanEnded("x", "t", "function", "f", 1.0, None, "{}", input_tokens=10**30)
    odd = TraceStarted({"a": 1}, "odd", None, None, 1.0)
    leave(odd, SpanStarted("x", "t", None, "function", "f", 0.5), too_large, *events)

    assert {run.name for run in store.traces()} == {"good", "Agent workflow"}
    assert spools(store.path) == []
    told = "".join(store.verify())
    assert "OverflowError while writing" in told
    assert "a spool was damaged" in told


@pytest.mark.parametrize("name", ["notes.txt", "1-x", f"{1:020d}-12-abcdef01.bak"])
def test_a_file_of_the_user_s_is_left_alone(store, name):
    path = named(store, name, b"mine")

    assert store.traces() == []
    assert path.read_bytes() == b"mine"


def test_a_file_with_a_spool_s_name_that_is_none_is_left_alone(store):
    path = named(store, f"{1:020d}-1-abcdef01", b"mine")

    assert store.traces() == []
    assert path.read_bytes() == b"mine"


def test_an_empty_spool_goes(store):
    named(store, f"{1:020d}-1-abcdef01")

    assert store.traces() == []
    assert spools(store.path) == []


@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_what_is_no_file_keeps_nobody_waiting(store, leave, kind, tmp_path):
    path = store.path.with_name(f"{store.path.name}-spool-{1:020d}-1-abcdef01")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        (tmp_path / "elsewhere").write_bytes(b"timestep spool 1 x\n")
        path.symlink_to(tmp_path / "elsewhere")
    leave(*run_events("good"))

    assert [run.name for run in store.traces()] == ["good"]
    descriptors = open_descriptors()
    store.verify()
    assert open_descriptors() == descriptors
    assert os.path.lexists(path)


def test_one_spool_that_cannot_be_read_keeps_no_other_out_and_is_told(store, leave, monkeypatch):
    first, _ = sorted([leave(*run_events("a")), leave(*run_events("b"))])
    opening = os.open

    def refuse(path, *arguments, **more):
        if path == first:
            raise PermissionError(13, "no")
        return opening(path, *arguments, **more)

    monkeypatch.setattr(os, "open", refuse)

    assert len(store.traces()) == 1
    assert spools(store.path) == [first]
    [problem] = store.verify()
    assert "1 files of ended processes cannot be taken in" in problem
    assert first.name in problem


def test_a_reader_waits_for_no_lock(store, leave):
    store.write(run_events("before"))
    blocker = sqlite3.connect(store.path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    leave(*run_events("left"))
    try:
        assert [run.name for run in store.traces()] == ["before"]
        assert len(spools(store.path)) == 1
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()

    assert store.verify() == []
    assert {run.name for run in store.traces()} == {"before", "left"}


def test_deleting_all_runs_deletes_what_killed_processes_left(store, leave):
    leave(*run_events("secret", text="my secret"))

    assert store.prune(before=5000.0) == 1
    assert spools(store.path) == []
    assert store.traces() == []
    assert store.search("secret") == []
    assert b"my secret" not in store.path.read_bytes()


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


def test_deleting_says_so_when_a_file_of_an_ended_process_stays(store, leave):
    spool = leave(*run_events("a"))
    content = bytearray(spool.read_bytes())
    content[3] ^= 1
    spool.write_bytes(content)
    store.write(run_events("b"))

    with pytest.raises(StoreError, match=r"1 runs are deleted, and maybe not all: .*-spool-"):
        store.prune(before=5000.0)


def test_a_link_to_a_record_and_the_record_are_one(tmp_path):
    (tmp_path / "real").mkdir()
    real = tmp_path / "real" / "traces.db"
    link = tmp_path / "link.db"
    link.symlink_to(real)
    with TraceStore(link) as store:
        Spool(store.path).close()
        assert store.path == real
        assert len(spools(real)) == 1


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
