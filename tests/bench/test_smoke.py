import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from bench.answers import TOOL, ollama_lines, openai_events, shown
from bench.asks import Ask
from bench.contenders import BASELINE, names
from bench.fuzz import TARGETS, Draw
from bench.layers import measure
from bench.report import ratio, write
from bench.rounds import Results, run
from bench.scenarios import SCENARIOS, named
from timestep.net.lines import LineSplitter

ROOT = Path(__file__).parents[2]


async def test_a_round_gives_every_contender_one_figure_per_scenario(monkeypatch):
    monkeypatch.chdir(ROOT)
    scenarios = named(["streamed", "calls"])
    results = await run(scenarios, [BASELINE, "timestep"], rounds=1)
    assert results.errors == {}
    for scenario in scenarios:
        assert ratio(results, scenario, BASELINE) == 1.0
        assert ratio(results, scenario, "timestep") is not None
    report = write(results, scenarios, [BASELINE, "timestep"])
    assert "| four tool calls (per call) | 1.00 |" in report


async def test_every_layer_of_a_call_is_measured(monkeypatch):
    monkeypatch.chdir(ROOT)
    spent = await measure(Ask("text-2"), runs=1, calls=1)
    assert next(iter(spent)) == "aiohttp + json"
    assert [*spent][-2:] == ["timestep, whole", "the bare client"]


def test_the_command_lists_its_scenarios():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "bench", "--help"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment
    )
    assert all(scenario.name in done.stdout for scenario in SCENARIOS)


def test_every_contender_is_found_by_its_file():
    assert names()[0] == BASELINE
    assert {"timestep", "raw_aiohttp", "raw_httpx", "chat_completions"} <= set(names())


def test_both_wires_say_the_same():
    assert shown("agent-3", turn=1) == TOOL
    assert shown("text-2-every-2ms") == "The quick"
    native = b"".join(ollama_lines("think-4", 0, stream=True))
    assert len(LineSplitter().feed(native)) == 5
    assert openai_events("calls-1", 0, stream=True)[-1] == b"data: [DONE]\n\n"


def test_a_contender_that_fails_is_named_in_the_report():
    (scenario,) = named(["burst"])
    results = Results()
    results.add(scenario, BASELINE, [1.0])
    results.fail(scenario, "timestep", "lost a chunk")
    assert "fails" in write(results, [scenario], [BASELINE, "timestep"])


def test_an_unknown_scenario_is_refused():
    with pytest.raises(ValueError, match="burst"):
        named(["brust"])


def test_a_short_soak_ends_well():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    options = ["--seconds", "2", "--agents", "8", "--runs", "12", "--faults", "0.4"]
    command = [sys.executable, "-m", "bench.soak", *options]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " runs of 8 agents" in done.stdout


class Chance(random.Random):
    """Draws as the fuzzer's data does, guided by nothing."""

    def ConsumeIntInRange(self, least, most):  # noqa: N802 - the fuzzer's name
        return self.randint(least, most)

    def ConsumeUnicode(self, length):  # noqa: N802 - as above
        return "".join(map(chr, self.choices(range(0x110000), k=length)))


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_is_fuzzed_takes_any_input(name):
    target = TARGETS[name]()

    for seed in range(50):
        target(Draw(Chance(seed)))


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["reply"]])
def test_the_fuzzer_says_what_it_needs(arguments):
    blocked = "import sys; sys.modules['atheris'] = None; import bench.fuzz as f; f.main()"
    command = [sys.executable, "-c", blocked, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)

    assert done.returncode == 1
    assert done.stderr.startswith("Fuzzing needs" if arguments == ["reply"] else "usage: python -m")
