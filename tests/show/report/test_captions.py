"""The captions say what was drawn with which recipe."""

import pytest

from lokr_weighting import Recipe, load_reference, make_plan
from lokr_weighting.show.report.captions import pictures


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "clipped at the 90th percentile, averaged over the bins, weighted 2/3 image and 1/3"),
        ({"image_weight": 1, "text_weight": 0}, "weighted 1 image and 0 text"),
        ({"image_weight": 0.37, "clip_percentile": 99}, "99th percentile"),
        ({"image_weight": 0.37, "text_weight": 0.25}, "weighted 0.37 image and 1/4 text"),
    ],
)
def test_the_contributions_caption_names_the_recipes_own_numbers(
    settings: dict[str, float], said: str
) -> None:
    heatmaps = load_reference("sd3.5-large")
    plan = make_plan(heatmaps, "sd3.5-large", Recipe.model_validate(settings))
    caption = next(x.caption for x in pictures(heatmaps, plan) if x.name == "contributions")
    assert said in caption
