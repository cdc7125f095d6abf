"""How a block's distance goes with the timestep: rises, falls, and what is high at both ends."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from scipy.stats import t as students_t

LEAST_RISE = 0.15
"""From the cleanest third of the timesteps to the noisiest, in shares of the block's own mean."""
LEAST_ENDS = 0.1
"""Of either end over the lowest point between, in shares of the block's own mean."""
FEWEST = 4  # points, for a parabola and what is left over
MANY = 50  # points, from which Student's t is near enough
SHUFFLES = 2000


@dataclass(frozen=True)
class Points:
    """Distances of one stream beside their timesteps: samples, or the means of timestep bins.

    Attributes:
        timesteps: (points,), each in [0, 1].
        distances: (points, blocks).
    """

    timesteps: np.ndarray
    distances: np.ndarray


def rises(heatmap: np.ndarray) -> np.ndarray:
    """How much each block's distance rises from clean to noisy, (bins, blocks) -> (blocks,).

    The mean of the noisiest third of the bins less that of the cleanest, over the block's mean.
    """
    third = max(1, len(heatmap) // 3)
    return (heatmap[-third:].mean(axis=0) - heatmap[:third].mean(axis=0)) / heatmap.mean(axis=0)


def steadiness(points: Points) -> tuple[np.ndarray, np.ndarray]:
    """Kendall's rank correlation of distance and timestep, and its p, (blocks,) each.

    The p is right where distances do not depend on the timestep: points are then exchangeable, and
    for as few as ten bins it is exact.
    """
    found: list[Any] = [kendalltau(points.timesteps, each) for each in points.distances.T]
    return (
        np.array([each.statistic for each in found]),
        np.array([np.nan_to_num(each.pvalue, nan=1.0) for each in found]),
    )


def ends(heatmap: np.ndarray) -> np.ndarray:
    """How far the lower end lies over the lowest point between, (bins, blocks) -> (blocks,).

    Of the parabola through the bins' means, over the block's mean; 0 where it has no lowest point
    between its ends.
    """
    timesteps = (np.arange(len(heatmap)) + 0.5) / len(heatmap)
    curve, slope, _ = np.polyfit(timesteps, heatmap, 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        lowest = np.where(curve > 0, -slope / (2 * curve), 0)
    nearest = np.minimum(lowest - timesteps[0], timesteps[-1] - lowest)
    return np.where(nearest > 0, curve * nearest**2, 0) / heatmap.mean(axis=0)


def curvature_p(points: Points, seed: int = 0) -> np.ndarray:
    """The one-sided p that a block's distance is not curved upwards, (blocks,).

    Of the quadratic term in a least-squares parabola over its error: by Student's t, or by shuffles
    where there are few points.

    Args:
        points: distances beside their timesteps.
        seed: decides the shuffles.
    """
    count = len(points.timesteps)
    if count < FEWEST:
        return np.ones(points.distances.shape[1])
    ratio = _curvature(points.timesteps, points.distances)
    if count > MANY:
        return students_t.sf(ratio, count - 3)
    rng = np.random.default_rng([seed, count])
    orders = [rng.permutation(count) for _ in range(SHUFFLES)]
    shuffled = [_curvature(points.timesteps, points.distances[order]) for order in orders]
    return (1 + (np.stack(shuffled) >= ratio).sum(axis=0)) / (1 + SHUFFLES)


def _curvature(timesteps: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """The quadratic term of each block's parabola over its standard error, (blocks,)."""
    terms = np.vander(timesteps, 3)
    inverse = np.linalg.pinv(terms)
    weights = inverse @ distances
    left = np.square(distances - terms @ weights).sum(axis=0) / (len(timesteps) - 3)
    error = np.sqrt(left * np.square(inverse[0]).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(weights[0] / error, nan=0.0)
