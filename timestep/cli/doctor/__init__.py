"""``timestep doctor``: find what is wrong, and the command that fixes it."""

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from timestep.cli.context import Context, configuration_options
from timestep.cli.options import timeout_option
from timestep.cli.output import clean, json_option, print_aside, print_json
from timestep.cli.terminal import width

if TYPE_CHECKING:
    from timestep.cli.doctor.checks import Finding

_COLORS = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_LABEL_WIDTH = 11


@click.command()
@timeout_option(default=5.0, help="Give up on a server after this many seconds of silence.")
@click.option(
    "--strict",
    "is_strict",
    is_flag=True,
    help="Fail on warnings too. Report wrong settings without asking a server.",
)
@click.option(
    "--ask",
    "is_asking",
    is_flag=True,
    help="Send each model one tiny request, which may cost money.",
)
@json_option
@configuration_options
def doctor(
    context: Context, *, timeout: float, is_strict: bool, is_asking: bool, as_json: bool
) -> None:
    """Check the configuration, the servers and the models, and say what to do.

    The exit code is 1 if there is a problem. Notes do not count, and warnings with --strict only.
    """
    from timestep.cli.doctor.checks import examine

    findings = examine(context, patience=timeout, is_strict=is_strict, is_asking=is_asking)
    counting = {"problem", "warning"} if is_strict else {"problem"}
    problems = [finding for finding in findings if finding.status in counting]
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
        counts = [
            f"{count} {status}{'' if count == 1 else 's'}"
            for status in ("problem", "warning", "note")
            if (count := sum(finding.status == status for finding in findings))
        ]
        click.echo(f"\n{', '.join(counts) or 'All is well'}.", err=True)
        if not problems:
            print_aside("'timestep check' finds out whether the models can drive an agent.")
    if problems:
        raise click.exceptions.Exit(1)


def _show(findings: "list[Finding]") -> None:
    area, indent = None, " " * _LABEL_WIDTH
    for finding in findings:
        if finding.area != area:
            click.echo(("\n" if area else "") + click.style(clean(finding.area), bold=True))
        area = finding.area
        label = click.style(f"  {finding.status:<{_LABEL_WIDTH - 2}}", fg=_COLORS[finding.status])
        text = click.wrap_text(clean(finding.text), width(), indent, indent)
        click.echo(label + text.removeprefix(indent))
        if finding.fix:
            # Commands are never wrapped, so that they can be copied.
            click.echo(indent + click.style(clean(finding.fix), bold=True))
