"""The command line: a file for each command.

Exit codes: 0 done; 1 a configuration does not do what it says; 2 a mistake in what was given;
130 interrupted.
"""

import atexit
import gc
import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from lokr_weighting.cli.ablate import ablate
from lokr_weighting.cli.calibrate import calibrate
from lokr_weighting.cli.compare import compare
from lokr_weighting.cli.convert import convert
from lokr_weighting.cli.diff import diff
from lokr_weighting.cli.exits import USER_MISTAKE
from lokr_weighting.cli.generate import generate
from lokr_weighting.cli.heatmaps import heatmaps
from lokr_weighting.cli.inspect import inspect
from lokr_weighting.cli.plan import plan
from lokr_weighting.cli.report import report
from lokr_weighting.cli.similarity import similarity
from lokr_weighting.cli.verify import verify
from lokr_weighting.errors import LokrWeightingError

COMMANDS = (
    generate,
    calibrate,
    plan,
    verify,
    inspect,
    heatmaps,
    convert,
    report,
    diff,
    similarity,
    ablate,
    compare,
)
OBJECTS_BEFORE_COLLECTING = 50_000

app = typer.Typer(
    help="Measure where a diffusion transformer works on your images, and give a LoKr adapter "
    "its parameters there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in COMMANDS:
    app.command()(command)


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
    # torch and lycoris make millions of objects that stay: looking through them for garbage every
    # 700 objects, and all of them at exit, takes a third of a short command's time
    gc.set_threshold(OBJECTS_BEFORE_COLLECTING)
    atexit.register(gc.freeze)
    # what the libraries say of themselves when they are imported helps nobody here
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TORCH_LOGS", "-torch")
    try:
        app()
    except LokrWeightingError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_MISTAKE)
