import itertools
import logging
import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from timestep.traces import Exchange, TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceStarted

from .conftest import run_events


def test_a_recorded_event_is_in_the_file_after_a_flush(store):
    for event in run_events("mine"):
        store.record(event)

    assert store.flush(10)
    assert [run.name for run in store.traces()] == ["mine"]


def test_a_flush_of_nothing_returns_at_once(store):
    assert store.flush(0)


def test_what_comes_after_the_end_is_counted_and_said_once(store, caplog):
    store.close()
    with caplog.at_level(logging.WARNING, "timestep"):
        for event in run_events():
            store.record(event)

    [message] = [record.getMessage() for record in caplog.records]
    assert "the store is closed" in message


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open file")
def test_a_file_that_is_deleted_meanwhile_is_made_again(store):
    for name in ("first", "second"):
        for event in run_events(name):
            store.record(event)
        assert store.flush(10)
        assert [run.name for run in store.traces()] == [name]
        for file in store.path.parent.glob("traces.db*"):
            file.unlink()

    assert store.traces() == []


def test_a_full_queue_loses_steps_counts_them_and_never_raises(tmp_path, caplog):
    path = tmp_path / "traces.db"
    big = Exchange("u", 200, b"x" * 5000, b"")
    with TraceStore(path, queue_bytes=8000) as store:
        store.write([])
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        for number in range(50):
            store.record(SpanEnded(f"s{number}", "t", "x", "x", 1.0, None, "{}", exchanges=(big,)))
        blocker.execute("COMMIT")
        blocker.close()
        assert store.flush(30)
        store.record(TraceStarted("t", "t", None, None, 1.0))
        store.flush(30)
        problems = [text for text in store.verify() if "lost" in text]
        with closing(sqlite3.connect(path)) as connection:
            [(stored,)] = connection.execute("SELECT count(*) FROM span_ends")

    # What was lost before and after the thread took the first ones may be told apart.
    assert all("the queue is full" in problem for problem in problems)
    assert 0 < stored < 50
    assert stored + sum(int(problem.split()[0]) for problem in problems) == 50
    assert "the queue is full" in caplog.text


def test_a_file_that_cannot_be_written_never_raises_into_the_run(tmp_path, caplog):
    (tmp_path / "file").write_text("x")
    store = TraceStore(tmp_path / "file" / "traces.db")

    for event in run_events():
        store.record(event)

    assert not store.flush(10)
    assert any("8 events were lost" in problem for problem in store.verify())
    store.close()
    assert caplog.text.count("are not recorded") == 1
    assert caplog.records[0].getMessage().endswith("set traces.path to another one.")


def test_an_event_that_cannot_be_written_takes_no_other_with_it(store, caplog):
    events = run_events("good")
    store.record(events[0])
    store.record(SpanEnded("bad", "t", "x", "x", 1.0, None, "\ud800"))
    for event in events[1:]:
        store.record(event)

    assert store.flush(10)
    assert [run.name for run in store.traces()] == ["good"]
    assert "while writing" in caplog.text


def test_what_was_lost_before_the_end_is_told_in_the_record(tmp_path):
    path = tmp_path / "traces.db"
    with TraceStore(path) as store:
        for event in [SpanEnded("bad", "t", "x", "x", 1.0, None, "\ud800"), *run_events("good")]:
            store.record(event)

    with TraceStore(path) as store:
        assert [run.name for run in store.traces()] == ["good"]
        [problem] = store.verify()
        assert "1 event was lost while recording: UnicodeEncodeError" in problem


def test_a_step_that_is_larger_than_the_queue_is_recorded_without_what_it_said(tmp_path):
    events = run_events("large", text="needle" * 5000)
    with TraceStore(tmp_path / "traces.db", queue_bytes=20_000) as store:
        for event in events:
            store.record(event)
        assert store.flush(10)
        trace = store.get("last")
        assert [span.input_tokens for span in trace.spans if span.kind == "generation"] == [10]
        assert all(span.ended_at for span in trace.spans)
        [problem] = store.verify()
        assert "larger than the queue" in problem


def test_a_flush_waits_only_for_what_was_recorded_before_it(store):
    done = threading.Event()

    def record_on():
        while not done.is_set():
            for event in run_events("other"):
                store.record(event)
            done.wait(0.001)

    threads = [threading.Thread(target=record_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(5):
            [*events] = run_events("mine")
            for event in events:
                store.record(event)
            assert store.flush(30)
            assert store.get(events[0].trace_id).name == "mine"
    finally:
        done.set()
        for thread in threads:
            thread.join()


ON_A_FULL_DISK = """
import resource, signal, sys
from timestep.traces import TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceStarted
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = TraceStore(sys.argv[1])
store.write([])
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, resource.RLIM_INFINITY))
for run, (name, words) in enumerate([("small", 1), ("large", 200_000), ("small", 1)]):
    store.record(TraceStarted(f"t{run}", name, None, None, 1.0))
    store.record(SpanStarted(f"s{run}", f"t{run}", None, "function", "f", 1.0))
    store.record(SpanEnded(f"s{run}", f"t{run}", "function", "f", 2.0, None, "{}", "word " * words))
    print(store.flush(30))
store.close()
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such limit")
def test_what_a_full_disk_cost_is_noted_in_the_record(tmp_path):
    path = tmp_path / "traces.db"
    done = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["True", "False", "True"]
    assert "disk" in done.stderr or "full" in done.stderr
    assert "rollback" not in done.stderr

    with TraceStore(path) as store:
        assert [run.name for run in store.traces()] == ["small", "small"]
        [problem] = store.verify()
        assert problem.startswith("3 events were lost while recording:")


def test_a_thread_that_does_not_start_costs_nothing(store, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse_to_start)
        for event in run_events("first"):
            store.record(event)
        assert not store.flush(0)
    for event in run_events("second"):
        store.record(event)

    assert store.flush(10)
    assert {run.name for run in store.traces()} == {"first", "second"}


def refuse_to_start(_):
    raise RuntimeError("can't start new thread")


def test_who_logs_may_record_too(tmp_path):
    """A log that is written while the queue is locked would wait for itself for ever."""
    logger = logging.getLogger("timestep")
    reached, going_on = threading.Event(), threading.Event()
    store = TraceStore(tmp_path / "traces.db", queue_bytes=10_000)

    class Recording(logging.Handler):
        def emit(self, record):
            reached.set()
            going_on.wait(10)
            store.record(TraceStarted("t", "logged", None, None, 1.0))

    handler = Recording()
    logger.addHandler(handler)
    try:
        bad = SpanEnded("bad", "t", "x", "x", 1.0, None, "{}", "x" * 20_000)
        losing = threading.Thread(target=store.record, args=(bad,))
        losing.start()
        assert reached.wait(10)
        for event in run_events("meanwhile"):  # the queue is free
            store.record(event)
        going_on.set()
        losing.join(10)
        assert not losing.is_alive()
    finally:
        logger.removeHandler(handler)
    with store:
        assert store.flush(10)
        assert {"meanwhile", "logged"} <= {run.name for run in store.traces()}


CLOSE_BY_SIGNAL = """
import os, signal, sys
from timestep.traces import TraceStore, queries
store = TraceStore(sys.argv[1])
store.write([])
signal.signal(signal.SIGTERM, lambda *_: (store.close(), os._exit(7)))
store._reading.run(lambda _: os.kill(os.getpid(), signal.SIGTERM))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_a_signal_may_close_the_store_that_it_interrupts(tmp_path):
    command = [sys.executable, "-c", CLOSE_BY_SIGNAL, str(tmp_path / "traces.db")]

    assert subprocess.run(command, check=False, timeout=240).returncode == 7


def test_recording_the_same_end_twice_stores_it_once(store):
    events = run_events(text="once")
    store.write(events)
    store.write(events[:-1])

    assert len(store.search("once")) == 1
    assert store.verify() == []


WRITE_RUNS = """
import sys
from timestep.traces import TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted
path, name = sys.argv[1:]
store = TraceStore(path)
for run in range(100):
    trace = f"{name}-{run}"
    store.record(TraceStarted(trace, name, None, None, float(run)))
    for kind in ("generation", "function"):
        span = f"{trace}-{kind}"
        store.record(SpanStarted(span, trace, None, kind, "x", float(run)))
        store.record(SpanEnded(span, trace, kind, "x", run + 1.0, None, "{}", text="word"))
    store.record(TraceEnded(trace, run + 2.0))
"""


def test_four_processes_that_write_at_once_lose_nothing(tmp_path):
    path = tmp_path / "traces.db"
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITE_RUNS, str(path), name]) for name in "abcd"
    ]
    assert [process.wait() for process in processes] == [0] * 4

    with TraceStore(path) as store:
        assert store.verify() == []
        runs = store.traces(limit=1000)
        assert len(runs) == 400
        assert all((run.calls, run.tools, run.total_seconds) == (1, 1, 2.0) for run in runs)


def test_an_end_waits_little_for_a_locked_file(tmp_path, caplog):
    path = tmp_path / "traces.db"
    store = TraceStore(path)
    store.write([])
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    for event in run_events("late"):
        store.record(event)
    store.close(0)
    assert "are lost unless it is free before this program ends" in caplog.text
    blocker.execute("COMMIT")
    blocker.close()

    for thread in threading.enumerate():
        if thread.name == "timestep-traces":
            thread.join(30)
    with TraceStore(path) as later:
        assert [run.name for run in later.traces()] == ["late"]


RECORD_AND_TELL = """
import os, sys, time
from timestep.traces import Exchange, TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceStarted
path, name = sys.argv[1:]
store = TraceStore(path)
store.record(TraceStarted(name, name, None, None, time.time()))
store.record(SpanStarted(f"{name} open", name, None, "agent", "a", time.time()))
number = 0
while True:
    number += 1
    span = f"{name} {number}"
    store.record(SpanStarted(span, name, None, "function", "f", time.time()))
    body = Exchange("u", 200, b"request", b"answer")
    store.record(SpanEnded(span, name, "function", "f", time.time(), None, "{}", exchanges=(body,)))
    os.write(1, f"{span}\\n".encode())
    time.sleep(0.002)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signal")
def test_what_ended_is_soon_in_the_file_and_a_kill_takes_only_the_open_spans(tmp_path):
    path = tmp_path / "traces.db"
    command = [sys.executable, "-c", RECORD_AND_TELL, str(path)]
    writers = [
        subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in "abcd"
    ]
    told = set()
    with TraceStore(path) as store:
        for writer, steps in zip(writers, (300, 50, 1, 500), strict=True):
            for line in itertools.islice(writer.stdout, steps):
                told.add(line.strip())
            wait_until(lambda: told <= ended_spans(store))  # the others go on writing
            writer.kill()
            writer.wait()
            writer.stdout.close()

        assert told <= ended_spans(store)
        assert {f"{name} open" for name in "abcd"}.isdisjoint(ended_spans(store))
        assert all(run.ended_at is None for run in store.traces())
        assert store.verify() == []


def ended_spans(store):
    runs = [store.get(run.trace_id) for run in store.traces()]
    return {span.span_id for run in runs for span in run.spans if span.ended_at}


def wait_until(holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


ENDS = """
import sys
from timestep.traces import TraceStore
from timestep.traces.records import SpanEnded, SpanStarted
store = TraceStore(sys.argv[1])
store.record(SpanStarted("s", "t", None, "function", "f", 1.0))
store.record(SpanEnded("s", "t", "function", "f", 2.0, None, "{}"))
"""


def test_a_program_that_ends_loses_nothing(tmp_path):
    path = tmp_path / "traces.db"
    subprocess.run([sys.executable, "-c", ENDS, str(path)], check=True)

    with TraceStore(path) as store:
        assert [span.ended_at for span in store.get("last").spans] == [2.0]


LOCK = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc tells what a process has open")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the writer is a thread
def test_a_fork_carries_no_connection_even_while_the_file_is_locked(tmp_path):
    path = tmp_path / "traces.db"
    with TraceStore(path) as store:
        store.write([])
        lock = [sys.executable, "-c", LOCK, str(path)]
        with subprocess.Popen(lock, stdout=subprocess.PIPE) as other:
            other.stdout.readline()
            for event in run_events("of the parent"):
                store.record(event)
            assert not store.flush(0.5)
            waiting, going_on = os.pipe()
            child = os.fork()
            if not child:
                os.read(waiting, 1)
                for event in run_events("of the child"):
                    store.record(event)
                os._exit(0 if store.flush(30) else 1)
            held = [str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()]
            other.kill()
        os.write(going_on, b"x")
        os.close(waiting)
        os.close(going_on)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.flush(30)
        assert {run.name for run in store.traces()} == {"of the parent", "of the child"}

    assert not [name for name in held if name.startswith(str(path))]


FORKS = """
import os, sys
from timestep.traces import TraceStore
from timestep.traces.records import TraceEnded, TraceStarted

def run(store, name):
    store.record(TraceStarted(name, name, None, None, 1.0))
    store.record(TraceEnded(name, 2.0))
    assert store.flush(30), name

store = TraceStore(sys.argv[1])
run(store, "parent before")
store.traces()
ended, tell = os.pipe()
ready, go = os.pipe()
child = os.fork()
if not child:
    run(store, "child 1")
    os.write(go, b"x")
    os.read(ended, 1)
    for number in range(2, 40):
        run(store, f"child {number}")
    store.close()
    os._exit(0)
os.read(ready, 1)
run(store, "parent after")
store.close()
for number in range(40):
    with TraceStore(sys.argv[1]) as other:
        run(other, f"other {number}")
os.write(tell, b"x")
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_a_fork_that_outlives_its_parent_overwrites_nothing(tmp_path):
    path = tmp_path / "traces.db"
    subprocess.run([sys.executable, "-c", FORKS, str(path)], check=True, timeout=240)

    with TraceStore(path) as store:
        assert len(store.traces(limit=1000)) == 2 + 39 + 40
        assert store.verify() == []
    assert [file.name for file in tmp_path.iterdir()] == ["traces.db"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the writer is a thread
@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_a_child_that_was_forked_while_the_store_is_in_use_records_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("timestep.traces.reader._FORK_SECONDS", 0.1)
    path = tmp_path / "traces.db"
    with TraceStore(path) as store:
        store.write([])
        with store._reading._using:
            forked, told = os.pipe()
            thread = threading.Thread(target=fork_and_record, args=(store, told))
            thread.start()
            thread.join()
        assert os.read(forked, 1) == b"n"  # not in the file, says the child
        os.close(forked)
        os.close(told)
        for event in run_events("of the parent"):
            store.record(event)
        assert store.flush(30)
        assert [run.name for run in store.traces()] == ["of the parent"]
        assert store.verify() == []


def fork_and_record(store, told):
    child = os.fork()
    if not child:
        for event in run_events("of the child"):
            store.record(event)
        os.write(told, b"y" if store.flush(1) else b"n")
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # the server has a thread
def test_a_fork_goes_on_recording(store):
    store.record(SpanStarted("parent", "t", None, "agent", "a", 1.0))
    store.flush()
    child = os.fork()
    if not child:
        store.record(SpanStarted("child", "t", None, "agent", "a", 2.0))
        os._exit(0 if store.flush(20) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.record(SpanStarted("later", "t", None, "agent", "a", 3.0))
    store.flush()

    assert [span.span_id for span in store.get("last").spans] == ["parent", "child", "later"]
