"""When it is enough: at which numbers of samples a plan is judged, and what was judged there."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.models.skeleton import Skeleton
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.selection import read_selection
from lokr_weighting.plan.settled import Settled, judge
from lokr_weighting.records.calibration import Calibration

if TYPE_CHECKING:
    from torch import nn

MOST_JUDGEMENTS = 30


@dataclass(frozen=True)
class Stop:
    """When to stop.

    Attributes:
        samples: measure exactly so many; None: stop when the plan is settled.
        per_bin: samples in every bin before the plan is judged for the first time.
        most: stop here at the latest.
        share: settled when at least this share of the resamples is within one split of the plan.
        growth: between two judgements the samples grow by this factor.
    """

    samples: int | None = None
    per_bin: int = 8
    most: int = 2048
    share: float = 0.95
    growth: float = 1.25

    def check(self, bins: int) -> None:
        """Refuse too few samples before anything runs.

        Args:
            bins: timestep bins that samples are drawn in.

        Raises:
            LokrWeightingError: there are fewer than two for each bin.
        """
        for name, count in (("samples", self.samples), ("max samples", self.most)):
            if count is not None and count < 2 * bins:
                raise LokrWeightingError(
                    f"{name} = {count}: {bins} timestep bins need at least {2 * bins}"
                )

    def next_check(self, count: int, bins: int) -> int:
        """The first number of samples, from `count` on, at which the plan is judged."""
        if self.samples is not None:
            return self.samples
        check = self.per_bin * bins
        while check < min(count, self.most):
            check = math.ceil(check * self.growth / bins) * bins
        return min(check, self.most)


def judgements(
    calibration: Calibration,
    model: "nn.Module | Skeleton",
    recipe: Recipe,
    budget: str | None = None,
    *,
    blocks: str | None = None,
    last: Settled | None = None,
) -> list[Settled]:
    """How settled the plan was at every number of samples at which it could have been judged.

    Args:
        calibration: the samples.
        model: the model that was measured.
        recipe: the plan's recipe.
        budget: its budget.
        blocks: its part of the model, as in `make_plan`.
        last: the judgement on all samples, where it was made already.

    Returns:
        one judgement for each such number; the last is on all samples where it is one.
    """
    recipe = recipe.of_distances
    linears, names = block_linears(model), block_names(model)
    selection = None if blocks is None else read_selection(blocks, names)
    total = len(calibration.records)
    return [
        last
        if last is not None and count == last.samples == total
        else judge(
            calibration.stacked(recipe.tokens, count),
            linears,
            names,
            recipe,
            budget,
            selection=selection,
        )
        for count in _counts(total, recipe.bins)
    ]


def _counts(total: int, bins: int) -> list[int]:
    """The numbers of samples, up to `total`, at which a plan is judged by default."""
    stop = Stop()
    counts = [stop.next_check(0, bins)]
    while counts[-1] < min(total, stop.most) and len(counts) < MOST_JUDGEMENTS:
        counts.append(stop.next_check(counts[-1] + 1, bins))
    return [count for count in counts if count <= total]
