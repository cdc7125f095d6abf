"""From heatmaps to a factor for every Linear."""

from collections.abc import Sequence

import numpy as np

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.budget import Wish, fit
from lokr_weighting.plan.recipe import (
    Reason,
    Recipe,
    block_factors,
    contributions,
    critical_blocks,
)
from lokr_weighting.plan.splits import capped
from lokr_weighting.records.heatmaps import Heatmaps


def block_choice(
    heatmaps: Heatmaps, recipe: Recipe
) -> tuple[np.ndarray, dict[int, tuple[Reason, ...]], list[int]]:
    """The blocks' contributions, which are critical and why, and every block's factor."""
    shares = contributions(heatmaps, recipe)
    critical = critical_blocks(heatmaps, recipe)
    return shares, critical, block_factors(shares, critical, recipe)


def given_choice(
    shares: np.ndarray, heatmaps: Heatmaps, recipe: Recipe
) -> tuple[np.ndarray, dict[int, tuple[Reason, ...]], list[int]]:
    """As `block_choice`, for contributions that are given, (blocks,), each in [0, 1]."""
    by_hand = not isinstance(recipe.critical, str)
    critical = critical_blocks(heatmaps, recipe) if by_hand else {}
    return shares, critical, block_factors(shares, critical, recipe)


def linear_factors(
    linears: Sequence[BlockLinear],
    names: Sequence[str],
    shares: np.ndarray,
    factors: Sequence[int],
    recipe: Recipe,
    budget: str | None,
) -> list[int]:
    """The factor of every Linear, within its limit and the budget.

    Args:
        linears: the Linears.
        names: the blocks' names; `shares` and `factors` are in this order.
        shares: contributions, (blocks,).
        factors: the blocks' factors, (blocks,).
        recipe: the settings.
        budget: as in `make_plan`.

    Raises:
        LokrWeightingError: the budget cannot be met, or there is none and the strength is not 1.
    """
    if budget is None and recipe.strength != 1:
        raise LokrWeightingError(
            f"strength = {recipe.strength:g}: a milder spread has no size of its own; give a budget"
        )
    index = {block: i for i, block in enumerate(names)}
    wanted = [
        wanted_factor(linear.base, factors[index[linear.block]], recipe) for linear in linears
    ]
    if budget is not None:
        wishes = [
            Wish(linear, factor**recipe.strength, float(shares[index[linear.block]]))
            for linear, factor in zip(linears, wanted, strict=True)
        ]
        wanted = fit(wishes, budget)
    return [
        capped(factor, linear.out_features, linear.in_features)
        for linear, factor in zip(linears, wanted, strict=True)
    ]


def wanted_factor(base: bool, factor: int, recipe: Recipe) -> int:
    """The factor for a Linear of a block that has `factor`, before any limit.

    Args:
        base: whether it belongs to the feed-forward and modulation Linears.
        factor: the block's.
        recipe: the settings.
    """
    return factor if base else factor * recipe.other_multiplier
