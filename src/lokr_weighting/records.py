"""The records file: one JSON line a sample, in the format of the SD3.5-Large study."""

import bz2
import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import faults
from lokr_weighting.heatmaps import Distance, Heatmaps


class Record(BaseModel):
    """One line: a sample's timestep in [0, 1] and its distances, block by block.

    Other keys are allowed and left alone: a file may carry more for other readers.
    """

    timestep: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    hidden_states: Annotated[list[Distance], Field(min_length=1)]
    encoder_hidden_states: list[Distance | None]


@dataclass(frozen=True)
class Records:
    """All records of a file.

    Attributes:
        timesteps: (samples,), each in [0, 1].
        image: distances of the image stream, (samples, blocks).
        text: distances of the text stream, (samples, blocks), NaN where a block hands no text on.
    """

    timesteps: np.ndarray
    image: np.ndarray
    text: np.ndarray


def read_records(path: Path) -> Records:
    """Read a records file: plain, `.gz` or `.bz2`.

    Raises:
        LokrWeightingError: the file is missing, empty, cut short, or a line is not a record; the
            message names file and line.
    """
    rows: list[Record] = []
    for number, line in _lines(path):
        try:
            row = Record.model_validate_json(line)
        except ValidationError as error:
            raise LokrWeightingError(f"{path}:{number}: {faults(error)}") from None
        first = rows[0] if rows else row
        for key, stream, blocks in (
            ("hidden_states", row.hidden_states, len(first.hidden_states)),
            ("encoder_hidden_states", row.encoder_hidden_states, len(first.encoder_hidden_states)),
        ):
            if len(stream) != blocks:
                raise LokrWeightingError(
                    f"{path}:{number}: {key} has {len(stream)} blocks, "
                    f"the lines before it have {blocks}"
                )
        if len(row.encoder_hidden_states) > len(row.hidden_states):
            raise LokrWeightingError(
                f"{path}:{number}: encoder_hidden_states has {len(row.encoder_hidden_states)} "
                f"blocks, hidden_states only {len(row.hidden_states)}"
            )
        rows.append(row)
    if not rows:
        raise LokrWeightingError(f"{path}: holds no records")
    image = np.array([row.hidden_states for row in rows])
    text = np.full_like(image, np.nan)
    width = len(rows[0].encoder_hidden_states)
    text[:, :width] = np.array([row.encoder_hidden_states for row in rows], dtype=float)
    return Records(np.array([row.timestep for row in rows]), image, text)


def heatmaps_of(records: Records, bins: int = 10) -> Heatmaps:
    """Average the records over `bins` equal timestep bins; timestep 1 belongs to the last bin.

    Raises:
        LokrWeightingError: a bin holds no record.
    """
    of_bin = np.minimum((records.timesteps * bins).astype(int), bins - 1)
    # t * bins can round across an edge (0.29 * 100 is 28.999...): compare with the edges themselves
    of_bin -= records.timesteps < of_bin / bins
    of_bin += (records.timesteps >= (of_bin + 1) / bins) & (of_bin < bins - 1)
    counts = np.bincount(of_bin, minlength=bins)
    if not counts.all():
        empty = ", ".join(
            f"[{b / bins:g}, {(b + 1) / bins:g})" for b in np.flatnonzero(counts == 0)
        )
        raise LokrWeightingError(
            f"no record has a timestep in {empty}: {len(of_bin)} records do not fill {bins} bins; "
            "measure more samples or use fewer bins"
        )
    image, text = (
        np.stack([stream[of_bin == b].mean(axis=0) for b in range(bins)])
        for stream in (records.image, records.text)
    )
    return Heatmaps(image, text, samples=len(of_bin))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield (line number, line) for every line that is not blank."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except FileNotFoundError:
        raise LokrWeightingError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise LokrWeightingError(f"{path}: this is a folder; a records file is wanted") from None
    except (EOFError, OSError) as error:
        raise LokrWeightingError(f"{path}: cannot be read after line {number}: {error}") from None


def _open(path: Path) -> IO[bytes] | gzip.GzipFile | bz2.BZ2File:
    if path.suffix == ".gz":
        return gzip.open(path)
    return bz2.open(path) if path.suffix == ".bz2" else path.open("rb")
