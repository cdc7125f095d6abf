"""The knapsack takes what brute force takes."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest

from lokr_weighting import LokrWeightingError
from lokr_weighting.plan.knapsack import best_choice


@pytest.mark.parametrize("seed", range(12))
def test_it_gains_as_much_as_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 6, size=7)
    costs = [sorted(rng.integers(1, 10**6, size=size).tolist(), reverse=True) for size in sizes]
    gains = [rng.normal(size=size).tolist() for size in sizes]
    limit = int(sum(group[-1] for group in costs) * rng.uniform(1, 3))

    def total(values: list[list[float]], taken: tuple[int, ...]) -> float:
        return sum(group[at] for group, at in zip(values, taken, strict=True))

    allowed = [
        taken
        for taken in product(*(range(size) for size in sizes))
        if sum(group[at] for group, at in zip(costs, taken, strict=True)) <= limit
    ]
    positive = [[max(value, 0) for value in group] for group in gains]
    best = max(total(positive, taken) for taken in allowed)
    found = tuple(best_choice(gains, costs, limit))
    assert found in allowed
    assert total(positive, found) == pytest.approx(best, rel=1e-6)


def test_the_limit_holds_to_the_last_parameter_where_numbers_are_large() -> None:
    rng = np.random.default_rng(0)
    costs = [[9_437_184 // d for d in (1, 4, 9, 16, 36, 64, 144)] for _ in range(300)]
    gains = [sorted(rng.gamma(0.3, size=7), reverse=True) for _ in range(300)]
    for limit in (100_000_000, 100_000_001, 99_999_999):
        taken = best_choice(gains, costs, limit)
        total = sum(group[at] for group, at in zip(costs, taken, strict=True))
        assert 0.995 * limit < total <= limit


def test_a_limit_below_the_smallest_is_refused() -> None:
    with pytest.raises(LokrWeightingError, match="the smallest plan has 5 parameters"):
        best_choice([[1.0, 2.0]], [[9, 5]], 4)


def test_a_solver_that_finds_nothing_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = SimpleNamespace(x=None, message="time is up")
    monkeypatch.setattr("lokr_weighting.plan.knapsack.milp", lambda *_, **__: nothing)
    with pytest.raises(LokrWeightingError, match="no plan was found within 9 parameters: time is"):
        best_choice([[1.0, 2.0]], [[9, 5]], 9)
