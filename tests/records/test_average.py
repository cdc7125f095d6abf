import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lokr_weighting import LokrWeightingError, Records, heatmaps_of


def test_an_empty_bin_is_named() -> None:
    records = Records(np.array([0.05, 0.95]), np.full((2, 3), 0.1), np.full((2, 3), 0.1))
    with pytest.raises(LokrWeightingError, match=r"\[0\.25, 0\.5\), \[0\.5, 0\.75\)"):
        heatmaps_of(records, bins=4)


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_bins_are_the_study_notebooks(bins: int, seed: int) -> None:
    """Its loop: the first edge i / n with edge[i] <= t < edge[i + 1]; t = 1 in the last bin."""
    rng = np.random.default_rng(seed)
    edges = [i / bins for i in range(bins + 1)]
    timesteps = np.array([*edges, *rng.uniform(size=20)])
    image = rng.uniform(size=(len(timesteps), 3))
    expected: list[list[np.ndarray]] = [[] for _ in range(bins)]
    for t, row in zip(timesteps, image, strict=True):
        at = bins - 1 if t == 1.0 else next(i for i in range(bins) if edges[i] <= t < edges[i + 1])
        expected[at].append(row)
    found = heatmaps_of(Records(timesteps, image, image), bins)
    np.testing.assert_allclose(found.image, [np.mean(rows, axis=0) for rows in expected])
    assert found.samples == len(timesteps)
