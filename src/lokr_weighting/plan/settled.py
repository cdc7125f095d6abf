"""How settled a plan is: what resampling the samples does to it.

The user's dataset is the population, and samples are drawn from it independently, so within a
timestep bin they are exchangeable, images included: the bootstrap resamples samples, bin by bin,
not images.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.choice import choice_by_distance
from lokr_weighting.plan.factors import linear_factors
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.selection import Selection
from lokr_weighting.plan.splits import factor_ranges
from lokr_weighting.records.average import RESAMPLES, heatmaps_of, resampled
from lokr_weighting.records.heatmaps import Heatmaps
from lokr_weighting.records.record import Records


@dataclass(frozen=True)
class Settled:
    """What the resamples say.

    Attributes:
        samples: how many samples were resampled.
        same: the share of resamples that give the very plan, split for split.
        near: the share in which every Linear is within one split of the plan's; one that is left
            out counts as one split coarser than its coarsest.
        kept: for each block, the share in which all its splits are the plan's, (blocks,).
        contribution_error: the contributions' standard errors, (blocks,): how far the resamples'
            contributions lie from the plan's, as a root mean square. Clipping at a percentile
            shifts the resamples to one side, which a standard deviation would leave out.
    """

    samples: int
    same: float
    near: float
    kept: np.ndarray
    contribution_error: np.ndarray


def judge(
    records: Records,
    linears: Sequence[BlockLinear],
    names: Sequence[str],
    recipe: Recipe,
    budget: str | None = None,
    *,
    selection: Selection | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Settled:
    """Resample the records and see how often the plan stays.

    Args:
        records: the samples measured so far; at least two in every bin.
        linears: the model's Linears (`block_linears`).
        names: the model's blocks, in the order of the records' columns.
        recipe: the settings; of a recipe that goes by distances.
        budget: as in `make_plan`.
        selection: which part is planned; a resample may choose other blocks.
        resamples: how many resamples.
        seed: decides the resamples.

    Raises:
        LokrWeightingError: a bin is empty, or the budget cannot be met.
    """
    block_of = np.array([names.index(linear.block) for linear in linears])

    every = range(len(linears))
    left_out = np.array([len(factor_ranges(x.out_features, x.in_features)) for x in linears])

    def levels(heatmaps: Heatmaps) -> tuple[np.ndarray, np.ndarray]:
        choice = choice_by_distance(heatmaps, recipe)
        places = every if selection is None else selection.places_by(choice, linears, names)
        part = [linears[place] for place in places]
        chosen = linear_factors(part, names, choice, recipe, budget)
        reached = left_out.copy()
        reached[places] = [_level(x, f) for x, f in zip(part, chosen, strict=True)]
        return choice.shares, reached

    blocks = tuple(names)
    planned, written = levels(replace(heatmaps_of(records, recipe.bins), blocks=blocks))
    streams = resampled(
        (records.image, records.text),
        records.timesteps,
        recipe.bins,
        resamples=resamples,
        seed=seed,
    )

    def redone_levels(heatmaps: Heatmaps) -> tuple[np.ndarray, np.ndarray]:
        try:
            return levels(heatmaps)
        except LokrWeightingError:
            if selection is None or not selection.top:
                raise
            # the budget that these blocks meet is none for the ones that this resample chooses
            return choice_by_distance(heatmaps, recipe).shares, left_out

    redone = [
        redone_levels(Heatmaps(image, text, blocks=blocks))
        for image, text in zip(*streams, strict=True)
    ]
    shares = np.stack([share for share, _ in redone])
    apart = np.abs(np.stack([level for _, level in redone]) - written)
    moved = np.stack([(apart[:, block_of == b] > 0).any(axis=1) for b in range(len(names))])
    return Settled(
        samples=len(records.timesteps),
        same=float((apart == 0).all(axis=1).mean()),
        near=float((apart <= 1).all(axis=1).mean()),
        kept=1 - moved.mean(axis=1),
        contribution_error=np.sqrt(np.square(shares - planned).mean(axis=0)),
    )


def _level(linear: BlockLinear, factor: int) -> int:
    """Which of the Linear's splits a factor becomes, counted from the finest."""
    ranges = factor_ranges(linear.out_features, linear.in_features)
    return next(i for i, each in enumerate(ranges) if each.low <= factor <= each.high)
