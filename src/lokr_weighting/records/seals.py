"""What binds a finished calibration's files to its summary: how many lines, and a checksum."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from lokr_weighting.errors import LokrWeightingError


class Seal(BaseModel):
    """One file as it was when the calibration was finished.

    Attributes:
        lines: how many lines it had.
        sha256: of all its bytes, 64 hex digits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    lines: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def seal_of(file: Path) -> Seal:
    """The seal of a file as it is.

    Raises:
        LokrWeightingError: the file cannot be read.
    """
    digest, lines = hashlib.sha256(), 0
    try:
        with file.open("rb") as opened:
            while part := opened.read(1 << 20):
                digest.update(part)
                lines += part.count(b"\n")
    except OSError as error:
        raise LokrWeightingError(f"{file}: cannot be read: {error.strerror}") from None
    return Seal(lines=lines, sha256=digest.hexdigest())


def seals_of(folder: Path, names: tuple[str, ...]) -> dict[str, Seal]:
    """The seals of those of a folder's files that there are."""
    return {name: seal_of(folder / name) for name in names if (folder / name).exists()}


def broken_seals(folder: Path, names: tuple[str, ...], seals: Mapping[str, Seal]) -> dict[str, str]:
    """The files that are no longer what they were -> what is wrong with each.

    Args:
        folder: the calibration's folder.
        names: the files to look at.
        seals: of those there were.
    """
    now, broken = seals_of(folder, names), {}
    for name in names:
        before, found = seals.get(name), now.get(name)
        if before == found:
            continue
        if before is None:
            broken[name] = "was not there"
        elif found is None:
            broken[name] = f"is missing, of {before.lines} lines"
        elif found.lines != before.lines:
            broken[name] = f"has {found.lines} lines instead of {before.lines}"
        else:
            broken[name] = "holds other bytes (its checksum differs)"
    return broken
