"""Sizes said beforehand are those of the plans that are made afterwards."""

import pytest

from lokr_weighting import make_plan
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.sizes import SplitCost, sizes_by_shape, uniform_sizes
from lokr_weighting.plan.splits import capped, largest_factor
from tests.conftest import random_heatmaps

MODELS = ("digits", "sd3.5-large", "sana-1.6b")


@pytest.mark.parametrize("model", MODELS)
def test_every_factor_of_every_linear_is_in_one_row(model: str) -> None:
    linears = block_linears(load_skeleton(model))
    shapes = sizes_by_shape(linears)
    assert sum(shape.count for shape in shapes) == len(linears)
    for shape in shapes:
        factors = [each for row in shape.splits for each in range(row.low, row.high + 1)]
        assert factors == [*range(1, largest_factor(shape.out_features, shape.in_features) + 1)]


@pytest.mark.parametrize("model", MODELS)
def test_a_uniform_row_is_what_a_plan_of_that_factor_costs(model: str) -> None:
    """A plan whose blocks all contribute the same has that factor everywhere."""
    skeleton = load_skeleton(model)
    linears = block_linears(skeleton)
    costs: dict[tuple[int, ...], tuple[SplitCost, ...]] = {
        (shape.out_features, shape.in_features, *shape.kernel): shape.splits
        for shape in sizes_by_shape(linears)
    }
    rows = uniform_sizes(linears)
    assert [row.low for row in rows[1:]] == [row.high + 1 for row in rows[:-1]]
    for row in rows:
        for factor in (row.low, row.high):
            total = 0
            for linear in linears:
                own = capped(factor, linear.out_features, linear.in_features)
                splits = costs[linear.shape]
                total += next(x.parameters for x in splits if x.low <= own <= x.high)
            assert total == row.parameters


def test_a_plan_of_a_uniform_budget_fits_the_row_and_its_file() -> None:
    skeleton = load_skeleton("digits")
    rows = uniform_sizes(block_linears(skeleton))
    for row in rows[1:]:
        budget = f"uniform:{row.low}"
        plan = make_plan(random_heatmaps(12), skeleton, budget=budget)
        assert plan.parameters <= row.parameters
        # a budget of the whole file is a budget of those parameters
        asked = f"{row.file_bytes / 1000}KB"
        assert make_plan(random_heatmaps(12), skeleton, budget=asked).parameters == plan.parameters
