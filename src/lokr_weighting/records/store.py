"""The calibration folder: records appended one by one, and what is needed to resume exactly.

`settings.json` is written first and says what the records are of, `records.jsonl` grows sample by
sample, `not_finite.jsonl` names samples with NaN or Inf, `similarity.jsonl` holds the similarity of
every pair of blocks where it was asked for, `calibration.json` is written last; `gains.json` may be
added to a finished calibration.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.files import check_same, read_json, read_model, write_json
from lokr_weighting.records.calibration import Calibration, Settings, Summary
from lokr_weighting.records.gains import GAINS, Gains, read_gains
from lokr_weighting.records.lines import numbered_lines, without_cut_line
from lokr_weighting.records.pairs import Pairs, line_of, parse_pairs
from lokr_weighting.records.record import (
    Measured,
    NotFinite,
    Record,
    parse_not_finite,
    parse_record,
)

RECORDS, NOT_FINITE, SIMILARITY = "records.jsonl", "not_finite.jsonl", "similarity.jsonl"
SETTINGS, SUMMARY = "settings.json", "calibration.json"
LOCK = ".lock"
Parsed = TypeVar("Parsed")


class CalibrationStore:
    """A calibration's folder, open for appending.

    Raises:
        LokrWeightingError: the folder holds a calibration of something else, or cannot be used.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path = path
        self._written: set[tuple[str, int | None]] = set()
        if path.exists() and not path.is_dir():
            raise LokrWeightingError(f"{path}: is a file; a folder for the calibration is wanted")
        if path.exists() and not (path / SETTINGS).exists() and set(_names(path)) - {LOCK}:
            raise LokrWeightingError(
                f"{path}: is not empty and holds no calibration; give an empty or new folder"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(path / LOCK)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LokrWeightingError(
                f"{path}: another process is calibrating into this folder"
            ) from None
        except OSError as error:
            raise LokrWeightingError(f"{path}: cannot be written: {error.strerror}") from None
        try:
            if (path / SETTINGS).exists():
                check_same(path, "a calibration", read_json(path / SETTINGS), settings)
            else:
                write_json(path / SETTINGS, dict(settings))
        except BaseException:
            self.close()
            raise

    def read(self) -> list[Measured]:
        """What was measured before, in the order of the samples; a line cut short is removed."""
        for name in (RECORDS, NOT_FINITE, SIMILARITY):
            if (self.path / name).exists():
                without_cut_line(self.path / name)
        pairs = _read_pairs(self.path)
        measured = _read_measured(self.path, pairs)
        kinds = {Record: RECORDS, NotFinite: NOT_FINITE}
        self._written = {(kinds[type(each)], each.sample) for each in measured}
        self._written |= {(SIMILARITY, sample) for sample in pairs}
        return measured

    def append(self, measured: Sequence[Measured]) -> None:
        """Add samples, in so far as the files lack them; on disk when this returns."""
        for name in (SIMILARITY, RECORDS, NOT_FINITE):
            new = (each for each in measured if (name, each.sample) not in self._written)
            lines = [line for each in new if (line := _line_in(name, each))]
            if lines:
                with (self.path / name).open("a", encoding="utf-8") as file:
                    file.writelines(lines)
                    file.flush()
                    os.fsync(file.fileno())

    def finish(self, summary: Summary) -> None:
        """Write the summary: the calibration is complete."""
        write_json(self.path / SUMMARY, summary.model_dump(mode="json"))

    def close(self) -> None:
        """Let other processes use the folder; done by the system if this one is killed."""
        self._lock.release()


def read_calibration(folder: Path) -> Calibration:
    """Read a finished calibration.

    Raises:
        LokrWeightingError: the folder is none, was not finished, or a file of it is damaged.
    """
    if not (folder / SUMMARY).exists():
        raise LokrWeightingError(
            f"{folder}: holds no finished calibration ({SUMMARY} is missing); run it again to "
            "resume it"
            if (folder / SETTINGS).exists()
            else f"{folder}: holds no calibration"
        )
    summary = read_model(folder / SUMMARY, Summary)
    measured = _read_measured(folder, _read_pairs(folder))
    return Calibration(
        summary.settings,
        summary.blocks,
        tuple(each for each in measured if isinstance(each, Record)),
        tuple(each for each in measured if isinstance(each, NotFinite)),
        folder,
        summary.skipped,
        summary.versions,
        read_own_gains(folder, summary.settings),
    )


def read_own_gains(folder: Path, settings: Settings) -> Gains | None:
    """A calibration's gains, where they were measured.

    Raises:
        LokrWeightingError: the file is damaged or of another calibration.
    """
    if not (folder / GAINS).exists():
        return None
    file = read_gains(folder / GAINS)
    check_same(folder, "gains", file.settings, settings)
    return file.gains


def _line_in(name: str, each: Measured) -> str | None:
    """A sample's line in one of the files; None where it has none there."""
    if isinstance(each, NotFinite):
        return each.line if name == NOT_FINITE else None
    if name == RECORDS:
        return each.line
    if name == SIMILARITY and each.pairs is not None and each.sample is not None:
        return line_of(each.sample, each.pairs)
    return None


def _names(folder: Path) -> list[str]:
    return [entry.name for entry in folder.iterdir()]


def _read_pairs(folder: Path) -> dict[int, Pairs]:
    """Each sample's pairs of blocks."""
    return dict(_read_whole_lines(folder / SIMILARITY, parse_pairs))


def _read_measured(folder: Path, pairs: dict[int, Pairs]) -> list[Measured]:
    """The samples in order, with their pairs."""
    measured: list[Measured] = [
        *(
            each.with_pairs(pairs[each.sample]) if each.sample in pairs else each
            for each in _read_whole_lines(folder / RECORDS, parse_record)
        ),
        *_read_whole_lines(folder / NOT_FINITE, parse_not_finite),
    ]
    return sorted(measured, key=lambda each: -1 if each.sample is None else each.sample)


def _read_whole_lines(path: Path, parse: Callable[[bytes, str], Parsed]) -> list[Parsed]:
    """Every line of a file, if there is one, but a last one that was cut short."""
    if not path.exists():
        return []
    lines = numbered_lines(path)
    return [parse(line, f"{path}:{number}") for number, line in lines if line.endswith(b"\n")]
