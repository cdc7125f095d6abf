import numpy as np
import pytest

from lokr_weighting import (
    LokrWeightingError,
    Plan,
    Recipe,
    load_reference,
    make_plan,
)
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.plan import parameters_without_critical
from lokr_weighting.plan.splits import split_of
from tests.conftest import random_heatmaps


@pytest.fixture(scope="module")
def published() -> Plan:
    return make_plan(load_reference("sd3.5-large"), "sd3.5-large")


def test_the_published_plan_costs_what_the_facts_page_measured(published: Plan) -> None:
    assert round(published.parameters / 1e6, 1) == 765.6
    assert published.critical == (0, 31, 35)
    share = published.parameters_of(*published.critical) / published.parameters
    assert round(share, 3) == 0.695
    assert round(parameters_without_critical(published) / 1e6, 1) == 432.9


def test_what_critical_blocks_cost_is_what_switching_them_off_saves(published: Plan) -> None:
    off = make_plan(load_reference("sd3.5-large"), "sd3.5-large", Recipe(critical="off"))
    assert off.parameters == parameters_without_critical(published)


@pytest.mark.parametrize("architecture", ["sd3.5-medium", "flux.1-dev", "auraflow-v0.3"])
def test_other_families_get_once_and_twice_the_blocks_factor(architecture: str) -> None:
    model = empty_transformer(architecture)
    blocks = {"sd3.5-medium": 24, "flux.1-dev": 57, "auraflow-v0.3": 36}[architecture]
    plan = make_plan(random_heatmaps(blocks), model)
    for linear in plan.linears:
        local = linear.name.removeprefix(plan.blocks[linear.block].name + ".")
        attention = local.startswith("attn")
        assert linear.base is not attention
        factor = plan.blocks[linear.block].factor
        assert factor is not None
        assert linear.factor == factor * (2 if attention else 1)


def test_a_factor_stays_within_what_loaders_read_back() -> None:
    from diffusers import SD3Transformer2DModel

    small = SD3Transformer2DModel(
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_projection_dim=16,
        joint_attention_dim=16,
    )
    plan = make_plan(random_heatmaps(3), small, Recipe(critical="off"))
    assert max(linear.factor for linear in plan.linears) == 4  # the root of 16


def test_a_measurement_of_another_model_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match=r"3\.5-large has 38 blocks, but .* has 24"):
        make_plan(load_reference("sd3.5-large"), "sd3.5-medium")
    heatmaps = random_heatmaps(24)
    named = type(heatmaps)(heatmaps.image, heatmaps.text, blocks=("layers.0", *"b" * 23))
    with pytest.raises(LokrWeightingError, match=r"block layers\.0 is transformer_blocks\.0"):
        make_plan(named, "sd3.5-medium")


def test_strength_0_is_uniform_and_1_the_recipe_under_one_budget() -> None:
    measured = load_reference("sd3.5-large")
    uniform = make_plan(measured, "sd3.5-large", Recipe(strength=0), budget="uniform:6")
    for linear in uniform.linears:
        assert linear.split == split_of(linear.out_features, linear.in_features, 6)
    own = make_plan(measured, "sd3.5-large", budget="100M")
    assert make_plan(measured, "sd3.5-large", Recipe(strength=1), budget="100M") == own
    mild = make_plan(measured, "sd3.5-large", Recipe(strength=0.5), budget="100M")
    assert mild.parameters_of(*mild.critical) < own.parameters_of(*own.critical)


def test_a_milder_strength_without_a_budget_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match=r"strength = 0\.5: .* give a budget"):
        make_plan(load_reference("sd3.5-large"), "sd3.5-large", Recipe(strength=0.5))


def test_given_contributions_take_the_measurements_place() -> None:
    shares = np.linspace(0, 1, 38)
    plan = make_plan(load_reference("sd3.5-large"), "sd3.5-large", contributions=shares)
    assert [block.contribution for block in plan.blocks] == shares.tolist()
    assert plan.critical == ()
    assert plan.blocks[0].factor == 12
    assert plan.blocks[-1].factor == 1
    by_hand = make_plan(
        load_reference("sd3.5-large"), "sd3.5-large", Recipe(critical=(4,)), contributions=shares
    )
    assert by_hand.critical == (4,)
