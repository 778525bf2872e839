"""The ratios as a picture; needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from bench.contenders import BASELINE, load
from bench.report import ratio
from bench.rounds import Results
from bench.scenarios import Scenario

_OURS = {"timestep": "#0b6e4f"}
_GREYS = ("#5b6770", "#8a949c", "#b3bac0", "#9a7b4f", "#c9ab7c", "#d8c7a8")


def draw(
    results: Results, scenarios: Sequence[Scenario], contenders: Sequence[str], path: Path
) -> None:
    """Bars of CPU per unit beside the bare client's, on a logarithmic scale, as an SVG at *path*."""
    mpl.rcParams["svg.hashsalt"] = "timestep"  # the same figures draw the same file
    drawn = [name for name in contenders if name != BASELINE]
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.95 * len(scenarios)))
    height = 0.82 / max(len(drawn), 1)
    greys = iter(_GREYS * 2)
    for position, name in enumerate(drawn):
        color = _OURS.get(name) or next(greys)
        at = [row + position * height for row in range(len(scenarios))]
        values = [ratio(results, scenario, name) or 0.0 for scenario in scenarios]
        bars = axes.barh(at, values, height=height * 0.92, color=color, label=load(name).TITLE)
        labels = [f"{value:.2f}" if value else "fails" for value in values]
        axes.bar_label(bars, labels, padding=3, fontsize=7)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(left=0.1, right=axes.get_xlim()[1] * 1.6)
    axes.set_yticks([row + 0.41 - height / 2 for row in range(len(scenarios))])
    axes.set_yticklabels([scenario.title for scenario in scenarios])
    axes.invert_yaxis()
    axes.set_xlabel("CPU, as a ratio to the bare ollama client (less is better)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    figure.tight_layout()
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
