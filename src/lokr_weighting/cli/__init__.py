"""The command line.

Exit codes: 0 done; 1 a configuration does not do what it says; 2 a mistake in what was given;
130 interrupted.
"""

import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from lokr_weighting.cli import ablating, calibrating, converting, planning, seeing
from lokr_weighting.errors import LokrWeightingError

USER_MISTAKE = 2

app = typer.Typer(
    help="Measure where a diffusion transformer works on your images, and give a LoKr adapter "
    "its parameters there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(calibrating.generate)
app.command()(calibrating.calibrate)
app.command()(planning.plan)
app.command()(planning.verify)
app.command()(planning.inspect)
app.command()(planning.heatmaps)
app.command()(converting.convert)
app.command()(seeing.report)
app.command()(seeing.diff)
app.command()(seeing.similarity)
app.command()(ablating.ablate)


@app.callback(invoke_without_command=True)
def _version(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(metadata.version("lokr-weighting"))
        context.exit()


def main() -> None:
    """Run the command line; a user's mistake is one line on standard error and exit code 2."""
    # what the libraries say of themselves when they are imported helps nobody here
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TORCH_LOGS", "-torch")
    try:
        app()
    except LokrWeightingError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_MISTAKE)
