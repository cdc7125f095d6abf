import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lokr_weighting import (
    LokrWeightingError,
    Plan,
    Recipe,
    load_reference,
    make_plan,
    read_plan,
    write_plan,
)
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.plan import parameters_without_critical
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


def test_factors_that_become_one_split_are_shown(published: Plan) -> None:
    assert published.collapsed()["8"] == [8, 9, 10, 11, 12, 14]
    base = {x.split.label for x in published.linears if x.base and x.in_features == 2432}
    assert {label for label in base if "x" not in label} == {"1", "4", "8"}


@pytest.mark.parametrize("architecture", ["sd3.5-medium", "flux.1-dev", "auraflow-v0.3"])
def test_other_families_get_once_and_twice_the_blocks_factor(architecture: str) -> None:
    model = empty_transformer(architecture)
    blocks = {"sd3.5-medium": 24, "flux.1-dev": 57, "auraflow-v0.3": 36}[architecture]
    plan = make_plan(random_heatmaps(blocks), model)
    for linear in plan.linears:
        local = linear.name.removeprefix(plan.blocks[linear.block].name + ".")
        attention = local.startswith("attn")
        assert linear.base is not attention
        assert linear.factor == plan.blocks[linear.block].factor * (2 if attention else 1)


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


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), budget=st.sampled_from([None, "3M", "uniform:6"]))
def test_written_and_read_back_a_plan_is_equal(
    tmp_path_factory: pytest.TempPathFactory, seed: int, budget: str | None
) -> None:
    plan = make_plan(random_heatmaps(24, seed), "sd3.5-medium", budget=budget)
    file = tmp_path_factory.mktemp("plan") / "plan.json"
    write_plan(file, plan)
    assert read_plan(file) == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.update(parameters=1), "the splits add up to"),
        (lambda data: data["linears"][0].update(split=[1, 2, 3, 4]), "does not multiply"),
        (lambda data: data["linears"][0].update(block=99), "a block that the plan does not have"),
        (lambda data: data.update(extra=1), "unknown key 'extra'"),
    ],
)
def test_a_plan_that_was_changed_by_hand_is_refused(
    tmp_path: Path, published: Plan, change: object, message: str
) -> None:
    file = tmp_path / "plan.json"
    write_plan(file, published)
    data = json.loads(file.read_text())
    assert callable(change)
    change(data)
    file.write_text(json.dumps(data))
    with pytest.raises(LokrWeightingError, match=message):
        read_plan(file)


def test_a_measurement_of_another_model_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match=r"3\.5-large has 38 blocks, but .* has 24"):
        make_plan(load_reference("sd3.5-large"), "sd3.5-medium")
    heatmaps = random_heatmaps(24)
    named = type(heatmaps)(heatmaps.image, heatmaps.text, blocks=("layers.0", *"b" * 23))
    with pytest.raises(LokrWeightingError, match=r"block layers\.0 is transformer_blocks\.0"):
        make_plan(named, "sd3.5-medium")
