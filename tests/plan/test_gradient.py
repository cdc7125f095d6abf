"""Plans by gradients."""

from dataclasses import replace

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, Recipe, make_plan
from lokr_weighting.files import checked
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.splits import factor_ranges
from tests.conftest import random_gains, random_heatmaps

DIGITS = load_skeleton("digits")
GAINS = random_gains(DIGITS)


def gained(plan_linears: object) -> float:
    total = 0.0
    for linear in plan_linears:  # pyright: ignore
        splits = [each.split for each in factor_ranges(linear.out_features, linear.in_features)]
        total += GAINS.by_split[linear.name][splits.index(linear.split)]
    return total


def test_no_other_plan_of_the_budget_gains_more() -> None:
    heatmaps = random_heatmaps(12)
    plan = make_plan(heatmaps, DIGITS, Recipe(name="gradient"), budget="uniform:4", gains=GAINS)
    uniform = make_plan(heatmaps, DIGITS, Recipe(strength=0, critical="off"), budget="uniform:4")
    assert plan.parameters <= uniform.parameters
    assert gained(plan.linears) > 1.1 * gained(uniform.linears)
    assert all(block.factor is None for block in plan.blocks)
    for name in ("distance", "streams"):
        other = make_plan(heatmaps, DIGITS, Recipe(name=name), budget="uniform:4")
        assert gained(plan.linears) > gained(other.linears)


def test_norms_take_distances_place() -> None:
    norms = np.zeros(12)
    for name, norm in GAINS.norms.items():
        norms[int(name.split(".")[1])] += norm
    plan = make_plan(random_heatmaps(12), DIGITS, Recipe(name="gradient-norm"), gains=GAINS)
    shares = (norms - norms.min()) / (norms.max() - norms.min())
    assert [block.contribution for block in plan.blocks] == pytest.approx(shares.tolist())
    assert not plan.critical


def test_what_cannot_be_is_refused() -> None:
    heatmaps = random_heatmaps(12)
    with pytest.raises(LokrWeightingError, match="has no size of its own; give a budget"):
        make_plan(heatmaps, DIGITS, Recipe(name="gradient"), gains=GAINS)
    missing = replace(GAINS, by_split=dict(list(GAINS.by_split.items())[1:]))
    with pytest.raises(LokrWeightingError, match="gains are of another model: they have 0 of"):
        make_plan(heatmaps, DIGITS, Recipe(name="gradient-norm"), gains=missing)
    with pytest.raises(LokrWeightingError, match="neither strength nor critical"):
        checked(Recipe, {"name": "gradient", "strength": 0.5}, "--set")
