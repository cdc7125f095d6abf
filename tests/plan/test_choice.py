"""What the recipe makes of each stream."""

import numpy as np

from lokr_weighting import Heatmaps, Recipe, load_reference, make_plan
from lokr_weighting.models.blocks import block_linears
from lokr_weighting.models.known import load_skeleton
from lokr_weighting.plan.choice import choice_by_distance

LARGE = load_skeleton("sd3.5-large")


def test_each_streams_linears_follow_their_own_streams_distance_alone() -> None:
    rising, falling = np.tile(np.linspace(0.1, 0.5, 38), (10, 1)), None
    falling = rising[:, ::-1].copy()
    recipe = Recipe(name="streams", clip_percentile=100, critical="off")
    plan = make_plan(Heatmaps(rising, falling), LARGE, recipe)
    streams = {linear.name: linear.stream for linear in block_linears(LARGE)}
    for linear in plan.linears:
        expected = 12 - linear.block * 11 / 37 if streams[linear.name] == "image" else None
        expected = expected or 1 + linear.block * 11 / 37
        assert linear.factor == round(expected) * (1 if linear.base else 2)


def test_a_block_is_critical_for_the_stream_that_says_so() -> None:
    heatmaps = load_reference("sd3.5-large")
    choice = choice_by_distance(heatmaps, Recipe(name="streams"))
    for stream in ("image", "text"):
        own = choice.of_stream[stream]
        assert set(own.critical) == {
            block for block, reasons in choice.critical.items() if stream in reasons
        }
        assert all(own.factors[block] == 1 for block in own.critical)


def test_linears_of_both_streams_follow_both() -> None:
    flux = load_skeleton("flux.1-dev")
    rng = np.random.default_rng(0)
    heatmaps = Heatmaps(rng.random((10, 57)), rng.random((10, 57)))
    apart = make_plan(heatmaps, flux, Recipe(name="streams"))
    together = make_plan(heatmaps, flux)
    for one, other in zip(apart.linears, together.linears, strict=True):
        if one.name.startswith("single_"):
            assert one.factor == other.factor
    assert apart.linears != together.linears


def test_the_studys_recipe_looks_at_both_streams_for_all() -> None:
    assert not choice_by_distance(load_reference("sd3.5-large"), Recipe()).of_stream
