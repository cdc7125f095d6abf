"""Whether distance predicted the damage of skipping a block."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

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
    """Whether distance predicted what skipping each block costs, for each stream.

    The interval is Fisher's with the standard error of Bonett and Wright, "Sample size requirements
    for estimating Pearson, Kendall and Spearman correlations", 2000.
    """
    damage = ablation.damage
    ranks = []
    for stream, distances in (("image", ablation.image), ("text", ablation.text)):
        pairs = [
            (distance, damage[name].change)
            for name, distance in zip(ablation.blocks, distances, strict=True)
            if name in damage and not np.isnan(distance)
        ]
        if len(pairs) >= FEWEST:
            ranks.append(_rank(stream, np.array(pairs)))
    return ranks


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


def _rank(stream: str, pairs: np.ndarray) -> Rank:
    places: Any = pairs.argsort(axis=0).argsort(axis=0)
    rho = float(np.corrcoef(places.T)[0][1])
    error = np.sqrt((1 + rho**2 / 2) / (len(pairs) - 3))
    middle = np.arctanh(np.clip(rho, -0.999999, 0.999999))
    low, high = np.tanh([middle - Z_95 * error, middle + Z_95 * error])
    return Rank(stream, len(pairs), rho, float(low), float(high))
