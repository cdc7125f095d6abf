"""Where a command writes: one rule for what is in the way.

What this package wrote itself is replaced. Anything else may be the user's own work and needs
`--force`. What a command reads is never written to, `--force` or not.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import UNFINISHED

LARGEST = 32 << 20  # bytes of a file that is looked at, to see whose it is
MARK = '<meta name="generator" content="lokr-weighting">'
"""What every page of this package holds."""


@dataclass(frozen=True)
class Output:
    """A file or folder that a command writes.

    Attributes:
        path: where.
        ours: whether what is there already was written by this package.
        advice: what a refusal says of what is there.
    """

    path: Path
    ours: Callable[[], bool]
    advice: str = "exists and was not written by lokr-weighting, so it may be your own"


def check_outputs(
    outputs: Sequence[Output], inputs: Iterable[Path | None], force: bool = False
) -> None:
    """Refuse to write to what is read, or unasked to what may be the user's own.

    Args:
        outputs: what will be written.
        inputs: what is read: files and folders; None are left out.
        force: whether the user asked to replace what is there.

    Raises:
        LokrWeightingError: says what is in the way, and what to do.
    """
    given = [each for each in inputs if each is not None and each.exists()]
    for output in outputs:
        for each in given:
            if _is_in(output.path, each) and not (each.is_dir() and output.ours()):
                raise LokrWeightingError(
                    f"{output.path}: is read by this command ({each}); write elsewhere"
                )
        # in this order: it may be removed meanwhile
        if not force and not output.ours() and is_taken(output.path):
            raise LokrWeightingError(
                f"{output.path}: {output.advice}; --force replaces it, --output writes elsewhere"
            )


def is_taken(output: Path) -> bool:
    """Whether there is something already: a file, or a folder that is not empty."""
    if output.is_dir():
        return any(not each.name.endswith(UNFINISHED) for each in output.iterdir())
    return output.exists() or output.is_symlink()


def json_with(path: Path, *keys: str) -> Callable[[], bool]:
    """Whether a file is a JSON object with these keys: how our own files are known again."""

    def ours() -> bool:
        return {*keys} <= {*_json(path)}

    return ours


def page(path: Path) -> Callable[[], bool]:
    """Whether a file is a page of this package."""

    def ours() -> bool:
        return MARK.encode() in _head(path)

    return ours


def plan_file(path: Path) -> Callable[[], bool]:
    """Whether a file is a plan."""
    return json_with(path, "schema_version", "recipe", "blocks", "linears")


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


def _is_in(output: Path, given: Path) -> bool:
    """Whether an output is an input, or a file in an input folder."""
    if not output.exists():
        return False
    if output.samefile(given):
        return True
    return given.is_dir() and output.is_file() and given.resolve() in output.resolve().parents


def _head(path: Path) -> bytes:
    """A file's bytes; none where it is missing or too large to be ours."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError:
        return b""
    return data if len(data) <= LARGEST else b""


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(_head(path))
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}
