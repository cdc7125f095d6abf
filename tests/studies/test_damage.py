import numpy as np
import pytest

from lokr_weighting.studies.damage import ranks_of_skipping
from tests.studies.test_ablation import made_up


def test_the_proxys_verdict_is_its_rank_correlation() -> None:
    damage = [float(i) for i in range(10)]
    image, text = ranks_of_skipping(made_up(damage, damage, [*damage[:-1][::-1], np.nan]))
    assert (image.stream, image.blocks, text.blocks) == ("image", 10, 9)
    assert image.rho == pytest.approx(1)
    assert text.rho == pytest.approx(-1)
    assert "predicted damage: blocks that turn it more are missed more" in image.verdict
    assert "the wrong way" in text.verdict
    # two swaps of neighbours among six: 1 - 6 * 4 / (6 * 35)
    (mixed, _) = ranks_of_skipping(made_up(damage[:6], [1, 0, 2, 3, 5, 4], [1, 0, 2, 3, 5, 4]))
    assert mixed.rho == pytest.approx(1 - 6 * 4 / 210)
    assert -1 < mixed.low < mixed.rho < mixed.high < 1
    (image, text) = ranks_of_skipping(made_up(damage, [*damage[:-2], np.nan, np.nan], damage))
    assert (image.blocks, text.blocks) == (8, 10)
    assert image.rho == pytest.approx(1)
    chance = np.random.default_rng(0).permutation(10).tolist()
    assert "did not predict" in ranks_of_skipping(made_up(damage, chance, chance))[0].verdict
