from dataclasses import replace

import numpy as np
import pytest

from lokr_weighting.studies.ablation import Ablation, Seen
from lokr_weighting.studies.damage import ranks_inside, ranks_of_skipping
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


def by_timestep(image: np.ndarray, costs: np.ndarray) -> Ablation:
    """An ablation with these distances and these costs of skipping, (bins, blocks) each."""
    blocks = image.shape[1]
    ablation = made_up(costs.mean(axis=0).tolist(), image.mean(axis=0).tolist(), [np.nan] * blocks)
    changes = [
        replace(each, by_bin=column) for each, column in zip(ablation.changes, costs.T, strict=True)
    ]
    no_text = np.full_like(image, np.nan)
    seen = Seen(np.full(20, 0.5), np.ones(20), image, no_text)
    return replace(ablation, changes=tuple(changes), samples_seen=seen)


def test_inside_blocks_damage_is_ranked_over_the_timesteps() -> None:
    rng = np.random.default_rng(0)
    image = rng.uniform(0.1, 0.2, (10, 6))
    (found,) = ranks_inside(by_timestep(image, 3 * image))
    assert (found.stream, found.blocks, found.bins) == ("image", 6, 10)
    assert found.rho == pytest.approx(1)
    assert found.own == pytest.approx((1, 1, 1))
    (found,) = ranks_inside(by_timestep(image, -image))
    assert found.rho == pytest.approx(-1)
    each = [2 * np.argsort(np.argsort(column)) - 9 for column in image.T]
    mixed = np.stack([each[0], *(-one for one in each[1:])], axis=1)
    (found,) = ranks_inside(by_timestep(image, mixed))
    assert found.rho == pytest.approx((1 - 5) / 6)
    # Student's t of 5 degrees of freedom
    error = np.std([1, *[-1] * 5], ddof=1) / np.sqrt(6)
    assert found.high - found.rho == pytest.approx(2.5706 * error, rel=1e-4)
    assert "Inside a block, over 10 timestep bins, damage goes with the image" in found.verdict


def test_what_all_blocks_do_at_a_timestep_is_no_sign_of_their_own() -> None:
    rng = np.random.default_rng(1)
    shared = np.linspace(0, 5, 10)[:, None]
    image, costs = shared + rng.normal(0, 0.1, (2, 10, 30))
    (found,) = ranks_inside(by_timestep(image, costs))
    assert found.low > 0.9
    assert found.own is not None
    own, low, high = found.own
    assert low < 0 < high
    assert abs(own) < 0.2


def test_files_of_earlier_versions_do_not_know_timesteps() -> None:
    assert ranks_inside(made_up([1.0] * 6, [0.1] * 6, [0.1] * 6)) == []
