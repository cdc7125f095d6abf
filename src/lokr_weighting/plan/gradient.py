"""Plans by gradients: a budget spent on the splits that gain most, or on the blocks.

A LoKr can follow, of a mean gradient G at first order, the best Kronecker product of its split:
the largest singular value of G rearranged (Van Loan and Pitsianis, "Approximation with Kronecker
Products", 1993). `measure.gradients` measures it; this spends a budget by it.
"""

from collections.abc import Sequence

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.budget import Wish, common_factors, costs_of, possible_size
from lokr_weighting.plan.knapsack import best_choice
from lokr_weighting.plan.recipe import normalised
from lokr_weighting.plan.splits import factor_ranges
from lokr_weighting.records.gains import Gains


def factors_by_gain(linears: Sequence[BlockLinear], gains: Gains, budget: str | None) -> list[int]:
    """The factor of every Linear, so that their splits gain most within the budget.

    Args:
        linears: the Linears.
        gains: what was measured of them.
        budget: as in `make_plan`.

    Raises:
        LokrWeightingError: there is no budget, it cannot be met, or the gains are of another model.
    """
    if budget is None:
        raise LokrWeightingError(
            "the recipe gradient spends a budget and has no size of its own; give a budget"
        )
    _check(linears, gains)
    ranges = [factor_ranges(linear.out_features, linear.in_features) for linear in linears]
    taken = best_choice(
        [gains.by_split[linear.name] for linear in linears],
        [costs_of(linear) for linear in linears],
        possible_size(budget, linears),
    )
    chosen = [choices[at] for choices, at in zip(ranges, taken, strict=True)]
    wishes = [Wish(linear, choice.low, 0.0) for linear, choice in zip(linears, chosen, strict=True)]
    return common_factors(wishes, chosen)


def shares_by_norm(
    linears: Sequence[BlockLinear], names: Sequence[str], gains: Gains
) -> np.ndarray:
    """The blocks' contributions, (blocks,): their gradients' squared norms, from 0 to 1.

    Args:
        linears: the Linears.
        names: the blocks' names.
        gains: what was measured.

    Raises:
        LokrWeightingError: the gains are of another model, or say nothing.
    """
    _check(linears, gains)
    norms, total = gains.norms, dict.fromkeys(names, 0.0)
    for linear in linears:
        total[linear.block] += norms[linear.name]
    return normalised(np.maximum(list(total.values()), 0))


def _check(linears: Sequence[BlockLinear], gains: Gains) -> None:
    for linear in linears:
        splits = len(factor_ranges(linear.out_features, linear.in_features))
        found = len(gains.by_split.get(linear.name, ()))
        if found != splits:
            raise LokrWeightingError(
                f"the gains are of another model: they have {found} of {linear.name}'s {splits} "
                "splits"
            )
