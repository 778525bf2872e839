"""A record of what agents did, on this machine.

Names are imported on first use: reading a store needs neither ``agents`` nor ``openai``.
Importing records nothing; `install` turns recording on.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from timestep.traces.errors import StoreError, UnknownTraceError
    from timestep.traces.install import TraceProcessor, install, uninstall
    from timestep.traces.queries import Filter, Hit
    from timestep.traces.records import Exchange, Span, Summary, Trace
    from timestep.traces.statistics import Stats
    from timestep.traces.store import TraceStore

_HOME = {
    "Exchange": "records",
    "Filter": "queries",
    "Hit": "queries",
    "Span": "records",
    "Stats": "statistics",
    "StoreError": "errors",
    "Summary": "records",
    "Trace": "records",
    "TraceProcessor": "install",
    "TraceStore": "store",
    "UnknownTraceError": "errors",
    "install": "install",
    "uninstall": "install",
}

__all__ = [
    "Exchange",
    "Filter",
    "Hit",
    "Span",
    "Stats",
    "StoreError",
    "Summary",
    "Trace",
    "TraceProcessor",
    "TraceStore",
    "UnknownTraceError",
    "install",
    "uninstall",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"timestep.traces.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
