"""Intervals of paired differences hold what they promise."""

import numpy as np
import pytest

from lokr_weighting.studies.paired import paired

IMAGES = np.repeat(np.arange(12), 4)


def differences(rng: np.random.Generator, seeds: int, mean: float = 0.0) -> np.ndarray:
    """Crossed effects of seeds and images, and noise: (seeds, samples)."""
    of_seed = rng.normal(0, 1.0, seeds)[:, None]
    of_image = rng.normal(0, 1.0, 12)[IMAGES]
    return mean + of_seed + of_image + rng.normal(0, 1.0, (seeds, len(IMAGES)))


@pytest.mark.parametrize("seeds", [2, 3, 6])
def test_where_there_is_no_difference_none_is_shown_in_95_percent(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    shown = []
    for _ in range(800):
        first = rng.normal(0, 5, (seeds, len(IMAGES)))
        shown.append(paired(first, first + differences(rng, seeds), IMAGES).shown)
    # 800 repeats: 0.05 within three standard errors; the interval is never too short
    assert np.mean(shown) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 800)


def test_a_difference_that_is_there_is_shown_and_intervals_shrink_with_seeds() -> None:
    rng = np.random.default_rng(0)
    zeros, widths = np.zeros((16, len(IMAGES))), {2: [], 4: [], 8: [], 16: []}
    for _ in range(40):
        made = differences(rng, 16, mean=4.0)
        for seeds, found in widths.items():
            each = paired(zeros[:seeds], made[:seeds], IMAGES)
            found.append(each.high - each.low)
        most = paired(zeros, made, IMAGES)
        assert most.shown
        assert most.seeds_needed is None
    means = [np.mean(found) for found in widths.values()]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[-1]


def test_it_says_how_many_seeds_would_show_a_difference_or_that_none_would() -> None:
    # three seeds of mean 1 that scatter by 2, every image alike
    quiet = np.array([-1.0, 1.0, 3.0])[:, None] + np.zeros((3, len(IMAGES)))
    each = paired(np.zeros_like(quiet), quiet, IMAGES)
    assert not each.shown
    # the least n with t(n - 1) * 2 / sqrt(n) < 1 is 18
    assert each.seeds_needed == 18
    images = np.tile([-3.0, 3.0], 6)[IMAGES]
    loud = 0.1 + images + np.zeros((3, len(IMAGES)))
    each = paired(np.zeros_like(loud), loud, IMAGES)
    assert not each.shown
    assert each.seeds_needed is None


def test_equal_losses_differ_by_nothing() -> None:
    same = np.random.default_rng(0).uniform(size=(2, len(IMAGES)))
    each = paired(same, same, IMAGES)
    assert (each.mean, each.low, each.high, each.shown) == (0, 0, 0, False)


@pytest.mark.parametrize(("seeds", "images"), [(1, IMAGES), (3, np.zeros(48, dtype=int))])
def test_a_single_seed_or_image_is_refused(seeds: int, images: np.ndarray) -> None:
    with pytest.raises(ValueError, match="two of each are needed"):
        paired(np.zeros((seeds, 48)), np.zeros((seeds, 48)), images)
