"""``timestep config explain``: the value of one key, and where it came from."""

from typing import TYPE_CHECKING, Any

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.output import clean, json_option, print_json

if TYPE_CHECKING:
    from timestep.cli.config.leaves import Leaf
    from timestep.config.provenance import KeyPath, Origin
    from timestep.config.settings import Settings


@click.command()
@click.argument("key")
@json_option
@configuration_options
def explain(context: Context, *, key: str, as_json: bool) -> None:
    """Show the value of KEY, the place that set it, and the places it won over.

    KEY is a key as TOML writes it (ollama.base_url), a table (ollama), or a variable
    (OLLAMA_HOST). With --json one array.
    """
    from timestep.cli.config.leaves import Leaf, read_leaves

    settings = context.settings
    leaves = list(read_leaves(settings))
    path = settings.spelled(_parse(key, leaves))
    found = [leaf for leaf in leaves if leaf.path[: len(path)] == path]
    if found and found[0].path != path:  # a table: show what is set in it
        found = [leaf for leaf in found if leaf.is_set]
    elif not found:
        _check(path, leaves, type(settings))
        found = [Leaf.unset(path, type(settings))]
    if as_json:
        print_json([_as_json(leaf) for leaf in found])
    elif found:
        click.echo("\n\n".join(map(_describe, found)))
    else:
        click.echo(f"Nothing sets a key of [{clean(key)}]; all are defaults.", err=True)


def _parse(key: str, leaves: "list[Leaf]") -> "KeyPath":
    """Return the path that *key* names, spelled as in *leaves*."""
    import tomllib

    from timestep.config.provenance import flatten
    from timestep.config.sources.variables import respelled, spelling_of, variable_path

    path = variable_path(key)
    if path is not None:
        return respelled(path, spelling_of(leaf.path for leaf in leaves))
    try:
        [(path, _)] = flatten(tomllib.loads(f"{key} = 0"))
    except ValueError as exc:
        raise click.UsageError(
            f"{clean(key)!r} is not a key; write one such as ollama.base_url, with quotes around "
            "parts that hold dots: 'ollama.models.\"llama3.2\".num_ctx'"
        ) from exc
    return path


def _check(path: "KeyPath", leaves: "list[Leaf]", settings_class: "type[Settings]") -> None:
    """Refuse a *path* that no setting can have."""
    import difflib

    from timestep.config.provenance import dotted
    from timestep.config.shape import arms_at

    if not arms_at(settings_class, path):
        near = difflib.get_close_matches(dotted(path), [leaf.key for leaf in leaves], n=1)
        hint = f" Did you mean {near[0]}?" if near else " 'timestep config show --all' lists them."
        raise click.UsageError(f"There is no setting {clean(dotted(path))!r}.{hint}")


def _describe(leaf: "Leaf") -> str:
    from timestep.cli.terminal import width

    origin = leaf.origin
    rows = [("from", str(origin.winner))]
    rows += [("wins over" if not n else "", str(loser)) for n, loser in enumerate(origin.losers)]
    rows += [("variable" if not n else "", name) for n, name in enumerate(leaf.variables)]
    lines = [click.style(clean(leaf.line), bold=True)]
    lines += [f"  {label:<11}{clean(text)}" for label, text in rows]
    if leaf.unused:
        lines.append(f"  {'but':<11}{clean(leaf.unused)}")
    if leaf.description:
        lines.append(
            click.wrap_text(leaf.description, width(), initial_indent="  ", subsequent_indent="  ")
        )
    return "\n".join(lines)


def _as_json(leaf: "Leaf") -> dict[str, Any]:
    return {
        "key": leaf.key,
        "value": leaf.value,
        "winner": _place(leaf.origin.winner),
        "losers": [_place(loser) for loser in leaf.origin.losers],
        "variables": leaf.variables,
        "description": leaf.description,
        "unused": leaf.unused,
    }


def _place(origin: "Origin") -> dict[str, Any]:
    return {"kind": origin.kind, "location": origin.location, "variable": origin.variable}
