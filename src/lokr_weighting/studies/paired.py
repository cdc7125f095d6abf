"""Differences of two trainings' losses on the same held-out samples, with their uncertainty."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

LEVEL = 0.95  # of the intervals


@dataclass(frozen=True)
class Paired:
    """A mean difference of losses and its interval, of 95 % where nothing else is said.

    Attributes:
        mean: of second minus first.
        low: the interval's lower end.
        high: its upper end.
        seeds_needed: about how many seeds in all would show a difference as large as this one;
            None where it is shown already, or where more seeds would not help: the images are
            too few.
    """

    mean: float
    low: float
    high: float
    seeds_needed: int | None = None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired(
    first: np.ndarray, second: np.ndarray, images: np.ndarray, *, level: float = LEVEL
) -> Paired:
    """The mean of second minus first over seeds and samples.

    Seeds and images are both drawn at random and crossed: every seed sees every image. The
    variance of the mean is at most that over seeds plus that over images, each with the other
    averaged (Owen, "The pigeonhole bootstrap", 2007). Each has its own degrees of freedom and
    quantile of Student's t; the two half widths are added as squares (Howe, "Approximate confidence
    limits on the mean of X + Y", 1974).

    Args:
        first: losses, (seeds, samples), at least two seeds.
        second: the same of the other plan.
        images: each sample's image, (samples,) of int, at least two different.
        level: of the interval, in (0, 1).

    Raises:
        ValueError: there are fewer than two seeds or two images.
    """
    differences = second - first
    seeds = len(differences)
    own = np.unique(images)
    if seeds < 2 or len(own) < 2:
        raise ValueError(f"{seeds} seeds and {len(own)} images: two of each are needed")
    mean = float(differences.mean())
    of_seeds = float(differences.mean(axis=1).var(ddof=1)) / seeds
    of_images = _clustered(differences.mean(axis=0), images, own)
    half = _half_width(of_seeds, seeds, of_images, len(own), level)
    needed = None
    if abs(mean) <= half and mean != 0:
        needed = _seeds_needed(abs(mean), of_seeds * seeds, of_images, len(own), seeds, level)
    return Paired(mean, mean - half, mean + half, needed)


def _clustered(values: np.ndarray, images: np.ndarray, own: np.ndarray) -> float:
    """The variance of the mean of samples that come in images, (samples,)."""
    apart = values - values.mean()
    sums = np.array([apart[images == image].sum() for image in own])
    count = len(own)
    return float(np.square(sums).sum()) / len(values) ** 2 * count / (count - 1)


def _half_width(of_seeds: float, seeds: int, of_images: float, images: int, level: float) -> float:
    """Half of the interval's width, from the two variances of the mean."""
    quantiles = student.ppf((1 + level) / 2, [seeds - 1, images - 1])
    return math.sqrt(quantiles[0] ** 2 * of_seeds + quantiles[1] ** 2 * of_images)


def _seeds_needed(
    mean: float, of_one_seed: float, of_images: float, images: int, seeds: int, level: float
) -> int | None:
    """The least number of seeds at which an interval of these variances would leave zero out."""
    for count in (seeds * 2**power for power in range(1, 11)):
        if _half_width(of_one_seed / count, count, of_images, images, level) < mean:
            fewer = range(count // 2 + 1, count + 1)
            return next(
                each
                for each in fewer
                if _half_width(of_one_seed / each, each, of_images, images, level) < mean
            )
    return None
