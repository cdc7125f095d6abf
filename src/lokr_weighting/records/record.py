"""Records: a sample's distances, one JSON line each, in the format of the SD3.5-Large study."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import faults
from lokr_weighting.records.heatmaps import Distance
from lokr_weighting.records.lines import numbered_lines
from lokr_weighting.records.pairs import Pairs

Tokens = Literal["mean", "last", "last-real"]
"""Over every real token, the last token alone (the study's), or the last one that is no padding."""
Stream = Literal["hidden_states", "encoder_hidden_states"]
STREAMS: tuple[Stream, ...] = ("hidden_states", "encoder_hidden_states")


RECORD_BYTES, NUMBER_BYTES = 1500, 32
"""What a record takes in memory, and each of its distances."""
MOST_BYTES = 3 << 29
"""Of a file's records together: some hundred thousand."""


def key_of(stream: Stream, tokens: Tokens) -> str:
    """Where a record keeps a stream's distances of these tokens; an image has no padding."""
    if tokens == "mean":
        return stream
    real = tokens == "last-real" and stream == "encoder_hidden_states"
    return f"{stream}_last_real" if real else f"{stream}_last"


class Record(BaseModel):
    """One line: a sample's timestep in [0, 1] and its distances, block by block.

    `hidden_states` is the image stream, `encoder_hidden_states` the text stream: averaged over
    tokens in files written here, of the last token in the two `*_last`, and of the last text token
    that is no padding in `*_last_real`. The image lists have every block, null where one has text
    alone. Blocks at the end that hand no text on are left out of the text lists, blocks between
    others are null. Other keys are allowed and left alone: a file may carry more for other readers.
    """

    timestep: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    hidden_states: Annotated[list[Distance | None], Field(min_length=1)]
    encoder_hidden_states: list[Distance | None]
    hidden_states_last: list[Distance | None] | None = None
    encoder_hidden_states_last: list[Distance | None] | None = None
    encoder_hidden_states_last_real: list[Distance | None] | None = None
    sample: Annotated[int, Field(ge=0)] | None = None

    _pairs: Pairs | None = PrivateAttr(default=None)

    def __repr__(self) -> str:
        return (
            f"Record(sample={self.sample}, timestep={self.timestep:.4f}, "
            f"{len(self.hidden_states)} blocks)"
        )

    __str__ = __repr__

    @property
    def pairs(self) -> Pairs | None:
        """The sample's similarity of every pair of blocks, where known; kept in another file."""
        return self._pairs

    def with_pairs(self, pairs: Pairs) -> Self:
        """The same record with the similarity of every pair of blocks."""
        record = self.model_copy()
        record._pairs = pairs
        return record

    def stream(self, key: Stream, tokens: Tokens):
        """One stream's distances; None where they were not recorded."""
        return getattr(self, key_of(key, tokens))

    @property
    def line(self) -> str:
        """The record as its line in the file."""
        return json.dumps(self.model_dump(exclude_none=True), allow_nan=False) + "\n"


class NotFinite(BaseModel):
    """A sample that gave NaN or Inf, and the first block that did."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sample: Annotated[int, Field(ge=0)]
    block: str

    @property
    def line(self) -> str:
        """The sample as its line in the file."""
        return self.model_dump_json() + "\n"


Measured = Record | NotFinite
"""What a sample gives."""


@dataclass(frozen=True)
class Records:
    """Many records.

    Attributes:
        timesteps: (samples,), each in [0, 1].
        image: distances of the image stream, (samples, blocks), NaN where a block has text alone.
        text: distances of the text stream, (samples, blocks), NaN where a block hands no text on.
    """

    timesteps: np.ndarray
    image: np.ndarray
    text: np.ndarray

    def __repr__(self) -> str:
        samples, blocks = self.image.shape
        return f"Records({samples} samples x {blocks} blocks)"


def read_records(path: Path, tokens: Tokens = "mean") -> Records:
    """Read a records file: plain, `.gz` or `.bz2`.

    Args:
        path: the file.
        tokens: which of the recorded tokens; all but "mean" need a file written here.

    Raises:
        LokrWeightingError: the file is missing, empty, cut short, or a line is not a record; the
            message names file and line.
    """
    rows: list[Record] = []
    room = Room()
    for number, line in numbered_lines(path):
        where = f"{path}:{number}"
        row = parse_record(line, where)
        check_alike(row, rows[0] if rows else row, where)
        room.take(row, where)
        for key in STREAMS:
            if row.stream(key, tokens) is None:
                raise LokrWeightingError(
                    f"{where}: key '{key_of(key, tokens)}' is missing: tokens={tokens} was "
                    "not recorded in this file"
                )
        rows.append(row)
    if not rows:
        raise LokrWeightingError(f"{path}: holds no records")
    return stack_records(rows, tokens)


class Room:
    """What records take in memory: a small compressed file may hold any number of them."""

    def __init__(self) -> None:
        self.bytes = 0

    def take(self, record: Record, where: str) -> None:
        """Count one more.

        Raises:
            LokrWeightingError: together they are too many; the message begins with `where`.
        """
        lists = (record.stream(key, tokens) for key in STREAMS for tokens in get_args(Tokens))
        numbers = sum(len(each) for each in lists if each is not None)
        self.bytes += RECORD_BYTES + NUMBER_BYTES * numbers
        if self.bytes > MOST_BYTES:
            raise LokrWeightingError(
                f"{where}: more records than {MOST_BYTES >> 20} MiB of memory hold; give fewer"
            )


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
    for key in STREAMS:
        mean = getattr(record, key)
        for tokens in get_args(Tokens):
            stream = record.stream(key, tokens)
            if stream is not None and len(stream) != len(mean):
                raise LokrWeightingError(
                    f"{where}: {key_of(key, tokens)} has {len(stream)} blocks, {key} {len(mean)}"
                )
    for tokens in get_args(Tokens):
        _check_streams(record, tokens, where)
    return record


def _check_streams(record: Record, tokens: Tokens, where: str) -> None:
    """Refuse a block without a number in either stream."""
    image, text = (record.stream(key, tokens) for key in STREAMS)
    if image is None or text is None or None not in image:
        return
    for block, distance in enumerate(image):
        if distance is None and (block >= len(text) or text[block] is None):
            names = " nor ".join(key_of(key, tokens) for key in STREAMS)
            raise LokrWeightingError(
                f"{where}: block {block} has a number in neither {names}: every block has an image "
                "or a text distance"
            )


def check_alike(record: Record, first: Record, where: str) -> None:
    """Refuse a record that is not of the same blocks as the first of its file.

    Raises:
        LokrWeightingError: another number of blocks, or other blocks without image or text; the
            message begins with `where`.
    """
    for key in STREAMS:
        for name in dict.fromkeys(key_of(key, tokens) for tokens in get_args(Tokens)):
            stream, before = getattr(record, name), getattr(first, name)
            if stream is None or before is None:
                continue
            if len(stream) != len(before):
                raise LokrWeightingError(
                    f"{where}: {name} has {len(stream)} blocks, "
                    f"the lines before it have {len(before)}"
                )
            if [each is None for each in stream] != [each is None for each in before]:
                raise LokrWeightingError(
                    f"{where}: {name} is null in other blocks than in the lines before it"
                )


def parse_not_finite(line: bytes, where: str) -> NotFinite:
    """One line of the file of samples that were not finite; as `parse_record`."""
    try:
        return NotFinite.model_validate_json(line)
    except ValidationError as error:
        raise LokrWeightingError(f"{where}: {faults(error)}") from None


def stack_records(rows: list[Record], tokens: Tokens = "mean") -> Records:
    """Records of equal length as arrays.

    Raises:
        LokrWeightingError: one was written before such tokens were recorded.
    """
    for row in rows:
        if row.stream("encoder_hidden_states", tokens) is None:
            raise LokrWeightingError(
                f"sample {row.sample} has no key '{key_of('encoder_hidden_states', tokens)}': "
                f"tokens={tokens} was not recorded; measure anew in another folder, or plan with "
                "other tokens"
            )
    image = np.array([row.stream("hidden_states", tokens) for row in rows], dtype=float)
    text = np.full_like(image, np.nan)
    known = np.array([row.stream("encoder_hidden_states", tokens) for row in rows], dtype=float)
    text[:, : known.shape[1]] = known
    return Records(np.array([row.timestep for row in rows]), image, text)
