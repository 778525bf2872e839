"""``timestep traces``: read the record, and say it in words or JSON."""

import json
import re
import time
from pathlib import Path

import pytest

from timestep.traces import Exchange, TraceStore
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted

REQUEST = json.dumps(
    {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]}
).encode()
ANSWER = [
    {"type": "reasoning", "summary": [{"type": "summary_text", "text": "They greet me."}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hello"}]},
    {"type": "function_call", "name": "wave", "arguments": '{"hand": "left"}', "call_id": "c"},
]


def generation(span, trace, at, **fields):
    return SpanEnded(
        span,
        trace,
        "generation",
        "m",
        at,
        fields.get("error"),
        json.dumps({"type": "generation", "model": "m", "output": fields.get("output", ANSWER)}),
        text="Hello there",
        model="m",
        input_tokens=1200,
        output_tokens=5,
        first_token_seconds=0.25,
        output_seconds=0.5,
        context_length=4096,
        exchanges=(Exchange("http://h/api/chat", 200, REQUEST, b'{"done":true}\n'),),
    )


@pytest.fixture
def record(tmp_path):
    """The configured record, with one good run and a failed one."""
    path = tmp_path / "data" / "timestep" / "traces.db"
    at = time.time() - 100
    with TraceStore(path) as store:
        store.write(
            [
                TraceStarted("trace_good0000", "Greeting", "chat", None, at),
                SpanStarted("a", "trace_good0000", None, "agent", "host", at),
                SpanStarted("g", "trace_good0000", "a", "generation", "m", at),
                generation("g", "trace_good0000", at + 2),
                SpanStarted("f", "trace_good0000", "a", "function", "wave", at + 2),
                SpanEnded(
                    "f",
                    "trace_good0000",
                    "function",
                    "wave",
                    at + 2.5,
                    None,
                    json.dumps({"input": '{"hand": "left"}', "output": "waved \x1b[31m"}),
                ),
                SpanStarted("h", "trace_good0000", "a", "handoff", "boss", at + 3),
                SpanEnded(
                    "h", "trace_good0000", "handoff", "boss", at + 3, None, '{"from_agent": "host"}'
                ),
                SpanStarted("p", "trace_good0000", "a", "guardrail", "polite", at + 3),
                SpanEnded(
                    "p",
                    "trace_good0000",
                    "guardrail",
                    "polite",
                    at + 3,
                    None,
                    '{"triggered": true}',
                ),
                SpanEnded("a", "trace_good0000", "agent", "host", at + 70, None, "{}"),
                TraceEnded("trace_good0000", at + 70),
            ]
        )
        error = json.dumps({"message": "Error getting response", "data": {"error": "no luck"}})
        store.write(
            [
                TraceStarted("trace_bad00000", "Broken", None, None, at + 80),
                SpanStarted("x", "trace_bad00000", None, "generation", "m", at + 80),
                generation("x", "trace_bad00000", at + 81, error=error, output=None)._replace(
                    exchanges=(), text="no luck"
                ),
            ]
        )
    return path


def test_a_list_shows_the_newest_run_first(invoke, record):
    done = invoke("traces", "list")

    assert done.exit_code == 0
    first, second = [line.split() for line in done.stdout.splitlines() if "00" in line]
    assert first[0] == "bad000"
    assert second[0] == "good00"
    assert "Greeting" in second
    assert "running" in first
    assert "\x1b" not in done.stdout


def test_a_list_can_be_read_by_programs(invoke, record):
    runs = json.loads(invoke("traces", "list", "--json").stdout)
    lines = [json.loads(line) for line in invoke("traces", "list", "--jsonl").stdout.splitlines()]

    assert runs == lines
    assert [run["trace_id"] for run in runs] == ["trace_bad00000", "trace_good0000"]
    assert runs[1]["total_seconds"] == pytest.approx(70)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--errors"], ["trace_bad00000"]),
        (["--no-errors"], ["trace_good0000"]),
        (["--running"], ["trace_bad00000"]),
        (["--outcome", "ok"], ["trace_good0000"]),
        (["--agent", "host"], ["trace_good0000"]),
        (["--tool", "wave"], ["trace_good0000"]),
        (["--group", "chat"], ["trace_good0000"]),
        (["--model", "other"], []),
        (["--query", "luck"], ["trace_bad00000"]),
        (["--limit", "1"], ["trace_bad00000"]),
    ],
)
def test_options_narrow_a_list(invoke, record, options, found):
    runs = json.loads(invoke("traces", "list", "--json", *options).stdout)

    assert [run["trace_id"] for run in runs] == found


@pytest.fixture
def sessions(tmp_path):
    """A record of three runs, two of them in a session, that fill every column of a list."""
    path = tmp_path / "data" / "timestep" / "traces.db"
    error = json.dumps({"message": "no", "data": {"error": "cancelled"}})
    model = "openrouter/anthropic/claude-sonnet-4.5"
    with TraceStore(path) as store:
        for number, (group, minutes) in enumerate([("trip", 90), (None, 60), ("trip", 2)]):
            trace, at = f"trace_{number:032x}", time.time() - 60 * minutes
            ended = SpanEnded(
                f"g{number}",
                trace,
                "generation",
                model,
                at + 75,
                error if number else None,
                "{}",
                model=model,
                input_tokens=12_345,
                output_tokens=number,
                output_seconds=1.0,
                cost=0.4,
                question="What should I pack for a weekend in Oslo?",
                outcome="cancelled" if number else None,
            )
            store.write(
                [
                    TraceStarted(trace, "Agent workflow", group, None, at),
                    SpanStarted(f"a{number}", trace, None, "agent", "concierge", at),
                    SpanStarted(f"b{number}", trace, f"a{number}", "agent", "packer", at),
                    SpanStarted(f"g{number}", trace, f"b{number}", "generation", model, at),
                    ended,
                    TraceEnded(trace, at + 75),
                ]
            )
    return path


def test_a_line_of_80_columns_tells_all_of_a_run(on_screen, sessions):
    shown, _ = on_screen(80, "traces", "list")
    head, *lines = shown.splitlines()

    assert head.split() == [
        *("id", "ago", "question", "session", "agent"),
        *("model", "outcome", "time", "tokens", "cost"),
    ]
    assert len(lines) == 3
    assert all(len(line) <= 80 for line in lines)
    for line in lines:
        assert "What shou" in line
        assert " conc" in line
        assert " openrouter/an" in line
        assert line.split()[-3:] == ["1m", "12k", "$0.40"]
    assert [line.split()[1] for line in lines] == ["2m", "1h", "1h"]  # the session is together
    assert "cancelled" in lines[0]
    assert " ok " in lines[1]
    assert " trip " in lines[1]
    assert " trip " not in lines[2]


@pytest.mark.parametrize(
    ("columns", "head"),
    [
        (60, "id ago question agent model outcome time"),
        (50, "id ago question model outcome"),
        (40, "id ago question outcome"),
    ],
)
def test_a_narrow_list_leaves_columns_out_and_keeps_ids_whole(on_screen, sessions, columns, head):
    shown, _ = on_screen(columns, "traces", "list")
    first, *lines = shown.splitlines()

    assert first.split() == head.split()
    assert {len(line.split()[0]) for line in lines} == {6}
    assert any("cancelled" in line for line in lines)


DOCUMENTED = [
    ("6f0b3c1e", 1, "What shall I pack for Oslo?", "trip", "ollama/llama3.2", "ok", None),
    ("d41c7a90", 4, "How is the weather in Oslo?", "trip", "ollama/llama3.2", "ok", None),
    ("0b97e2d5", 61, "Write a haiku.", None, "openai/gpt-4.1-mini", "cut", 0.02),
    ("93ab1f77", 130, "Book a table for four", None, "ollama/llama3.2", "failed", None),
]


def test_the_list_in_the_docs_is_true(on_screen, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "traces.md").read_text("utf-8")
    [shown] = re.findall(
        r"^```console\n\$ timestep traces list\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    with TraceStore(tmp_path / "data" / "timestep" / "traces.db") as store:
        for trace, minutes, question, group, model, outcome, cost in DOCUMENTED:
            at = time.time() - 60 * minutes - 5
            end = SpanEnded(
                f"g{trace}",
                trace,
                "generation",
                model,
                at + 2.3,
                None,
                "{}",
                model=model,
                input_tokens=1200,
                output_tokens=40 + minutes,
                question=question,
                outcome=None if outcome == "ok" else outcome,
                cost=cost,
            )
            store.write(
                [
                    TraceStarted(trace, "Agent workflow", group, None, at),
                    SpanStarted(f"a{trace}", trace, None, "agent", "desk", at),
                    SpanStarted(f"g{trace}", trace, f"a{trace}", "generation", model, at),
                    end,
                    TraceEnded(trace, at + 2.3),
                ]
            )

    text, _ = on_screen(80, "traces", "list")

    assert [line.rstrip() for line in text.splitlines()] == shown.splitlines()


def test_a_wide_list_shortens_nothing(invoke, sessions):
    assert " What should I pack for a weekend in Oslo?  trip " in invoke("traces", "list").stdout


@pytest.mark.parametrize("columns", [60, 80, 140])
def test_statistics_keep_the_name_of_the_model_whole(on_screen, sessions, columns):
    shown, _ = on_screen(columns, "traces", "stats")
    head, line, *rest = shown.splitlines()

    assert line.split()[:3] == ["openrouter/anthropic/claude-sonnet-4.5", "3", "2"]
    assert rest == []
    assert len(line) <= columns
    assert "tok/s" not in head  # no answer was longer than two tokens
    assert ("p99" in head.split()) is (columns == 140)


@pytest.mark.parametrize(
    ("by", "name", "calls"), [("agent", "packer", 3), ("tool", None, 0), ("model", None, 3)]
)
def test_statistics_count_what_is_asked_for(invoke, sessions, by, name, calls):
    found = json.loads(invoke("traces", "stats", "--by", by, "--json").stdout)

    assert sum(stats["calls"] for stats in found) == calls
    assert name is None or found[0]["name"] == name


def test_a_limit_that_the_record_cannot_count_is_refused(invoke, record):
    assert invoke("traces", "list", "--limit", "9" * 30).exit_code == 2


def test_a_list_of_nothing_says_where_it_looked(invoke, tmp_path):
    done = invoke("traces", "list")

    assert (done.exit_code, done.stdout) == (0, "")
    assert f"No run is recorded in {tmp_path}" in done.stderr


@pytest.mark.parametrize(
    "command",
    ["list", "show", "tail", "search x", "stats", "export", "replay", "diff a b", "serve", "prune", "verify"],
)  # fmt: skip
def test_a_named_record_that_does_not_exist_is_refused_and_not_made(invoke, tmp_path, command):
    done = invoke("traces", "--file", "none.db", *command.split())

    assert (done.exit_code, done.stdout) == (2, "")
    assert "none.db does not exist; correct --file, or leave it out." in done.stderr
    long = invoke("traces", "--file", "x" * 5000, *command.split())
    assert long.exit_code == 2
    assert "does not exist; correct --file, or leave it out." in long.stderr
    assert not Path("none.db").exists()


def test_a_run_is_shown_as_a_tree_with_its_measures(invoke, record):
    shown = invoke("traces", "show", "good").stdout

    question, *lines = [line.strip("│├└─ ") for line in shown.splitlines()]
    assert question == "Hi?"
    assert lines[0].startswith("good0000  ok  Greeting  session chat  20")
    assert lines[0].endswith("ago)  1 min 10 s")
    assert lines[1].startswith("agent host")
    assert "1,200 → 5 tokens" in lines[2]
    assert "10.0 tok/s" in lines[2]
    assert "first token 0.250 s" in lines[2]
    assert "context 29% of 4,096" in lines[2]
    assert lines[3:6] == ["thinking They greet me.", "Hello", 'calls wave(hand="left")']
    assert lines[6].startswith('wave(hand="left")  500 ms')
    assert lines[7] == "→ waved [31m"
    assert lines[8].startswith("handoff host → boss")
    assert lines[9].startswith("guardrail polite triggered")


def test_a_run_is_shown_with_its_whole_answer_at_the_end(invoke, record):
    answer = [{"role": "assistant", "content": "one\n" + "word " * 60}]
    at = time.time()
    with TraceStore(record) as store:
        store.write(
            [
                TraceStarted("trace_long0000", "Long", None, None, at),
                SpanStarted("l", "trace_long0000", None, "generation", "m", at),
                generation("l", "trace_long0000", at, output=answer)._replace(outcome="cut"),
                TraceEnded("trace_long0000", at),
            ]
        )

    shown = invoke("traces", "show", "long").stdout

    assert shown.startswith("Hi?\n")
    assert shown.endswith("\nAnswer, cut at the token limit:\none\n" + "word " * 60 + "\n")
    assert "Answer" not in invoke("traces", "show", "long", "--step", "1").stdout


def test_a_tool_that_raised_is_shown_with_its_exception_and_its_place(invoke, record):
    at = time.time()
    failure = {
        "error": "KeyError: 'Oslo'",
        "place": "desk.py:12",
        "traceback": 'Traceback (most recent call last):\n  File "desk.py", line 12\n',
    }
    error = json.dumps({"message": "Error running tool", "data": failure})
    with TraceStore(record) as store:
        store.write(
            [
                TraceStarted("trace_raised00", "Raised", None, None, at),
                SpanStarted("r", "trace_raised00", None, "function", "look", at),
                SpanEnded("r", "trace_raised00", "function", "look", at, error, "{}"),
                TraceEnded("trace_raised00", at),
            ]
        )

    shown = invoke("traces", "show", "raised").stdout
    verbose = invoke("traces", "show", "raised", "--verbose").stdout

    said = "The run failed: the tool look raised KeyError: 'Oslo' (desk.py:12)."
    assert shown.splitlines()[0] == "Raised"
    assert shown.endswith(f"\n{said}\n")
    assert "Traceback" not in shown
    assert 'File "desk.py", line 12' in verbose


GUARDED = """
from agents import Agent, GuardrailFunctionOutput, output_guardrail

@output_guardrail
async def polite(context, agent, output):
    return GuardrailFunctionOutput(output_info=None, tripwire_triggered=True)

guarded = Agent("guarded", output_guardrails=[polite])
"""


def test_a_run_that_a_guardrail_stopped_names_it_and_gives_no_answer(
    invoke, fake_ollama, monkeypatch
):
    monkeypatch.setenv("OLLAMA_HOST", fake_ollama.url)
    Path("desk.py").write_text(GUARDED)
    fake_ollama.reply("You fool.")
    model = ["--model", "ollama/m"]
    assert invoke("run", "Hi", "--agent", "desk.py:guarded", *model).exit_code == 1

    shown = invoke("traces", "show").stdout

    assert "The run was stopped by the guardrail polite." in shown
    assert "Answer:" not in shown
    assert "What the model had said:\nYou fool." in shown


def test_a_run_that_has_not_ended_says_so(invoke, record):
    assert invoke("traces", "show", "bad0").stdout.endswith(
        "The run has not ended, or its process ended.\n"
    )


def test_an_empty_record_says_that_nothing_ran_and_an_empty_result_that_nothing_fits(
    invoke, record, tmp_path
):
    Path("empty.db").touch()
    assert "No run is recorded in" in invoke("traces", "--file", "empty.db", "list").stderr
    assert "There is no such run" in invoke("traces", "list", "--model", "other").stderr


def test_the_last_run_is_shown_when_none_is_named(invoke, record):
    shown = invoke("traces", "show").stdout

    assert "Broken" in shown
    assert "Error getting response: no luck" in shown


def test_a_run_in_full_has_the_questions(invoke, record):
    shown = invoke("traces", "show", "good", "--full", "--step", "1").stdout

    assert "system Be brief." in shown
    assert "user Hi?" in shown


def test_raw_prints_the_bytes_and_says_what_they_are_on_stderr(invoke, record):
    done = invoke("traces", "show", "good", "--raw")

    assert done.stdout_bytes == REQUEST + b'\n{"done":true}\n'
    assert "POST http://h/api/chat → 200" in done.stderr


def test_raw_on_a_terminal_leaves_out_what_it_acts_on(in_terminal, tmp_path, record):
    path = tmp_path / "data" / "timestep" / "traces.db"
    body = '{"a": "x\x9b2Jy\u202ez"}'.encode()
    exchange = Exchange("http://h/api/chat", 200, body, b"<\x1b]0;title\x07>")
    at = time.time()
    with TraceStore(path) as store:
        store.write(
            [
                TraceStarted("trace_odd00000", "Odd", None, None, at),
                SpanStarted("odd", "trace_odd00000", None, "generation", "m", at),
                generation("odd", "trace_odd00000", at)._replace(exchanges=(exchange,)),
            ]
        )

    text = in_terminal(80, "traces", "show", "trace_odd00000", "--raw")

    assert '{"a": "x2Jyz"}' in text
    assert not {"\x9b", "\u202e", "\x07"} & set(text)


@pytest.mark.parametrize(
    "options", [["show", "--json"], ["search", "needle", "--json"], ["export"]]
)
def test_json_holds_nothing_that_a_terminal_acts_on(invoke, tmp_path, record, options):
    path = tmp_path / "data" / "timestep" / "traces.db"
    at = time.time()
    name = "needle \x9b2J \u202e"
    with TraceStore(path) as store:
        store.write(
            [
                TraceStarted("trace_odd00000", name, None, None, at),
                SpanStarted("odd", "trace_odd00000", None, "function", name, at),
                SpanEnded(
                    "odd",
                    "trace_odd00000",
                    "function",
                    name,
                    at,
                    None,
                    json.dumps({"type": "function", "output": name}),
                    text=name,
                ),
            ]
        )

    text = invoke("traces", *options).stdout

    assert "\\u009b" in text
    assert not {"\x9b", "\u202e"} & set(text)


def test_raw_without_bytes_says_why(invoke, record):
    done = invoke("traces", "show", "bad0", "--raw")

    assert done.exit_code == 1
    assert "only timestep's own models keep them" in done.stderr


def test_a_step_that_is_not_there_is_a_wrong_option(invoke, record):
    done = invoke("traces", "show", "good", "--step", "2")

    assert done.exit_code == 2
    assert "1 model calls" in done.stderr


def test_a_run_can_be_read_by_programs(invoke, record):
    run = json.loads(invoke("traces", "show", "good", "--json").stdout)
    head, *spans = map(json.loads, invoke("traces", "show", "good", "--jsonl").stdout.splitlines())

    assert run["trace_id"] == head["trace_id"] == "trace_good0000"
    assert [span["kind"] for span in run["spans"]] == [span["kind"] for span in spans]
    assert run["spans"][1]["tokens_per_second"] == 10


@pytest.mark.parametrize("name", ["nothing", "last-9"])
def test_a_run_that_is_not_there_is_said_with_the_next_step(invoke, record, name):
    done = invoke("traces", "show", name)

    assert (done.exit_code, done.stdout) == (1, "")
    assert "timestep traces list" in done.stderr


def test_a_search_shows_steps_with_the_words_marked(invoke, record):
    done = invoke("traces", "search", "hello")
    [hit] = json.loads(invoke("traces", "search", "hello", "--json").stdout)
    lines = invoke("traces", "search", "hello", "--jsonl").stdout.splitlines()

    assert "[Hello] there" in done.stdout
    assert json.loads(lines[0]) == hit
    assert hit["span_id"] == "g"
    assert "No step contains these words" in invoke("traces", "search", "absent").stderr


def test_a_search_takes_words_without_quotation_marks(invoke, record):
    assert invoke("traces", "search", "hello", "there").stdout == (
        invoke("traces", "search", "hello there").stdout
    )
    assert invoke("traces", "search").exit_code == 2


def test_a_search_fits_a_narrow_terminal(on_screen, record):
    name, at = "trace_" + 16 * "a", time.time() - 60
    said = "hello and " + "many more words " * 3
    with TraceStore(record) as store:
        store.write(
            [
                SpanStarted("s", name, None, "generation", "m", at),
                SpanEnded("s", name, "generation", "m", at, None, "{}", text=said),
            ]
        )

    text, _ = on_screen(40, "traces", "search", "hello", "many")

    head, line, *_ = text.splitlines()
    assert head.split() == ["id", "step", "text"]
    assert line.split()[:2] == [10 * "a", "generation"]
    assert max(map(len, text.splitlines())) <= 40


def test_statistics_name_every_model(invoke, record):
    done = invoke("traces", "stats")
    [model] = json.loads(invoke("traces", "stats", "--json").stdout)

    assert "m" in done.stdout.split()
    assert (model["calls"], model["errors"], model["input_tokens"]) == (2, 1, 2400)
    assert json.loads(invoke("traces", "stats", "--jsonl").stdout) == model
    assert "No model was called" in invoke("traces", "stats", "--days", "0").stderr


def test_the_configuration_names_the_file(invoke, tmp_path, record):
    record.rename(tmp_path / "moved.db")
    (tmp_path / "timestep.toml").write_text("[traces]\npath = 'moved.db'\n")

    assert "Greeting" in invoke("traces", "list").stdout
    (tmp_path / "timestep.toml").write_text("[traces]\nfile = 'moved.db'\n")
    wrong = invoke("traces", "list")
    assert wrong.exit_code == 2
    assert "traces.file" in wrong.stderr


def test_a_file_that_is_no_record_ends_with_words(invoke, tmp_path):
    (tmp_path / "x.db").write_bytes(b"something else" * 100)

    done = invoke("traces", "--file", "x.db", "list")

    assert done.exit_code == 1
    assert "cannot be used as a trace store" in done.stderr


def test_pruning_says_how_much_went(invoke, record):
    assert invoke("traces", "prune").stdout == "Deleted 0 runs.\n"
    assert invoke("traces", "prune", "--older-than", "0.0005").stdout == "Deleted 1 run.\n"
    assert invoke("traces", "prune", "--all").stdout == "Deleted 1 run.\n"


def test_pruning_needs_an_age_when_everything_is_kept(invoke, record, monkeypatch):
    monkeypatch.setenv("TIMESTEP_TRACES__RETENTION", "0")

    done = invoke("traces", "prune")

    assert done.exit_code == 2
    assert "--older-than" in done.stderr


def test_verify_tells_a_sound_file_from_a_broken_one(invoke, record):
    assert "is sound" in invoke("traces", "verify").stdout
    with TraceStore(record) as store:
        store.write([SpanEnded("lost", "t", "x", "x", 1.0, None, "{}")])

    done = invoke("traces", "verify")

    assert done.exit_code == 1
    assert "1 span ends without a beginning" in done.stdout


def test_an_export_that_cannot_be_written_is_said(invoke, record, tmp_path):
    done = invoke("traces", "export", "good", "-o", str(tmp_path / "nowhere" / "x.html"))

    assert done.exit_code == 1
    assert "cannot be written: No such file or directory." in done.stderr


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_an_export_holds_the_bodies(invoke, record, form):
    done = invoke("traces", "export", "good", "--format", form)

    values = (
        [json.loads(done.stdout)]
        if form == "json"
        else [json.loads(line) for line in done.stdout.splitlines()]
    )
    assert values[0]["format"] == "timestep-trace-1"
    assert REQUEST.decode() in json.dumps(values).encode().decode("unicode_escape")


@pytest.mark.parametrize(
    ("options", "shown"), [([], " live0000 "), (["--jsonl"], "trace_live0000")]
)
def test_a_tail_shows_what_ends_meanwhile(start, record, options, shown):
    process = start("traces", "--file", str(record), "tail", *options, PYTHONUNBUFFERED="1")
    assert "Waiting" in process.stderr.readline()

    with TraceStore(record) as store:
        store.write(
            [
                SpanStarted("live", "trace_live0000", None, "function", "wave", 1.0),
                SpanEnded("live", "trace_live0000", "function", "wave", 2.0, None, "{}"),
            ]
        )

    line = process.stdout.readline()
    assert "wave" in line
    assert shown in line


def test_listing_imports_neither_the_sdk_nor_a_client(imported_by, record):
    loaded = imported_by("traces", "list")

    assert "rich.table" in loaded
    assert not loaded & {"agents", "openai", "ollama", "httpx"}
