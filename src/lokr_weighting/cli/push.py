"""`push`: a calibration to the Hugging Face Hub, with a card."""

import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from lokr_weighting.cli import options
from lokr_weighting.cli.outputs import is_taken
from lokr_weighting.errors import LokrWeightingError


def push(
    calibration: options.CalibrationFolder,
    repository: Annotated[str, typer.Argument(help="The dataset's hub id: you/name.")],
    license_name: Annotated[
        str, typer.Option("--license", help="As the Hub knows it: cc0-1.0, cc-by-4.0, ...")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="The measured model's hub id, where it was a local folder."),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="A private repository.")] = False,
    to_folder: Annotated[
        Path | None,
        typer.Option("--to-folder", help="Write what would be uploaded here, and upload nothing."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Upload without asking.")] = False,
    force: Annotated[
        bool, typer.Option(help="Add to a repository that holds something else.")
    ] = False,
) -> None:
    """Share a calibration on the Hugging Face Hub: its numbers, a figure and a card.

    No pictures, captions or file names. Says what is uploaded, and asks before.
    """
    from lokr_weighting.records.hub import upload
    from lokr_weighting.records.sharing import shareable
    from lokr_weighting.show.card import write_card_and_numbers

    if to_folder is not None and is_taken(to_folder):
        raise LokrWeightingError(f"{to_folder}: is not empty; give a new or empty folder")
    shared = shareable(calibration, model)
    with tempfile.TemporaryDirectory(prefix="lokr-weighting-") as temporary:
        folder = to_folder or Path(temporary)
        write_card_and_numbers(
            shared, calibration, folder, repository=repository, license_name=license_name
        )
        if to_folder is not None:
            typer.echo(f"Wrote {to_folder}; nothing was uploaded")
            return
        said = ", ".join(f"{key}: {value}" for key, value in shared.settings.items())
        typer.echo(
            f"To {repository}, {'private' if private else 'for everyone'}, under {license_name}:",
            err=True,
        )
        for file in sorted(folder.iterdir()):
            typer.echo(f"  {file.name}  {file.stat().st_size:,} bytes", err=True)
        typer.echo(
            f"It says: {said}. No pictures, captions or file names are in it. --to-folder writes "
            "it for you to look at.",
            err=True,
        )
        if not yes:
            _ask()
        typer.echo(f"Uploaded to {upload(folder, repository, private=private, force=force)}")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise LokrWeightingError("push asks before it uploads, and there is no terminal: --yes")
    if not typer.confirm("Upload?", err=True):
        raise LokrWeightingError("nothing was uploaded")
