"""What lies in a calibration's folder, file by file."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_same, read_model
from lokr_weighting.records.gains import GAINS, Gains, read_gains
from lokr_weighting.records.lines import numbered_lines
from lokr_weighting.records.pairs import Pairs, parse_pairs
from lokr_weighting.records.record import (
    Measured,
    NotFinite,
    Record,
    Room,
    check_alike,
    parse_not_finite,
    parse_record,
)
from lokr_weighting.records.summary import ADDED, Settings, Summary

RECORDS, NOT_FINITE, SIMILARITY = "records.jsonl", "not_finite.jsonl", "similarity.jsonl"
SETTINGS, SUMMARY = "settings.json", "calibration.json"
SAMPLES = (RECORDS, NOT_FINITE, SIMILARITY)
"""The files that grow sample by sample."""
Parsed = TypeVar("Parsed")


def say(text: str) -> None:
    """Tell the user; a line on standard error where logging is not set up."""
    logging.getLogger("lokr_weighting").warning(text)


def read_own_gains(folder: Path, settings: Settings) -> Gains | None:
    """A calibration's gains, where they were measured.

    Raises:
        LokrWeightingError: the file is damaged or of another calibration.
    """
    if not (folder / GAINS).exists():
        return None
    file = read_gains(folder / GAINS)
    check_same(folder, "gains", file.settings, settings, ADDED)
    return file.gains


def read_summary(folder: Path) -> Summary:
    """A finished calibration's summary.

    Raises:
        LokrWeightingError: it is missing or damaged.
    """
    return read_model(folder / SUMMARY, Summary)


def read_samples(folder: Path) -> list[Measured]:
    """The samples in order, with their pairs.

    Raises:
        LokrWeightingError: a line is no record, or is not of the same blocks as the others.
    """
    pairs = dict(read_pairs(folder))
    measured: list[Measured] = [*read_records_with(folder, pairs), *read_not_finite(folder)]
    return sorted(measured, key=lambda each: -1 if each.sample is None else each.sample)


def read_records_with(folder: Path, pairs: dict[int, Pairs]) -> list[Record]:
    """The records, in the order of the file, with their pairs where there are some."""
    records: list[Record] = []
    room = Room()

    def parse(line: bytes, where: str) -> Record:
        record = parse_record(line, where)
        check_alike(record, records[0] if records else record, where)
        room.take(record, where)
        own = None if record.sample is None else pairs.get(record.sample)
        records.append(record if own is None else record.with_pairs(own))
        return record

    whole_lines(folder / RECORDS, parse)
    return records


def read_pairs(folder: Path) -> list[tuple[int, Pairs]]:
    """Samples and their pairs of blocks, in the order of the file."""
    sizes: set[int] = set()

    def parse(line: bytes, where: str) -> tuple[int, Pairs]:
        sample, pairs = parse_pairs(line, where)
        sizes.add(len(pairs.image))
        if len(sizes) > 1:
            raise LokrWeightingError(
                f"{where}: image has {len(pairs.image)} pairs, the lines before it another number"
            )
        return sample, pairs

    return whole_lines(folder / SIMILARITY, parse)


def read_not_finite(folder: Path) -> list[NotFinite]:
    """The samples that were not finite, in the order of the file."""
    return whole_lines(folder / NOT_FINITE, parse_not_finite)


def whole_lines(path: Path, parse: Callable[[bytes, str], Parsed]) -> list[Parsed]:
    """Every line of a file, if there is one, but a last one that was cut short."""
    if not path.exists():
        return []
    lines = numbered_lines(path)
    return [parse(line, f"{path}:{number}") for number, line in lines if line.endswith(b"\n")]
