"""``python -m bench``: measures, and prints or writes the report."""

import argparse
import asyncio
import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from bench import instructions
from bench.contenders import BASELINE, is_present, names
from bench.footprint import footprints
from bench.report import write
from bench.rounds import CHEAP, Results, run
from bench.scenarios import SCENARIOS, named

_PACKAGES = ("openai-agents", "openai", "ollama", "httpx", "aiohttp", "litellm", "any-llm-sdk")
_BEGIN, _END = "<!-- measured -->", "<!-- end of measured -->"
_PLOTTED = ("burst", "paced", "calls", "whole", "agent", "history-1000", "tools-100")


def parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    known = ", ".join(scenario.name for scenario in SCENARIOS)
    parser.add_argument("scenarios", nargs="*", help=f"by default all of: {known}")
    parser.add_argument(
        "--contender", action="append", help=f"by default all that are installed of: {names()}"
    )
    parser.add_argument("--rounds", type=int, default=5, help="medians are over these (default: 5)")
    parser.add_argument("--quick", action="store_true", help="one round of a few scenarios")
    parser.add_argument("--instructions", action="store_true", help="count them too (valgrind)")
    parser.add_argument("--no-imports", action="store_true", help="leave the imports out")
    parser.add_argument(
        "--write",
        type=Path,
        metavar="PAGE.md",
        help="put the report between the page's two marks, and PAGE.svg beside it",
    )
    parser.add_argument("--raw", type=Path, metavar="FILE.json", help="keep every figure too")
    return parser


def main() -> None:
    """Measure as the command line says."""
    arguments = parser().parse_args()
    wanted = [BASELINE, *(arguments.contender or names())]
    wanted = list(dict.fromkeys(wanted))
    present = [name for name in wanted if is_present(name)]
    chosen = arguments.scenarios
    if arguments.quick and not chosen:
        chosen = ["burst", "whole", "first"]
    scenarios = named(chosen)
    rounds = 1 if arguments.quick else arguments.rounds
    before = os.getloadavg()[0]
    results = asyncio.run(run(scenarios, present, rounds))
    counted: Results | None = None
    if arguments.instructions and instructions.is_present():
        counted = asyncio.run(
            instructions.count(scenarios, [name for name in present if name in CHEAP])
        )
    imports = not (arguments.no_imports or arguments.quick)
    rows = asyncio.run(footprints(present, rounds)) if imports else []
    report = write(
        results,
        scenarios,
        present,
        absent=[name for name in wanted if name not in present],
        footprints=rows,
        instructions=counted,
    )
    report = f"{_machine(before)}\n\n{report}"
    if arguments.raw is not None:
        figures = {"figures": results.figures, "errors": results.errors}
        arguments.raw.write_text(json.dumps(figures, indent=1))
    if arguments.write is None:
        print(report)
        return
    if find_spec("matplotlib") is not None:
        from bench.plot import draw  # noqa: PLC0415 - an optional dependency

        picture = arguments.write.with_suffix(".svg")
        plotted = [scenario for scenario in scenarios if scenario.name in _PLOTTED]
        draw(results, plotted, present, picture)
        report = f"![CPU as ratios to the bare client]({picture.name})\n\n{report}"
    _put(report, arguments.write)


def _put(report: str, page: Path) -> None:
    """Replace what stands between the marks of *page* by *report*."""
    before, _, rest = page.read_text().partition(_BEGIN)
    _, found, after = rest.partition(_END)
    if not found:
        raise SystemExit(f"{page} lacks the lines {_BEGIN} and {_END}")
    page.write_text(f"{before}{_BEGIN}\n\n{report}\n{_END}{after}")


def _machine(load: float) -> str:
    """The command and the facts that a reader needs to judge the figures."""
    command = shlex.join(["python", "-m", "bench", *sys.argv[1:]])
    packages = ", ".join(f"{name} {found}" for name in _PACKAGES if (found := _version(name)))
    return (
        f"`{command}`, {platform.python_implementation()} {platform.python_version()}, "
        f"{platform.machine()}, {os.cpu_count()} cores, load average {load:.1f} at the start and "
        f"{os.getloadavg()[0]:.1f} at the end; {packages}."
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


if __name__ == "__main__":
    main()
