"""Blocks of one stream alone in the recipe, and what blocks without text are set beside."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lokr_weighting import Heatmaps, LokrWeightingError, Recipe, make_plan
from lokr_weighting.models.blocks import Stream, block_linears, block_names
from lokr_weighting.plan.alone import blocks_alone
from lokr_weighting.plan.choice import choice_by_distance
from lokr_weighting.plan.recipe import contributions, critical_blocks
from lokr_weighting.plan.settled import judge
from tests import mixed


def by_hand(heatmaps: Heatmaps, recipe: Recipe) -> list[float]:
    """The recipe's contributions in plain float64, block by block; `layers.5` may lack text."""
    weights = {"image": recipe.image_weight, "text": recipe.text_weight}
    cells: dict[str, list[list[float]]] = {}
    for stream in weights:
        columns = getattr(heatmaps, stream).T.tolist()
        known = sorted(each for column in columns for each in column if not math.isnan(each))
        place = (len(known) - 1) * recipe.clip_percentile / 100
        low = int(place)
        high = min(low + 1, len(known) - 1)
        limit = known[low] + (known[high] - known[low]) * (place - low)
        cells[stream] = [[min(each, limit) for each in column] for column in columns]
    own: dict[int, float] = {}
    for block, name in enumerate(mixed.NAMES):
        image, text = (sum(cells[stream][block]) / heatmaps.bins for stream in ("image", "text"))
        if name.startswith("context_refiner"):
            own[block] = text * sum(weights.values()) / 2
        elif name.startswith("noise_refiner"):
            own[block] = image * sum(weights.values()) / 2
        elif not math.isnan(text):
            own[block] = (image * weights["image"] + text * weights["text"]) / 2
        elif recipe.missing_text != "predecessor":
            whole = recipe.missing_text == "image"
            own[block] = image * (sum(weights.values()) if whole else weights["image"]) / 2
    low, high = min(own.values()), max(own.values())
    shares = {block: (value - low) / (high - low) for block, value in own.items()}
    return [shares.get(block, shares[max(own)]) for block in range(len(mixed.NAMES))]


@pytest.mark.parametrize("missing", ["predecessor", "image", "zero"])
@pytest.mark.parametrize("last_has_text", [True, False])
def test_contributions_of_mixed_blocks_are_those_of_a_slow_reference(
    missing: str, last_has_text: bool
) -> None:
    heatmaps = mixed.heatmaps(seed=3)
    if not last_has_text:
        heatmaps.text[:, -1] = np.nan
    for settings in ({}, {"clip_percentile": 60}, {"image_weight": 0.2, "text_weight": 1.1}):
        recipe = Recipe.model_validate({"missing_text": missing} | settings)
        expected = by_hand(heatmaps, recipe)
        np.testing.assert_allclose(contributions(heatmaps, recipe), expected, rtol=0, atol=1e-12)


def test_blocks_of_one_stream_alone_are_told_from_one_that_hands_no_text_on() -> None:
    heatmaps = mixed.heatmaps()
    heatmaps.text[:, -1] = np.nan
    alone = blocks_alone(heatmaps.has_image, heatmaps.has_text, mixed.NAMES)
    assert np.flatnonzero(alone.text).tolist() == mixed.TEXT
    assert np.flatnonzero(alone.image).tolist() == mixed.IMAGE
    assert alone.beside == {9: 8}


def test_lists_of_one_stream_each_are_all_counted_by_their_own() -> None:
    """Kandinsky 5: text blocks, then image blocks; no block has both to be set beside."""
    image, text = np.full((2, 4, 5), np.nan)
    text[:, :2], image[:, 2:] = [0.1, 0.3], [0.2, 0.5, 0.4]
    names = (*(f"text_blocks.{i}" for i in range(2)), *(f"visual_blocks.{i}" for i in range(3)))
    recipe = Recipe(clip_percentile=100)
    for known in (names, None):
        found = contributions(Heatmaps(image, text, blocks=known), recipe)
        np.testing.assert_allclose(found, [0, 0.5, 0.25, 1, 0.75], atol=1e-12)


def test_a_stream_without_weight_contributes_nothing_and_leaves_the_others_as_they_were() -> None:
    heatmaps = mixed.heatmaps()
    found = contributions(heatmaps, Recipe(image_weight=1, text_weight=0))
    without = Heatmaps(heatmaps.image[:, 2:], heatmaps.text[:, 2:], blocks=mixed.NAMES[2:])
    assert found[mixed.TEXT].tolist() == [0, 0]
    expected = contributions(without, Recipe(image_weight=1, text_weight=0))
    np.testing.assert_allclose(found[2:], expected, atol=1e-15)


def test_only_streams_without_weight_are_refused() -> None:
    image = np.random.default_rng(0).uniform(size=(10, 4))
    heatmaps = Heatmaps(image, np.full_like(image, np.nan))
    with pytest.raises(LokrWeightingError, match="image_weight = 0, text_weight = 1: the blocks"):
        contributions(heatmaps, Recipe(image_weight=0, text_weight=1))


def test_a_missing_image_makes_no_block_critical_and_text_alone_can() -> None:
    heatmaps = mixed.heatmaps()
    heatmaps.text[:, 1] += 0.6
    assert critical_blocks(heatmaps, Recipe(critical_percentile=90)).get(1) == ("text",)
    assert all(
        "image" not in reasons
        for block, reasons in critical_blocks(heatmaps, Recipe(critical_share=1e-6)).items()
        if block in mixed.TEXT
    )


def test_with_streams_apart_each_is_normalised_over_the_blocks_that_have_it() -> None:
    heatmaps = mixed.heatmaps()
    recipe = Recipe(name="streams", clip_percentile=100, critical="off")
    choice = choice_by_distance(heatmaps, recipe)
    missing_of: dict[Stream, list[int]] = {"image": mixed.TEXT, "text": mixed.IMAGE}
    for stream, missing in missing_of.items():
        own = np.delete(getattr(heatmaps, stream).mean(axis=0), missing)
        found = np.delete(choice.of_stream[stream].shares, missing)
        np.testing.assert_allclose(found, (own - own.min()) / np.ptp(own), atol=1e-12)


def test_a_stream_that_one_block_has_is_weighed_with_the_other() -> None:
    heatmaps = mixed.heatmaps()
    heatmaps.text[:, 1:] = np.nan
    heatmaps.image[:, 1] = 0.1
    choice = choice_by_distance(heatmaps, Recipe(name="streams"))
    assert set(choice.of_stream) == {"image"}


def test_a_linear_in_a_block_of_one_stream_is_that_streams() -> None:
    streams = {linear.block: linear.stream for linear in block_linears(mixed.lumina())}
    assert [streams[name] for name in mixed.NAMES] == ["text"] * 2 + ["image"] * 2 + [None] * 6


def test_a_mixed_plan_reads_back_and_its_resamples_know_the_lists() -> None:
    model, records = mixed.lumina(), mixed.records()
    assert block_names(model) == list(mixed.NAMES)
    plan = make_plan(records, model)
    assert [block.image is None for block in plan.blocks] == [i in mixed.TEXT for i in range(10)]
    assert [block.text is None for block in plan.blocks] == [i in mixed.IMAGE for i in range(10)]
    assert type(plan).model_validate_json(plan.model_dump_json()) == plan
    found = [block.contribution for block in plan.blocks]
    np.testing.assert_allclose(found, by_hand(mixed.heatmaps(), Recipe()), atol=1e-12)
    # samples that all say the same: a resample that counted other blocks would move the plan
    same = replace(
        records,
        image=np.broadcast_to(records.image[0], records.image.shape).copy(),
        text=np.broadcast_to(records.text[0], records.text.shape).copy(),
    )
    settled = judge(same, block_linears(model), mixed.NAMES, Recipe())
    assert settled.same == 1
    assert np.abs(settled.contribution_error).max() < 1e-12
