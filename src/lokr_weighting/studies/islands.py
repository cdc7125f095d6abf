"""Runs of neighbouring blocks in which one stream works more than in the rest."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SHORTEST = 3  # blocks of an island, and of what is left beside it
CLIPPED = 95  # percentile of the heatmap that islands are looked for at, as in the study's figure
SHUFFLES = 1000
LEVEL = 0.05  # of islands that are found although blocks stand in any order


@dataclass(frozen=True)
class Island:
    """A run of blocks.

    Attributes:
        first: its first block's place.
        last: its last's.
        p: how often shuffled blocks have a run that stands out as much.
        searched: the blocks that it was found among, from the first to before the last.
    """

    first: int
    last: int
    p: float
    searched: tuple[int, int]

    def kept(self, resamples: np.ndarray) -> float:
        """The share of resamples, (resamples, blocks), with the same run but for one block."""
        start, stop = self.searched
        _, best, runs = _scores(resamples[:, start:stop])
        same = [
            abs(start + first - self.first) <= 1 and abs(start + last - self.last) <= 1
            for first, last in (runs[place] for place in best)
        ]
        return float(np.mean(same))


def levels(heatmap: np.ndarray) -> np.ndarray:
    """What islands are looked for in: clipped distances, (bins, blocks) -> (blocks,)."""
    return np.minimum(heatmap, np.percentile(heatmap, CLIPPED)).mean(axis=0)


def islands_in(values: np.ndarray, level: float = LEVEL, seed: int = 0) -> list[Island]:
    """The runs that stand out, in their order.

    The run that stands out most, by the difference of its mean to the others' over its standard
    error, is one where at most `level` of shuffles of the blocks have such a run; then what lies
    before and behind it is searched (circular binary segmentation: Olshen et al., 2004).

    Args:
        values: of the blocks, (blocks,).
        level: how often an island may be found where there is none.
        seed: decides the shuffles.
    """
    rng = np.random.default_rng([seed, len(values)])
    return sorted(_search(values, 0, level, rng), key=lambda island: island.first)


def _search(
    values: np.ndarray, offset: int, level: float, rng: np.random.Generator
) -> Iterator[Island]:
    if len(values) < 2 * SHORTEST or values.min() == values.max():
        return
    (score,), (place,), runs = _scores(values[None])
    first, last = runs[place]
    shuffled, _, _ = _scores(np.stack([rng.permutation(values) for _ in range(SHUFFLES)]))
    p = (1 + int((shuffled >= score - 1e-12).sum())) / (1 + SHUFFLES)
    if p > level:
        return
    yield Island(offset + first, offset + last, p, (offset, offset + len(values)))
    yield from _search(values[:first], offset, level, rng)
    yield from _search(values[last + 1 :], offset + last + 1, level, rng)


def _scores(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """For each row, (rows, blocks), the best run's score and its place among all runs."""
    count = rows.shape[1]
    runs = [
        (first, last)
        for first in range(count)
        for last in range(first + SHORTEST - 1, count)
        if last - first + 1 <= count - SHORTEST
    ]
    first, last = np.array(runs).T
    sums = np.concatenate([np.zeros((len(rows), 1)), rows.cumsum(axis=1)], axis=1)
    inside = last - first + 1
    within = (sums[:, last + 1] - sums[:, first]) / inside
    outside = (sums[:, -1:] - sums[:, last + 1] + sums[:, first]) / (count - inside)
    error = rows.std(axis=1, keepdims=True) * np.sqrt(1 / inside + 1 / (count - inside))
    scores = (within - outside) / error
    return scores.max(axis=1), scores.argmax(axis=1), runs
