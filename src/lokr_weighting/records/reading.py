"""Reading a finished calibration back from its folder."""

from pathlib import Path

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.records.calibration import Calibration
from lokr_weighting.records.contents import (
    NOT_FINITE,
    RECORDS,
    SAMPLES,
    SETTINGS,
    SIMILARITY,
    SUMMARY,
    read_own_gains,
    read_samples,
    read_summary,
    say,
)
from lokr_weighting.records.pairs import blocks_of_pairs
from lokr_weighting.records.record import NotFinite, Record
from lokr_weighting.records.seals import broken_seals
from lokr_weighting.records.summary import Summary

MEND = "the command that made it measures again what is missing; or bring the files back"


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
