"""The calibration folder: records appended one by one, and what is needed to resume exactly.

Nothing is written before there is a first record. Then `settings.json` says what records are of,
`records.jsonl` grows sample by sample, `not_finite.jsonl` names samples with NaN or Inf,
`similarity.jsonl` holds the similarity of every pair of blocks where it was asked for.
`calibration.json` is written last, with a checksum of every other file, and taken away when samples
are added; `gains.json` may be added to a finished calibration.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from lokr_weighting.errors import LokrWeightingError, OutputError
from lokr_weighting.files import check_same, read_json, write_json
from lokr_weighting.records.contents import (
    NOT_FINITE,
    RECORDS,
    SAMPLES,
    SETTINGS,
    SIMILARITY,
    SUMMARY,
    read_own_gains,
    read_summary,
    say,
)
from lokr_weighting.records.mending import mended
from lokr_weighting.records.pairs import line_of
from lokr_weighting.records.record import Measured, NotFinite, Record
from lokr_weighting.records.seals import broken_seals, seals_of
from lokr_weighting.records.summary import ADDED, Settings, Summary

__all__ = [
    "NOT_FINITE",
    "RECORDS",
    "SETTINGS",
    "SIMILARITY",
    "SUMMARY",
    "CalibrationStore",
    "read_own_gains",
]

LOCK = ".lock"


class CalibrationStore:
    """A calibration's folder, open for appending; it is made with the first samples.

    Args:
        path: the folder.
        settings: what the samples are of.

    Raises:
        LokrWeightingError: the folder holds samples of something else, or cannot be used.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self.path, self.settings = path, dict(settings)
        self._written: set[tuple[str, int | None]] = set()
        self._lock = FileLock(path / LOCK)
        if path.exists() and not path.is_dir():
            raise LokrWeightingError(f"{path}: is a file; a folder for the calibration is wanted")
        if path.exists() and not (path / SETTINGS).exists() and self._foreign():
            raise LokrWeightingError(
                f"{path}: is not empty and holds no calibration; give an empty or new folder"
            )
        if self._holds_samples():
            self._enter()
        else:
            self._check_writable()
        self._sizes = self._sizes_now()

    def read(self) -> list[Measured]:
        """What was measured before, in the order of the samples.

        A line cut short is removed, and so is what lies behind a gap or a doubled line: it is
        measured again.

        Raises:
            LokrWeightingError: a finished calibration's files were changed, or a line is no record.
        """
        if not self._holds_samples():
            return []
        sealed = (self.path / SUMMARY).exists()
        measured, pairs = mended(self.path)
        if sealed:
            self._check_seals()
        kinds = {Record: RECORDS, NotFinite: NOT_FINITE}
        self._written = {(kinds[type(each)], each.sample) for each in measured}
        self._written |= {(SIMILARITY, sample) for sample in pairs}
        self._sizes = self._sizes_now()
        return measured

    def append(self, measured: Sequence[Measured]) -> None:
        """Add samples, in so far as the files lack them; on disk when this returns.

        Raises:
            OutputError: they cannot be written, or the files were changed meanwhile.
        """
        self._begin()
        for name in (SIMILARITY, RECORDS, NOT_FINITE):
            new = [each for each in measured if (name, each.sample) not in self._written]
            lines = [line for each in new if (line := _line_in(name, each))]
            if lines:
                self._append(name, "".join(lines).encode())
                self._written |= {(name, each.sample) for each in new}

    def finish(self, summary: Summary) -> None:
        """Write the summary, which binds the other files: the calibration is complete.

        Raises:
            OutputError: it cannot be written, or the files were changed meanwhile.
        """
        self._begin()
        for name in SAMPLES:
            self._check_unchanged(name)
        files = seals_of(self.path, (SETTINGS, *SAMPLES))
        sealed = summary.model_copy(update={"files": files})
        write_json(self.path / SUMMARY, sealed.model_dump(mode="json"))

    def close(self) -> None:
        """Let other processes use the folder; done by the system if this one is killed."""
        self._lock.release()

    def _begin(self) -> None:
        """Make the folder and its settings, where that has not happened yet."""
        if self._lock.is_locked:
            return
        self._enter()
        write_json(self.path / SETTINGS, self.settings)

    def _enter(self) -> None:
        """Lock the folder, and clear away what a killed process left."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
            try:
                self._check_settings()
                for path in self._leftovers():
                    path.unlink()
            except BaseException:
                self.close()
                raise
        except Timeout:
            raise LokrWeightingError(
                f"{self.path}: another process is calibrating into this folder"
            ) from None
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from None

    def _check_settings(self) -> None:
        """Refuse samples of something else; settings without any sample are of no weight."""
        if not self._holds_samples():
            return
        before = read_json(self.path / SETTINGS)
        for key in check_same(self.path, "a calibration", before, self.settings, ADDED):
            say(
                f"{self.path}: was begun by an earlier version, which did not note {key!r}: "
                "whether that is the same cannot be checked"
            )

    def _check_seals(self) -> None:
        """Refuse samples that were changed, not only lost, since the calibration was finished."""
        seals = read_summary(self.path).files
        if seals is None:
            return
        now = seals_of(self.path, SAMPLES)
        for name, what in broken_seals(self.path, SAMPLES, seals).items():
            lost = name in seals and (name not in now or now[name].lines < seals[name].lines)
            if not lost:
                raise LokrWeightingError(
                    f"{self.path / name}: {what}: changed since the calibration was finished; "
                    "bring the file back, or remove the folder to measure anew"
                )
            say(f"{self.path / name}: {what}; what is lost is measured again")

    def _append(self, name: str, data: bytes) -> None:
        """Add whole lines to a file; none of them where the disk is full."""
        self._check_unchanged(name)
        path, size = self.path / name, self._sizes[name]
        try:
            (self.path / SUMMARY).unlink(missing_ok=True)
            # without a buffer, which would be written once more when the file is closed
            with path.open("ab", buffering=0) as file:
                try:
                    rest = memoryview(data)
                    while rest:
                        rest = rest[file.write(rest) :]
                    os.fsync(file.fileno())
                except OSError:
                    os.truncate(path, size)
                    raise
        except OSError as error:
            raise OutputError(
                f"{path}: cannot be written: {error.strerror}; what was measured before is kept: "
                "the same command goes on"
            ) from None
        self._sizes[name] = size + len(data)

    def _check_unchanged(self, name: str) -> None:
        if _size(self.path / name) != self._sizes[name]:
            raise OutputError(
                f"{self.path / name}: was changed or removed while this ran; the same command "
                "measures again what is missing"
            )

    def _check_writable(self) -> None:
        place = self.path
        while not place.exists() and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise LokrWeightingError(f"{self.path}: {place} is a file, so there can be no folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise OutputError(f"{self.path}: cannot be written: {place} does not allow it")

    def _holds_samples(self) -> bool:
        return (self.path / SETTINGS).exists() and any(
            _size(self.path / name) for name in (*SAMPLES, SUMMARY)
        )

    def _foreign(self) -> set[str]:
        """What in the folder is neither a calibration's nor the leftover of one."""
        ours = {path.name for path in self._leftovers()}
        return {entry.name for entry in self.path.iterdir()} - ours - {LOCK}

    def _leftovers(self) -> list[Path]:
        """Temporary files of killed processes, of earlier versions too."""
        names = (f".{SETTINGS}.", f".{SUMMARY}.")
        return [entry for entry in self.path.iterdir() if entry.name.startswith(names)]

    def _sizes_now(self) -> dict[str, int]:
        return {name: _size(self.path / name) for name in SAMPLES}


def _size(path: Path) -> int:
    """A file's size in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _line_in(name: str, each: Measured) -> str | None:
    """A sample's line in one of the files; None where it has none there."""
    if isinstance(each, NotFinite):
        return each.line if name == NOT_FINITE else None
    if name == RECORDS:
        return each.line
    if name == SIMILARITY and each.pairs is not None and each.sample is not None:
        return line_of(each.sample, each.pairs)
    return None
