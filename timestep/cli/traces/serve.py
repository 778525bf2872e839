"""``timestep traces serve``: show runs in a browser."""

import click

from timestep.cli.context import Context, pass_context
from timestep.cli.traces.record import open_record
from timestep.net.extras import install_hint


@click.command()
@click.option(
    "-p",
    "--port",
    default=5318,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port on 127.0.0.1; 0 for any free one.",
)
@click.option("--open", "is_opened", is_flag=True, help="Open a browser too.")
@pass_context
def serve(context: Context, *, port: int, is_opened: bool) -> None:
    """Show runs in a browser: a list with search, live updates, conversations, comparisons.

    Only this machine can open the page. Ctrl-C ends it.
    """
    try:
        from timestep.traces.viewer.app import serve as run_server
    except ModuleNotFoundError as exc:
        raise click.ClickException(
            f"The viewer needs the package {exc.name}. {install_hint('web')}"
        ) from exc

    def tell(url: str) -> None:
        click.echo(f"Runs are shown at {url} until Ctrl-C.")
        if is_opened:
            click.launch(url)

    with open_record(context) as store:
        try:
            run_server(store, port, on_start=tell)
        except OSError as exc:
            raise click.ClickException(
                f"Port {port} cannot be used: {exc.strerror}. Name another with --port."
            ) from exc
