from diffusers import SD3Transformer2DModel

from lokr_weighting import Recipe, make_plan
from lokr_weighting.targets.lycoris import config_of
from lokr_weighting.targets.lycoris.readback import read_back
from lokr_weighting.targets.tensors import differences_from_plan
from tests.conftest import random_heatmaps


def test_a_network_that_is_not_the_plans_is_described(small: SD3Transformer2DModel) -> None:
    heatmaps = random_heatmaps(12)
    plan = make_plan(heatmaps, small, Recipe(max_factor=5))
    other = make_plan(heatmaps, small, Recipe(max_factor=2))
    differences = differences_from_plan(plan, read_back(small, config_of(other)).made)
    assert differences
    assert "is planned as" in differences[0]
    assert differences_from_plan(plan, read_back(small, config_of(plan)).made) == []
