from typing import Any

import numpy as np
import pytest
from scipy.stats import spearmanr

from lokr_weighting.studies.uses import uses_of


def rho(first: Any, second: Any) -> float:
    found: Any = spearmanr(first, second)
    return float(found.statistic)


GIVEN = [100.0, 100, 200, 200, 400, 400, 800, 800, 1600, 1600]


def test_a_measure_that_grows_with_the_capacity_is_beyond_chance() -> None:
    values = [float(place) for place in range(10)]
    (use,) = uses_of([("layers", "text", "change", GIVEN, values)])
    assert use.rho == pytest.approx(rho(GIVEN, values))
    assert use.rho is not None and use.low is not None and use.high is not None
    assert use.low < use.rho <= use.high
    assert use.beyond
    (against,) = uses_of([("layers", "text", "change", GIVEN, values[::-1])])
    assert against.rho == pytest.approx(-use.rho)
    assert against.beyond


def test_the_chance_is_that_of_shuffled_blocks() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=10)
    (use,) = uses_of([("layers", None, "used", GIVEN, values.tolist())])
    shuffled = [rho(GIVEN, rng.permutation(values)) for _ in range(1000)]
    assert use.rho is not None
    as_far = float(np.mean(np.abs(shuffled) >= abs(use.rho) - 1e-9))
    assert use.chance == pytest.approx(as_far, abs=0.06)


def test_where_nothing_goes_with_anything_few_are_beyond_chance() -> None:
    rng = np.random.default_rng(1)
    beyond = 0
    for _ in range(40):
        sets = [rng.normal(size=10).tolist() for _ in range(4)]
        uses = uses_of([("layers", None, "change", GIVEN, values) for values in sets])
        beyond += any(use.beyond for use in uses)
    # asked for: 2 of 40, however many are looked at together
    assert beyond <= 6


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([1.0, 2, 3], [1.0, 2, 3]),
        ([5.0, 5, 5, 5, 5], [1.0, 2, 3, 4, 5]),
        ([1.0, 2, 3, 4, 5], [0.0] * 5),
    ],
)
def test_where_there_is_nothing_to_compare_nothing_is_said(
    given: list[float], values: list[float]
) -> None:
    (use,) = uses_of([("layers", "image", "used", given, values)])
    assert use.rho is None
    assert use.chance is None
    assert not use.beyond
