"""Where a command writes: what is in the way, and what is not replaced."""

from pathlib import Path

from lokr_weighting.errors import LokrWeightingError


def is_taken(output: Path) -> bool:
    """Whether there is something already: a file, or a folder that is not empty."""
    return any(output.iterdir()) if output.is_dir() else output.exists()


def check_folder(output: Path) -> None:
    """Refuse a file where a folder is written.

    Raises:
        LokrWeightingError: the output is a file.
    """
    if output.is_file():
        raise LokrWeightingError(f"{output}: is a file; give a folder's name with --output")


def check_file(output: Path) -> None:
    """Refuse a folder where a file is written.

    Raises:
        LokrWeightingError: the output is a folder.
    """
    if output.is_dir():
        raise LokrWeightingError(f"{output}: is a folder; give a file's name with --output")
