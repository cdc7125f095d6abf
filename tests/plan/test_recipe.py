import numpy as np
import pytest
from pydantic import ValidationError

from lokr_weighting import Heatmaps, LokrWeightingError, Recipe, load_reference
from lokr_weighting.plan.recipe import block_factors, contributions, critical_blocks, normalised
from tests.conftest import random_heatmaps


def factors(heatmaps: Heatmaps, recipe: Recipe) -> list[int]:
    critical = critical_blocks(heatmaps, recipe)
    return block_factors(contributions(heatmaps, recipe), critical, recipe)


def test_the_default_recipe_gives_all_38_published_factors(published_factors: list[int]) -> None:
    assert factors(load_reference("sd3.5-large"), Recipe()) == published_factors


def test_the_rule_finds_the_studys_critical_blocks_and_says_why() -> None:
    assert critical_blocks(load_reference("sd3.5-large"), Recipe()) == {
        0: ("image", "text"),
        31: ("text",),
        35: ("image",),
    }


@pytest.mark.parametrize("share", [0.11, 0.3, 0.5, 0.7, 0.8])
def test_the_rule_does_not_hang_on_its_share(share: float) -> None:
    found = critical_blocks(load_reference("sd3.5-large"), Recipe(critical_share=share))
    assert list(found) == [0, 31, 35]


def test_contributions_are_the_studys_formula_on_random_heatmaps() -> None:
    heatmaps = random_heatmaps(9)
    image, text = heatmaps.image, heatmaps.text[:, :-1]
    clipped_text = np.clip(text, None, np.percentile(text, 90)) * (1 / 3)
    clipped_image = np.clip(image, None, np.percentile(image, 90)) * (2 / 3)
    means = np.mean((clipped_text + clipped_image[:, :-1]) / 2.0, axis=0)
    expected = (means - means.min()) / (means.max() - means.min())
    found = contributions(heatmaps, Recipe())
    np.testing.assert_allclose(found[:-1], expected, rtol=1e-12)
    assert found[-1] == found[-2]


def test_a_block_without_text_follows_the_named_rule() -> None:
    image = np.array([[0.1, 0.2, 0.3, 0.3]])
    text = np.array([[0.1, 0.3, 0.2, np.nan]])
    heatmaps = Heatmaps(image, text)
    plain = {"clip_percentile": 100, "image_weight": 0.5, "text_weight": 0.5}
    by_rule = {
        rule: contributions(heatmaps, Recipe.model_validate(plain | {"missing_text": rule}))
        for rule in ("predecessor", "image", "zero")
    }
    # sums 0.2, 0.5, 0.5 and for the last block: as before it, 0.6 (image twice), 0.3 (no text)
    np.testing.assert_allclose(by_rule["predecessor"], [0, 1, 1, 1], atol=1e-12)
    np.testing.assert_allclose(by_rule["image"], [0, 0.75, 0.75, 1], atol=1e-12)
    np.testing.assert_allclose(by_rule["zero"], [0, 1, 1, 1 / 3], atol=1e-12)


def test_blocks_before_the_first_text_take_its_contribution() -> None:
    heatmaps = random_heatmaps(6, without_text=0)
    heatmaps.text[:, :2] = np.nan
    found = contributions(heatmaps, Recipe())
    assert found[0] == found[1] == found[2]


def test_a_model_without_any_text_stream_is_weighted_by_its_images() -> None:
    heatmaps = random_heatmaps(6, without_text=6)
    found = contributions(heatmaps, Recipe())
    clipped = np.minimum(heatmaps.image, np.percentile(heatmaps.image, 90)).mean(axis=0)
    np.testing.assert_allclose(found, (clipped - clipped.min()) / np.ptp(clipped))
    assert critical_blocks(heatmaps, Recipe(critical_share=1e-6))


def test_critical_blocks_can_be_switched_off_or_given() -> None:
    heatmaps = load_reference("sd3.5-large")
    assert critical_blocks(heatmaps, Recipe(critical="off")) == {}
    given = Recipe(critical=(7, 3), critical_factor=2)
    assert critical_blocks(heatmaps, given) == {3: ("given",), 7: ("given",)}
    assert [factors(heatmaps, given)[i] for i in (3, 7)] == [2, 2]
    with pytest.raises(LokrWeightingError, match=r"no block 38; .* blocks 0 to 37"):
        critical_blocks(heatmaps, Recipe(critical=(38,)))


def test_factors_span_one_to_max_factor() -> None:
    heatmaps = random_heatmaps(20)
    for largest in (1, 4, 30):
        found = factors(heatmaps, Recipe(max_factor=largest, critical="off"))
        assert (min(found), max(found)) == (1, largest)


def test_a_flat_measurement_has_nothing_to_weight() -> None:
    flat = Heatmaps(np.full((10, 4), 0.2), np.full((10, 4), 0.1))
    with pytest.raises(LokrWeightingError, match="nothing to weight"):
        contributions(flat, Recipe())


@pytest.mark.parametrize(
    "wrong",
    [
        {"clip_percentile": 0},
        {"clip_percentile": 101},
        {"max_factor": 0},
        {"image_weight": 0, "text_weight": 0},
        {"critical": "some"},
        {"critical_share": 0},
        {"unknown": 1},
    ],
)
def test_a_setting_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(wrong)


def test_weights_that_leave_no_stream_are_refused() -> None:
    with pytest.raises(ValidationError, match="image_weight and text_weight cannot both be 0"):
        Recipe(image_weight=0, text_weight=0)


def test_numbers_that_no_measurement_gives_are_refused() -> None:
    with pytest.raises(LokrWeightingError, match="which no measurement gives"):
        normalised(np.array([-1e308, 1e308]))
