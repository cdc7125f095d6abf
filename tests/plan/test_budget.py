import tempfile
from pathlib import Path

import pytest
import torch
from diffusers import SD3Transformer2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lokr_weighting import Heatmaps, LokrWeightingError, Plan, Recipe, load_reference, make_plan
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import empty_transformer
from lokr_weighting.plan.budget import largest_size
from lokr_weighting.plan.splits import factor_ranges, split_of
from lokr_weighting.targets.lycoris import config_of
from lokr_weighting.targets.lycoris.readback import read_back

MODEL = empty_transformer("sd3.5-large")
HEATMAPS = load_reference("sd3.5-large")
SMALLEST, LARGEST = 5_958_456, 8_014_316_049


def plan(budget: str | None, recipe: Recipe | None = None) -> Plan:
    return make_plan(HEATMAPS, MODEL, recipe, budget=budget)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(SMALLEST, LARGEST), min_size=2, max_size=2).map(sorted))
def test_a_budget_is_never_exceeded_and_a_larger_one_never_gives_less(budgets: list[int]) -> None:
    small, large = (plan(str(budget)).parameters for budget in budgets)
    assert small <= budgets[0]
    assert large <= budgets[1]
    assert small <= large


@settings(deadline=None, max_examples=15)
@given(st.integers(SMALLEST, LARGEST))
def test_no_linear_could_still_take_its_next_split_within_the_budget(budget: int) -> None:
    """Unless one of its shape that the recipe prefers would then have the coarser one."""
    recipe = {linear.name: linear.factor for linear in plan(None).linears}
    made = plan(str(budget))
    left = budget - made.parameters
    last: dict[tuple[int, int], int] = {}
    order = sorted(made.linears, key=lambda x: (recipe[x.name], -made.blocks[x.block].contribution))
    for linear in order:
        shape = (linear.out_features, linear.in_features)
        finer = [r.split for r in factor_ranges(*shape) if r.split.parameters > linear.parameters]
        preferred_has = last.get(shape, LARGEST)
        if finer and finer[-1].parameters <= preferred_has:
            assert finer[-1].parameters - linear.parameters > left
        last[shape] = linear.parameters


@settings(deadline=None, max_examples=30)
@given(st.integers(SMALLEST, LARGEST))
def test_a_budget_keeps_the_recipes_order(budget: int) -> None:
    """Of two Linears of one shape, the one the recipe gives more keeps at least as much."""
    wanted = {linear.name: linear for linear in plan(None).linears}
    made = plan(str(budget))
    by_shape: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for linear in made.linears:
        shape = (linear.out_features, linear.in_features)
        by_shape.setdefault(shape, []).append((wanted[linear.name].factor, linear.parameters))
    for pairs in by_shape.values():
        for factor, parameters in pairs:
            assert all(other <= parameters for worse, other in pairs if worse > factor)


def test_a_budget_of_what_the_recipe_costs_is_the_recipes_plan() -> None:
    assert plan(str(plan(None).parameters)).linears == plan(None).linears


@pytest.mark.parametrize("budget", ["120M", "240MiB", "uniform:8", "400M"])
def test_a_plan_under_a_budget_takes_effect_exactly(budget: str) -> None:
    made = plan(budget)
    found = read_back(MODEL, config_of(made))
    assert found.exact
    assert found.made_parameters == made.parameters
    assert made.parameters > 0.98 * largest_size(budget, block_linears(MODEL))


def test_uniform_budgets_are_what_the_facts_page_measured() -> None:
    linears = block_linears(MODEL)
    assert round(largest_size("uniform:4", linears) / 1e6, 1) == 500.9
    assert round(largest_size("uniform:8", linears) / 1e6, 1) == 125.3
    assert largest_size("uniform:10", linears) == largest_size("uniform:8", linears)


@settings(deadline=None, max_examples=8)
@given(st.integers(3, 40))
def test_a_file_of_a_size_budget_fits(mebibytes: int) -> None:
    """The bf16 file is written and weighed: a two-block model of half the width."""
    with torch.device("meta"):
        model = SD3Transformer2DModel(
            num_layers=2,
            attention_head_dim=64,
            num_attention_heads=19,
            caption_projection_dim=1216,
            joint_attention_dim=64,
        )
    heatmaps = Heatmaps(HEATMAPS.image[:, :2], HEATMAPS.text[:, :2])
    made = make_plan(heatmaps, model, budget=f"{mebibytes}MiB")
    tensors = {}
    for linear in made.linears:
        name = f"lycoris_{linear.name.replace('.', '_')}"
        w1, w2 = linear.split.shapes
        tensors[f"{name}.lokr_w1"] = torch.zeros(w1, dtype=torch.bfloat16)
        tensors[f"{name}.lokr_w2"] = torch.zeros(w2, dtype=torch.bfloat16)
        tensors[f"{name}.alpha"] = torch.zeros((), dtype=torch.bfloat16)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "adapter.safetensors"
        save_file(tensors, file)
        assert file.stat().st_size <= mebibytes * 2**20


@pytest.mark.parametrize("budget", ["1M", "9G"])
def test_an_impossible_budget_is_answered_with_the_smallest_and_the_largest(budget: str) -> None:
    with pytest.raises(LokrWeightingError, match=r"at least 5,958,456 and at most 8,014,316,049"):
        plan(budget)


@pytest.mark.parametrize("budget", ["", "lots", "120 Mb", "-5M", "uniform:", "uniform:0", "5MiB/s"])
def test_a_budget_that_cannot_be_read_is_refused(budget: str) -> None:
    with pytest.raises(LokrWeightingError, match="budget"):
        plan(budget)


def test_the_smallest_plan_is_every_linears_coarsest_split() -> None:
    made = plan(str(SMALLEST))
    assert made.parameters == SMALLEST
    for linear in made.linears:
        assert linear.split == split_of(linear.out_features, linear.in_features, linear.factor)
