import gc
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import contextmanager
from threading import Thread

import pytest
from agents import Usage
from openai.types.chat import ChatCompletion

from timestep import load_settings
from timestep.batch import Defaults, Result, read_values
from timestep.batch.concurrency import concurrency_for
from timestep.batch.loop import Rate
from timestep.cli.batch.asking import Summary
from timestep.cli.batch.source import read_rates
from timestep.testing import Stall


@pytest.fixture
def server(fake_ollama, monkeypatch):
    monkeypatch.setenv("OLLAMA_BASE_URL", fake_ollama.url)
    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/m")
    return fake_ollama


def write(tmp_path, *values, name="in.jsonl"):
    path = tmp_path / name
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def prompts(count):
    return [{"id": f"q{at}", "prompt": f"question {at}"} for at in range(count)]


def shout(request):
    return request.json["messages"][-1]["content"].upper()


def test_every_line_gets_a_row_that_openai_reads(invoke, server, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(5))
    result = invoke("batch", "in.jsonl", "out.jsonl")
    assert result.exit_code == 0
    assert result.stdout == ""
    assert "5 answered" in result.stderr
    found = {row["custom_id"]: row["response"]["body"] for row in rows(tmp_path / "out.jsonl")}
    texts = {
        name: ChatCompletion.model_validate(body).choices[0].message.content
        for name, body in found.items()
    }
    assert texts == {f"q{at}": f"QUESTION {at}" for at in range(5)}
    assert not (tmp_path / "out.errors.jsonl").exists()


@contextmanager
def nearly_full_disk():
    """Let no file grow beyond 2,000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_named_and_the_next_run_goes_on(invoke, server, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(20))
    with nearly_full_disk():
        result = invoke("batch", "in.jsonl", "out.jsonl")
    assert result.exit_code == 1
    assert "out.jsonl cannot be written: " in result.stderr
    assert invoke("batch", "in.jsonl", "out.jsonl").exit_code == 0
    names = sorted(row["custom_id"] for row in rows(tmp_path / "out.jsonl"))
    assert names == sorted(prompt["id"] for prompt in prompts(20))


def test_the_same_command_again_asks_only_what_is_missing(invoke, server, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(5))
    invoke("batch", "in.jsonl", "out.jsonl", "--limit", "2")
    assert len(server.chats) == 2
    result = invoke("batch", "in.jsonl", "out.jsonl")
    assert len(server.chats) == 5
    assert "3 answered; 2 done before" in result.stderr
    assert sorted(row["custom_id"] for row in rows(tmp_path / "out.jsonl")) == [
        f"q{at}" for at in range(5)
    ]


def test_failures_stand_in_a_file_of_their_own_and_are_asked_again_on_request(
    invoke, server, tmp_path
):
    server.fail(404, "model 'm' not found")
    server.reply(shout, times=None)
    write(tmp_path, *prompts(3))
    result = invoke("batch", "in.jsonl", "out.jsonl", "-c", "1")
    assert result.exit_code == 1
    assert "1 failed (ModelNotFoundError 1)" in result.stderr
    [failed] = rows(tmp_path / "out.errors.jsonl")
    assert failed["error"]["code"] == "ModelNotFoundError"
    again = invoke("batch", "in.jsonl", "out.jsonl")
    assert again.exit_code == 1
    assert "2 done before; 1 failed before (--retry-errors" in again.stderr
    assert len(server.chats) == 3
    assert invoke("batch", "in.jsonl", "out.jsonl", "--retry-errors").exit_code == 0
    assert len(rows(tmp_path / "out.jsonl")) == 3
    assert not (tmp_path / "out.errors.jsonl").exists()


def test_bad_lines_are_named_before_anything_is_sent(invoke, server, tmp_path):
    write(tmp_path, *prompts(1), {"id": "x"}, {"custom_id": "y", "body": {}}, *prompts(1))
    result = invoke("batch", "in.jsonl", "out.jsonl")
    assert result.exit_code == 2
    assert "line 2: 'prompt' is missing or empty" in result.stderr
    assert "line 3: url" in result.stderr
    assert "line 4: its custom_id stands on an earlier line too" in result.stderr
    assert server.chats == []


def test_a_changed_line_is_refused_with_its_number(invoke, server, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(2))
    invoke("batch", "in.jsonl", "out.jsonl")
    write(tmp_path, prompts(1)[0], {"id": "q1", "prompt": "something else"})
    result = invoke("batch", "in.jsonl", "out.jsonl")
    assert result.exit_code == 2
    assert "have changed since they got a row in out.jsonl: 2." in result.stderr


def test_another_model_than_before_is_refused(invoke, server, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(2))
    invoke("batch", "in.jsonl", "out.jsonl", "--limit", "1")
    result = invoke("batch", "in.jsonl", "out.jsonl", "--model", "ollama/other")
    assert result.exit_code == 2
    assert "have changed since they got a row in out.jsonl: 1." in result.stderr
    assert len(server.chats) == 1


def test_the_default_model_is_named_in_its_rows_and_another_default_is_refused(
    invoke, server, tmp_path, monkeypatch
):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(1))
    assert invoke("batch", "in.jsonl", "out.jsonl").exit_code == 0
    [row] = rows(tmp_path / "out.jsonl")
    assert row["response"]["body"]["model"] == "ollama/m"

    monkeypatch.setenv("TIMESTEP_DEFAULT_MODEL", "ollama/other")
    assert "have changed" in invoke("batch", "in.jsonl", "out.jsonl").stderr


def answers_after(change):
    """An answer that calls *change* first, once."""
    changes = [change]

    def answer(request):
        if changes:
            changes.pop()()
        return shout(request)

    return answer


def test_lines_that_are_added_meanwhile_wait_for_the_next_run(invoke, server, tmp_path):
    path = write(tmp_path, *prompts(2))
    server.reply(answers_after(lambda: write(tmp_path, *prompts(5))), times=None)
    for asked in (2, 5):
        assert invoke("batch", "in.jsonl", "out.jsonl").exit_code == 0
        assert len(server.chats) == len(rows(tmp_path / "out.jsonl")) == asked
    assert len(rows(path)) == 5


@pytest.mark.parametrize(
    "others",
    [lambda lines: lines[:2], lambda lines: [*lines[:50], *lines], lambda lines: [{}] * 999],
    ids=["shorter", "moved", "other lines"],
)
def test_an_input_that_changes_meanwhile_is_told_and_no_line_stands_twice(
    invoke, server, tmp_path, others
):
    lines = [{"id": f"q{at}", "prompt": "long " * 500} for at in range(100)]
    write(tmp_path, *lines)
    server.reply(answers_after(lambda: write(tmp_path, *others(lines))), times=None)
    result = invoke("batch", "in.jsonl", "out.jsonl", "-c", "1")
    assert result.exit_code == 1
    assert "in.jsonl was changed while it was read" in result.stderr
    write(tmp_path, *lines)
    assert invoke("batch", "in.jsonl", "out.jsonl").exit_code == 0
    found = [row["custom_id"] for row in rows(tmp_path / "out.jsonl")]
    assert sorted(found) == sorted(line["id"] for line in lines)
    assert len(server.chats) == len(lines)


def test_an_input_that_is_gone_meanwhile_is_told(invoke, server, tmp_path):
    write(tmp_path, *prompts(1))
    (tmp_path / "settings.py").write_text(
        "from pathlib import Path\n"
        "from timestep import Settings\n"
        "class Mine(Settings):\n"
        "    def __init__(self, **given):\n"
        "        Path('in.jsonl').unlink(missing_ok=True)\n"
        "        super().__init__(**given)\n"
    )
    result = invoke("batch", "in.jsonl", "out.jsonl", "--settings", "settings.py:Mine")
    assert result.exit_code == 2
    assert "in.jsonl cannot be read" in result.stderr


def test_a_pipe_is_read_once(invoke, server, tmp_path):
    server.reply(shout, times=None)
    os.mkfifo(tmp_path / "pipe.csv")
    writer = Thread(target=(tmp_path / "pipe.csv").write_text, args=["id,prompt\na,hi\nb,ho\n"])
    writer.start()
    assert invoke("batch", "pipe.csv", "out.jsonl").exit_code == 0
    writer.join()
    assert len(rows(tmp_path / "out.jsonl")) == 2


def test_standard_input_that_does_not_end_can_be_given_up(start, server, tmp_path):
    process = start("batch", "-", "out.jsonl", stdin=subprocess.PIPE)
    lines = json.dumps({"prompt": "long " * 1000}) + "\n"
    process.stdin.write(lines * 200)  # more than a pipe holds, so it is being read
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert server.chats == []
    assert not (tmp_path / "out.jsonl").exists()


def test_standard_input_without_room_for_a_copy_is_told(invoke, server, tmp_path):
    with nearly_full_disk():
        result = invoke("batch", "-", "out.jsonl", input=json.dumps({"prompt": "x" * 3000}))
    assert result.exit_code == 2
    assert "- cannot be copied to" in result.stderr
    assert server.chats == []


def test_the_input_is_not_taken_for_the_output(invoke, server, tmp_path):
    path = write(tmp_path, *prompts(1))
    before = path.read_bytes()
    (tmp_path / "link.jsonl").symlink_to(path)
    result = invoke("batch", "in.jsonl", "link.jsonl")
    assert result.exit_code == 2
    assert "link.jsonl is IN and OUT" in result.stderr
    assert path.read_bytes() == before


def test_standard_input_is_read(invoke, server, tmp_path):
    server.reply(shout, times=None)
    result = invoke("batch", "-", "out.jsonl", input=json.dumps({"prompt": "hi"}) + "\n")
    assert result.exit_code == 0
    assert len(rows(tmp_path / "out.jsonl")) == 1


def test_csv_is_read_by_its_column(invoke, server, tmp_path):
    server.reply(shout, times=None)
    (tmp_path / "in.csv").write_text("id,question\na,hi\n")
    assert invoke("batch", "in.csv", "out.jsonl", "--column", "question").exit_code == 0
    [row] = rows(tmp_path / "out.jsonl")
    assert row["custom_id"] == "a"


def test_the_garbage_collector_leaves_out_what_is_older_than_the_batch(invoke, server, tmp_path):
    frozen = []
    server.reply(lambda _: frozen.append(gc.get_freeze_count()) or "ok", times=None)
    write(tmp_path, *prompts(1))
    invoke("batch", "in.jsonl", "out.jsonl")
    assert frozen[0] > 0
    assert gc.get_freeze_count() == 0


def test_the_summary_can_be_read_by_a_program(invoke, server, tmp_path):
    server.reply("ok", times=None, prompt_eval_count=10, eval_count=2)
    write(tmp_path, *prompts(3))
    summary = json.loads(invoke("batch", "in.jsonl", "out.jsonl", "--json").stdout)
    assert summary.pop("seconds") >= 0
    assert summary == {
        "lines": 3,
        "done_before": 0,
        "failed_before": 0,
        "answered": 3,
        "failed": 0,
        "failures": {},
        "requests": 3,
        "input_tokens": 30,
        "output_tokens": 6,
        "cost": None,
    }


def test_the_cost_is_told_where_prices_are_known():
    usage = Usage(requests=1, input_tokens=1_000_000, output_tokens=100_000)
    settings = load_settings(env_file=None, aliases={"both": ["gpt-4o-mini", "gpt-4o"]})
    costs = {}
    for name in ("gpt-4o-mini", "ollama/m", "both"):
        [line] = read_values([{"prompt": "hi", "model": name}], Defaults())
        summary = Summary(1, 0, 0, settings)
        summary.add(Result(line, {}, "hello", None, usage, 1, 0.1))
        costs[name] = summary.cost()
    assert costs == {"gpt-4o-mini": pytest.approx(0.21), "ollama/m": None, "both": None}


def test_it_stops_after_so_many_failures(invoke, server, tmp_path):
    for _ in range(2):
        server.fail(404, "model 'm' not found")
    write(tmp_path, *prompts(9))
    result = invoke("batch", "in.jsonl", "out.jsonl", "--max-errors", "2", "-c", "1")
    assert result.exit_code == 1
    assert len(rows(tmp_path / "out.errors.jsonl")) == 2
    server.strict = False  # one more may be under way


def test_an_agent_answers_with_its_tools(invoke, server, tmp_path):
    (tmp_path / "desk.py").write_text(
        "from agents import Agent, function_tool\n"
        "@function_tool\n"
        "def double(number: int) -> int:\n"
        "    return 2 * number\n"
        "desk = Agent(name='desk', tools=[double])\n"
    )
    server.reply(tool_calls=[("double", {"number": 4})])
    server.reply("It is 8.")
    write(tmp_path, *prompts(1))
    assert invoke("batch", "in.jsonl", "out.jsonl", "--agent", "desk.py:desk").exit_code == 0
    [row] = rows(tmp_path / "out.jsonl")
    assert row["response"]["body"]["choices"][0]["message"]["content"] == "It is 8."


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ({"instructions": "Be brief."}, []),
        ({}, ["--instructions", "Be brief."]),
        ({}, ["--output-schema", "schema.json"]),
    ],
)
def test_what_an_agent_has_itself_is_refused(invoke, server, tmp_path, line, options):
    (tmp_path / "desk.py").write_text("from agents import Agent\ndesk = Agent(name='desk')\n")
    (tmp_path / "schema.json").write_text('{"type": "object"}')
    write(tmp_path, {**prompts(1)[0], **line})
    result = invoke("batch", "in.jsonl", "out.jsonl", "--agent", "desk.py:desk", *options)
    assert result.exit_code == 2
    assert "line 1: the agent has its own instructions, tools and schema" in result.stderr
    assert server.chats == []


def test_another_agent_than_before_is_refused(invoke, server, tmp_path):
    agents = "from agents import Agent\ndesk = Agent(name='desk')\nother = Agent(name='other')\n"
    (tmp_path / "desk.py").write_text(agents)
    server.reply(shout, times=None)
    write(tmp_path, *prompts(2))
    command = ["batch", "in.jsonl", "out.jsonl"]
    invoke(*command, "--agent", "desk.py:desk", "--limit", "1")
    for agent in ([], ["--agent", "desk.py:other"]):
        result = invoke(*command, *agent)
        assert result.exit_code == 2
        assert "or agent, have changed since they got a row in out.jsonl: 1." in result.stderr
    assert invoke(*command, "--agent", "desk.py:desk").exit_code == 0
    assert len(server.chats) == 2


def test_a_model_that_does_not_exist_is_told_before_anything_is_sent(invoke, server, tmp_path):
    write(tmp_path, *prompts(1), {"id": "x", "prompt": "Hi", "model": "lab/m"})
    result = invoke("batch", "in.jsonl", "out.jsonl")
    assert result.exit_code == 2
    assert "line 2: Unknown prefix: lab." in result.stderr
    assert server.chats == []
    assert not (tmp_path / "out.errors.jsonl").exists()


@pytest.mark.parametrize("model", ["ollama/m", "fast", "both", None])
@pytest.mark.parametrize("rate", ["60", "ollama=60"])
def test_a_rate_holds_for_every_name_of_a_server(
    invoke, server, tmp_path, monkeypatch, rate, model
):
    begun = []

    async def begin(limit):
        begun.append(limit.requests)

    monkeypatch.setattr(Rate, "begin", begin)
    monkeypatch.setenv("TIMESTEP_ALIASES__FAST", "ollama/m")
    monkeypatch.setenv("TIMESTEP_ALIASES__BOTH", "ollama/m,ollama/n")
    server.reply("ok")
    write(tmp_path, {"prompt": "Hi", "model": model})
    assert invoke("batch", "in.jsonl", "out.jsonl", "--rate", rate).exit_code == 0
    assert begun == [60]


def test_a_rate_of_an_agent_is_that_of_its_own_model(invoke, server, tmp_path):
    agent = "from agents import Agent\ndesk = Agent(name='desk', model='gpt-4.1')\n"
    (tmp_path / "desk.py").write_text(agent)
    write(tmp_path, *prompts(1))
    command = ["batch", "in.jsonl", "out.jsonl", "--agent", "desk.py:desk"]
    result = invoke(*command, "--rate", "ollama=60")
    assert "no line goes to 'ollama'; the lines go to openai" in result.stderr


def test_a_rate_for_each_server_fills_in_what_the_rate_of_one_leaves_out():
    rates = read_rates(("60", "lab=30"), ("gpu=900", "1000"))
    assert {prefix: (rate.requests, rate.tokens) for prefix, rate in rates.items()} == {
        "": (60, 1000),
        "lab": (30, 1000),
        "gpu": (60, 900),
    }


def test_short_lines_are_answered_in_a_schema(invoke, server, tmp_path):
    server.reply('{"city": "Paris"}')
    (tmp_path / "schema.json").write_text(
        '{"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}'
    )
    write(tmp_path, *prompts(1))
    assert invoke("batch", "in.jsonl", "o.jsonl", "--output-schema", "schema.json").exit_code == 0
    assert server.chats[0]["format"]["required"] == ["city"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.jsonl", "out.jsonl"], "missing.jsonl cannot be read"),
        (["in.jsonl", "no/out.jsonl"], "there is no folder no"),
        (["in.jsonl", "-"], "OUT cannot be standard output"),
        (["in.jsonl", "out.jsonl", "--rate", "fast"], "write a number above 0"),
        (["in.jsonl", "out.jsonl", "--rate", "ollama=0"], "write a number above 0"),
        (
            ["in.jsonl", "out.jsonl", "--rate", "olama=60"],
            "no line goes to 'olama'; the lines go to",
        ),
        (["bad.csv", "out.jsonl"], "is not CSV in UTF-8"),
        (["open.csv", "out.jsonl"], "is not CSV in UTF-8"),
        (["long.csv", "out.jsonl"], "a field of more than 131,072 characters"),
        (["in.jsonl", "out.jsonl", "--concurrency", "10001"], "1<=x<=10000"),
        (["in.jsonl", "out.jsonl", "--limit", "9" * 30], "1<=x<=1000000000"),
    ],
)
def test_what_cannot_be_done_is_told_in_words(invoke, server, tmp_path, arguments, words):
    write(tmp_path, *prompts(1))
    (tmp_path / "bad.csv").write_bytes(b"id,prompt\n1,\xff\n")
    (tmp_path / "open.csv").write_text('id,prompt\n1,"never ends\n2,lost\n3,lost\n')
    (tmp_path / "long.csv").write_text(f"id,prompt\n1,{'x' * 200_000}\n")
    result = invoke("batch", *arguments)
    assert result.exit_code in {1, 2}
    assert words in " ".join(result.stderr.split())
    assert server.chats == []


def test_ray_that_is_not_installed_is_told(invoke, server, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    write(tmp_path, *prompts(1))
    result = invoke("batch", "in.jsonl", "out.jsonl", "--ray")
    assert result.exit_code == 2
    assert "pip install '.[ray]'" in result.stderr
    assert server.chats == []


def test_a_file_is_not_taken_for_the_address_of_a_cluster(invoke, server, tmp_path):
    result = invoke("batch", "--ray", "in.jsonl", "out.jsonl")
    assert result.exit_code == 2
    assert "write --ray after IN and OUT" in result.stderr


@pytest.mark.parametrize(
    ("settings", "model", "places"),
    [
        ({}, "ollama/m", 16),
        ({}, "gpt-4.1", 16),
        ({"ollama": {"max_concurrency": 3}}, "ollama/m", 3),
        ({"ollama": {"max_concurrency": 3}}, "gpt-4.1", 16),
        ({"openai": {"max_concurrency": 3}}, "gpt-4.1", 3),
        ({"ollama": {"base_url": ["http://a", "http://b"]}}, "ollama/m", 32),
        ({"ollama": {"base_url": ["http://a", "http://b"], "max_concurrency": 3}}, "ollama/m", 6),
        ({"aliases": {"fast": ["lab/m", "ollama/m"]}}, "fast", 4),
        ({"default_model": "lab/m"}, None, 4),
    ],
)
def test_as_many_lines_are_under_way_as_the_servers_have_places(settings, model, places):
    lab = {"kind": "ollama", "max_concurrency": 4}
    found = load_settings(env_file=None, providers={"lab": lab}, **settings)
    assert concurrency_for({model}, found) == places


def test_places_at_several_servers_add_up():
    found = load_settings(env_file=None, ollama={"max_concurrency": 3})
    assert concurrency_for({"ollama/a", "ollama/b", "gpt-4.1"}, found) == 3 + 16


def test_ctrl_c_ends_it_and_the_next_run_goes_on(start, server, invoke, tmp_path):
    stall = Stall(after=1)
    server.reply("first", times=1)
    server.reply("a long story", fault=stall)
    write(tmp_path, *prompts(3))
    process = start("batch", "in.jsonl", "out.jsonl", "-c", "1")
    stall.wait_until_reached(240)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 130
    assert "1 answered" in errors
    assert "Traceback" not in errors
    server.strict = False
    server.reply(shout, times=None)
    assert invoke("batch", "in.jsonl", "out.jsonl").exit_code == 0
    assert sorted(row["custom_id"] for row in rows(tmp_path / "out.jsonl")) == ["q0", "q1", "q2"]


def test_a_killed_batch_goes_on_and_no_line_stands_twice(start, server, invoke, tmp_path):
    server.reply(shout, times=None)
    write(tmp_path, *prompts(400))
    process = start("batch", "in.jsonl", "out.jsonl", "-c", "4")
    server.wait_until(lambda: len(server.chats) >= 40, 240)
    process.kill()
    process.wait(240)
    before = len(server.chats)
    result = invoke("batch", "in.jsonl", "out.jsonl", "--json")
    assert result.exit_code == 0
    found = [row["custom_id"] for row in rows(tmp_path / "out.jsonl")]
    assert sorted(found) == sorted(f"q{at}" for at in range(400))
    assert len(server.chats) - 400 <= 4  # what was under way
    assert before < 400
