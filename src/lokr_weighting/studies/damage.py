"""Whether distance predicted the damage of skipping a block, and at which timesteps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import rankdata, spearmanr
from scipy.stats import t as student_t

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.plan.recipe import normalised
from lokr_weighting.studies.ablation import Ablation

Z_95 = 1.96  # standard errors on each side of a 95 % interval
FEWEST = 4  # blocks, for a rank correlation's interval


@dataclass(frozen=True)
class Rank:
    """A rank correlation between a stream's distance and the damage of skipping each block.

    Attributes:
        stream: "image" or "text".
        blocks: over how many blocks.
        rho: Spearman's rank correlation.
        low: the lower end of its 95 % interval.
        high: the upper end.
    """

    stream: str
    blocks: int
    rho: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What it says, in words."""
        if self.low > 0:
            said = "predicted damage: blocks that turn it more are missed more"
        elif self.high < 0:
            said = "predicted damage the wrong way: blocks that turn it more are missed less"
        else:
            said = "did not predict damage beyond chance"
        return (
            f"On this model and these data, the {self.stream} stream's distance {said} (rank "
            f"correlation {self.rho:+.2f}, 95 % interval {self.low:+.2f} to {self.high:+.2f}, "
            f"{self.blocks} blocks)."
        )


def ranks_of_skipping(ablation: Ablation) -> list[Rank]:
    """Whether distance predicted what skipping each block costs, for each stream."""
    damage = ablation.damage
    ranks = []
    for stream, distances in (("image", ablation.image), ("text", ablation.text)):
        pairs = [
            (distance, damage[name].change)
            for name, distance in zip(ablation.blocks, distances, strict=True)
            if name in damage and not np.isnan(distance)
        ]
        if len(pairs) >= FEWEST:
            ranks.append(rank_correlation(stream, *np.array(pairs).T))
    return ranks


@dataclass(frozen=True)
class Inside:
    """How damage goes with distance over the timestep bins inside blocks.

    Attributes:
        stream: "image" or "text".
        blocks: over how many blocks.
        bins: over how many timestep bins each.
        rho: the mean over the blocks of Spearman's rank correlation over the bins.
        low: the lower end of its 95 % interval, by Student's t over the blocks.
        high: the upper end.
        own: the same of each block's rank among all blocks in a bin, so that what all blocks do at
            a timestep does not count: rho, low, high; None where nothing is left.
    """

    stream: str
    blocks: int
    bins: int
    rho: float
    low: float
    high: float
    own: tuple[float, float, float] | None

    @property
    def verdict(self) -> str:
        """What it says, in words."""
        beyond = ""
        if self.own is not None:
            own, low, high = self.own
            beyond = (
                f"; {own:+.2f} ({low:+.2f} to {high:+.2f}) beyond what all blocks do at a timestep"
            )
        return (
            f"Inside a block, over {self.bins} timestep bins, damage goes with the {self.stream} "
            f"stream's distance by a rank correlation of {self.rho:+.2f} ({self.low:+.2f} to "
            f"{self.high:+.2f}, {self.blocks} blocks){beyond}."
        )


def ranks_inside(ablation: Ablation) -> list[Inside]:
    """Whether distance predicted, in each block, at which timesteps it is missed most.

    Empty where the file is of an earlier version, which does not know distances by timestep.
    """
    seen, damage = ablation.samples_seen, ablation.damage
    if seen is None:
        return []
    found = []
    for stream, heatmap in (("image", seen.image), ("text", seen.text)):
        places = [
            place
            for place, name in enumerate(ablation.blocks)
            if name in damage and not np.isnan(heatmap[:, place]).any()
        ]
        if len(places) < FEWEST:
            continue
        distances = heatmap[:, places]
        costs = np.stack([damage[ablation.blocks[place]].by_bin for place in places], axis=1)
        raw = _mean_rank(distances, costs)
        own = _mean_rank(_beyond_all(distances), _beyond_all(costs))
        if raw is not None:
            found.append(Inside(stream, len(places), len(heatmap), *raw, own))
    return found


def _beyond_all(values: np.ndarray) -> np.ndarray:
    """(bins, blocks): each block's rank in its bin, less the block's own mean rank."""
    ranks = rankdata(values, axis=1)
    return ranks - ranks.mean(axis=0)


def _mean_rank(distances: np.ndarray, costs: np.ndarray) -> tuple[float, float, float] | None:
    """The mean over the blocks of the rank correlation over the bins, and its interval.

    None where fewer than two blocks change over the bins.
    """
    pairs = zip(distances.T, costs.T, strict=True)
    found: list[Any] = [spearmanr(a, b) for a, b in pairs if np.ptp(a) * np.ptp(b)]
    each = [float(one.statistic) for one in found]
    if len(each) < 2:
        return None
    middle, error = np.mean(each), np.std(each, ddof=1) / np.sqrt(len(each))
    half = student_t.ppf(0.975, len(each) - 1) * error
    return float(middle), float(middle - half), float(middle + half)


def shares_of_damage(ablation: Ablation, blocks: Sequence[str]) -> np.ndarray:
    """What skipping each block costs, (blocks,), from 0 for the least to 1 for the most.

    Args:
        ablation: what was measured.
        blocks: the model's blocks, by their names.

    Raises:
        LokrWeightingError: a block was not skipped there, or all cost the same.
    """
    damage = ablation.damage
    missing = [block for block in blocks if block not in damage]
    if missing:
        raise LokrWeightingError(
            f"the ablation is of another model ({ablation.model}): it has no {missing[0]}"
        )
    return normalised(np.array([damage[block].change for block in blocks]))


def rank_correlation(name: str, values: np.ndarray, damage: np.ndarray) -> Rank:
    """Spearman's rank correlation of a measure with damage, and its interval.

    The interval is Fisher's with the standard error of Bonett and Wright, "Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations", 2000.

    Args:
        name: what the measure is called.
        values: of each block, (blocks,), at least FEWEST.
        damage: of skipping it, (blocks,).
    """
    found: Any = spearmanr(values, damage)
    rho = float(found.statistic)
    error = np.sqrt((1 + rho**2 / 2) / (len(values) - 3))
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh([middle - Z_95 * error, middle + Z_95 * error])
    return Rank(name, len(values), rho, float(low), float(high))
