"""Every plan by name is what it says, at the same size as the others."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError, Recipe, load_reference, make_plan, write_plan
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.choice import choice_by_distance
from lokr_weighting.studies.rivals import (
    CLOSE,
    RIVALS,
    Ground,
    arms_of,
    ground_for,
    wants_gradients,
)
from tests.conftest import random_gains, random_heatmaps
from tests.studies.test_ablation import made_up

LARGE = load_skeleton("sd3.5-large")
NAMES = tuple(name for name in RIVALS if name != "ablation")


@pytest.fixture(scope="module")
def ground() -> Ground:
    return ground_for(
        load_reference("sd3.5-large"), LARGE, Recipe(), "uniform:8", gains=random_gains(LARGE)
    )


def test_every_plan_has_the_budgets_parameters_and_never_more(ground: Ground) -> None:
    for arm in arms_of(NAMES, ground, draws=2):
        assert arm.plan.parameters <= ground.parameters, arm.name
        assert arm.plan.parameters > (1 - CLOSE) * ground.parameters, arm.name


@pytest.mark.parametrize("budget", ["uniform:4", "uniform:8"])
def test_the_digits_models_plans_are_within_one_percent_too(budget: str) -> None:
    digits = load_skeleton("digits")
    ground = ground_for(random_heatmaps(12), digits, Recipe(), budget, gains=random_gains(digits))
    for arm in arms_of(NAMES, ground, draws=2):
        assert abs(arm.plan.parameters / ground.parameters - 1) < CLOSE, arm.name


def test_the_weighted_plan_is_the_recipes_own_and_the_uniform_one_has_one_factor(
    ground: Ground,
) -> None:
    weighted, uniform = arms_of(["weighted", "uniform"], ground)
    own = make_plan(load_reference("sd3.5-large"), LARGE, budget="uniform:8")
    assert weighted.plan.linears == own.linears
    assert uniform.plan.parameters == ground.parameters
    assert {linear.factor for linear in uniform.plan.linears if linear.factor > 6} == {8}


def test_random_plans_shuffle_the_recipes_blocks_and_differ(ground: Ground) -> None:
    first, second = arms_of(["random"], ground, draws=2)
    choice = choice_by_distance(ground.heatmaps, ground.recipe)
    shares, critical = choice.shares, choice.critical
    for arm in (first, second):
        drawn = [block.contribution for block in arm.plan.blocks]
        assert Counter(drawn) == Counter(shares.tolist())
        assert len(arm.plan.critical) == len(critical)
        # a critical block takes its contribution with it
        for place in arm.plan.critical:
            assert drawn[place] in shares[list(critical)]
    assert first.plan.linears != second.plan.linears
    assert (first.name, first.group) == ("random-1", "random")
    assert arms_of(["random"], ground, draws=1)[0].plan == first.plan


@pytest.mark.parametrize("name", ["gradient", "gradient-norm"])
def test_plans_by_gradient_are_refused_where_none_were_measured(name: str) -> None:
    ground = ground_for(random_heatmaps(12), load_skeleton("digits"), Recipe(), "uniform:4")
    with pytest.raises(LokrWeightingError, match=f"recipe {name} goes by gradients.*--gradients"):
        arms_of([name], ground)


def test_a_recipe_of_another_name_is_weighted_and_has_its_own_inverse() -> None:
    digits = load_skeleton("digits")
    gains = random_gains(digits)
    recipe = Recipe(name="gradient-norm")
    ground = ground_for(random_heatmaps(12), digits, recipe, "uniform:4", gains=gains)
    weighted, named, inverse = arms_of(["weighted", "gradient-norm", "inverse"], ground)
    assert weighted.plan.linears == named.plan.linears
    shares, turned = (
        np.array([block.contribution for block in arm.plan.blocks]) for arm in (weighted, inverse)
    )
    assert np.allclose(turned, 1 - shares)
    assert wants_gradients(["uniform"], recipe)
    assert wants_gradients(["uniform", "gradient#2"], Recipe())
    assert not wants_gradients(["uniform", "weighted"], Recipe())


def test_inverse_later_and_earlier_give_where_they_say(ground: Ground) -> None:
    weighted, inverse, later, earlier = (
        np.array([block.contribution for block in arm.plan.blocks])
        for arm in arms_of(["weighted", "inverse", "later", "earlier"], ground)
    )
    assert np.allclose(inverse, 1 - weighted)
    assert (np.diff(later) > 0).all()
    assert np.array_equal(earlier, later[::-1])


def test_the_ablations_plan_gives_where_skipping_costs_most() -> None:
    digits = load_skeleton("digits")
    damage, distances = [float(x) for x in range(12)], [0.1] * 12
    ablation = made_up(damage, distances, distances, "transformer_blocks")
    heatmaps = random_heatmaps(12)
    ground = ground_for(heatmaps, digits, Recipe(), "uniform:4", ablation=ablation)
    (arm,) = arms_of(["ablation"], ground)
    shares = [block.contribution for block in arm.plan.blocks]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0, 1)
    without = ground_for(heatmaps, digits, Recipe(), "uniform:4")
    with pytest.raises(LokrWeightingError, match=r"give --ablation ablation\.json"):
        arms_of(["ablation"], without)
    other = ground_for(random_heatmaps(24), load_skeleton("sd3.5-medium"), Recipe(), "uniform:8")
    with pytest.raises(LokrWeightingError, match=r"of another model .*: it has no transformer_bl"):
        arms_of(["ablation"], replace(other, ablation=ablation))


def test_a_milder_plan_lies_between_uniform_and_the_recipe(ground: Ground) -> None:
    spreads = []
    for arm in arms_of(["uniform", "mild-0.25", "mild-0.5", "no-critical"], ground):
        costs = [arm.plan.parameters_of(index) for index in range(38)]
        spreads.append(np.std(costs) / np.mean(costs))
    assert spreads == sorted(spreads)


def test_a_plan_of_ones_own_is_taken_from_its_file(ground: Ground, tmp_path: Path) -> None:
    write_plan(tmp_path / "mine.plan.json", ground.plan(max_factor=6))
    (mine, again) = arms_of(
        [str(tmp_path / "mine.plan.json"), f"{tmp_path / 'mine.plan.json'}#2"], ground
    )
    assert (mine.name, again.name) == ("mine", "mine#2")
    assert mine.plan == again.plan == ground.plan(max_factor=6)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["weihgted"], "'weihgted' is none of weighted, uniform"),
        (["uniform", "uniform"], "uniform is named twice; write uniform#2"),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(
    names: list[str], message: str, ground: Ground
) -> None:
    with pytest.raises(LokrWeightingError, match=message):
        arms_of(names, ground)


def test_plans_of_another_size_or_model_are_refused(ground: Ground, tmp_path: Path) -> None:
    write_plan(tmp_path / "large.json", make_plan(load_reference("sd3.5-large"), LARGE))
    with pytest.raises(LokrWeightingError, match="would not be compared alike"):
        arms_of([str(tmp_path / "large.json")], ground)
    digits = make_plan(random_heatmaps(12), "digits", budget="uniform:4")
    write_plan(tmp_path / "digits.json", digits)
    with pytest.raises(LokrWeightingError, match=r"of another model \(digits\)"):
        arms_of([str(tmp_path / "digits.json")], ground)
