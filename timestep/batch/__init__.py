"""Many prompts through any model: OpenAI's batch files, on this machine.

A line passes through these modules: `lines` (the input), `question` and `bodies` (what is
asked), `answer` (one line asked, with retries), `loop` (many at once), `output` (the files). `cluster` is `loop`
on many machines, and `concurrency` says how many lines that should be.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timestep.batch.answer import Result
    from timestep.batch.cluster import run_on_ray
    from timestep.batch.lines import BadLine, Defaults, Line, read_file, read_values
    from timestep.batch.loop import run
    from timestep.batch.output import Output, OutputError

__all__ = [
    "BadLine",
    "Defaults",
    "Line",
    "Output",
    "OutputError",
    "Result",
    "read_file",
    "read_values",
    "run",
    "run_on_ray",
]

_HOME = {
    "BadLine": "lines",
    "Defaults": "lines",
    "Line": "lines",
    "Output": "output",
    "OutputError": "output",
    "Result": "answer",
    "read_file": "lines",
    "read_values": "lines",
    "run": "loop",
    "run_on_ray": "cluster",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
