"""The command line: a file for each command.

Exit codes: 0 done; 1 a configuration does not do what it says; 2 a mistake in what was given; 3 a
file, or standard output, could not be written; 130 interrupted by Ctrl-C, 143 by SIGTERM.
"""

import atexit
import errno
import gc
import io
import os
import sys
from contextlib import suppress
from importlib import metadata
from typing import Annotated, Never

import typer

from lokr_weighting.cli.ablate import ablate
from lokr_weighting.cli.calibrate import calibrate
from lokr_weighting.cli.compare import compare
from lokr_weighting.cli.convert import convert
from lokr_weighting.cli.diff import diff
from lokr_weighting.cli.exits import NOT_WRITTEN, USER_MISTAKE
from lokr_weighting.cli.families import families
from lokr_weighting.cli.findings import findings
from lokr_weighting.cli.generate import generate
from lokr_weighting.cli.heatmaps import heatmaps
from lokr_weighting.cli.inspect import inspect
from lokr_weighting.cli.plan import plan
from lokr_weighting.cli.pull import pull
from lokr_weighting.cli.push import push
from lokr_weighting.cli.report import report
from lokr_weighting.cli.similarity import similarity
from lokr_weighting.cli.sizes import sizes
from lokr_weighting.cli.verify import verify
from lokr_weighting.errors import LokrWeightingError, OutputError
from lokr_weighting.stopping import in_one_line

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
    findings,
    similarity,
    ablate,
    compare,
    families,
    sizes,
    push,
    pull,
)
OBJECTS_BEFORE_COLLECTING = 50_000
MISTAKES = (
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ELOOP,
    errno.EACCES,
    errno.EPERM,
)
"""What the system refuses because of the name it was given, not because something failed."""

app = typer.Typer(
    help="Measure where a diffusion transformer works on your images, and give a LoKr adapter "
    "its parameters there.",
    no_args_is_help=True,
    add_completion=True,
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
    """Run the command line; whatever ends it early is one line on standard error."""
    with in_one_line():
        _run()


def _run() -> None:
    # torch and lycoris make millions of objects that stay: looking through them for garbage every
    # 700 objects, and all of them at exit, takes a third of a short command's time
    gc.set_threshold(OBJECTS_BEFORE_COLLECTING)
    atexit.register(gc.freeze)
    # what the libraries say of themselves when they are imported helps nobody here
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    os.environ.setdefault("TORCH_LOGS", "-torch")
    for stream in (sys.stdout, sys.stderr):
        # a terminal or pipe that cannot show a letter gets its number
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except OutputError as error:
        _fail(str(error), NOT_WRITTEN)
    except LokrWeightingError as error:
        _fail(str(error), USER_MISTAKE)
    except OSError as error:
        name = "standard output" if error.filename is None else os.fsdecode(error.filename)
        mistake = error.errno in MISTAKES
        _fail(f"{name}: {error.strerror or error}", USER_MISTAKE if mistake else NOT_WRITTEN)


def _fail(text: str, code: int) -> Never:
    typer.echo(f"error: {text}", err=True)
    # what standard output could not take must not be tried again when Python ends
    with suppress(OSError, ValueError, io.UnsupportedOperation):
        try:
            sys.stdout.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)
