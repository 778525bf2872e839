"""``timestep traces show``: show one run."""

import click

from timestep.cli.completion import complete_trace
from timestep.cli.context import Context, pass_context
from timestep.cli.output import print_json, print_lines
from timestep.cli.traces.record import open_record


@click.command()
@click.argument("run", metavar="ID", default="last", shell_complete=complete_trace)
@click.option("--raw", is_flag=True, help="Print the exact requests and answers of its models.")
@click.option("--step", type=click.IntRange(1), help="Only the model call with this number.")
@click.option("--full", is_flag=True, help="Print questions, answers and results in full.")
@click.option("--verbose", is_flag=True, help="Print the tracebacks of tools that failed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--jsonl", "as_lines", is_flag=True, help="Print one JSON value per line.")
@pass_context
def show(
    context: Context,
    *,
    run: str,
    raw: bool,
    step: int | None,
    full: bool,
    verbose: bool,
    as_json: bool,
    as_lines: bool,
) -> None:
    """Show one run: its question, what it did as a tree, and its answer."""
    from timestep.cli.traces.runs import chosen_calls, print_raw, print_run
    from timestep.traces.export import export_lines, export_trace

    with open_record(context) as store:
        trace = store.get(run)
        if raw:
            print_raw(store, chosen_calls(trace, step))
        elif as_json:
            print_json(export_trace(trace))
        elif as_lines:
            print_lines(export_lines(trace))
        else:
            print_run(trace, step, full=full, verbose=verbose)
