"""The measurements as Markdown."""

from collections.abc import Callable, Sequence
from statistics import median

from bench.contenders import BASELINE, load
from bench.footprint import Footprint
from bench.rounds import CHEAP, Results
from bench.scenarios import Kind, Scenario

_CPU = {Kind.STREAM, Kind.WHOLE, Kind.AGENT}
_MILLION = 1e6


def ratio(results: Results, scenario: Scenario, contender: str) -> float | None:
    """The median, over rounds, of the contender's figure over the baseline's in the same round."""
    figures = results.figures.get(scenario.name, {})
    pairs = zip(figures.get(contender, []), figures.get(BASELINE, []), strict=False)
    ratios = [median(mine) / median(base) for mine, base in pairs if median(base)]
    return median(ratios) if ratios else None


def absolute(results: Results, scenario: Scenario, contender: str) -> float | None:
    """The median of the contender's figures."""
    rounds = results.figures.get(scenario.name, {}).get(contender)
    return median(median(figures) for figures in rounds) if rounds else None


def write(
    results: Results,
    scenarios: Sequence[Scenario],
    contenders: Sequence[str],
    *,
    absent: Sequence[str] = (),
    footprints: Sequence[Footprint] = (),
    instructions: Results | None = None,
) -> str:
    """The report."""
    parts: list[str] = []
    cpu = [scenario for scenario in scenarios if scenario.kind in _CPU]
    if cpu:
        parts += ["### CPU, as a ratio to the bare client\n", _ratios(results, cpu, contenders)]
        spent = [s for s in cpu if absolute(results, s, BASELINE) is not None]
        parts += ["### CPU, in microseconds per unit\n", _microseconds(results, spent, contenders)]
    if instructions is not None:
        counted = [s for s in cpu if s.name in instructions.figures]
        names = [name for name in contenders if name in CHEAP]
        parts += [
            "### Instructions, as a ratio to the bare client\n",
            _ratios(instructions, counted, names),
        ]
    first = [scenario for scenario in scenarios if scenario.kind is Kind.FIRST]
    if first:
        parts += ["### Milliseconds from the call to its first text\n"]
        parts += [_latencies(results, scenario, contenders) for scenario in first]
    parallel = [scenario for scenario in scenarios if scenario.kind is Kind.PARALLEL]
    if parallel:
        parts += ["### Time of paced streams, as a ratio to the server's own pace\n"]
        parts.append(_pace(results, parallel, contenders))
    growth = [scenario for scenario in scenarios if scenario.kind is Kind.GROWTH]
    if growth:
        parts += ["### Memory\n", _growth(results, growth, contenders)]
    if footprints:
        parts += ["### Imports\n", _footprints(footprints)]
    if absent:
        titles = ", ".join(load(name).TITLE for name in absent)
        parts.append(f"Absent, because not installed: {titles}.\n")
    return "\n".join(parts)


def _ratios(results: Results, scenarios: Sequence[Scenario], contenders: Sequence[str]) -> str:
    def cell(scenario: Scenario, contender: str) -> str:
        return _number(ratio(results, scenario, contender))

    return _by_scenario(results, scenarios, contenders, cell)


def _microseconds(
    results: Results, scenarios: Sequence[Scenario], contenders: Sequence[str]
) -> str:
    def cell(scenario: Scenario, contender: str) -> str:
        seconds = absolute(results, scenario, contender)
        return "" if seconds is None else f"{seconds * _MILLION:,.0f}"

    return _by_scenario(results, scenarios, contenders, cell)


def _pace(results: Results, scenarios: Sequence[Scenario], contenders: Sequence[str]) -> str:
    def cell(scenario: Scenario, contender: str) -> str:
        seconds = absolute(results, scenario, contender)
        return "" if seconds is None else f"{seconds / scenario.ideal:.2f}"

    return _by_scenario(results, scenarios, contenders, cell)


def _growth(results: Results, scenarios: Sequence[Scenario], contenders: Sequence[str]) -> str:
    def cell(scenario: Scenario, contender: str) -> str:
        size = absolute(results, scenario, contender)
        return "" if size is None else f"{size / _MILLION:.2f} MB"

    return _by_scenario(results, scenarios, contenders, cell)


def _by_scenario(
    results: Results,
    scenarios: Sequence[Scenario],
    contenders: Sequence[str],
    cell: Callable[[Scenario, str], str],
) -> str:
    rows: list[list[str]] = []
    for scenario in scenarios:
        per = "" if scenario.kind not in _CPU else f" (per {scenario.unit})"
        cells = [
            "fails" if results.is_out(scenario, name) else cell(scenario, name)
            for name in contenders
        ]
        rows.append([f"{scenario.title}{per}", *cells])
    return _table(["", *(load(name).TITLE for name in contenders)], rows)


def _latencies(results: Results, scenario: Scenario, contenders: Sequence[str]) -> str:
    rows: list[list[str]] = []
    for name in contenders:
        rounds = results.figures.get(scenario.name, {}).get(name)
        if not rounds:
            rows.append([load(name).TITLE, "fails", "fails"])
            continue
        at = [[figures[int(len(figures) * share)] for figures in rounds] for share in (0.5, 0.99)]
        rows.append([load(name).TITLE, *(f"{median(values) * 1000:.2f}" for values in at)])
    return _table(["", "median", "99 of 100 are below"], rows)


def _footprints(footprints: Sequence[Footprint]) -> str:
    rows = [
        [
            row.title,
            f"{row.seconds * 1000:.0f}",
            _megabytes(row.imported),
            _megabytes(row.called),
        ]
        for row in footprints
    ]
    return _table(["", "CPU, ms", "memory, MB", "memory after one call, MB"], rows)


def _megabytes(size: float | None) -> str:
    return "" if size is None else f"{size / _MILLION:.0f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
