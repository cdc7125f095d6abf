"""Bringing the files of an unfinished calibration to a state from which it goes on exactly.

In each file samples stand in ascending order, and all numbers from 0 on are in one of them. A kill
cuts the end of a file; whatever else is wrong (a gap, a doubled line) is no kill's doing, and what
lies behind it is dropped, to be measured again.
"""

from pathlib import Path

from lokr_weighting.files import write_text
from lokr_weighting.records.contents import (
    NOT_FINITE,
    RECORDS,
    SAMPLES,
    SIMILARITY,
    read_not_finite,
    read_pairs,
    read_records_with,
    say,
)
from lokr_weighting.records.lines import without_cut_line
from lokr_weighting.records.pairs import Pairs
from lokr_weighting.records.record import Measured, NotFinite, Record


def mended(folder: Path) -> tuple[list[Measured], dict[int, Pairs]]:
    """The samples from 0 on without a gap, and the pairs of blocks; the files hold nothing else.

    Args:
        folder: the calibration's, locked.

    Raises:
        LokrWeightingError: a line is no record.
    """
    for name in SAMPLES:
        if (folder / name).exists():
            without_cut_line(folder / name)
    pairs = read_pairs(folder)
    records = read_records_with(folder, dict(pairs))
    not_finite = read_not_finite(folder)
    kept = _without_gap(records, not_finite)
    if len(kept) < len(records) + len(not_finite):
        say(
            f"{folder}: of {len(records) + len(not_finite)} samples the first {len(kept)} are "
            "complete and in order; what lies behind is measured again"
        )
        _keep(folder / RECORDS, sum(isinstance(each, Record) for each in kept))
        _keep(folder / NOT_FINITE, sum(isinstance(each, NotFinite) for each in kept))
    good = _pairs_in_order([sample for sample, _ in pairs], kept)
    _keep(folder / SIMILARITY, good)
    own = dict(pairs[:good])
    if good < len(pairs):
        kept = [_with(each, own) for each in kept]
    return kept, own


def _without_gap(records: list[Record], not_finite: list[NotFinite]) -> list[Measured]:
    """The samples 0, 1, 2, ... as far as the two files give each once and in order."""
    kept: list[Measured] = []
    at_record = at_not_finite = 0
    while True:
        if at_record < len(records) and records[at_record].sample == len(kept):
            kept.append(records[at_record])
            at_record += 1
        elif at_not_finite < len(not_finite) and not_finite[at_not_finite].sample == len(kept):
            kept.append(not_finite[at_not_finite])
            at_not_finite += 1
        else:
            return kept


def _pairs_in_order(samples: list[int], measured: list[Measured]) -> int:
    """How many lines of pairs are good: those of the finite samples in order, none left out."""
    finite = [each.sample for each in measured if isinstance(each, Record)]
    good = 0
    for place, sample in enumerate(samples):
        after = samples[place - 1] if place else -1
        # written before the records: a kill may leave it ahead of them
        right = (
            finite[place] == sample
            if place < len(finite)
            else sample >= len(measured) and sample > after
        )
        if not right:
            break
        good += 1
    return good


def _with(each: Measured, pairs: dict[int, Pairs]) -> Measured:
    if isinstance(each, NotFinite) or each.pairs is None or each.sample in pairs:
        return each
    return Record(**each.model_dump())


def _keep(path: Path, count: int) -> None:
    """Keep a file's first `count` lines."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    if len(lines) > count:
        write_text(path, b"".join(lines[:count]).decode())
