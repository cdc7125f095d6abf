"""What lies in a calibration's folder, and reading it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_same, read_model
from lokr_weighting.records.calibration import ADDED, Calibration, Settings, Summary
from lokr_weighting.records.gains import GAINS, Gains, read_gains
from lokr_weighting.records.lines import numbered_lines
from lokr_weighting.records.pairs import Pairs, blocks_of_pairs, parse_pairs
from lokr_weighting.records.record import (
    Measured,
    NotFinite,
    Record,
    Room,
    check_alike,
    parse_not_finite,
    parse_record,
)
from lokr_weighting.records.seals import broken_seals

RECORDS, NOT_FINITE, SIMILARITY = "records.jsonl", "not_finite.jsonl", "similarity.jsonl"
SETTINGS, SUMMARY = "settings.json", "calibration.json"
SAMPLES = (RECORDS, NOT_FINITE, SIMILARITY)
"""The files that grow sample by sample."""
MEND = "the command that made it measures again what is missing; or bring the files back"
Parsed = TypeVar("Parsed")


def say(text: str) -> None:
    """Tell the user; a line on standard error where logging is not set up."""
    logging.getLogger("lokr_weighting").warning(text)


def read_calibration(folder: Path) -> Calibration:
    """Read a finished calibration.

    Raises:
        LokrWeightingError: the folder is none, was not finished, or a file of it is damaged or was
            changed since.
    """
    if not (folder / SUMMARY).exists():
        raise LokrWeightingError(
            f"{folder}: holds no finished calibration ({SUMMARY} is missing); run it again to "
            "resume it"
            if (folder / SETTINGS).exists()
            else f"{folder}: holds no calibration"
        )
    summary = read_summary(folder)
    if summary.files is None:
        say(
            f"{folder}: was finished by an earlier version, without checksums: only the numbers of "
            "samples are checked"
        )
    elif broken := broken_seals(folder, (SETTINGS, *SAMPLES), summary.files):
        what = "; ".join(f"{name} {each}" for name, each in broken.items())
        raise LokrWeightingError(
            f"{folder}: not what it was when the calibration was finished: {what}; {MEND}"
        )
    measured = read_samples(folder)
    calibration = Calibration(
        summary.settings,
        summary.blocks,
        tuple(each for each in measured if isinstance(each, Record)),
        tuple(each for each in measured if isinstance(each, NotFinite)),
        folder,
        summary.skipped,
        summary.versions,
        read_own_gains(folder, summary.settings),
    )
    _check_counts(calibration, summary, folder)
    return calibration


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


def _check_counts(calibration: Calibration, summary: Summary, folder: Path) -> None:
    """Refuse samples that are too few, too many or there twice, or of other blocks."""
    counts = (
        (RECORDS, len(calibration.records), summary.samples),
        (NOT_FINITE, len(calibration.not_finite), sum(summary.not_finite.values())),
    )
    for name, found, wanted in counts:
        if found != wanted:
            raise LokrWeightingError(
                f"{folder / name}: holds {found} samples, {SUMMARY} says {wanted}: changed since "
                f"the calibration was finished; {MEND}"
            )
    numbers = [each.sample for each in (*calibration.records, *calibration.not_finite)]
    known = [number for number in numbers if number is not None]
    if len(set(known)) < len(known):
        twice = next(number for number in known if known.count(number) > 1)
        raise LokrWeightingError(f"{folder}: sample {twice} is there twice; {MEND}")
    if calibration.records and (
        len(blocks := calibration.records[0].hidden_states) != len(calibration.blocks)
    ):
        raise LokrWeightingError(
            f"{folder / RECORDS}:1: hidden_states has {len(blocks)} blocks, {SUMMARY} names "
            f"{len(calibration.blocks)}"
        )
    pairs = next((each.pairs for each in calibration.records if each.pairs is not None), None)
    if pairs is not None and (
        (count := blocks_of_pairs(len(pairs.image))) != len(calibration.blocks)
    ):
        raise LokrWeightingError(
            f"{folder / SIMILARITY}:1: image has the pairs of {count} blocks, {SUMMARY} names "
            f"{len(calibration.blocks)}"
        )
