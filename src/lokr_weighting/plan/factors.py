"""From the blocks' factors to a factor for every Linear."""

from collections.abc import Sequence

from lokr_weighting.errors import LokrWeightingError
from lokr_weighting.models.blocks import BlockLinear
from lokr_weighting.plan.budget import Wish, fit
from lokr_weighting.plan.choice import Choice
from lokr_weighting.plan.recipe import Recipe
from lokr_weighting.plan.splits import capped


def linear_factors(
    linears: Sequence[BlockLinear],
    names: Sequence[str],
    choice: Choice,
    recipe: Recipe,
    budget: str | None,
) -> list[int]:
    """The factor of every Linear, within its limit and the budget.

    Args:
        linears: the Linears.
        names: the blocks' names, in the order of the choice.
        choice: what the recipe makes of the blocks.
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
        wanted_factor(linear.base, choice.of(linear).factors[index[linear.block]], recipe)
        for linear in linears
    ]
    if budget is not None:
        wishes = [
            Wish(
                linear,
                factor**recipe.strength,
                float(choice.of(linear).shares[index[linear.block]]),
            )
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
