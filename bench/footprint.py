"""What imports cost in time and memory, each in a fresh interpreter."""

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.contenders import load
from bench.rounds import server

_PEAK = """
from pathlib import Path
def peak():  # getrusage() would count the parent's memory too
    (line,) = [line for line in Path("/proc/self/status").open() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
"""
_IMPORT = """
import json, time
{before}
begun = time.process_time()
{statement}
print(json.dumps([time.process_time() - begun, peak()]))
"""
_CALL = """
import asyncio, json
from bench.asks import Ask
from bench.contenders import load
client = load({name!r}).connect({base_url!r})
asyncio.run(client.whole(Ask("text-1")))
print(json.dumps([peak()]))
"""
_HELP = """
import json, resource, subprocess, sys
program = "from timestep.cli import main; main(['--help'])"
subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps([used.ru_utime + used.ru_stime]))
"""


@dataclass(frozen=True)
class Footprint:
    """One row.

    Attributes:
        title: What is imported.
        seconds: CPU of the statement.
        imported: Bytes resident afterwards; None when it was not asked.
        called: Bytes resident after one call; None as above.
    """

    title: str
    seconds: float
    imported: float | None = None
    called: float | None = None


async def footprints(contenders: Sequence[str], rounds: int) -> list[Footprint]:
    """The contenders' imports, then timestep's own goals."""
    rows = [
        Footprint("a bare interpreter", *await _imported("pass", rounds)),
        Footprint("import agents", *await _imported("import agents", rounds)),
    ]
    async with server() as base_url:
        for name in contenders:
            contender = load(name)
            cost, size = await _imported(contender.IMPORT, rounds)
            called = await _medians(_PEAK + _CALL.format(name=name, base_url=base_url), rounds)
            title = f"{contender.TITLE}: {contender.IMPORT}"
            rows.append(Footprint(title, cost, size, called[0]))
    statement = "from timestep import MultiModelProvider"
    added, _ = await _imported(statement, rounds, before="import agents")
    rows.append(Footprint("import timestep", *await _imported("import timestep", rounds)))
    rows.append(Footprint(f"{statement}, after import agents", added))
    rows.append(Footprint("timestep --help", (await _medians(_HELP, rounds))[0]))
    return rows


async def _imported(statement: str, rounds: int, before: str = "pass") -> tuple[float, float]:
    figures = await _medians(_PEAK + _IMPORT.format(before=before, statement=statement), rounds)
    return figures[0], figures[1]


async def _medians(program: str, rounds: int) -> list[float]:
    runs = [await _figures(program) for _ in range(rounds)]
    return [median(figures) for figures in zip(*runs, strict=True)]


async def _figures(program: str) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    figures: list[float] = json.loads(output.splitlines()[-1])
    return figures
