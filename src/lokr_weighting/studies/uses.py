"""Whether training used the capacity where it was put: rank correlations, and their chance."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import rankdata

from lokr_weighting.models.blocks import Stream
from lokr_weighting.studies.damage import FEWEST, rank_correlation

Measure = Literal["change", "used"]
SHUFFLES = 9_999
LEVEL = 0.05
"""How often chance alone may be called more, in all comparisons together."""


@dataclass(frozen=True)
class Use:
    """Over the blocks of one list, in one stream: does a measure go with the capacity given?

    Attributes:
        path: the list's.
        stream: the stream; None where both run through the blocks.
        measure: "change": the change over the weights; "used": the share of the capacity, over
            that which random numbers use.
        blocks: over how many blocks.
        rho: Spearman's rank correlation; None where it has none: the capacity or the measure is
            the same in all blocks, or they are too few.
        low: the lower end of its 95 % interval.
        high: the upper end.
        chance: the share of shuffles of the blocks with a correlation as far from 0.
        beyond: whether that is below LEVEL for all comparisons together (Sidak).
    """

    path: str
    stream: Stream | None
    measure: Measure
    blocks: int
    rho: float | None = None
    low: float | None = None
    high: float | None = None
    chance: float | None = None
    beyond: bool = False

    def as_json(self) -> dict[str, Any]:
        """Everything as JSON values."""
        return asdict(self)


def uses_of(
    measured: Sequence[tuple[str, Stream | None, Measure, Sequence[float], Sequence[float]]],
) -> list[Use]:
    """The correlations, and which of them are beyond chance.

    Args:
        measured: list, stream, measure, the parameters given to each block, the measure of each.
    """
    able = [each for each in measured if _can_correlate(*each[3:])]
    limit = 1 - (1 - LEVEL) ** (1 / max(1, len(able)))
    found = []
    for path, stream, measure, given, values in measured:
        if not _can_correlate(given, values):
            found.append(Use(path, stream, measure, len(given)))
            continue
        rank = rank_correlation(measure, np.array(given, float), np.array(values, float))
        chance = _chance(given, values)
        found.append(
            Use(
                path,
                stream,
                measure,
                rank.blocks,
                rank.rho,
                rank.low,
                rank.high,
                chance,
                chance < limit,
            )
        )
    return found


def _can_correlate(given: Sequence[float], values: Sequence[float]) -> bool:
    return len(given) >= FEWEST and len({*given}) > 1 and len({*values}) > 1


def _chance(given: Sequence[float], values: Sequence[float]) -> float:
    """The share of shuffles as far from 0, the data themselves among them; seeded."""
    first, second = (rankdata(each) - (len(each) + 1) / 2 for each in (given, values))
    rng = np.random.default_rng(0)
    shuffled = rng.permuted(np.tile(second, (SHUFFLES, 1)), axis=1) @ first
    as_far = int((np.abs(shuffled) >= abs(first @ second) - 1e-9).sum())
    return (1 + as_far) / (1 + SHUFFLES)
