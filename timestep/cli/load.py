"""Loads an agent or a class of an application: ``module:attribute`` or ``file.py:attribute``."""

import importlib
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from timestep.cli.streams import foreign_code

if TYPE_CHECKING:
    from agents import Agent


def load_reference(reference: str, what: str) -> object:
    """Return what *reference* names, or None. *what* that should be is for messages."""
    place, colon, attribute = reference.rpartition(":")
    if not colon or not place or not attribute:
        raise click.UsageError(
            f"{reference!r} does not name {what}; write module:attribute or file.py:attribute."
        )
    found: object = load_module(place)
    for name in attribute.split("."):
        found = getattr(found, name, None)
    return found


def load_module(place: str) -> ModuleType:
    """Return the module that *place*, a file or a dotted name, leads to."""
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise click.UsageError(f"There is no file {place!r}.")
    if not is_file and not all(map(str.isidentifier, place.split("."))):
        raise click.UsageError(f"{place!r} cannot be a module; write a file as {place}.py.")
    # As with "python file.py" and "python -m module", its neighbours can be imported.
    sys.path.insert(0, str(Path(place).parent.absolute()) if is_file else str(Path.cwd()))
    try:
        with foreign_code():
            return _load_file(Path(place)) if is_file else importlib.import_module(place)
    except ModuleNotFoundError as exc:
        if exc.name == place.partition(".")[0] or exc.name == place:
            raise click.UsageError(f"There is no module {place!r} here.") from exc
        raise click.ClickException(f"{place} cannot be imported: {exc}") from exc
    except SyntaxError as exc:
        raise click.ClickException(f"{place} cannot be imported: {exc}.") from exc
    except SystemExit as exc:
        raise click.ClickException(f"{place} ends the program when it is imported.") from exc
    except Exception as exc:  # the module's code raises anything
        from timestep.cli.errors import explain

        raise click.ClickException(f"{place} cannot be imported: {explain(exc)}") from exc


def _load_file(path: Path) -> ModuleType:
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None, "a .py file has a loader"  # noqa: S101 - an invariant
    assert spec.loader is not None, "a .py file has a loader"  # noqa: S101 - an invariant
    module = module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look up their own module
    spec.loader.exec_module(module)
    return module


def load_agent(reference: str) -> "Agent[Any]":
    """Return the agent that *reference* names. Without an attribute it is the only one there."""
    from agents import Agent

    place, colon, _ = reference.rpartition(":")
    found = load_reference(reference, "an agent") if colon else None
    if isinstance(found, Agent):
        return cast("Agent[Any]", found)
    place = place or reference
    values = vars(load_module(place))
    there: dict[str, Agent[Any]] = {k: v for k, v in values.items() if isinstance(v, Agent)}
    if not colon and len({id(agent) for agent in there.values()}) == 1:
        return next(iter(there.values()))
    names = ", ".join(f"{place}:{name}" for name in there)
    told = f"The agents there: {names}." if there else f"There is no Agent in {place}."
    raise click.UsageError(f"{reference!r} is not the name of an agent. {told}")
