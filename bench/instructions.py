"""Machine instructions, counted by valgrind's callgrind: a figure that a busy machine cannot blur."""

import asyncio
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.rounds import MeasurementError, Results, Worker, server
from bench.scenarios import Kind, Scenario

_MORE = 4
"""How many calls are counted, beside one."""
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)


def is_present() -> bool:
    """True when valgrind is installed."""
    return shutil.which("valgrind") is not None and shutil.which("callgrind_control") is not None


async def count(scenarios: Sequence[Scenario], contenders: Sequence[str]) -> Results:
    """Instructions per unit after a warm-up; paced scenarios are left out."""
    results = Results()
    counted = [s for s in scenarios if s.kind in {Kind.STREAM, Kind.WHOLE} and s.units < 10_000]
    async with server() as base_url:
        for contender in contenders:
            with tempfile.TemporaryDirectory() as folder:
                await _count(counted, contender, base_url, Path(folder), results)
    return results


async def _count(
    scenarios: Sequence[Scenario], contender: str, base_url: str, folder: Path, results: Results
) -> None:
    valgrind = ["valgrind", "--quiet", "--tool=callgrind", "--instr-atstart=no"]
    wrapper = [*valgrind, f"--callgrind-out-file={folder}/out"]
    async with Worker(contender, base_url, wrapper=wrapper) as worker:
        for scenario in scenarios:
            if "every" in scenario.ask.model:
                continue
            try:
                await worker.measure(scenario, 2)
                await _control(worker, "--instr=on")
                once = await _instructions(worker, scenario, 1, folder)
                more = await _instructions(worker, scenario, 1 + _MORE, folder)
                await _control(worker, "--instr=off")
            except MeasurementError as exc:
                results.fail(scenario, contender, str(exc))
                continue
            # What a measurement costs by itself, such as collecting garbage, is in both.
            results.add(scenario, contender, [(more - once) / _MORE / scenario.units])


async def _instructions(worker: Worker, scenario: Scenario, times: int, folder: Path) -> int:
    await worker.measure(scenario, times)
    await _control(worker, "--dump")
    return _newest_total(folder)


def _newest_total(folder: Path) -> int:
    newest = max(folder.glob("out.*"), key=lambda path: int(path.suffix[1:]))
    totals = _TOTALS.search(newest.read_text())
    if totals is None:
        raise MeasurementError("callgrind wrote no totals")
    return int(totals[1])


async def _control(worker: Worker, command: str) -> None:
    if worker.process is None:
        raise MeasurementError("its process ended")
    control = await asyncio.create_subprocess_exec(
        "callgrind_control",
        command,
        str(worker.process.pid),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await control.wait()
