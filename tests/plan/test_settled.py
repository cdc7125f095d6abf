from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import SD3Transformer2DModel

from lokr_weighting import Recipe, Records, heatmaps_of, make_plan
from lokr_weighting.data.samples import stratified_timestep
from lokr_weighting.models.blocks import block_linears, block_names
from lokr_weighting.plan.recipe import contributions
from lokr_weighting.plan.settled import judge
from lokr_weighting.records.average import resampled
from lokr_weighting.show.plan_tables import plan_remarks

BLOCKS = 8


@pytest.fixture(scope="module")
def model() -> SD3Transformer2DModel:
    with torch.device("meta"):
        return SD3Transformer2DModel(
            num_layers=BLOCKS,
            attention_head_dim=32,
            num_attention_heads=16,
            caption_projection_dim=512,
            joint_attention_dim=64,
            pooled_projection_dim=64,
        )


def population(spread: float) -> Callable[[int, int], Records]:
    """Samples of 12 images: an image's own level, a slope over t, and noise."""
    rng = np.random.default_rng(3)
    level = rng.uniform(0.05, 0.4, BLOCKS)
    slope = rng.uniform(-0.03, 0.03, BLOCKS)
    of_image = rng.normal(0, spread, (12, BLOCKS))

    def sample(count: int, seed: int) -> Records:
        rng = np.random.default_rng(seed)
        times = np.array([stratified_timestep(seed, i, 10) for i in range(count)])
        images = of_image[rng.integers(12, size=count)]
        noise = rng.normal(0, spread, (count, BLOCKS))
        values = level + slope * times[:, None] + images + noise
        text = values * 0.8
        text[:, -1] = np.nan
        return Records(times, values, text)

    return sample


def settled(model: SD3Transformer2DModel, records: Records, recipe: Recipe | None = None):
    return judge(records, block_linears(model), block_names(model), recipe or Recipe())


@pytest.mark.slow
def test_intervals_cover_the_long_run_value_in_95_percent_of_reruns(
    model: SD3Transformer2DModel,
) -> None:
    """1.96 standard errors to either side, for distances and contributions alike."""
    draw = population(0.03)
    recipe = Recipe(critical="off")
    truth = heatmaps_of(draw(200_000, 999))
    true_shares, true_means = contributions(truth, recipe), truth.image.mean(axis=0)
    varies = (true_shares > 0.02) & (true_shares < 0.98)  # the ends are 0 and 1 by definition
    shares_inside, means_inside = [], []
    for seed in range(100):
        records = draw(160, seed)
        heatmaps = heatmaps_of(records)
        error = settled(model, records, recipe).contribution_error
        apart = np.abs(contributions(heatmaps, recipe) - true_shares)
        shares_inside.append((apart <= 1.96 * error)[varies])
        assert heatmaps.image_error is not None
        apart = np.abs(heatmaps.image.mean(axis=0) - true_means)
        means_inside.append(apart <= 1.96 * heatmaps.image_error)
    assert np.mean(means_inside) == pytest.approx(0.95, abs=0.03)
    assert np.mean(shares_inside) == pytest.approx(0.95, abs=0.04)


def test_resamples_vary_as_the_mean_does_however_few_samples_a_bin_has() -> None:
    draw = population(0.03)
    ratios = []
    for seed in range(60):
        records = draw(40, seed)  # four in every bin
        drawn = resampled([records.image], records.timesteps, 10, resamples=400, seed=seed)
        means = drawn[0].mean(axis=1)
        error = heatmaps_of(records).image_error
        assert error is not None
        ratios.append(means.std(axis=0) / error)
    assert np.mean(ratios) == pytest.approx(1, abs=0.03)


def test_samples_without_any_noise_are_settled_at_once(model: SD3Transformer2DModel) -> None:
    found = settled(model, population(0.0)(80, 0), Recipe(critical="off"))
    assert found.near == 1
    assert found.kept.min() > 0.9


def test_more_samples_settle_the_plan(model: SD3Transformer2DModel) -> None:
    draw = population(0.05)
    few, many = (settled(model, draw(n, 1)) for n in (40, 4000))
    assert few.same < many.same
    assert few.near <= many.near == 1
    assert (few.contribution_error >= many.contribution_error).all()


def test_the_plan_says_which_blocks_sit_on_an_edge(model: SD3Transformer2DModel) -> None:
    records = population(0.05)(60, 1)
    found = settled(model, records)
    plan = make_plan(records, model)
    edge = [str(i) for i, kept in enumerate(found.kept) if kept < 0.9]
    assert edge
    assert f"Blocks on an edge between two splits: {', '.join(edge)}." in plan_remarks(plan)
    assert [block.kept for block in plan.blocks] == found.kept.tolist()
    assert plan.blocks[0].contribution_error == found.contribution_error[0]


def test_a_budgets_plan_is_judged_too(model: SD3Transformer2DModel) -> None:
    records = population(0.01)(200, 1)
    linears, names = block_linears(model), block_names(model)
    found = judge(records, linears, names, Recipe(), budget="1M", resamples=50)
    assert 0 <= found.same <= found.near <= 1
