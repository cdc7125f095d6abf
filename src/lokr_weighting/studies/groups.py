"""Groups of blocks whose hidden states point the same way, found by a rule, with its uncertainty.

The rule, for each list of blocks and each stream:

1. A group is a run of neighbouring blocks. The best division into k groups is the one that leaves
   the least scatter: the squared distance of the hidden states, at length 1, from their group's
   mean (kernel change points; Arlot, Celisse and Harchaoui, JMLR 20, 2019).
2. The similarity of neighbours is no grouping: blocks that only drift are also more alike the
   nearer they are. So every division is set against a list without groups, whose similarity is
   this list's mean at each distance in depth. How much less scatter the groups leave than that,
   in shares of the undivided list's, is the gap (Tibshirani, Walther and Hastie, 2001; without
   the logarithm: Mohajer, Englmeier and Schmid, 2011).
3. The number of groups is the smallest whose gap is within one standard error of the largest.
   Where the largest is not above 0.03 by one standard error, the list is not divided: of 12 or
   more blocks that only drift, by the same angle at every block, it stays below that.

Standard errors and shares are those of resamples of the samples within timestep bins.
"""

from dataclasses import dataclass

import numpy as np

MOST = 8  # groups
FEWEST = 4  # blocks that can be divided
LEAST = 0.03  # gap of a list that is divided


@dataclass(frozen=True)
class Group:
    """Neighbouring blocks of one list.

    Attributes:
        name: "first", "middle", "last"; "all" where the list is not divided.
        first: its first block's number in the list.
        last: its last block's.
        similarity: the mean similarity of its pairs of blocks; NaN for a single block.
        kept: the share of resamples that have this very group.
        near: the share that have it with both ends at most one block away.
    """

    name: str
    first: int
    last: int
    similarity: float
    kept: float
    near: float


@dataclass(frozen=True)
class Grouping:
    """One list's groups in one stream.

    Attributes:
        path: the list's name in the model.
        stream: "image" or "text".
        groups: the groups, in the order of the blocks.
        explained: the share of the scatter that the groups take away.
        by_depth: the share that as many groups would take away of a list without groups.
        error: the standard error of explained - by_depth.
        same: the share of resamples with as many groups.
    """

    path: str
    stream: str
    groups: tuple[Group, ...]
    explained: float
    by_depth: float
    error: float
    same: float


def divide(similarity: np.ndarray, resamples: np.ndarray, path: str, stream: str) -> Grouping:
    """Find one list's groups.

    Args:
        similarity: the list's mean similarity, (blocks, blocks) with ones on the diagonal.
        resamples: the same of resampled samples, (resamples, blocks, blocks).
        path: the list's name.
        stream: "image" or "text".
    """
    gaps, ends, explained = _gaps(similarity)
    drawn_gaps, drawn_ends, _ = _gaps(resamples)
    errors = np.sqrt(np.square(drawn_gaps - gaps).mean(axis=0))
    limit = errors[gaps.argmax()]
    count = _number(gaps, limit)
    spans = _groups(ends, count)
    drawn = [
        _groups(each, _number(gap, limit)) for gap, each in zip(drawn_gaps, drawn_ends, strict=True)
    ]
    groups = [
        Group(
            name,
            first,
            last,
            _mean_of_pairs(similarity[first : last + 1, first : last + 1]),
            kept=_share_with(drawn, first, last, off=0),
            near=_share_with(drawn, first, last, off=1),
        )
        for name, (first, last) in zip(_names(count), spans, strict=True)
    ]
    return Grouping(
        path,
        stream,
        tuple(groups),
        explained=float(explained[count - 1]),
        by_depth=float(explained[count - 1] - gaps[count - 1]),
        error=float(errors[count - 1]),
        same=float(np.mean([len(each) == count for each in drawn])),
    )


def _share_with(drawn: list[list[tuple[int, int]]], first: int, last: int, off: int) -> float:
    """The share of resamples that have a group with both ends at most `off` blocks away."""
    has = [any(max(abs(a - first), abs(b - last)) <= off for a, b in each) for each in drawn]
    return float(np.mean(has))


def divisions(similarity: np.ndarray, most: int = MOST) -> tuple[np.ndarray, np.ndarray]:
    """The divisions of a list of blocks that leave the least scatter.

    Args:
        similarity: (..., blocks, blocks) with ones on the diagonal.
        most: groups.

    Returns:
        the scatter left by 1 to `most` groups, (..., most), and each group's end, the number of the
        block behind it, (..., most, most): row k - 1 holds k ends.
    """
    blocks = similarity.shape[-1]
    inside = _scatter(similarity)
    left = np.full((*similarity.shape[:-2], most + 1, blocks + 1), np.inf)
    left[..., 0, 0] = 0
    begin = np.zeros(left.shape, dtype=int)
    for groups in range(1, most + 1):
        for end in range(groups, blocks + 1):
            ways = left[..., groups - 1, :end] + inside[..., :end, end]
            begin[..., groups, end] = ways.argmin(axis=-1)
            left[..., groups, end] = ways.min(axis=-1)
    ends = np.zeros((*similarity.shape[:-2], most, most), dtype=int)
    for groups in range(1, most + 1):
        end = np.full(similarity.shape[:-2], blocks)
        for group in range(groups, 0, -1):
            ends[..., groups - 1, group - 1] = end
            end = np.take_along_axis(begin[..., group, :], end[..., None], axis=-1)[..., 0]
    return left[..., 1:, blocks], ends


def _scatter(similarity: np.ndarray) -> np.ndarray:
    """The scatter inside a group of the blocks begin to end - 1, (..., begin, end)."""
    blocks = similarity.shape[-1]
    sums = np.zeros((*similarity.shape[:-2], blocks + 1, blocks + 1))
    sums[..., 1:, 1:] = similarity.cumsum(axis=-1).cumsum(axis=-2)
    corner = np.diagonal(sums, axis1=-2, axis2=-1)
    within = corner[..., None, :] + corner[..., :, None] - 2 * sums
    number = np.arange(blocks + 1) - np.arange(blocks + 1)[:, None]
    return number - within / np.where(number > 0, number, 1)


def _gaps(similarity: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The gap of 1, 2, ... groups, their ends, and the share of scatter they take away."""
    blocks = similarity.shape[-1]
    most = min(MOST, blocks - 1) if blocks >= FEWEST else 1
    left, ends = divisions(similarity, most)
    alone, _ = divisions(_by_depth(similarity), most)
    undivided = np.maximum(left[..., :1], np.finfo(float).tiny)
    return (alone - left) / undivided, ends, 1 - left / undivided


def _by_depth(similarity: np.ndarray) -> np.ndarray:
    """A list without groups: similarity depends only on how far apart two blocks are."""
    blocks = similarity.shape[-1]
    apart = np.abs(np.arange(blocks) - np.arange(blocks)[:, None])
    means = [similarity[..., apart == lag].mean(axis=-1) for lag in range(blocks)]
    return np.stack(means, axis=-1)[..., apart]


def _number(gaps: np.ndarray, error: float) -> int:
    """How many groups by their gaps."""
    if gaps.max() - error <= LEAST:
        return 1
    return int(np.argmax(gaps >= gaps.max() - error)) + 1


def _groups(ends: np.ndarray, count: int) -> list[tuple[int, int]]:
    """The first and last block of each group."""
    own = ends[count - 1, :count].tolist()
    return [(begin, end - 1) for begin, end in zip([0, *own], own, strict=False)]


def _names(count: int) -> list[str]:
    if count < 3:
        return ["all"] if count == 1 else ["first", "last"]
    if count == 3:
        return ["first", "middle", "last"]
    return ["first", *(f"middle {number}" for number in range(1, count - 1)), "last"]


def _mean_of_pairs(similarity: np.ndarray) -> float:
    pairs = similarity[np.tril_indices(len(similarity), -1)]
    return float(pairs.mean()) if pairs.size else float("nan")
