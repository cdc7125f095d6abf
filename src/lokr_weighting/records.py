"""The records file: one JSON line a sample, in the format of the SD3.5-Large study."""

import bz2
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, Field, PrivateAttr, ValidationError

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import faults
from lokr_weighting.heatmaps import Distance, Heatmaps

if TYPE_CHECKING:
    from lokr_weighting.pairs import Pairs

Tokens = Literal["mean", "last"]


class Record(BaseModel):
    """One line: a sample's timestep in [0, 1] and its distances, block by block.

    `hidden_states` is the image stream, `encoder_hidden_states` the text stream: averaged over
    tokens in files written here, and of the last token in the two `*_last`. Blocks at the end
    that hand no text on are left out of the text lists, blocks between others are null. Other
    keys are allowed and left alone: a file may carry more for other readers.
    """

    timestep: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    hidden_states: Annotated[list[Distance], Field(min_length=1)]
    encoder_hidden_states: list[Distance | None]
    hidden_states_last: list[Distance] | None = None
    encoder_hidden_states_last: list[Distance | None] | None = None
    sample: Annotated[int, Field(ge=0)] | None = None

    _pairs: "Pairs | None" = PrivateAttr(default=None)

    @property
    def pairs(self) -> "Pairs | None":
        """The sample's similarity of every pair of blocks, where known; kept in another file."""
        return self._pairs

    def with_pairs(self, pairs: "Pairs") -> Self:
        """The same record with the similarity of every pair of blocks."""
        record = self.model_copy()
        record._pairs = pairs
        return record

    def stream(self, key: Literal["hidden_states", "encoder_hidden_states"], tokens: Tokens):
        """One stream's distances; None where they were not recorded."""
        return getattr(self, key if tokens == "mean" else f"{key}_last")

    @property
    def line(self) -> str:
        """The record as its line in the file."""
        return json.dumps(self.model_dump(exclude_none=True), allow_nan=False) + "\n"


@dataclass(frozen=True)
class Records:
    """Many records.

    Attributes:
        timesteps: (samples,), each in [0, 1].
        image: distances of the image stream, (samples, blocks).
        text: distances of the text stream, (samples, blocks), NaN where a block hands no text on.
    """

    timesteps: np.ndarray
    image: np.ndarray
    text: np.ndarray


def read_records(path: Path, tokens: Tokens = "mean") -> Records:
    """Read a records file: plain, `.gz` or `.bz2`.

    Args:
        path: the file.
        tokens: which of the two recorded averages; "last" needs a file written here.

    Raises:
        LokrWeightingError: the file is missing, empty, cut short, or a line is not a record; the
            message names file and line.
    """
    rows: list[Record] = []
    for number, line in _lines(path):
        row = parse_record(line, f"{path}:{number}")
        first = rows[0] if rows else row
        for key in ("hidden_states", "encoder_hidden_states"):
            stream, before = row.stream(key, tokens), first.stream(key, tokens)
            if stream is None:
                raise LokrWeightingError(
                    f"{path}:{number}: key '{key}_last' is missing: the last token alone was not "
                    "recorded in this file"
                )
            if len(stream) != len(before):
                raise LokrWeightingError(
                    f"{path}:{number}: {key} has {len(stream)} blocks, "
                    f"the lines before it have {len(before)}"
                )
        rows.append(row)
    if not rows:
        raise LokrWeightingError(f"{path}: holds no records")
    return stack_records(rows, tokens)


def parse_record(line: bytes, where: str) -> Record:
    """One line of a records file.

    Raises:
        LokrWeightingError: the line is not a record; the message begins with `where`.
    """
    try:
        record = Record.model_validate_json(line)
    except ValidationError as error:
        raise LokrWeightingError(f"{where}: {faults(error)}") from None
    if len(record.encoder_hidden_states) > len(record.hidden_states):
        raise LokrWeightingError(
            f"{where}: encoder_hidden_states has {len(record.encoder_hidden_states)} "
            f"blocks, hidden_states only {len(record.hidden_states)}"
        )
    return record


def stack_records(rows: list[Record], tokens: Tokens = "mean") -> Records:
    """Records of equal length as arrays."""
    image = np.array([row.stream("hidden_states", tokens) for row in rows])
    text = np.full_like(image, np.nan)
    found = np.array([row.stream("encoder_hidden_states", tokens) for row in rows], dtype=float)
    text[:, : found.shape[1]] = found
    return Records(np.array([row.timestep for row in rows]), image, text)


def bin_of(timesteps: np.ndarray, bins: int) -> np.ndarray:
    """The equal bin of [0, 1] that each timestep falls in; timestep 1 belongs to the last."""
    found = np.minimum((timesteps * bins).astype(int), bins - 1)
    # t * bins can round across an edge (0.29 * 100 is 28.999...): compare with the edges themselves
    found -= timesteps < found / bins
    found += (timesteps >= (found + 1) / bins) & (found < bins - 1)
    return found


def heatmaps_of(records: Records, bins: int = 10) -> Heatmaps:
    """Average the records over `bins` equal timestep bins.

    The standard errors are those of a mean over strata: the root of the sum of every bin's
    variance over its count, divided by the number of bins.

    Raises:
        LokrWeightingError: a bin holds no record.
    """
    of_bin = bin_of(records.timesteps, bins)
    counts = np.bincount(of_bin, minlength=bins)
    if not counts.all():
        empty = ", ".join(
            f"[{b / bins:g}, {(b + 1) / bins:g})" for b in np.flatnonzero(counts == 0)
        )
        raise LokrWeightingError(
            f"no record has a timestep in {empty}: {len(of_bin)} records do not fill {bins} bins; "
            "measure more samples or use fewer bins"
        )
    means, errors = [], []
    for stream in (records.image, records.text):
        rows = [stream[of_bin == b] for b in range(bins)]
        means.append(np.stack([row.mean(axis=0) for row in rows]))
        if counts.min() > 1:
            variances = [row.var(axis=0, ddof=1) / len(row) for row in rows]
            errors.append(np.sqrt(np.sum(variances, axis=0)) / bins)
    image_error, text_error = errors or (None, None)
    return Heatmaps(*means, samples=len(of_bin), image_error=image_error, text_error=text_error)


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
