"""A budget spent where a parameter buys most: one split for every Linear, the best in all.

This is the multiple-choice knapsack problem; HiGHS solves it, through scipy.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from lokr_weighting.errors import LokrWeightingError

GAP = 1e-9  # from the best possible, as a share of it


def best_choice(
    gains: Sequence[Sequence[float]], costs: Sequence[Sequence[int]], limit: int
) -> list[int]:
    """Which option to take of each group, so that the gains add up to the most within the limit.

    Args:
        gains: of every option, by group; what is below 0 counts as 0.
        costs: of every option, by group.
        limit: the most that the costs may add up to.

    Returns:
        the number of the option taken, for each group.

    Raises:
        LokrWeightingError: even the cheapest options cost more.
    """
    sizes = [len(group) for group in gains]
    starts = np.cumsum([0, *sizes])
    gain = np.maximum(np.concatenate([np.asarray(group, dtype=float) for group in gains]), 0)
    cost = np.concatenate([np.asarray(group, dtype=np.int64) for group in costs])
    cheapest = int(sum(min(group) for group in costs))
    if cheapest > limit:
        raise LokrWeightingError(
            f"the smallest plan has {cheapest:,} parameters, more than {limit:,}"
        )
    unit = math.gcd(*cost.tolist())
    groups = np.repeat(np.arange(len(sizes)), sizes)
    one_each = csr_array((np.ones(len(gain)), (groups, np.arange(len(gain)))))
    allowed = limit
    while True:
        solved = milp(
            -gain / (gain.max() or 1.0),
            integrality=np.ones(len(gain)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint(cost[None] / unit, -np.inf, allowed // unit),
            ],
            options={"mip_rel_gap": GAP},
        )
        if solved.x is None:
            raise LokrWeightingError(
                f"no plan was found within {limit:,} parameters: {solved.message}"
            )
        taken = np.array([np.argmax(solved.x[start:end]) for start, end in pairwise(starts)])
        over = int(cost[starts[:-1] + taken].sum()) - limit
        if over <= 0:
            return [int(each) for each in taken]
        allowed -= max(over, unit)  # the solver allows itself a rounding error
