import numpy as np
import pytest

from lokr_weighting import Heatmaps, LokrWeightingError, Records, heatmaps_of
from lokr_weighting.studies.diff import LEVEL, differences
from tests import mixed
from tests.conftest import random_heatmaps

BLOCKS = 8


def drawn(seed: int, shift: float = 0.0, samples: int = 200) -> Heatmaps:
    """A measurement of one population; with a shift, block 3's text stream is elsewhere."""
    rng = np.random.default_rng(seed)
    level = np.linspace(0.1, 0.3, BLOCKS)
    timesteps = (np.arange(samples) + 0.5) / samples
    image = level + rng.normal(0, 0.02, (samples, BLOCKS))
    text = level + rng.normal(0, 0.02, (samples, BLOCKS))
    text[:, 3] += shift
    return heatmaps_of(Records(timesteps, image, text), 10)


def test_chance_alone_is_reported_as_rarely_as_it_says() -> None:
    wrong = sum(
        any(each.beyond_chance for each in differences(drawn(2 * seed), drawn(2 * seed + 1)))
        for seed in range(200)
    )
    # a binomial of 200 at LEVEL lies in this range in 999 of 1000 cases
    assert 1 <= wrong <= 200 * LEVEL + 3.3 * (200 * LEVEL * (1 - LEVEL)) ** 0.5 + 5


def test_a_real_difference_is_found_where_it_is() -> None:
    found = [each for each in differences(drawn(0), drawn(1, shift=0.02)) if each.beyond_chance]
    assert [(each.block, each.stream) for each in found] == [(3, "text")]
    assert found[0].z > 5
    assert found[0].b - found[0].a == pytest.approx(0.02, abs=0.01)


def test_blocks_without_text_are_left_out() -> None:
    a, b = drawn(0), drawn(1)
    for each in (a, b):
        each.text[:, -1] = np.nan
    assert len(differences(a, b)) == 2 * BLOCKS - 1


def test_blocks_without_an_image_are_left_out_too() -> None:
    found = differences(mixed.heatmaps(0), mixed.heatmaps(1))
    assert [each.block for each in found if each.stream == "image"] == list(range(2, 10))
    assert [each.block for each in found if each.stream == "text"] == [0, 1, *range(4, 10)]
    assert all(np.isfinite([each.a, each.b, each.error]).all() for each in found)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match="of different models: 8 blocks"):
        differences(drawn(0), random_heatmaps(5))
    with pytest.raises(LokrWeightingError, match="has no standard errors"):
        differences(drawn(0), random_heatmaps(BLOCKS))
